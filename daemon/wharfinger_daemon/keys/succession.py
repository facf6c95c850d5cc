"""What happens to keys without being asked for, when a daemon starts and when new metadata is trusted.

A key that the token holds and the verified metadata lists for a role of a line gets a life, if it has none: so does the
key of a repository's first ceremony. A line none of whose keys ever was active begins with the one that it can begin
with, if there is exactly one; where there is a choice, somebody must make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.keys.life_cycle import Evidence, Keys, LineKey, activate, active_key
from wharfinger_daemon.keys.lines import KeyLine, lists
from wharfinger_daemon.keys.records import LOCAL, Changes, leaf_of
from wharfinger_daemon.keys.renaming import renamed
from wharfinger_daemon.signing.keys import AuthorisedKey
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.signing.trust import TrustedRepository


@dataclass(frozen=True)
class Situation:
    """What a repository's keys are judged by at one moment.

    Attributes:
        held: the labels of the keys in the token, by DER SubjectPublicKeyInfo.
    """

    trusted: TrustedRepository
    lines: tuple[KeyLine, ...]
    held: Mapping[bytes, str]
    at: datetime

    def evidence(self, key: LineKey) -> Evidence:
        """What speaks for a key. One whose line is not configured any more is listed for none of its roles."""
        line = next((one for one in self.lines if one.name == key.line), None)
        missing = (key.line,) if line is None else line.missing(self.trusted, key.keyid, key.public_key)
        listed = [one.pattern for one in self.trusted.authorities() if lists(one, key.keyid, key.public_key)]
        return Evidence(missing, tuple(listed), key.public_key in self.held, configured=line is not None)

    def forerunners(self, keys: Iterable[LineKey], line: str) -> list[LineKey]:
        """The active keys that sign for a line: its own, and those of lines that are not configured any more."""
        configured = next((one for one in self.lines if one.name == line), None)
        active = [key for key in keys if key.state is KeyState.ACTIVE]
        own = [key for key in active if key.line == line]
        return own + [key for key in active if configured is not None and self._left_over(key, configured)]

    def _left_over(self, key: LineKey, line: KeyLine) -> bool:
        if any(one.name == key.line for one in self.lines):
            return False
        return any(lists(one, key.keyid, key.public_key) for one in line.authorities(self.trusted))

    def able(self, keys: Iterable[LineKey], line: str) -> list[LineKey]:
        """The keys of a line that could sign for it: listed for all its roles, held, and not about to be destroyed."""
        return [key for key in keys if key.line == line and key.destroyed_at is None and self._is_able(key)]

    def _is_able(self, key: LineKey) -> bool:
        evidence = self.evidence(key)
        return evidence.held and not evidence.missing


def adopt(situation: Situation, keys: Keys) -> Changes:
    """Gives a life to keys that have none, follows lines that were renamed, and begins those that never had an active
    key."""
    moved = {key.keyid: key for key in renamed(situation.trusted, situation.lines, keys)}
    present = {**keys, **moved}
    adopted = {key.keyid: key for line in situation.lines for key in _unknown(situation, line, present)}
    leaves = _adoption_leaves(situation, adopted.values())
    changes = Changes((*moved.values(), *adopted.values()), tuple(leaves))
    present |= adopted
    for line in situation.lines:
        if any(key.line == line.name and key.activated_at is not None for key in present.values()):
            continue
        ready = [key for key in situation.able(present.values(), line.name) if key.state is KeyState.PUBLISHED]
        if len(ready) == 1 and not situation.forerunners(present.values(), line.name):
            changes += _activation(situation, present, ready[0], LOCAL, why="the first key of its line")
    return changes


def succeed(situation: Situation, keys: Keys, caller: str) -> Changes:
    """Takes revoked keys out of use, and activates the successor in each line that is left with exactly one able key.

    An active key is revoked when the verified metadata does not list it for every role of its line.
    """
    changes = Changes()
    for line in situation.lines:
        active = active_key(keys, line.name)
        if active is not None and not situation.evidence(active).missing:
            continue
        if active is not None:
            retired = replace(active, state=KeyState.RETIRING, retired_at=situation.at)
            leaf = leaf_of(Act.KEY_RETIRED, retired, situation.trusted, caller, situation.at, why="revoked")
            changes += Changes((retired,), (leaf,))
        able = situation.able(keys.values(), line.name)
        if len(able) == 1:
            changes += _activation(situation, keys, able[0], caller, why="the successor of a revoked key")
    return changes


def _unknown(situation: Situation, line: KeyLine, keys: Keys) -> Iterator[LineKey]:
    """Keys that are held and listed for a role of a line, and have no life."""
    known: dict[str, AuthorisedKey] = {
        key.keyid: key
        for authority in line.authorities(situation.trusted)
        for key in authority.keys.values()
        if key.der in situation.held and key.keyid not in keys
    }
    for key in known.values():
        published = not line.missing(situation.trusted, key.keyid, key.der)
        yield LineKey(
            keyid=key.keyid,
            line=line.name,
            state=KeyState.PUBLISHED if published else KeyState.GENERATED,
            label=situation.held[key.der],
            public_key=key.der,
            keytype=key.keytype,
            scheme=key.scheme,
            generated_at=situation.at,
            published_at=situation.at if published else None,
        )


def _adoption_leaves(situation: Situation, adopted: Iterable[LineKey]) -> Iterator[Leaf]:
    for key in adopted:
        act = Act.KEY_PUBLISHED if key.state is KeyState.PUBLISHED else Act.KEY_GENERATED
        yield leaf_of(act, key, situation.trusted, LOCAL, situation.at, why="found in the token")


def _activation(situation: Situation, keys: Keys, key: LineKey, caller: str, *, why: str) -> Changes:
    published = replace(key, state=KeyState.PUBLISHED, published_at=key.published_at or situation.at)
    others = [one for one in situation.forerunners(keys.values(), key.line) if one.line != key.line]
    changed = activate(published, others, situation.evidence(key), situation.at)
    leaf = leaf_of(Act.KEY_ACTIVATED, changed[0], situation.trusted, caller, situation.at, why=why)
    return Changes(changed, (leaf,))
