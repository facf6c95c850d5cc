"""Keys, metadata and an audit log to look at, made up, for the review pages in browsers."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from wharfinger_daemon.audit.checkpoint import SignedCheckpoint
from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.audit.merkle import leaf_hash
from wharfinger_daemon.http.review.oversight import Oversight
from wharfinger_daemon.keys.life_cycle import LineKey
from wharfinger_daemon.keys.reporting import KeyReport
from wharfinger_daemon.metadata.condition import BinsCondition, Condition, RoleCondition, Urgency
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.signing.standing import KeyState

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
_DAY = timedelta(days=1)


class _Keys:
    async def list_keys(self) -> list[KeyReport]:
        newer = LineKey(
            "c0" * 32, "online", KeyState.PUBLISHED, "online-2030", b"", "ecdsa", "ecdsa-sha2-nistp256", AT, AT
        )
        older = LineKey(
            "a5" * 32,
            "online",
            KeyState.ACTIVE,
            "online",
            b"",
            "ecdsa",
            "ecdsa-sha2-nistp256",
            AT - 300 * _DAY,
            AT - 299 * _DAY,
            AT - 298 * _DAY,
        )
        roles = ("snapshot", "timestamp", "bins-*")
        return [
            KeyReport(newer, "pypi", held=True, roles=roles, needed_by=0),
            KeyReport(older, "pypi", held=True, roles=roles, needed_by=16386),
        ]


class _Metadata:
    async def look(self) -> Condition:
        return Condition(
            (
                RoleCondition(RoleState("root", 3, AT + 20 * _DAY), Urgency.DUE),
                RoleCondition(RoleState("targets", 2, AT + 200 * _DAY), Urgency.VALID),
                RoleCondition(RoleState("bins", 2, AT + 200 * _DAY), Urgency.VALID),
                RoleCondition(RoleState("snapshot", 48211, AT + 0.8 * _DAY), Urgency.VALID),
                RoleCondition(RoleState("timestamp", 48211, AT + 0.2 * _DAY), Urgency.OVERDUE),
            ),
            BinsCondition(
                RoleCondition(RoleState("bins-1a2b", 91, AT + 0.45 * _DAY), Urgency.DUE),
                Counter({Urgency.VALID: 16300, Urgency.DUE: 84}),
            ),
        )


class _Audit:
    def __init__(self) -> None:
        acts = [
            (Act.LOG_BEGUN, "local", {"origin": "log.example.com/1f2e3d4c"}),
            (Act.KEY_GENERATED, "local", {"keyid": "a5" * 32, "line": "online"}),
            *((Act.SIGNATURE, "publisher", {"role": "timestamp", "version": number}) for number in range(60)),
            (Act.REVIEWER_SIGNED_IN, "https://id.example.com#7", {"name": "Somebody", "role": "moderator"}),
            (Act.VERDICT_REVIEWED, "https://id.example.com#7", {"project": "left-padding", "decision": "threat"}),
        ]
        self._leaves = [
            Leaf(act, AT - timedelta(minutes=len(acts) - number), caller, details).encode()
            for number, (act, caller, details) in enumerate(acts)
        ]

    async def size(self) -> int:
        return len(self._leaves)

    async def leaves(self, first: int, count: int) -> list[tuple[int, bytes, bytes]]:
        chosen = enumerate(self._leaves[first : first + count], first)
        return [(index, data, leaf_hash(data)) for index, data in chosen]

    async def checkpoint(self, size: int | None) -> SignedCheckpoint | None:
        return None


EXAMPLE = Oversight(
    _Keys(), _Metadata(), _Audit(), "5e" * 32, [("example-check", "ImportError: no module named example")]
)
