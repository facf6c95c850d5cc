"""Keys as administrators see them."""

from __future__ import annotations

from dataclasses import dataclass

from wharfinger_daemon.keys.life_cycle import LineKey
from wharfinger_daemon.keys.records import KeyRecords
from wharfinger_daemon.signing.holdings import held_keys
from wharfinger_daemon.signing.trust import TrustedRepository


@dataclass(frozen=True)
class KeyReport:
    """A key as administrators see it.

    Attributes:
        repository: by its name in the configuration.
        held: whether the token showed it when it was last asked; None if there is no token to ask.
        roles: for which the verified metadata lists it; ``bins-*`` stands for all bins.
        needed_by: how many roles have their newest version signed by it.
    """

    key: LineKey
    repository: str
    held: bool | None
    roles: tuple[str, ...]
    needed_by: int


async def report_keys(
    trusted: TrustedRepository, records: KeyRecords, held: frozenset[bytes] | None
) -> list[KeyReport]:
    """All keys of a repository, in no order.

    Args:
        held: the keys in the token, DER SubjectPublicKeyInfo; None if there is none to ask.

    Raises:
        UnavailableError: the records do not answer.
    """
    keys = await records.all(trusted.epoch.repository)
    needed = await records.needed_by(trusted.epoch.repository)
    listed = held_keys(trusted, frozenset(key.public_key for key in keys.values()))
    roles = {key.keyid: key.roles for key in listed}
    return [
        KeyReport(
            key=key,
            repository=trusted.name,
            held=None if held is None else key.public_key in held,
            roles=roles.get(key.keyid, ()),
            needed_by=needed.get(key.keyid, 0),
        )
        for key in keys.values()
    ]
