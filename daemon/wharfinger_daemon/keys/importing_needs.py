"""Whether clients would go on verifying while new metadata is taken in, when nothing is to be revoked.

Clients read the newest root first. From that moment until the next timestamp they meet what is published now, so it
must verify under every new root. After that they meet what was signed before, under new delegations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.metadata.planning import BINS, SNAPSHOT, TIMESTAMP, OnlineKeys
from wharfinger_daemon.metadata.ports import MetadataFiles, file_name
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.signing.trust import TrustedRepository

_TARGETS = "targets"


async def require_clients_verify(repository: Repository, trusted: TrustedRepository, new_roots: int) -> None:
    """Refuses metadata under which clients would refuse what is published. Nothing may be prepared.

    Args:
        trusted: as it would be.
        new_roots: how many of its roots clients do not have yet.

    Raises:
        RefusedError: KEY_STILL_NEEDED, with the key or the file.
        WharfingerError: store or records do not answer.
    """
    roots = trusted.verified.roots[len(trusted.verified.roots) - new_roots :]
    signers = await repository.records.signers()
    a_bin = next(repository.offline.bins.roles())
    for root in roots:
        for role in (SNAPSHOT, TIMESTAMP):
            _require_listed(f"root {root.version}", role, signers.get(role, {}), root.roles[role].keyids)
    _require_listed("the new metadata", BINS, signers.get(BINS, {}), trusted.authority(a_bin).keyids)
    _require_usable(await repository.signer.keys(a_bin), a_bin, trusted)
    await _require_targets_verified(repository.store, roots)


def _require_listed(what: str, role: str, signers: Mapping[str, int], keyids: Iterable[str]) -> None:
    listed = set(keyids)
    for keyid, roles in signers.items():
        if keyid not in listed:
            raise _needed(
                f"{what} does not list {keyid or 'the key, which was not written down,'} that {roles} published "
                f"version(s) of '{role}' are signed with. Activate the key that is to follow and wait until everything "
                "is signed with it",
                keyid=keyid,
                role=role,
            )


def _require_usable(keys: OnlineKeys, a_bin: str, trusted: TrustedRepository) -> None:
    for role in (a_bin, SNAPSHOT, TIMESTAMP):
        # Where no token is open, nobody knows: the next start finds out.
        if keys.of(role) and keys.of(role) not in trusted.authority(role).keyids:
            raise _needed(
                f"the new metadata does not list {keys.of(role)}, which signs '{role}' now. Activate the key that is "
                "to follow",
                keyid=keys.of(role),
                role=role,
            )


async def _require_targets_verified(store: MetadataFiles, roots: Sequence[Root]) -> None:
    version = (await published_versions(store)).get(_TARGETS)
    if version is None:
        return
    name, content = file_name(_TARGETS, version), await store.read(_TARGETS, version)
    for root in roots:
        try:
            metadata: Metadata[Any] = Metadata.from_bytes(content or b"")
            root.verify_delegate(_TARGETS, metadata.signed_bytes, metadata.signatures)
        except RepositoryError as error:
            raise _needed(
                f"{name}, which clients read now, does not verify under root {root.version}: {error}. Have it list the "
                "present keys of targets too, and import a root without them once targets is signed with the new ones",
                file=name,
            ) from error


def _needed(why: str, **details: str) -> RefusedError:
    return RefusedError(
        f"Clients would refuse what is published: {why}. To recover from a compromise, import with 'revoke'.",
        reason=Reason.KEY_STILL_NEEDED,
        **details,
    )
