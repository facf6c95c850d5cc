"""Which versions a change leads to. Implementations of ``PublicationRecords`` run these rules inside their transaction.

Rules of the whole module:
  (1) A bin gets a new version when what it lists changes, or when it is renewed; nothing else does that. When that is,
      is for ``renewal.py``.
  (2) Versions go up by one. What is prepared is finished before anything else is prepared.
  (3) The snapshot gets a new version when a bin or an offline role does, or when its own time is running out.
  (4) Every publication has a new timestamp: otherwise clients would not see it.
  (5) Expiry is counted from the moment of preparation, in whole seconds, and fixed with the version.
  (6) So is the key that signs: what was begun with one key is finished with it, although another was activated
      meanwhile, because files with its signatures may be in the store already. If it may not sign any more, the whole
      publication moves to versions that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.targets import Target

SNAPSHOT = "snapshot"
TIMESTAMP = "timestamp"
BINS = "bins"


@dataclass(frozen=True)
class Lifetimes:
    """How long each kind of online metadata holds. Each is renewed before less than half of that is left."""

    bins: timedelta = timedelta(days=1)
    snapshot: timedelta = timedelta(days=1)
    timestamp: timedelta = timedelta(days=1)

    def of(self, role: str) -> timedelta:
        """The lifetime of an online role."""
        return {SNAPSHOT: self.snapshot, TIMESTAMP: self.timestamp}.get(role, self.bins)


@dataclass(frozen=True)
class OnlineKeys:
    """The keyids that new metadata is to be signed with; one that is empty leaves it to the signer."""

    bins: str = ""
    snapshot: str = ""
    timestamp: str = ""

    def of(self, role: str) -> str:
        """The keyid for an online role."""
        return {SNAPSHOT: self.snapshot, TIMESTAMP: self.timestamp}.get(role, self.bins)


@dataclass(frozen=True)
class OfflineRoles:
    """What the ceremony made: roles that the snapshot names and nobody here signs, and the bins they delegate to."""

    states: tuple[RoleState, ...]
    bins: HashBins


@dataclass(frozen=True)
class Change:
    """What is to become of some paths: listed as given, or gone. No path is in both."""

    add: Mapping[str, Target] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()

    @property
    def paths(self) -> frozenset[str]:
        """All paths it speaks of."""
        return self.remove.union(self.add)

    def by_bin(self, bins: HashBins) -> Mapping[str, Change]:
        """Its parts, by the bin that they concern."""
        add: dict[str, dict[str, Target]] = {}
        remove: dict[str, set[str]] = {}
        for path, target in self.add.items():
            add.setdefault(bins.role_for(path), {})[path] = target
        for path in self.remove:
            remove.setdefault(bins.role_for(path), set()).add(path)
        return {role: Change(add.get(role, {}), frozenset(remove.get(role, ()))) for role in {*add, *remove}}

    def beyond(self, listed: Mapping[str, Target]) -> Change:
        """What of it is not so already.

        Args:
            listed: the targets that are listed now, of the paths it speaks of at least.
        """
        return Change(
            {path: target for path, target in self.add.items() if listed.get(path) != target},
            self.remove.intersection(listed),
        )


@dataclass(frozen=True)
class PublicationOrder:
    """What a publication is to bring about.

    Attributes:
        renew: online roles that get a new version although nothing of theirs changes.
        at: now.
        keys: what signs.
    """

    change: Change
    renew: frozenset[str]
    offline: OfflineRoles
    lifetimes: Lifetimes
    at: datetime
    keys: OnlineKeys = OnlineKeys()


@dataclass(frozen=True)
class Publication:
    """A step from one state of the repository, as clients see it, to the next.

    Attributes:
        bins: new versions of bins, by role.
        published: whether clients can see it; until then it is prepared, and must be finished before any other.
    """

    timestamp_version: int
    snapshot_version: int
    bins: Mapping[str, int]
    published: bool


@dataclass(frozen=True)
class ClaimedVersions:
    """Which versions of a role are taken, by whomever: the next one must be above ``signed``, not below ``named``."""

    signed: int = 0
    named: int = 0

    @property
    def lowest_free(self) -> int:
        """The lowest version that may still be signed."""
        return max(self.signed + 1, self.named)


@dataclass(frozen=True)
class Plan:
    """A publication to be prepared, and the states of all roles that it changes."""

    publication: Publication
    states: tuple[RoleState, ...]


def concerned_roles(order: PublicationOrder, touched: Collection[str]) -> frozenset[str]:
    """The roles on whose states the next publication depends, if every bin has one."""
    return frozenset({*touched, *order.renew, SNAPSHOT, TIMESTAMP, *(state.role for state in order.offline.states)})


def plan(
    order: PublicationOrder, touched: Collection[str], states: Mapping[str, RoleState], *, complete: bool = False
) -> Plan | None:
    """Decides the next publication, or that none is needed.

    Args:
        touched: the bins whose targets change.
        states: the newest state of every role that there is, offline ones as the newest snapshot names them.
        complete: every online role has a state; then only those of ``concerned_roles`` are looked at.

    Raises:
        CorruptStateError: an offline role would go back to a lower version.
    """
    first = [] if complete else [role for role in order.offline.bins.roles() if role not in states]
    bins = sorted({*touched, *first, *(order.renew - {SNAPSHOT, TIMESTAMP})})
    offline = _changed_offline(order.offline, states)
    snapshot_changes = bool(bins or offline) or SNAPSHOT in order.renew or SNAPSHOT not in states
    if not snapshot_changes and TIMESTAMP not in order.renew and TIMESTAMP in states:
        return None
    roles = [*bins, *([SNAPSHOT] if snapshot_changes else []), TIMESTAMP]
    next_states = {role: _next(role, states.get(role), order) for role in roles}
    snapshot = next_states.get(SNAPSHOT) or states[SNAPSHOT]
    publication = Publication(
        timestamp_version=next_states[TIMESTAMP].version,
        snapshot_version=snapshot.version,
        bins={role: next_states[role].version for role in bins},
        published=False,
    )
    return Plan(publication, (*next_states.values(), *offline))


def leads_elsewhere(publication: Publication, states: Mapping[str, RoleState], order: PublicationOrder) -> bool:
    """Whether a prepared publication was prepared for other keys, or other offline roles, than hold now.

    Raises:
        CorruptStateError: an offline role would go back to a lower version.
    """
    roles = (*publication.bins, SNAPSHOT, TIMESTAMP)
    return bool(_changed_offline(order.offline, states)) or any(
        states[role].keyid != order.keys.of(role) for role in roles
    )


def evade(
    publication: Publication,
    states: Mapping[str, RoleState],
    claimed: Mapping[str, ClaimedVersions],
    order: PublicationOrder,
) -> Plan:
    """Chooses other versions for a prepared publication, because it cannot be finished with those that it has:
    somebody else had some of them signed, or its key may not sign any more, or there are newer offline roles.

    Every role of it moves above what is taken, and so does a bin that a signed snapshot names higher than it is. What
    is to be renewed comes with it.

    Args:
        states: the newest state of every role, with the versions of the prepared publication.
        claimed: what is taken, by role.
        order: its change is not looked at; that of the prepared publication is in the rows.

    Raises:
        CorruptStateError: an offline role would go back to a lower version.
    """
    wanted = order.renew.union(publication.bins)
    bins = {
        role
        for role in order.offline.bins.roles()
        if role in wanted or claimed.get(role, ClaimedVersions()).named > states[role].version
    }
    prepared = {*publication.bins, SNAPSHOT, TIMESTAMP}
    chosen = {
        role: _free(states[role], claimed.get(role, ClaimedVersions()), order, shown=role not in prepared)
        for role in (*sorted(bins), SNAPSHOT, TIMESTAMP)
    }
    moved = Publication(
        timestamp_version=chosen[TIMESTAMP].version,
        snapshot_version=chosen[SNAPSHOT].version,
        bins={role: chosen[role].version for role in sorted(bins)},
        published=False,
    )
    return Plan(moved, (*chosen.values(), *_changed_offline(order.offline, states)))


def _free(state: RoleState, claimed: ClaimedVersions, order: PublicationOrder, *, shown: bool) -> RoleState:
    lowest = state.version + 1 if shown else state.version
    return RoleState(
        state.role, max(lowest, claimed.lowest_free), _expires(state.role, order), order.keys.of(state.role)
    )


def _next(role: str, state: RoleState | None, order: PublicationOrder) -> RoleState:
    version = 1 if state is None else state.version + 1
    return RoleState(role, version, _expires(role, order), order.keys.of(role))


def _expires(role: str, order: PublicationOrder) -> datetime:
    return (order.at + order.lifetimes.of(role)).replace(microsecond=0)


def _changed_offline(offline: OfflineRoles, states: Mapping[str, RoleState]) -> list[RoleState]:
    changed = []
    for state in offline.states:
        present = states.get(state.role)
        if present is not None and state.version < present.version:
            raise CorruptStateError(
                f"The newest file of '{state.role}' is version {state.version}, and clients have seen version "
                f"{present.version}. Bring the newest metadata back.",
                reason=Reason.REPOSITORY_INVALID,
                role=state.role,
            )
        if present is None or state.version > present.version:
            changed.append(state)
    return changed
