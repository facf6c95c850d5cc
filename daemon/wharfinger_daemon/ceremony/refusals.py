"""The errors of a ceremony."""

from __future__ import annotations

from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError


def invalid(message: str, **details: str) -> InvalidRequestError:
    """What was given cannot be used: a ceremony file, metadata, a folder or a file in it."""
    return InvalidRequestError(message, reason=Reason.CEREMONY_INVALID, **details)


def refused(message: str, reason: Reason = Reason.CEREMONY_REFUSED) -> RefusedError:
    """What was asked for may not be done with what was given."""
    return RefusedError(message, reason=reason)
