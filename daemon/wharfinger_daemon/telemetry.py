"""Logs and metrics. Logs are JSON lines on standard error; metrics live in a registry of their own, never a global."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """Every metric, with its labels."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.rpcs = Counter(
            "wharfinger_rpcs_total",
            "Finished RPCs; reason is the ErrorInfo reason, empty when OK.",
            ["method", "caller", "code", "reason"],
            registry=registry,
        )
        self.rpc_seconds = Histogram(
            "wharfinger_rpc_seconds", "Duration of RPCs.", ["method"], buckets=_SECONDS, registry=registry
        )
        self.rpcs_running = Gauge("wharfinger_rpcs_running", "RPCs that run now.", registry=registry)
        self.signatures = Counter(
            "wharfinger_signatures_total",
            "Signatures given out; replayed ones come from the ledger.",
            ["role", "replayed"],
            registry=registry,
        )
        self.refusals = Counter(
            "wharfinger_signing_refusals_total", "Refused items by reason.", ["reason"], registry=registry
        )
        self.canary_last_success = Gauge(
            "wharfinger_canary_last_success_timestamp_seconds",
            "When the canary last signed (Unix time).",
            registry=registry,
        )
        self.hsm_workers = Gauge("wharfinger_hsm_workers", "HSM workers that are logged in.", registry=registry)
        self.hsm_restarts = Gauge("wharfinger_hsm_restarts", "HSM workers replaced since start.", registry=registry)
        self.publications = Counter("wharfinger_publications_total", "Publications.", registry=registry)
        self.expiry = Gauge(
            "wharfinger_metadata_expiry_timestamp_seconds",
            "When published metadata expires (Unix time); for bins, the earliest.",
            ["role"],
            registry=registry,
        )
        self.scans = Counter(
            "wharfinger_scans_total",
            "Finished scans; classification is empty when the scan failed.",
            ["classification"],
            registry=registry,
        )
        self.scan_seconds = Histogram(
            "wharfinger_scan_seconds", "Duration of scans in their worker.", buckets=_SECONDS, registry=registry
        )


def configure_logging(*, level: str, json: bool) -> None:
    """Sends structlog, and the standard library's log of libraries, to standard error in one form."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    tail: list[Any] = [structlog.processors.dict_tracebacks] if json else []
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.stdlib.LoggerFactory(),
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
