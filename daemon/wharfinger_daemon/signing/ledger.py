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

The picture has *floors*: ``floors[(epoch, role)][name]`` is the version of ``name`` that ``role`` may not go below. A
role's own name stands for the highest version of itself, whether it was signed here or an operator declared it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

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
    """

    epoch: Epoch
    role: str
    version: int
    digest: bytes
    keyid: str
    meta: Mapping[str, int] = field(default_factory=dict)
    signed_elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SignatureRecord:
    """A signature to be recorded for a reserved version, and who asked for it."""

    reservation: Reservation
    signature: bytes
    caller: str
    request_id: str


class Ledger(Protocol):
    """What is on record. Every method is one transaction.

    Raises:
        UnavailableError: from every method, when the record cannot be read or written.
    """

    async def reserve(
        self, reservations: Sequence[Reservation], *, max_version_jump: int, at: datetime
    ) -> list[bytes | None]:
        """Checks all rules for a whole batch and writes its versions down: all of it, durably, or nothing.

        Returns:
            For each reservation the signature that its key has on record for these bytes, or None.

        Raises:
            RefusedError: a rule forbids one; ``details["item"]`` is its index. Nothing was written.
        """
        ...

    async def record(self, records: Sequence[SignatureRecord], *, at: datetime) -> list[bytes]:
        """Writes signatures of reserved versions down.

        Returns:
            The signatures on record, in order. Where another caller recorded one first, it is that one.

        Raises:
            CorruptStateError: a version was never reserved, or for other bytes. Nothing was written.
        """
        ...

    async def preview(
        self, reservations: Sequence[Reservation], *, max_version_jump: int
    ) -> list[bytes | RefusedError | None]:
        """What ``reserve`` would say of each, one after another, leaving out those that are refused. Writes nothing."""
        ...

    async def floors(self, epoch: Epoch) -> Mapping[str, Mapping[str, int]]:
        """All floors of an epoch, by role and name, as the module says; empty if nothing was ever reserved."""
        ...


@dataclass
class LedgerState:
    """What is on record, as far as a batch needs it. ``admit`` moves it forward.

    Attributes:
        digests: of the versions in the batch that were used before.
        floors: of the roles in the batch, as the module says.
        reserved: what was admitted and is not on record yet.
        raised: the floors that were raised and are not on record yet.
    """

    digests: dict[tuple[RoleName, int], bytes]
    floors: dict[RoleName, dict[str, int]]
    reserved: list[Reservation] = field(default_factory=list)
    raised: dict[tuple[RoleName, str], int] = field(default_factory=dict)

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

    def _highest_signed(self, epoch: Epoch, role: str) -> int:
        return self.floors.get((epoch, role), {}).get(role, 0)

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
        floors = self.floors.setdefault(role, {})
        _check_version(reservation, floors.get(reservation.role, 0), max_version_jump)
        _check_meta(reservation, floors, self._highest_signed, max_version_jump)
        self.digests[role, reservation.version] = reservation.digest
        self.reserved.append(reservation)
        for name, version in {**reservation.meta, reservation.role: reservation.version}.items():
            if version > floors.get(name, 0):
                floors[name] = version
                self.raised[role, name] = version


def never_reserved(reservation: Reservation) -> CorruptStateError:
    """The error of ``Ledger.record`` for a signature without a reservation."""
    return CorruptStateError(
        f"The ledger has no reservation of version {reservation.version} of '{reservation.role}' for these bytes. It "
        "was changed from outside. Stop the daemon, and compare the database with its newest copy.",
        reason=Reason.INTERNAL,
        role=reservation.role,
    )


def _check_version(reservation: Reservation, highest: int, max_version_jump: int) -> None:
    if reservation.version <= highest:
        raise _refused(reservation, Reason.VERSION_ROLLBACK, f"is not above {highest}, the highest one used")
    if reservation.version > highest + max_version_jump:
        raise _refused(
            reservation, Reason.VERSION_JUMP, f"is more than {max_version_jump} above {highest}, the highest one used"
        )


def _check_meta(
    reservation: Reservation,
    floors: Mapping[str, int],
    highest_signed: Callable[[Epoch, str], int],
    max_version_jump: int,
) -> None:
    for name in floors:
        if name != reservation.role and name not in reservation.meta:
            raise _refused(
                reservation, Reason.META_ROLLBACK, f"does not name '{name}', which an earlier version named", name
            )
    for name, version in reservation.meta.items():
        floor = floors.get(name, 0)
        if version < floor:
            raise _refused(
                reservation,
                Reason.META_ROLLBACK,
                f"names version {version} of '{name}', and an earlier version named {floor}",
                name,
            )
        base = floor if name in reservation.signed_elsewhere else highest_signed(reservation.epoch, name)
        if version > base + max_version_jump:
            raise _refused(
                reservation,
                Reason.VERSION_JUMP,
                f"names version {version} of '{name}', more than {max_version_jump} above {base}",
                name,
            )


def _refused(reservation: Reservation, reason: Reason, why: str, name: str = "") -> RefusedError:
    details = {"role": reservation.role, "version": str(reservation.version)}
    if name:
        details["named_role"] = name
    return RefusedError(f"Version {reservation.version} of '{reservation.role}' {why}.", reason=reason, **details)
