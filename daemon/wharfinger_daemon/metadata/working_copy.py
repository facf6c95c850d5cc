"""What a publisher remembers of what it published, so that the next publication costs what it changes.

The rows are the truth, and this is what was made of them: whatever fails, all of it is forgotten and read again. A file
is remembered by the digest of what was signed: one that somebody else wrote, or changed, is never built upon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from wharfinger_daemon.metadata.documents import RoleState, UnsignedDocument, listing_head, listing_tail
from wharfinger_daemon.metadata.planning import SNAPSHOT, TIMESTAMP
from wharfinger_daemon.metadata.role_versions import RoleVersions


class WorkingCopy:
    """Of one repository; empty at first."""

    def __init__(self) -> None:
        self._states: dict[str, RoleState] = {}
        self._named: RoleVersions | None = None
        self._files: dict[str, tuple[RoleState, bytes]] = {}

    def forget(self) -> None:
        """Forgets everything."""
        self._states, self._named = {}, None
        self._files.clear()

    def forget_files(self, bins: Collection[str]) -> None:
        """Forgets the files of these bins, which are to be built from the rows."""
        for role in bins:
            self._files.pop(role, None)

    @property
    def states(self) -> Mapping[str, RoleState]:
        """The newest state of every role; empty if it is not known."""
        return self._states

    def learn(self, states: Mapping[str, RoleState]) -> None:
        """Takes over the states of some roles, or of all if none were known."""
        self._states.update(states)
        if self._named is None:
            named = {role: one.version for role, one in self._states.items() if role not in (SNAPSHOT, TIMESTAMP)}
            self._named = RoleVersions(named)
            return
        for role, state in states.items():
            if role not in (SNAPSHOT, TIMESTAMP):
                self._named.set(role, state.version)

    @property
    def named(self) -> RoleVersions:
        """What the next snapshot names. There must be states."""
        assert self._named is not None  # ``learn`` comes first.
        return self._named

    def file_of(self, role: str) -> RoleState | None:
        """The state of the file of a bin that can be built upon."""
        known = self._files.get(role)
        return None if known is None else known[0]

    def keep(self, documents: Iterable[UnsignedDocument]) -> None:
        """Remembers the bins whose files are in the store now."""
        for document in documents:
            self._files[document.state.role] = document.state, document.digest

    def listing_in(self, role: str, content: bytes | None) -> bytes | None:
        """The listing in the file of a bin; None if it is not the file that was written."""
        known = self._files.get(role)
        if content is None or known is None:
            return None
        head, tail = listing_head(known[0]), listing_tail(known[0])
        begin, end = content.find(head), len(content) - len(b"}")
        if hashlib.sha256(memoryview(content)[begin:end]).digest() != known[1]:
            return None
        return content[begin + len(head) : end - len(tail)]
