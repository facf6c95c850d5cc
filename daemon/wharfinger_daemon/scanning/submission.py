"""What a caller may submit: the rules for subjects and digests."""

from __future__ import annotations

import re

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.scanning.model import Subject, SubjectKind

_LIMITS = {"project": 255, "version": 255, "filename": 512}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def require_file(subject: Subject) -> None:
    """A file with project, version and file name, each of printable characters, within the lengths that are stored.

    Raises:
        InvalidRequestError: SUBJECT_INVALID.
    """
    if subject.kind is not SubjectKind.FILE:
        raise _invalid(f"Subjects of kind '{subject.kind}' are not scanned by this version; submit files.")
    for name, limit in _LIMITS.items():
        value: str = getattr(subject, name)
        if not value:
            raise _invalid(f"The subject's {name} is missing.")
        if len(value) > limit:
            raise _invalid(f"The subject's {name} has {len(value)} characters; at most {limit} are allowed.")
        if not value.isprintable():
            raise _invalid(f"The subject's {name} has characters that cannot be printed.")
    if "/" in subject.filename:
        raise _invalid("The subject's filename is a path; give the bare name.")


def require_sha256(sha256: str) -> None:
    """64 lower-case hexadecimal digits.

    Raises:
        InvalidRequestError: MALFORMED_REQUEST.
    """
    if _SHA256.fullmatch(sha256) is None:
        raise InvalidRequestError(
            "The sha256 must be 64 lower-case hexadecimal digits.", reason=Reason.MALFORMED_REQUEST
        )


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason=Reason.SUBJECT_INVALID)
