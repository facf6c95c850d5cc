"""Walks a repository as a new client would, and further: every root, and every role that the snapshot names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from tuf.api.metadata import Root, Targets

from wharfinger_daemon.metadata.verification.bins import BinsJob, BinsOutcome, verify_listing
from wharfinger_daemon.metadata.verification.documents import (
    Delegator,
    Document,
    DocumentReader,
    parse_delegations,
    parse_root,
)
from wharfinger_daemon.metadata.verification.findings import Report, Rule

# What a client takes at once (``tuf.ngclient.UpdaterConfig.max_root_rotations``).
MAX_ROOT_ROTATIONS = 256

# A snapshot of 2,000,000 bytes, which is what clients read, has not so many entries.
MAX_ROLES = 65_536
# Of roles that are wrong alike, so many are named.
_NAMED = 5

VerifyBins = Callable[[BinsJob, Mapping[str, int]], Iterable[BinsOutcome]]
"""Verifies bins of one delegation, in whatever processes."""


@dataclass(frozen=True)
class TrustedRoot:
    """What is known of the first root beforehand: its content, or its hexadecimal SHA-256, or nothing."""

    content: bytes | None = None
    sha256: str = ""


class RepositoryWalk:
    """Verifies one repository.

    Args:
        verify_bins: for roles that delegate nothing.
    """

    def __init__(self, reader: DocumentReader, trusted: TrustedRoot, verify_bins: VerifyBins) -> None:
        self._reader = reader
        self._report: Report = reader.report
        self._trusted = trusted
        self._verify_bins = verify_bins
        # A list, and no recursion: a chain of delegations may be as long as a snapshot.
        self._pending: list[tuple[str, Delegator, str]] = []
        self._reached: set[str] = set()
        self._followed_all = True

    def run(self) -> None:
        """Walks; everything that is wrong goes to the report. What cannot be trusted is not followed."""
        root = self._roots()
        if root is None:
            return
        timestamp = self._reader.read("timestamp.json", "timestamp")
        if timestamp is None or not self._accepted(timestamp, root, "timestamp"):
            return
        snapshot = self._snapshot(root, timestamp)
        if snapshot is None:
            return
        named = self._named(snapshot)
        self._pending.append(("targets", root, "the root"))
        while self._pending:
            self._follow(*self._pending.pop(), named, snapshot.file)
        strays = sorted(named.keys() - self._reached) if self._followed_all else []
        if strays:
            message = f"it names {_some(strays)}, which nothing that was verified delegates to"
            self._report.warning(snapshot.file, Rule.ROLE_NOT_DELEGATED, message)

    # ---- Roots -------------------------------------------------------------------------------------------------------
    def _roots(self) -> Root | None:
        document = self._first_root()
        root = None if document is None else self._parsed_root(document, None)
        if document is None or root is None:
            return None
        version, first = document.version, document.version
        while (newer := self._reader.read_if_there(f"{version + 1}.root.json", "root")) is not None:
            parsed = self._parsed_root(newer, root)
            if parsed is None or not self._reader.require_version(newer, version + 1, "its name"):
                return None
            document, root, version = newer, parsed, version + 1
        if version - first > MAX_ROOT_ROTATIONS:
            self._report.warning(
                document.file,
                Rule.ROOTS_TOO_MANY,
                f"a client that knows {first}.root.json alone has to refresh more than once to come here: it takes "
                f"{MAX_ROOT_ROTATIONS} new roots at once",
            )
        if not root.consistent_snapshot:
            self._report.error(
                document.file,
                Rule.NO_CONSISTENT_SNAPSHOT,
                "clients may get files that do not belong together (PEP 458)",
            )
        self._reader.require_unexpired(document)
        self._report.versions["root"] = version
        return root

    def _first_root(self) -> Document | None:
        if self._trusted.content is not None:
            return self._reader.parse("the trusted root", "root", self._trusted.content)
        document = self._reader.read("1.root.json", "root")
        if document is None:
            return None
        if not self._trusted.sha256:
            self._report.note(
                document.file,
                Rule.ROOT_NOT_PINNED,
                f"no trusted root was given, so this one is believed; its SHA-256 is {document.digest}",
            )
        elif hashlib.sha256(document.content).hexdigest() != self._trusted.sha256:
            self._report.error(
                document.file,
                Rule.ROOT_NOT_TRUSTED,
                f"its SHA-256 is {document.digest}, and {self._trusted.sha256} is trusted",
            )
            return None
        return document

    def _parsed_root(self, document: Document, before: Root | None) -> Root | None:
        self._report.digests[document.file] = document.digest
        try:
            root = parse_root(document)
        except ValueError as error:
            self._report.error(document.file, Rule.NOT_METADATA, f"clients cannot read it: {error}")
            return None
        accepted = self._reader.verify(document, root, "root", document.file)
        if before is not None:
            by = f"{document.version - 1}.root.json"
            accepted = self._reader.verify(document, before, "root", by) and accepted
        return root if accepted else None

    # ---- Timestamp and snapshot --------------------------------------------------------------------------------------
    def _accepted(self, document: Document, root: Root, role: str) -> bool:
        self._report.digests[document.file] = document.digest
        self._report.versions[role] = document.version
        self._reader.require_unexpired(document)
        return self._reader.verify(document, root, role, "the newest root")

    def _snapshot(self, root: Root, timestamp: Document) -> Document | None:
        described = _entry(timestamp.signed, "snapshot")
        if described is None:
            self._report.error(timestamp.file, Rule.NOT_METADATA, "it names no version of the snapshot")
            return None
        document = self._reader.read(f"{described['version']}.snapshot.json", "snapshot")
        if document is None or not self._reader.require_version(document, described["version"], timestamp.file):
            return None
        self._require_described(document, described, timestamp.file)
        return document if self._accepted(document, root, "snapshot") else None

    def _require_described(self, document: Document, described: Mapping[str, Any], by: str) -> None:
        length, hashes = described.get("length"), described.get("hashes") or {}
        digest = hashes.get("sha256") if isinstance(hashes, dict) else None
        if length not in (None, len(document.content)) or digest not in (None, document.digest):
            self._report.error(document.file, Rule.WRONG_CONTENT, f"{by} gives another length or hash of it")

    def _named(self, snapshot: Document) -> dict[str, int]:
        meta = snapshot.signed.get("meta")
        names = [name.removesuffix(".json") for name in meta] if isinstance(meta, dict) else []
        named = {}
        for role in names:
            entry = _entry(snapshot.signed, role)
            if entry is None:
                self._report.error(snapshot.file, Rule.NOT_METADATA, f"it names no version of {ascii(role)[:100]}")
            else:
                named[role] = entry["version"]
        self._report.versions |= named | self._report.versions
        return named

    # ---- Targets, and what it delegates to ---------------------------------------------------------------------------
    def _follow(self, role: str, delegator: Delegator, by: str, named: Mapping[str, int], snapshot: str) -> None:
        """Verifies a role that may delegate, and its bins; what else it delegates to is to be followed."""
        self._reached.add(role)
        if role not in named:
            self._report.error(snapshot, Rule.ROLE_NOT_NAMED, f"it does not name '{role}', which {by} delegates to")
            return
        document = self._trusted_targets(role, named[role], delegator, by, snapshot)
        if document is None:
            self._followed_all = False
            return
        verify_listing(document, lambda _: True, self._report)
        delegating = self._delegator(document)
        if delegating is None:
            return
        number = _number_of_roles(delegating)
        if number > MAX_ROLES:
            self._followed_all = False
            message = f"it delegates to {number} roles, and no snapshot that clients read names more than {MAX_ROLES}"
            self._report.error(document.file, Rule.TOO_MANY_ROLES, message)
            return
        bins, others = _delegated(delegating)
        self._pending += [(name, delegating, document.file) for name in others if name not in self._reached]
        self._reached.update(others)
        self._bins(document, [name for name in bins if name not in self._reached], named, snapshot)

    def _trusted_targets(
        self, role: str, version: int, delegator: Delegator, by: str, snapshot: str
    ) -> Document | None:
        document = self._reader.read(f"{version}.{role}.json", "targets")
        if document is None or not self._reader.require_version(document, version, snapshot):
            return None
        self._report.digests[document.file] = document.digest
        self._reader.require_unexpired(document)
        return document if self._reader.verify(document, delegator, role, by) else None

    def _bins(self, document: Document, bins: Sequence[str], named: Mapping[str, int], snapshot: str) -> None:
        self._reached.update(bins)
        versions = {role: named[role] for role in bins if role in named}
        unnamed = [role for role in bins if role not in named]
        if unnamed:
            message = f"it does not name {_some(unnamed)}, which {document.file} delegates to"
            self._report.error(snapshot, Rule.ROLE_NOT_NAMED, message)
        if versions:
            delegations = orjson.dumps(document.signed["delegations"])
            job = BinsJob(document.file, delegations, self._reader.now, self._reader.headroom)
            for outcome in self._verify_bins(job, versions):
                self._report.add(outcome.findings, dict(outcome.digests), outcome.targets)

    def _delegator(self, document: Document) -> Targets | None:
        if document.signed.get("delegations") is None:
            return None
        try:
            return parse_delegations(orjson.dumps(document.signed["delegations"]))
        except ValueError as error:
            self._followed_all = False
            self._report.error(document.file, Rule.NOT_METADATA, f"clients cannot read its delegations: {error}")
            return None


def _some(roles: Sequence[str]) -> str:
    named = ", ".join(f"'{role}'" for role in roles[:_NAMED])
    return named if len(roles) <= _NAMED else f"{named} and {len(roles) - _NAMED} more"


def _number_of_roles(delegator: Targets) -> int:
    delegations = delegator.delegations
    assert delegations is not None  # It was read for them.
    if delegations.succinct_roles is not None:
        return 1 << delegations.succinct_roles.bit_length
    return len(delegations.roles or {})


def _delegated(delegator: Targets) -> tuple[list[str], list[str]]:
    """Hash bins, and other roles."""
    delegations = delegator.delegations
    assert delegations is not None  # It was read for them.
    if delegations.succinct_roles is not None:
        return list(delegations.succinct_roles.get_roles()), []
    roles = delegations.roles or {}
    bins = len(roles) > 1 and all(role.path_hash_prefixes for role in roles.values())
    return (list(roles), []) if bins else ([], list(roles))


def _entry(signed: Mapping[str, Any], role: str) -> dict[str, Any] | None:
    meta = signed.get("meta")
    entry = meta.get(f"{role}.json") if isinstance(meta, dict) else None
    if not isinstance(entry, dict) or type(entry.get("version")) is not int or entry["version"] < 1:
        return None
    return entry
