"""What becomes of keys whose line is called otherwise in the configuration now.

A line was renamed if the keys of one that is gone may sign roles of exactly one configured line, which has no keys yet.
Its keys go over to that line as they are. Lines that were joined are not followed: their active keys go on signing what
they signed, until a key of the new line is activated, to which they give way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from wharfinger_daemon.keys.life_cycle import Keys, LineKey
from wharfinger_daemon.keys.lines import KeyLine, lists
from wharfinger_daemon.signing.trust import TrustedRepository


def renamed(trusted: TrustedRepository, lines: Sequence[KeyLine], keys: Keys) -> list[LineKey]:
    """The keys that go over to another line, as they are there."""
    configured = {line.name for line in lines}
    new_names = {
        old: name
        for old in {key.line for key in keys.values()} - configured
        if (name := _new_name(old, trusted, lines, keys)) is not None
    }
    taken = Counter(new_names.values())
    followed = {old: new for old, new in new_names.items() if taken[new] == 1}
    return [replace(key, line=followed[key.line]) for key in keys.values() if key.line in followed]


def _new_name(old: str, trusted: TrustedRepository, lines: Sequence[KeyLine], keys: Keys) -> str | None:
    former = [key for key in keys.values() if key.line == old]
    found = {
        line.name
        for line in lines
        for authority in line.authorities(trusted)
        if any(lists(authority, key.keyid, key.public_key) for key in former)
    }
    if len(found) != 1:
        return None
    (name,) = found
    return None if any(key.line == name for key in keys.values()) else name
