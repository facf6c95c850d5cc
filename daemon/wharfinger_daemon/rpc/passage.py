"""One call's way through the gate: (1) a request id, bound to every log line; (2) who calls, and may they; (3) is there
time; (4) is there room; then the RPC itself; (5) errors become statuses with an ErrorInfo; (6) one log line and the
metrics.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc.aio
import structlog

from wharfinger_daemon.errors import DeadlineError, Reason, WharfingerError
from wharfinger_daemon.rpc.callers import CallerDirectory, Grants
from wharfinger_daemon.rpc.room import Room
from wharfinger_daemon.rpc.status import DETAILS_KEY, abridged, code_of, details_of
from wharfinger_daemon.telemetry import Metrics

log = structlog.get_logger()

_REQUEST_ID_LENGTH = 64
# They cost next to nothing, some last by design, and health must be told most of all while all places are taken or the
# daemon drains. The server's own bound on calls holds for them too.
_TAKES_NO_PLACE = (
    "grpc.health.v1.Health/",
    "grpc.reflection.v1alpha.ServerReflection/",
    "wharfinger.metadata.v1.MetadataService/WatchPublications",  # It has a bound of its own.
)
_CAUSE_CHARACTERS = 1000


@dataclass(frozen=True)
class Limits:
    """What is asked of every call. The transport accepts a little more than ``message_bytes``, to answer precisely."""

    message_bytes: int
    default_deadline_seconds: float
    max_deadline_seconds: float
    min_deadline_seconds: float = 0.01


@dataclass
class Call:
    """The RPC that runs in this task."""

    request_id: str
    grants: Grants
    timeout_seconds: float

    def named(self, request_id: str) -> str:
        """Takes the request id of the message, if it has a usable one; returns the id that holds now."""
        if usable(request_id):
            self.request_id = request_id
            structlog.contextvars.bind_contextvars(request_id=request_id)
        return self.request_id


current_call: ContextVar[Call] = ContextVar("current_call")


def usable(request_id: str) -> bool:
    """Whether an id may stand in logs and tables: printable ASCII, 1 to 64 characters."""
    return 0 < len(request_id) <= _REQUEST_ID_LENGTH and request_id.isascii() and request_id.isprintable()


@dataclass(frozen=True)
class Checkpoint:
    """What every passage asks."""

    callers: CallerDirectory
    limits: Limits
    room: Room
    metrics: Metrics


class Passage:
    """An asynchronous context manager around one call. Entering yields its ``Call``."""

    def __init__(self, checkpoint: Checkpoint, method: str, wanted_id: str, context: Any) -> None:
        self._checkpoint = checkpoint
        self._method = method
        self._context = context
        self._takes_place = not method.startswith(_TAKES_NO_PLACE)
        self._started = time.perf_counter()
        self._caller = ""
        self._request_id = wanted_id if usable(wanted_id) else uuid.uuid4().hex

    async def __aenter__(self) -> Call:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self._request_id)
        try:
            self._call = self._admitted()
        except WharfingerError as error:
            await self._refuse(error)
        current_call.set(self._call)
        return self._call

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._takes_place:
            self._checkpoint.room.leave()
        self._request_id = self._call.request_id
        if error is None:
            self._finish("OK")
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._finish("CANCELLED")
        elif isinstance(error, grpc.aio.AbortError):
            # A servicer of gRPC's own, such as that of health, has answered by itself.
            self._finish(self._context.code().name)
        elif isinstance(error, Exception):
            await self._refuse(self._as_ours(error))

    def _admitted(self) -> Call:
        grants = self._checkpoint.callers.admit(self._context.auth_context(), self._method)
        self._caller = grants.name
        timeout_seconds = self._timeout()
        if self._takes_place:
            self._checkpoint.room.enter()
        return Call(self._request_id, grants, timeout_seconds)

    def _timeout(self) -> float:
        limits = self._checkpoint.limits
        remaining = self._context.time_remaining()
        if remaining is None:
            return limits.default_deadline_seconds
        least = limits.min_deadline_seconds
        if self._takes_place and remaining < least:
            raise DeadlineError(
                f"Only {max(remaining, 0):.3f} s were left when the call arrived, and {least:g} s are the least. "
                "Nothing was begun. Set a longer deadline.",
                reason=Reason.DEADLINE_TOO_SHORT,
            )
        return min(float(remaining), limits.max_deadline_seconds)

    def _as_ours(self, error: Exception) -> WharfingerError:
        if isinstance(error, WharfingerError):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineError(
                "The call's time ran out. What it began may still be finished; repeat it to learn.",
                reason=Reason.DEADLINE_TOO_SHORT,
            )
        log.error("An RPC failed for a reason that nobody foresaw", method=self._method, exc_info=error)
        return WharfingerError(
            f"Something unforeseen happened. The log has more under request id {self._request_id}.",
            reason=Reason.INTERNAL,
        )

    async def _refuse(self, error: WharfingerError) -> None:
        code = code_of(error)
        told = abridged(error)
        self._finish(code.name, told, error.__cause__)
        details = details_of(told, self._request_id)
        await self._context.abort(code, told.message, trailing_metadata=((DETAILS_KEY, details),))

    def _finish(self, code: str, error: WharfingerError | None = None, cause: BaseException | None = None) -> None:
        seconds = time.perf_counter() - self._started
        reason = "" if error is None else str(error.reason)
        metrics = self._checkpoint.metrics
        metrics.rpcs.labels(self._method, self._caller, code, reason).inc()
        metrics.rpc_seconds.labels(self._method).observe(seconds)
        # Health checks come every few seconds, and say nothing while all is well.
        write = log.debug if code == "OK" and self._method.startswith("grpc.") else log.info
        why = {} if error is None else {"reason": reason, "message": error.message, "details": error.details}
        if cause is not None:
            # What the caller is not told, because it names modules, files and hosts.
            why["cause"] = f"{type(cause).__name__}: {cause}"[:_CAUSE_CHARACTERS]
        write("rpc", method=self._method, caller=self._caller, code=code, seconds=round(seconds, 6), **why)
