"""Feeds metrics, and the log, with what the domain does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import structlog

from wharfinger_daemon.metadata.planning import Publication
from wharfinger_daemon.scanning.model import Scan
from wharfinger_daemon.signing.model import RoleType
from wharfinger_daemon.signing.refusals import Refusal
from wharfinger_daemon.telemetry import Metrics

log = structlog.get_logger()

_MANY_BINS = 2_048


class MetricsObserver:
    """Counts signatures, refusals, publications and scans."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def signed(self, role_type: RoleType, count: int, *, replayed: bool) -> None:
        """Counts signatures that were given out."""
        self._metrics.signatures.labels(role_type.value, str(replayed).lower()).inc(count)

    def refused(self, refusal: Refusal) -> None:
        """Counts a refusal, and writes down who wanted what."""
        role_type = "" if refusal.role_type is None else refusal.role_type.value
        self._metrics.refusals.labels(refusal.reason.value, role_type).inc()
        log.warning(
            "not signed",
            reason=refusal.reason.value,
            caller=refusal.caller,
            repository=refusal.repository,
            role=refusal.role,
            version=refusal.version,
        )

    def looked(self, leaves: int, covered: int) -> None:
        """Remembers how much of the audit log a checkpoint vouches for, and how much none does."""
        self._metrics.log_size.set(covered)
        self._metrics.uncovered_leaves.set(leaves - covered)

    def checkpointed(self, size: int, at: datetime) -> None:
        """Remembers what the audit log has come to."""
        self.looked(size, size)
        self._metrics.checkpoint_time.set(at.timestamp())

    def published(self, publication: Publication) -> None:
        """Counts a publication."""
        self._metrics.publications.inc()

    def signed_bins(self, number: int, of: int) -> None:
        """Tells of long publications only: others are over before anybody looks."""
        if of >= _MANY_BINS and number % _MANY_BINS == 0:
            log.info("signing bins", signed=number, of=of)

    def spliced_wrongly(self) -> None:
        """Counts a bin that was made wrongly, and was not published."""
        self._metrics.wrong_splices.inc()

    def expires(self, earliest: Mapping[str, datetime]) -> None:
        """Remembers when what clients see expires."""
        for role, instant in earliest.items():
            self._metrics.expiry.labels(role).set(instant.timestamp())

    def renewals_due(self, number: int) -> None:
        """Remembers how many roles were due at the last check."""
        self._metrics.renewals_due.set(number)

    def swept(self, files: int) -> None:
        """Counts removed files."""
        self._metrics.swept_files.inc(files)

    def purged(self, cache: str) -> None:
        """Counts a purge."""
        self._metrics.cache_purges.labels(cache).inc()

    def purge_failed(self, cache: str) -> None:
        """Counts a failure."""
        self._metrics.cache_purge_failures.labels(cache).inc()

    def purges_pending(self, cache: str, publications: int) -> None:
        """Remembers how many publications the cache was not told of."""
        self._metrics.cache_purges_pending.labels(cache).set(publications)

    def scanned(self, scan: Scan) -> None:
        """Counts a scan that finished or failed."""
        label = "" if scan.verdict is None else scan.verdict.classification.label
        self._metrics.scans.labels(label).inc()
        self._metrics.scan_seconds.observe(scan.seconds)
