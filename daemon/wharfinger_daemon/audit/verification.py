"""Checks a whole log from its first leaf on: every hash, every checkpoint, and the ledger against it.

What a leaf says can only be changed together with its hash, and the hash only together with every later root. Whoever
changes the database changes roots that were signed, or leaves them as they are and is found out by the hashes. What was
signed after the newest checkpoint is covered by none; the ledger's rows still have to agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from wharfinger_daemon.audit.leaf import Act, parse, read_leaf
from wharfinger_daemon.audit.merkle import STORED_LEVELS, Frontier, leaf_hash

MOST_PROBLEMS = 100
"""After so many the rest is not told: the log is not what it was."""

_EVERY = 4096


@dataclass(frozen=True)
class StoredLeaf:
    """A leaf as it is stored."""

    index: int
    data: bytes
    hash: bytes


@dataclass(frozen=True)
class LedgerRow:
    """What the ledger says of one signature. ``digest`` is that of the version's bytes."""

    leaf: int
    repository: str
    epoch: int
    role: str
    version: int
    digest: bytes
    keyid: str


@dataclass(frozen=True)
class StatedRoot:
    """A root that somebody vouches for.

    Attributes:
        source: what to call it in a report, such as ``checkpoint 120``.
    """

    source: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written. ``place`` names the row."""

    place: str
    what: str


@dataclass
class Findings:
    """The outcome.

    Attributes:
        size: the number of leaves.
        root: of the whole tree.
        problems: at most ``MOST_PROBLEMS``.
    """

    size: int = 0
    root: bytes = b""
    problems: list[Problem] = field(default_factory=list)

    def add(self, place: str, what: str) -> None:
        """Notes a problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(place, what))


Progress = Callable[[int], None]
"""Told how many leaves were checked."""


def verify_log(
    leaves: Iterable[StoredLeaf],
    roots: Iterable[StatedRoot],
    nodes: Mapping[tuple[int, int], bytes] | None = None,
    ledger: Iterable[LedgerRow] | None = None,
    told: Progress = lambda done: None,
) -> Findings:
    """Checks leaves in order.

    Args:
        leaves: by index.
        roots: in any order.
        nodes: stored hashes of complete subtrees, by level and position; None where there are none to compare.
        ledger: by leaf; None where there is no ledger to compare.
    """
    checking = _Checking({}, dict(nodes or {}), nodes is not None, _Merged(ledger))
    for stated in roots:
        checking.stated.setdefault(stated.size, []).append(stated)
    for leaf in leaves:
        checking.leaf(leaf)
        if checking.frontier.size % _EVERY == 0:
            told(checking.frontier.size)
    checking.finish()
    told(checking.frontier.size)
    return checking.findings


class _Merged:
    """The ledger's rows, to be taken in step with the leaves."""

    def __init__(self, rows: Iterable[LedgerRow] | None) -> None:
        self.given = rows is not None
        self._rows: Iterator[LedgerRow] = iter(rows or ())
        self._next = next(self._rows, None)

    def at(self, index: int, findings: Findings) -> LedgerRow | None:
        """The row of a leaf; rows of leaves that are not there are problems."""
        while self._next is not None and self._next.leaf < index:
            self._stray(self._next, findings)
        row = self._next
        if row is None or row.leaf != index:
            return None
        self._next = next(self._rows, None)
        return row

    def finish(self, findings: Findings) -> None:
        """What is left has no leaf."""
        while self._next is not None:
            self._stray(self._next, findings)

    def _stray(self, row: LedgerRow, findings: Findings) -> None:
        findings.add(f"ledger row of leaf {row.leaf}", "the log has no such leaf")
        self._next = next(self._rows, None)


@dataclass
class _Checking:
    stated: dict[int, list[StatedRoot]]
    nodes: dict[tuple[int, int], bytes]
    with_nodes: bool
    ledger: _Merged
    following: int = 0
    frontier: Frontier = field(default_factory=Frontier)
    findings: Findings = field(default_factory=Findings)

    def leaf(self, leaf: StoredLeaf) -> None:
        if leaf.index != self.following:
            self.findings.add(
                f"leaf {leaf.index}", f"leaf {self.following} should stand here: some are missing or added"
            )
        self.following = leaf.index + 1
        computed = leaf_hash(leaf.data)
        if computed != leaf.hash:
            self.findings.add(f"leaf {leaf.index}", "its hash is not that of its data: one of them was changed")
        for node in self.frontier.append(computed):
            if self.with_nodes and node.level % STORED_LEVELS == 0:
                self._compare_node(node.level, node.position, node.hash)
        self._compare_ledger(leaf)
        for stated in self.stated.pop(self.frontier.size, ()):
            if stated.root != self.frontier.root():
                self.findings.add(stated.source, f"its root is not that of the first {stated.size} leaves")

    def finish(self) -> None:
        self.findings.size, self.findings.root = self.frontier.size, self.frontier.root()
        self.ledger.finish(self.findings)
        for level, position in self.nodes:
            self.findings.add(f"node {level}/{position}", "the log has no such complete subtree")
        for stated in (one for several in self.stated.values() for one in several):
            self.findings.add(stated.source, f"it is of {stated.size} leaves, and the log has {self.frontier.size}")

    def _compare_node(self, level: int, position: int, computed: bytes) -> None:
        stored = self.nodes.pop((level, position), None)
        if stored is None:
            self.findings.add(f"node {level}/{position}", "it is missing")
        elif stored != computed:
            self.findings.add(f"node {level}/{position}", "its hash is not that of the leaves beneath it")

    def _compare_ledger(self, leaf: StoredLeaf) -> None:
        said = _read(leaf, self.findings)
        row = self.ledger.at(leaf.index, self.findings)
        if said is None or not self.ledger.given:
            return
        is_signature = said["act"] == Act.SIGNATURE
        if row is None:
            if is_signature:
                self.findings.add(f"leaf {leaf.index}", "it is of a signature, and the ledger has no row of it")
            return
        if not is_signature:
            self.findings.add(f"ledger row of leaf {leaf.index}", f"its leaf is of another act, {said['act']}")
            return
        if _agrees(row, said):
            return
        for name, value in _stated(row).items():
            if said.get(name) != value:
                self.findings.add(
                    f"ledger row of leaf {leaf.index}", f"its {name} is {value!r}, and the leaf says {said.get(name)!r}"
                )


def _read(leaf: StoredLeaf, findings: Findings) -> dict[str, object] | None:
    try:
        said = parse(leaf.data)
        # Almost always so; the strict way is ten times as slow.
        if isinstance(said, dict) and "act" in said and orjson.dumps(said, option=orjson.OPT_SORT_KEYS) == leaf.data:
            return said
        read_leaf(leaf.data)
    except ValueError as error:
        findings.add(f"leaf {leaf.index}", str(error))
        return None
    return said if isinstance(said, dict) else None


def _agrees(row: LedgerRow, said: Mapping[str, object]) -> bool:
    return (
        said.get("digest") == row.digest.hex()
        and said.get("version") == row.version
        and said.get("role") == row.role
        and said.get("keyid") == row.keyid
        and said.get("epoch") == row.epoch
        and said.get("repository") == row.repository
    )


def _stated(row: LedgerRow) -> dict[str, object]:
    return {
        "repository": row.repository,
        "epoch": row.epoch,
        "role": row.role,
        "version": row.version,
        "digest": row.digest.hex(),
        "keyid": row.keyid,
    }
