"""One verdict: its evidence, why the score is what it is, the project's history, and what people decided."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from urllib.parse import quote

from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wharfinger_daemon.http.review.charts import score_bar
from wharfinger_daemon.http.review.gate import Gate, Visit
from wharfinger_daemon.http.review.highlighting import highlighted
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.http.review.queue import named
from wharfinger_daemon.http.review.rendering import Pages, see_other
from wharfinger_daemon.scanning.model import Finding, Scan, Subject
from wharfinger_daemon.scanning.moderation import Decision, Moderation, ReviewRecords
from wharfinger_daemon.scanning.weights import SUSPICIOUS_SCORE, THREAT_SCORE

_HISTORY = 20
_MOST_FINDINGS = 200


class VerdictPages:
    """Shows verdicts, takes decisions on one of them, and undoes them.

    Args:
        inspector_url: where contents can be read, with ``{project}`` and ``{version}``; empty for no links.
    """

    def __init__(
        self, records: ReviewRecords, moderation: Moderation, gate: Gate, pages: Pages, inspector_url: str
    ) -> None:
        self._records = records
        self._moderation = moderation
        self._gate = gate
        self._pages = pages
        self._inspector_url = inspector_url

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        path = "/verdicts/{scan_id}"
        return [
            Route(path, self._gate.showing(Role.VIEWER, self._show)),
            Route(f"{path}/decide", self._gate.acting(Role.MODERATOR, self._decide), methods=["POST"]),
            Route(f"{path}/undo", self._gate.acting(Role.MODERATOR, self._undo), methods=["POST"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        scan = await self._records.scan(visit.request.path_params["scan_id"])
        reviews = await self._records.reviews(scan.scan_id)
        findings = () if scan.verdict is None else scan.verdict.findings
        return self._pages.page(
            "verdict",
            visit.session,
            current="queue",
            scan=scan,
            standing=next((review for review in reviews if review.undone_at is None), None),
            reviews=reviews,
            history=await self._records.history(scan.subject.project, _HISTORY),
            members=_by_member(findings[:_MOST_FINDINGS]),
            left_out=max(0, len(findings) - _MOST_FINDINGS),
            chart=_chart(scan),
            inspector=self._inspector(scan.subject),
            onward=await self._records.next_waiting(scan.scan_id),
            done=visit.request.query_params.get("done", ""),
            may_decide=visit.session.person.role.includes(Role.MODERATOR),
        )

    async def _decide(self, visit: Visit) -> Response:
        scan_id, decision = visit.request.path_params["scan_id"], named(Decision, visit.field("decision"))
        await self._moderation.decide([scan_id], decision, visit.field("reason"), reviewer=visit.session.person.name)
        return see_other(f"/review/verdicts/{quote(scan_id)}", done="decided")

    async def _undo(self, visit: Visit) -> Response:
        scan_id = visit.request.path_params["scan_id"]
        await self._moderation.undo(scan_id, reviewer=visit.session.person.name)
        return see_other(f"/review/verdicts/{quote(scan_id)}", done="undone")

    def _inspector(self, subject: Subject) -> str:
        if not self._inspector_url:
            return ""
        parts = {"project": quote(subject.project, safe=""), "version": quote(subject.version, safe="")}
        return self._inspector_url.format(**parts)


def _by_member(findings: Sequence[Finding]) -> list[tuple[str, list[tuple[Finding, Markup]]]]:
    """Findings with their highlighted excerpts, by member; the member with the heaviest one first."""
    first: dict[str, int] = {}
    for finding in findings:
        first.setdefault(finding.member, len(first))
    ordered = sorted(findings, key=lambda finding: first[finding.member])
    return [
        (member, [(finding, highlighted(finding.excerpt, member)) for finding in group])
        for member, group in groupby(ordered, key=lambda finding: finding.member)
    ]


def _chart(scan: Scan) -> Markup | None:
    if scan.verdict is None:
        return None
    weights = [(f"{one.check}/{one.rule}", one.weight) for one in scan.verdict.findings if one.weight > 0]
    return score_bar(weights, SUSPICIOUS_SCORE, THREAT_SCORE)
