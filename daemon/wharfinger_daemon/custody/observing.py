"""Feeds metrics with what the domain does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from wharfinger_daemon.errors import Reason
from wharfinger_daemon.metadata.planning import Publication
from wharfinger_daemon.scanning.model import Scan
from wharfinger_daemon.signing.model import RoleType
from wharfinger_daemon.telemetry import Metrics


class MetricsObserver:
    """Counts signatures, refusals, publications and scans."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def signed(self, role_type: RoleType, count: int, *, replayed: bool) -> None:
        """Counts signatures that were given out."""
        self._metrics.signatures.labels(role_type.value, str(replayed).lower()).inc(count)

    def refused(self, reason: Reason) -> None:
        """Counts a refusal."""
        self._metrics.refusals.labels(reason.value).inc()

    def published(self, publication: Publication) -> None:
        """Counts a publication."""
        self._metrics.publications.inc()

    def expires(self, earliest: Mapping[str, datetime]) -> None:
        """Remembers when what clients see expires."""
        for role, instant in earliest.items():
            self._metrics.expiry.labels(role).set(instant.timestamp())

    def scanned(self, scan: Scan) -> None:
        """Counts a scan that finished or failed."""
        label = "" if scan.verdict is None else scan.verdict.classification.label
        self._metrics.scans.labels(label).inc()
        self._metrics.scan_seconds.observe(scan.seconds)
