"""Logs and metrics. Logs are JSON lines on standard error; metrics live in a registry of their own, never a global."""

from __future__ import annotations

import json as json_module
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, TextIO, cast

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """Every metric, with its labels."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rpcs = self._counter("rpcs", "Finished RPCs.", "method", "caller", "code", "reason")
        self.rpc_seconds = self._histogram("rpc_seconds", "Duration of RPCs.", "method")
        self.rpcs_running = self._gauge("rpcs_running", "RPCs that run now.")
        self.signatures = self._counter("signatures", "Signatures given out.", "role", "replayed")
        self.refusals = self._counter("signing_refusals", "Batches that were not signed.", "reason", "role")
        self.log_size = self._gauge("audit_log_leaves", "The leaves of the newest checkpoint of the audit log.")
        self.uncovered_leaves = self._gauge("audit_uncovered_leaves", "Leaves that no checkpoint vouches for yet.")
        self.checkpoint_time = self._gauge("audit_checkpoint_timestamp_seconds", "When a checkpoint was last signed.")
        self.canary_success = self._gauge("canary_last_success_timestamp_seconds", "When the canary last signed.")
        self.hsm_workers = self._gauge("hsm_workers", "HSM workers that are logged in.")
        self.hsm_restarts = self._gauge("hsm_restarts", "HSM workers replaced since the start.")
        self.publications = self._counter("publications", "Publications that became visible.")
        self.wrong_splices = self._counter(
            "wrong_splices", "Bins that were made wrongly of their last file; none was published."
        )
        self.expiry = self._gauge(
            "metadata_expiry_timestamp_seconds", "When published metadata expires; of hash bins, the earliest.", "role"
        )
        self.renewals_due = self._gauge("metadata_renewals_due", "Roles that were due at the last check.")
        self.swept_files = self._counter("metadata_swept_files", "Metadata files removed because none uses them.")
        self.cache_purges = self._counter("cache_purges", "Purges that a cache confirmed.", "cache")
        self.cache_purge_failures = self._counter("cache_purge_failures", "Purges that failed.", "cache")
        self.cache_purges_pending = self._gauge(
            "cache_purges_pending", "Publications that a cache was not told of yet.", "cache"
        )
        self.scans = self._counter("scans", "Finished scans; without a classification, failed.", "classification")
        self.scan_seconds = self._histogram("scan_seconds", "Duration of scans in their worker.")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"wharfinger_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"wharfinger_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(f"wharfinger_{name}", meaning, labels, buckets=_SECONDS, registry=self.registry)


class _Unfailing:
    """A stream whose failures nobody hears of: a disk that is full of log must not end the daemon."""

    def __init__(self, stream: TextIO | BinaryIO) -> None:
        self._stream: Any = stream

    def write(self, line: str | bytes) -> None:
        """Writes, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(line)

    def flush(self) -> None:
        """Flushes, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _json_line(said: Any, *, default: Callable[[Any], Any]) -> bytes:
    try:
        line = orjson.dumps(said, default=default)
        if line.isascii():
            return line
    except TypeError:
        pass  # A lone surrogate or a great integer.
    # All in ASCII, so that nothing in a line can steer a terminal.
    return json_module.dumps(said, default=default).encode()


def configure_logging(*, level: str, json: bool) -> None:
    """Sends structlog, and the standard library's log of libraries, to standard error in one form."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.processors.JSONRenderer() if json else _console_renderer()
    # Without the values of local variables, which may be anything: requests, artifacts, secrets.
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    tail: list[Any] = [structlog.processors.ExceptionRenderer(transformer)] if json else []
    # Our own lines go straight to the stream: by way of the standard library each would cost three times as much, and
    # there is one for each RPC.
    own: Any = structlog.processors.JSONRenderer(serializer=_json_line) if json else renderer
    structlog.configure(
        processors=[*shared, *tail, own],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Unfailing(sys.stderr.buffer)))
        if json
        else structlog.WriteLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(numeric)
    # Libraries tell what they do at INFO; only their warnings matter here.
    for chatty in ("alembic", "uvicorn", "uvicorn.access", "uvicorn.error", "asyncio", "tuf", "urllib3"):
        logging.getLogger(chatty).setLevel(max(numeric, logging.WARNING))
