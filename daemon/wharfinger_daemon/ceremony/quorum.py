"""Who must sign the next version: one threshold of keys, or, for a new root, two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from securesystemslib.signer import Key
from tuf.api.metadata import Role, Root, Targets

from wharfinger_daemon.ceremony.chain import Chain
from wharfinger_daemon.ceremony.keys import same_key
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.refusals import invalid


@dataclass(frozen=True)
class Quorum:
    """A threshold of keys that must sign.

    Attributes:
        by: the metadata that says so, as ``root 2``.
        keys: by keyid, in the order of that metadata.
    """

    by: str
    keys: Mapping[str, Key]
    threshold: int


def quorums(kind: Kind, signed: Root | Targets, chain: Chain) -> tuple[Quorum, ...]:
    """All that must be satisfied.

    A new root is signed by a threshold of the keys of the former root and by one of its own (TUF specification,
    5.3.4), targets by those that the newest root lists, ``bins`` by those of the newest targets.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; there is no metadata that could authorise it, or it is not authorised
            itself, or one keyid means two keys.
    """
    if isinstance(signed, Root):
        roots = [*(file.signed for file in chain.roots[-1:]), signed]
        return _without_conflict(*(_quorum(f"root {root.version}", root.roles[Root.type], root.keys) for root in roots))
    if kind is Kind.TARGETS:
        root = chain.roots[-1].signed
        return (_quorum(f"root {root.version}", root.roles[Targets.type], root.keys),)
    return (_quorum_of_bins(chain),)


def signing_keys(of: Sequence[Quorum]) -> dict[str, Key]:
    """Every key whose signature counts, by keyid."""
    return {keyid: key for quorum in of for keyid, key in quorum.keys.items()}


def _quorum_of_bins(chain: Chain) -> Quorum:
    if not chain.targets:
        raise invalid("There is no targets metadata that could say who signs bins. Hold a ceremony for targets first.")
    newest, root = chain.targets[-1], chain.roots[-1].signed
    if newest.by != root.version:
        raise invalid(
            f"{newest.name} is not signed by enough of the keys that root {root.version} lists for targets. Hold a "
            "ceremony for targets first."
        )
    delegations = newest.signed.delegations
    role = None if delegations is None else (delegations.roles or {}).get(Kind.BINS)
    if delegations is None or role is None:
        raise invalid(f"{newest.name} does not delegate to bins. Hold a ceremony for targets first.")
    return _quorum(f"targets {newest.signed.version}", role, delegations.keys)


def _quorum(by: str, role: Role, known: Mapping[str, Key]) -> Quorum:
    return Quorum(by, {keyid: known[keyid] for keyid in role.keyids if keyid in known}, role.threshold)


def _without_conflict(*found: Quorum) -> tuple[Quorum, ...]:
    # A signature is kept once for each keyid, and must count wherever the keyid is listed.
    seen: dict[str, Key] = {}
    for quorum in found:
        for keyid, key in quorum.keys.items():
            if not same_key(seen.setdefault(keyid, key), key):
                raise invalid(f"The keyid {keyid} means one key in the former root and another in the new one.")
    return found
