"""When what clients see expires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.ports import MetadataFiles
from wharfinger_daemon.metadata.published import corrupt

ROOT = "root"
HASH_BINS = "bin-n"


def earliest_expiries(states: Iterable[RoleState], bins: HashBins) -> Mapping[str, datetime]:
    """When each role expires, by name, and as ``bin-n`` the hash bin that expires first.

    Args:
        states: of every role but root.
    """
    earliest: dict[str, datetime] = {}
    for state in states:
        kind = HASH_BINS if state.role.startswith(f"{bins.prefix}-") else state.role
        earliest[kind] = min(state.expires, earliest.get(kind, state.expires))
    return earliest


async def newest_root(store: MetadataFiles) -> RoleState | None:
    """Version and expiry of the newest root; None without any. Signatures are not verified.

    Raises:
        CorruptStateError: REPOSITORY_INVALID; it cannot be read.
        UnavailableError: the store does not answer.
    """
    # Roots are numbered without gaps and kept for ever (TUF specification 1.0.34, section 6.1).
    content, version = None, 0
    while (newer := await store.read(ROOT, version + 1)) is not None:
        content, version = newer, version + 1
    if content is None:
        return None
    file = f"{version}.root.json"
    try:
        root = Metadata[Root].from_bytes(content).signed
    except RepositoryError as error:
        raise corrupt(file, f"it cannot be read: {error}") from error
    return RoleState(ROOT, version, root.expires)
