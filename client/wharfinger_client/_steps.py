"""How an operation is written once for both clients.

An operation is a generator. It yields the steps that touch the world (send a message, pause, do blocking work) and is
sent what came of them, or thrown what went wrong. ``Client`` performs the steps by blocking, ``AsyncClient`` by
awaiting; all decisions are taken here and in ``_operations``, which do no input or output themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from wharfinger_client._rpcs import RequestT, ResponseT, Rpc
from wharfinger_client.errors import DeadlineExceededError, Failure, OverloadedError, UnavailableError
from wharfinger_client.settings import RetryPolicy

T = TypeVar("T")

_REQUEST_ID_LENGTH = 64


@dataclass(frozen=True)
class Send:
    """Send a request and return the response, or raise a WharfingerError.

    Attributes:
        request: makes the message, or for an RPC that streams a fresh iterator of messages, which may block.
        timeout: in seconds.
        request_id: goes along as gRPC metadata ``x-request-id``.
    """

    rpc: Rpc[Any, Any]
    request: Callable[[], Message | Iterator[Message]]
    timeout: float
    request_id: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with the request."""
        return (("x-request-id", self.request_id),)


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Block:
    """Do work that blocks on a file, where it does not hold up others, and return what it returns."""

    work: Callable[[], Any]


Step = Send | Pause | Block
Operation = Generator[Step, Any, T]


@dataclass(frozen=True)
class Chance:
    """Time and luck. ``monotonic`` is in seconds, ``random`` gives a number from 0 to 1."""

    monotonic: Callable[[], float]
    random: Callable[[], float]


@dataclass(frozen=True)
class Caller:
    """Calls an RPC again and again until it succeeds, fails for good, or the time is up."""

    retry: RetryPolicy
    chance: Chance

    def call(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: Callable[[], RequestT | Iterator[RequestT]],
        *,
        timeout: float,
        request_id: str,
    ) -> Operation[ResponseT]:
        """Calls one RPC. All attempts carry the same ``request_id`` and share ``timeout``.

        Raises:
            ValueError: ``request_id`` is not 1 to 64 printable ASCII characters: the daemon would use another one.
            DeadlineExceededError: the time is up; nothing is sent any more.
        """
        if not (0 < len(request_id) <= _REQUEST_ID_LENGTH and request_id.isascii() and request_id.isprintable()):
            raise ValueError(f"A request_id is 1 to {_REQUEST_ID_LENGTH} printable ASCII characters.")
        deadline = self.chance.monotonic() + timeout
        attempt = 0
        while True:
            attempt += 1
            remaining = deadline - self.chance.monotonic()
            if remaining <= 0:
                # gRPC might send it all the same, and the daemon might do it.
                failure = Failure(code="DEADLINE_EXCEEDED", request_id=request_id)
                raise DeadlineExceededError("The time was up before the request was sent.", failure)
            try:
                response: ResponseT = yield Send(rpc, request, remaining, request_id)
                return response
            except (OverloadedError, UnavailableError) as error:
                random = self.chance.random()
                pause = self.retry.pause_before_next(attempt, retry_after=error.retry_after, random=random)
                if pause is None or self.chance.monotonic() + pause >= deadline:
                    if attempt > 1:
                        error.add_note(f"It was tried {attempt} times.")
                    raise
            yield Pause(pause)
