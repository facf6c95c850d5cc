"""What callers are told when something could not be published."""

from __future__ import annotations

from wharfinger_daemon.errors import (
    CorruptStateError,
    DeadlineError,
    OverloadedError,
    Reason,
    UnavailableError,
    WharfingerError,
)
from wharfinger_daemon.metadata.repository import TAKEN_VERSIONS

_PASSING = (UnavailableError, DeadlineError, OverloadedError)
# A person lifts these: who resumes signing, or activates a key.
_LIFTED = (Reason.SIGNING_SUSPENDED, Reason.KEY_NOT_ACTIVE)


def draining() -> UnavailableError:
    """The error for whoever comes while the publisher stops."""
    return UnavailableError(
        "The publisher is stopping and takes no more changes. Send this one again in a moment.", reason=Reason.DRAINING
    )


def publication_failed(error: Exception) -> Exception:
    """What a caller is told: an exception of its own, for each adds its own traceback."""
    cause = error.reason if isinstance(error, WharfingerError) else Reason.INTERNAL
    # Versions that others had signed are evaded; while many others sign, that takes more than one attempt.
    passing = isinstance(error, _PASSING) or cause in (*TAKEN_VERSIONS, *_LIFTED)
    kind = UnavailableError if passing else CorruptStateError
    told = kind(
        f"The change could not be published now: {error} It may still become visible, once this is over; to be sure, "
        "send it again.",
        reason=Reason.PUBLICATION_FAILED,
        cause=cause,
    )
    told.__cause__ = error
    return told
