"""What else there is to look after: checks, keys, metadata, and the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wharfinger_daemon.audit.checkpoint import SignedCheckpoint
from wharfinger_daemon.audit.leaf import Leaf, read_leaf
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.http.review.charts import day_bars
from wharfinger_daemon.http.review.gate import Gate, Visit
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.http.review.rendering import Pages
from wharfinger_daemon.keys.reporting import KeyReport
from wharfinger_daemon.metadata.condition import Condition
from wharfinger_daemon.scanning.moderation import CheckRecord, ReviewRecords

_DAYS = 30
_CHECKS_KEPT = timedelta(minutes=1)
_LEAVES_ON_A_PAGE = 50


class KeyReports(Protocol):
    """What is needed of ``keys.administration.KeyAdministration``."""

    async def list_keys(self) -> list[KeyReport]:
        """All keys, the newest first.

        Raises:
            UnavailableError: the records do not answer.
        """
        ...


class MetadataCondition(Protocol):
    """Says what condition the published metadata is in."""

    async def look(self) -> Condition:
        """The condition now.

        Raises:
            UnavailableError: records or store do not answer.
        """
        ...


class AuditLog(Protocol):
    """What is needed of ``storage.audit_log.SqlAuditLog``."""

    async def size(self) -> int:
        """The number of leaves."""
        ...

    async def leaves(self, first: int, count: int) -> list[tuple[int, bytes, bytes]]:
        """Index, data and hash of some leaves."""
        ...

    async def checkpoint(self, size: int | None) -> SignedCheckpoint | None:
        """The newest checkpoint, or that of a size."""
        ...


@dataclass(frozen=True)
class Oversight:
    """What this process can tell of; None for what another process does.

    Attributes:
        rule_set: the version of the rules that scans use now; empty if this process does not scan.
        load_failures: names of checks that do not load, each with the reason.
    """

    keys: KeyReports | None = None
    metadata: MetadataCondition | None = None
    audit: AuditLog | None = None
    rule_set: str = ""
    load_failures: Sequence[tuple[str, str]] = ()


class OversightPages:
    """Shows them. Nothing is changed here."""

    def __init__(self, oversight: Oversight, records: ReviewRecords, gate: Gate, pages: Pages, clock: Clock) -> None:
        self._oversight = oversight
        self._records = records
        self._gate = gate
        self._pages = pages
        self._clock = clock
        self._checks_seen: tuple[datetime, Sequence[CheckRecord]] | None = None
        self._looking = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [
            Route("/checks", self._gate.showing(Role.VIEWER, self._checks)),
            Route("/keys", self._gate.showing(Role.SECURITY, self._keys)),
            Route("/metadata", self._gate.showing(Role.SECURITY, self._metadata)),
            Route("/audit", self._gate.showing(Role.SECURITY, self._audit)),
        ]

    async def _checks(self, visit: Visit) -> Response:
        records = await self._check_records()
        charted = [
            (record, day_bars(record.by_day, f"Alarms of {record.check}"), _precision(record)) for record in records
        ]
        return self._pages.page(
            "checks", visit.session, current="checks", checks=charted, days=_DAYS, oversight=self._oversight
        )

    async def _check_records(self) -> Sequence[CheckRecord]:
        # Many alarms take a while to count, and nobody needs them to the second.
        async with self._looking:
            now = self._clock.now()
            if self._checks_seen is None or now - self._checks_seen[0] >= _CHECKS_KEPT:
                midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
                found = await self._records.check_records(midnight - timedelta(days=_DAYS - 1), _DAYS)
                self._checks_seen = now, found
            return self._checks_seen[1]

    async def _keys(self, visit: Visit) -> Response:
        keys = None if self._oversight.keys is None else await self._oversight.keys.list_keys()
        return self._pages.page("keys", visit.session, current="keys", keys=keys)

    async def _metadata(self, visit: Visit) -> Response:
        condition = None if self._oversight.metadata is None else await self._oversight.metadata.look()
        return self._pages.page("metadata", visit.session, current="metadata", condition=condition)

    async def _audit(self, visit: Visit) -> Response:
        log = self._oversight.audit
        if log is None:
            return self._pages.page("audit", visit.session, current="audit", leaves=None)
        size = await log.size()
        before = _index(visit.request.query_params.get("before", ""), size)
        first = max(0, before - _LEAVES_ON_A_PAGE)
        found = await log.leaves(first, before - first)
        signed = await log.checkpoint(None)
        return self._pages.page(
            "audit",
            visit.session,
            current="audit",
            leaves=[(index, _told(data), digest.hex()) for index, data, digest in reversed(found)],
            size=size,
            older=first if first > 0 else None,
            newest=before == size,
            signed=signed.checkpoint.size if signed is not None else 0,
        )


def _precision(record: CheckRecord) -> str:
    judged = record.right + record.wrong
    return f"{100 * record.right / judged:.0f} %" if judged else "not known"


def _index(text: str, size: int) -> int:
    if not text:
        return size
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidRequestError("The log has no such leaf.", reason=Reason.MALFORMED_REQUEST)
    return min(int(text), size)


def _told(data: bytes) -> Leaf | str:
    # What was changed from outside is shown as it is: whoever looks here may be looking for just that.
    try:
        return read_leaf(data)
    except ValueError:
        return data.decode("utf-8", errors="replace")
