"""Every error that a caller can meet.

    WharfingerError
    ├── InvalidRequestError         the request can never succeed as it is
    ├── UnauthenticatedError        the caller did not say who it is
    ├── NotGrantedError             the caller may not do this
    ├── NotFoundError               the thing named does not exist
    ├── RefusedError                policy or the ledger forbids it in the present state
    ├── AlreadyExistsError          the identifier is taken by something else
    ├── OverloadedError             too much at once; try again later
    │   └── RateLimitedError        this caller asked for too much; says when to come back
    ├── UnavailableError            a part that is needed does not answer now; try again
    ├── DeadlineError               not enough time was left
    ├── CorruptStateError           stored state contradicts itself; an operator must look
    └── StartupError                the daemon cannot start; says what to do
        └── FatalConfigurationError must not be retried by a service manager (exit status 78)

An error carries a stable ``reason``, which becomes ``google.rpc.ErrorInfo.reason``, and details that become its
metadata. ``rpc/status.py`` holds the one table from these classes to gRPC status codes. Messages say what happened and
what to do, in whole sentences, and never contain a secret.
"""

from __future__ import annotations

from enum import StrEnum, auto


class _UpperSnake(StrEnum):
    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name


class Reason(_UpperSnake):
    """Stable, machine-readable reasons (AIP-193). A name is never reused with another meaning."""

    # Any request
    MALFORMED_REQUEST = auto()
    UNKNOWN_REPOSITORY = auto()
    CLIENT_CERTIFICATE_REQUIRED = auto()
    CALLER_UNKNOWN = auto()
    RPC_NOT_GRANTED = auto()
    REPOSITORY_NOT_GRANTED = auto()
    ROLE_NOT_GRANTED = auto()
    TOO_MANY_CONCURRENT_REQUESTS = auto()
    DEADLINE_TOO_SHORT = auto()
    MESSAGE_TOO_LARGE = auto()
    DRAINING = auto()
    INTERNAL = auto()

    # Signing
    EMPTY_BATCH = auto()
    BATCH_TOO_LARGE = auto()
    NOT_JSON = auto()
    NOT_CANONICAL_JSON = auto()
    NOT_TUF_METADATA = auto()
    ROLE_REQUIRED = auto()
    ROLE_TYPE_MISMATCH = auto()
    UNKNOWN_ROLE = auto()
    SPEC_VERSION_UNSUPPORTED = auto()
    EXPIRY_BEYOND_CEILING = auto()
    TARGET_OUTSIDE_BIN = auto()
    KEY_UNKNOWN = auto()
    KEY_NOT_AUTHORISED = auto()
    KEY_NOT_HELD = auto()
    KEYID_REQUIRED = auto()
    DELEGATION_IN_BIN = auto()
    FACTS_MISMATCH = auto()
    VERSION_EQUIVOCATION = auto()
    VERSION_ROLLBACK = auto()
    VERSION_JUMP = auto()
    META_ROLLBACK = auto()
    META_NOT_VERIFIED = auto()
    TOKEN_UNAVAILABLE = auto()
    SIGNATURE_INVALID = auto()
    LEDGER_MISSING = auto()
    LEDGER_BEHIND = auto()
    FENCED = auto()
    STANDING_BY = auto()
    SIGNING_SUSPENDED = auto()
    RATE_LIMITED = auto()

    # Keys
    KEY_LINE_UNKNOWN = auto()
    KEY_NOT_FOUND = auto()
    KEY_NOT_ACTIVE = auto()
    KEY_NOT_PUBLISHED = auto()
    KEY_STATE_INVALID = auto()
    KEY_STILL_NEEDED = auto()
    METADATA_REJECTED = auto()

    # Ceremonies
    CEREMONY_INVALID = auto()
    CEREMONY_REFUSED = auto()
    CEREMONY_INCOMPLETE = auto()

    # Audit log
    LOG_INVALID = auto()
    LEAF_NOT_FOUND = auto()
    CHECKPOINT_NOT_FOUND = auto()
    CHECKPOINT_PENDING = auto()
    TREE_SIZE_INVALID = auto()

    # Ledger
    EPOCH_REFUSED = auto()

    # Metadata
    TARGET_PATH_INVALID = auto()
    TARGET_INVALID = auto()
    TARGET_NOT_FOUND = auto()
    METADATA_NOT_FOUND = auto()
    REPOSITORY_INVALID = auto()
    STORE_UNAVAILABLE = auto()
    PUBLICATION_FAILED = auto()
    PUBLICATION_QUEUE_FULL = auto()
    BIN_FULL = auto()
    CACHE_NOT_PURGED = auto()
    PUBLISHER_RUNNING = auto()
    RECORDS_BEHIND = auto()

    # Scanning
    SUBJECT_INVALID = auto()
    DIGEST_MISMATCH = auto()
    ARTIFACT_TOO_LARGE = auto()
    ARTIFACT_NOT_FOUND = auto()
    ARTIFACT_OUTSIDE_ROOTS = auto()
    HOST_NOT_ALLOWED = auto()
    FETCH_FAILED = auto()
    SCAN_NOT_FOUND = auto()
    SCAN_QUEUE_FULL = auto()
    SANDBOX_UNAVAILABLE = auto()
    PAGE_TOKEN_INVALID = auto()

    # Review pages
    SIGN_IN_FAILED = auto()
    SIGN_IN_UNAVAILABLE = auto()
    ROLE_MISSING = auto()

    # Starting
    CONFIGURATION_INVALID = auto()
    WRONG_PIN = auto()
    MODULE_MISSING = auto()
    KEY_MISMATCH = auto()
    DATABASE_UNAVAILABLE = auto()
    DATABASE_OUTDATED = auto()
    ADDRESS_IN_USE = auto()


class WharfingerError(Exception):
    """The root of the tree.

    Args:
        message: what happened and what to do, for a person.
        reason: the stable reason, for a program.
        details: what else a program may want to know; becomes ErrorInfo metadata.
    """

    def __init__(self, message: str, *, reason: Reason, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.details = details

    def __str__(self) -> str:
        return self.message


class InvalidRequestError(WharfingerError):
    """The request can never succeed as it is."""


class UnauthenticatedError(WharfingerError):
    """The caller did not prove who it is."""


class NotGrantedError(WharfingerError):
    """The caller is known and may not do this."""


class NotFoundError(WharfingerError):
    """The thing named does not exist."""


class RefusedError(WharfingerError):
    """Policy or the ledger forbids it in the present state."""


class AlreadyExistsError(WharfingerError):
    """The identifier is taken by something else."""


class OverloadedError(WharfingerError):
    """Too much at once. The same request may succeed later."""


class RateLimitedError(OverloadedError):
    """The caller asked for too much in too short a time.

    Attributes:
        retry_after_seconds: when the same request passes, if the caller asks for nothing else meanwhile.
    """

    def __init__(self, message: str, *, reason: Reason, retry_after_seconds: float = 1.0, **details: str) -> None:
        super().__init__(message, reason=reason, **details)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(WharfingerError):
    """A part that is needed does not answer now. The same request may succeed later."""


class DeadlineError(WharfingerError):
    """Not enough time was left to do the work."""


class CorruptStateError(WharfingerError):
    """Stored state contradicts itself. An operator must look."""


class StartupError(WharfingerError):
    """The daemon cannot start. Exit status 2."""


class FatalConfigurationError(StartupError):
    """The daemon cannot start, and starting it again could do harm. Exit status 78 (EX_CONFIG)."""
