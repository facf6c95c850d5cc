"""What checks found in members that were examined before: releases of a project repeat most of their files.

It lives as long as the engine, and so with one set of checks: what another set would find never gets in.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence

from wharfinger_daemon.scanning.plugin import Evidence, Member

# More than the largest artifacts have; with nothing found, which is the rule, an entry is about 300 bytes.
ENTRIES = 60_000
_MOST_EVIDENCE = 20
_MOST_CHARACTERS = 2000
# Neither an archive inside, whose name ends with an exclamation mark, nor a folder of a wheel's own.
_SDIST_FOLDER = re.compile(r"[^/!]*-[0-9][^/!]*(?<!\.dist-info)(?<!\.data)/")

_Key = tuple[bytes, str]


class Remembered:
    """Of one check; the entries that were not asked for longest are forgotten first."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._most = entries
        self._entries: OrderedDict[_Key, tuple[Evidence, ...]] = OrderedDict()

    def __len__(self) -> int:
        """How many members are remembered."""
        return len(self._entries)

    def recall(self, member: Member) -> tuple[Evidence, ...] | None:
        """What was found in the same content under the same name, as ``FileCheck.repeatable`` means it; or None."""
        key = _key(member)
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def keep(self, member: Member, evidence: Sequence[Evidence]) -> None:
        """Remembers what was found, unless it is much."""
        characters = sum(len(one.message) + len(one.excerpt or "") + len(one.member or "") for one in evidence)
        if len(evidence) > _MOST_EVIDENCE or characters > _MOST_CHARACTERS:
            return
        self._entries[_key(member)] = tuple(evidence)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)


def _key(member: Member) -> _Key:
    # The folder of an sdist has the version in its name.
    folder = _SDIST_FOLDER.match(member.name)
    return member.digest, member.name if folder is None else f"-0/{member.name[folder.end() :]}"
