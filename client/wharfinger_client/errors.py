"""Every error that a call to the daemon can raise.

    WharfingerError
    ├── SettingsError               the client's own settings cannot be used: a file is missing or is not PEM
    ├── InvalidRequestError         the request can never succeed as it is
    │   └── TooLargeError           a message or an artifact is larger than the daemon or the client accepts
    ├── NotAuthenticatedError       the daemon does not know the caller
    ├── NotGrantedError             the caller is known and may not do this
    ├── NotFoundError               the thing named does not exist
    ├── RefusedError                policy or the ledger forbids it in the present state
    ├── OverloadedError             too much at once; the same request may succeed after ``retry_after`` seconds
    ├── UnavailableError            the daemon, or a part that it needs, does not answer now
    ├── DeadlineExceededError       the time given was not enough; a change may still have been made
    └── ServerError                 the daemon failed, or answered what the contract does not allow

By the time that one of them is raised, the client has tried again where that is safe and there was time left. The
classes follow the gRPC status code; ``reason`` is the daemon's own, finer word (AIP-193), and stable. Reading a file
that is to be scanned raises ``OSError`` as usual. Errors can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """What is known of a call that failed.

    Attributes:
        code: the name of the gRPC status code, such as ``UNAVAILABLE``; empty if nothing was sent.
        reason: ``google.rpc.ErrorInfo.reason``; empty if the daemon gave none, as when it was never reached.
        metadata: ``google.rpc.ErrorInfo.metadata``, such as the index of a refused item.
        request_id: the name of the request in the daemon's logs; empty if nothing was sent.
        retry_after: ``google.rpc.RetryInfo.retry_delay`` in seconds; None if the daemon gave none.
    """

    code: str = ""
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    retry_after: float | None = None


class WharfingerError(Exception):
    """The root of the tree. ``message`` is for a person; ``reason``, ``code`` and ``metadata`` are for a program."""

    def __init__(self, message: str, failure: Failure | None = None) -> None:
        # Both go to Exception, so that pickle, which calls the class with ``args``, restores the whole error.
        super().__init__(message, failure)
        self.message = message
        self.failure = failure or Failure()

    @property
    def code(self) -> str:
        """The name of the gRPC status code; empty if nothing was sent."""
        return self.failure.code

    @property
    def reason(self) -> str:
        """The daemon's stable reason; empty if it gave none."""
        return self.failure.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        """What else the daemon said for programs, by name."""
        return self.failure.metadata

    @property
    def request_id(self) -> str:
        """The name of the request in the daemon's logs; empty if nothing was sent."""
        return self.failure.request_id

    @property
    def retry_after(self) -> float | None:
        """The seconds after which the daemon asks to be tried again; None if it did not say."""
        return self.failure.retry_after

    def __str__(self) -> str:
        request = f"request {self.request_id}" if self.request_id else ""
        facts = ", ".join(fact for fact in (self.code, self.reason, request) if fact)
        return f"{self.message} ({facts})" if facts else self.message


class SettingsError(WharfingerError):
    """The client's own settings cannot be used. Nothing was sent."""


class InvalidRequestError(WharfingerError):
    """The request can never succeed as it is."""


class TooLargeError(InvalidRequestError):
    """A message or an artifact is larger than the daemon or the client accepts."""


class NotAuthenticatedError(WharfingerError):
    """The daemon does not know the caller."""


class NotGrantedError(WharfingerError):
    """The caller is known and may not do this."""


class NotFoundError(WharfingerError):
    """The thing named does not exist."""


class RefusedError(WharfingerError):
    """Policy or the ledger forbids it in the present state."""


class OverloadedError(WharfingerError):
    """Too much at once. The same request may succeed later."""


class UnavailableError(WharfingerError):
    """The daemon, or a part that it needs, does not answer now. The same request may succeed later."""


class DeadlineExceededError(WharfingerError):
    """The time given was not enough. A change that was asked for may still have been made, or be made later."""


class ServerError(WharfingerError):
    """The daemon failed, or answered what the contract does not allow."""
