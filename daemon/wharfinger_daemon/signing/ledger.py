"""The ledger: no version of a role is ever signed for two different payloads, and nothing is rolled back.

Every version is written down, with the digest of its bytes, *before* the token is asked. The rules, in order:

1. The same bytes for a used version are a replay: the recorded signature is returned, for old versions too. If none
   was recorded (the process died after writing and before signing), the bytes may be signed now.
2. Other bytes for a used version are refused (VERSION_EQUIVOCATION).
3. A version at or below the highest one used is refused (VERSION_ROLLBACK).
4. A version farther above the highest than the bound is refused (VERSION_JUMP): who could sign the largest version once
   would end the repository (a fast-forward attack). The first version counts from 0.
5. A snapshot or timestamp must name everything that an earlier one named, no version lower (META_ROLLBACK; TUF
   specification 5.4.3 and 5.5.5) nor farther above the highest that was *signed* than the same bound (VERSION_JUMP).
   Were it measured from what was named before, snapshots could climb where no signature may follow. For roles that are
   signed elsewhere, it is what was named before that counts.

They hold within one epoch of one repository, and inside one batch as between batches. They are decided by
``LedgerState``, a small picture of what is on record, so that every implementation of the port shares them: it loads
the picture, asks, and writes the outcome, in one durable transaction during which nobody else does.

The picture has *floors*: the floor of ``(epoch, role)`` and ``name`` is the version of ``name`` that ``role`` may not
go below. A role's own name stands for the highest version of itself, whether it was signed here or an operator declared
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from wharfinger_daemon.audit.leaf import Act, Leaf, LeafReference
from wharfinger_daemon.errors import CorruptStateError, Reason, RefusedError


@dataclass(frozen=True)
class Epoch:
    """Within what the rules hold.

    Attributes:
        repository: the repository's identity, the hexadecimal SHA-256 of its trusted root 1. A name can come to mean
            something else; this cannot.
        number: from 1. A new epoch starts versions afresh.
    """

    repository: str
    number: int = 1


RoleName = tuple[Epoch, str]


@dataclass(frozen=True)
class Reservation:
    """A version that is about to be signed.

    Attributes:
        digest: SHA-256 of the signed bytes.
        meta: what a snapshot or timestamp names; empty for other roles.
        keyid: the key that will sign, for finding its recorded signature.
        jumps: how far versions of some roles may jump, in place of the bound for all others.
    """

    epoch: Epoch
    role: str
    version: int
    digest: bytes
    keyid: str
    meta: Mapping[str, int] = field(default_factory=dict)
    signed_elsewhere: frozenset[str] = frozenset()
    jumps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Requester:
    """Who wants a batch signed, and what the request is called: said in the log."""

    caller: str
    request_id: str


@dataclass(frozen=True)
class Recorded:
    """A version as it is on record for one key.

    Attributes:
        leaf: of the log, which says that this key was to sign these bytes.
        signature: None if none was recorded yet.
    """

    leaf: LeafReference
    signature: bytes | None


class Ledger(Protocol):
    """What is on record. Every method is one transaction.

    Raises:
        UnavailableError: from every method, when the record cannot be read or written.
        OverloadedError: too much waits for the record already.
    """

    async def reserve(
        self, reservations: Sequence[Reservation], requester: Requester, *, max_version_jump: int, at: datetime
    ) -> list[Recorded]:
        """Checks all rules for a whole batch and writes its versions and their leaves down: all of it, durably, or
        nothing.

        Raises:
            RefusedError: a rule forbids one; ``details["item"]`` is its index. Nothing was written.
        """
        ...

    async def record(self, signatures: Sequence[tuple[LeafReference, bytes]], *, synced: bool) -> list[bytes]:
        """Writes signatures of reserved versions down.

        Args:
            signatures: each with the leaf that ``reserve`` returned for it.
            synced: whether to wait until they are on the disk. Otherwise they outlive this process at least.

        Returns:
            The signatures on record, in order. Where another caller recorded one first, it is that one.

        Raises:
            CorruptStateError: a version was never reserved.
        """
        ...

    async def preview(
        self, reservations: Sequence[Reservation], *, max_version_jump: int
    ) -> list[bytes | RefusedError | None]:
        """What ``reserve`` would say of each, one after another, leaving out those that are refused: the signature on
        record, if there is one. Writes nothing."""
        ...

    async def floors(self, epoch: Epoch) -> Mapping[str, Mapping[str, int]]:
        """All floors of an epoch, by role and name, as the module says; empty if nothing was ever reserved."""
        ...


class Floors:
    """Floors, and what is to be raised above them: a layer over another one, which stays as it is."""

    def __init__(self, below: Floors | None = None) -> None:
        self.own: dict[RoleName, dict[str, int]] = {}
        self._below = below

    def get(self, role: RoleName, name: str) -> int:
        """The floor; 0 where there is none."""
        found = self.own.get(role, {}).get(name)
        if found is not None:
            return found
        return 0 if self._below is None else self._below.get(role, name)

    def names(self, role: RoleName) -> Mapping[str, int]:
        """All floors of a role."""
        own = self.own.get(role, {})
        below = {} if self._below is None else self._below.names(role)
        return {**below, **own} if own and below else own or below

    def raise_to(self, role: RoleName, versions: Mapping[str, int]) -> None:
        """Raises floors of a role; those that are as high already stay."""
        floors = self.names(role)
        raised = {name: version for name, version in versions.items() if version > floors.get(name, 0)}
        if raised:
            self.own.setdefault(role, {}).update(raised)

    def raise_all(self, floors: Floors) -> None:
        """Takes what another layer raised."""
        for role, names in floors.own.items():
            self.own.setdefault(role, {}).update(names)


@dataclass
class LedgerState:
    """What is on record, as far as a batch needs it. ``admit`` moves it forward.

    Attributes:
        floors: what was there, and above it what is raised.
        digests: of the versions in the batch that were used before.
    """

    floors: Floors
    digests: dict[tuple[RoleName, int], bytes] = field(default_factory=dict)

    def admit_all(self, reservations: Sequence[Reservation], max_version_jump: int) -> None:
        """Admits a batch.

        Raises:
            RefusedError: a rule forbids one; ``details["item"]`` is its index. The state must not be written then.
        """
        for index, reservation in enumerate(reservations):
            try:
                self.admit(reservation, max_version_jump)
            except RefusedError as error:
                error.details["item"] = str(index)
                raise

    def refusal(self, reservation: Reservation, max_version_jump: int) -> RefusedError | None:
        """Admits one more version as ``admit`` does, and returns the refusal instead of raising it."""
        try:
            self.admit(reservation, max_version_jump)
        except RefusedError as error:
            return error
        return None

    def admit(self, reservation: Reservation, max_version_jump: int) -> None:
        """Admits one more version, or finds that it is a replay.

        Raises:
            RefusedError: a rule forbids it. The state is as before.
        """
        role = (reservation.epoch, reservation.role)
        used = self.digests.get((role, reservation.version))
        if used == reservation.digest:
            return
        if used is not None:
            raise _refused(reservation, Reason.VERSION_EQUIVOCATION, "was used for other bytes. Use a higher version")
        _check_version(reservation, self.floors.get(role, reservation.role), max_version_jump)
        _check_meta(reservation, self.floors, max_version_jump)
        self.digests[role, reservation.version] = reservation.digest
        raised = {reservation.role: reservation.version, **reservation.meta}
        self.floors.raise_to(role, raised)


def never_reserved(leaf: LeafReference) -> CorruptStateError:
    """The error of ``Ledger.record`` for a signature without a reservation."""
    return CorruptStateError(
        f"The ledger has no reservation with leaf {leaf.index} of the log. It was changed from outside. Stop the "
        "daemon, and compare the database with its newest copy.",
        reason=Reason.INTERNAL,
    )


def signature_leaf(reservation: Reservation, requester: Requester, at: datetime) -> Leaf:
    """What the log says of a version that a key is about to sign."""
    return Leaf(
        Act.SIGNATURE,
        at,
        requester.caller,
        {
            "request_id": requester.request_id,
            "repository": reservation.epoch.repository,
            "epoch": reservation.epoch.number,
            "role": reservation.role,
            "version": reservation.version,
            "digest": reservation.digest.hex(),
            "keyid": reservation.keyid,
        },
    )


def _check_version(reservation: Reservation, highest: int, max_version_jump: int) -> None:
    if reservation.version <= highest:
        raise _refused(reservation, Reason.VERSION_ROLLBACK, f"is not above {highest}, the highest one used")
    bound = reservation.jumps.get(reservation.role, max_version_jump)
    if reservation.version > highest + bound:
        raise _refused(reservation, Reason.VERSION_JUMP, f"is more than {bound} above {highest}, the highest one used")


def _check_meta(reservation: Reservation, floors: Floors, max_version_jump: int) -> None:
    epoch = reservation.epoch
    named = floors.names((epoch, reservation.role))
    left_out = named.keys() - reservation.meta.keys() - {reservation.role}
    if left_out:
        name = min(left_out)
        raise _refused(
            reservation, Reason.META_ROLLBACK, f"does not name '{name}', which an earlier version named", name
        )
    for name, version in reservation.meta.items():
        floor = named.get(name, 0)
        if version == floor:
            continue  # Was admitted before: this is most of a snapshot.
        if version < floor:
            raise _refused(
                reservation,
                Reason.META_ROLLBACK,
                f"names version {version} of '{name}', and an earlier version named {floor}",
                name,
            )
        base = floor if name in reservation.signed_elsewhere else floors.get((epoch, name), name)
        bound = reservation.jumps.get(name, max_version_jump)
        if version > base + bound:
            raise _refused(
                reservation,
                Reason.VERSION_JUMP,
                f"names version {version} of '{name}', more than {bound} above {base}",
                name,
            )


def _refused(reservation: Reservation, reason: Reason, why: str, name: str = "") -> RefusedError:
    details = {"role": reservation.role, "version": str(reservation.version)}
    if name:
        details["named_role"] = name
    return RefusedError(f"Version {reservation.version} of '{reservation.role}' {why}.", reason=reason, **details)
