"""Publishes what several callers wait for at once, and answers each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wharfinger_daemon.errors import Reason, RefusedError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.planning import Publication
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.metadata.waiting import PublicationResult, WaitingChange, merged


async def publish_together(repository: Repository, taken: Sequence[WaitingChange], due: Sequence[str]) -> bool:
    """Publishes these changes and renews these roles, in one publication if it can be.

    If a bin has no room for all of them, they are published one by one, so that only who asks for too much is refused.

    Returns:
        False if roles that are due were left as they are.

    Raises:
        WharfingerError: as ``Repository.publish``, but for BIN_FULL; who is not answered yet is for the caller.
    """
    try:
        publication = await repository.publish(merged(waiting.change for waiting in taken), due)
    except RefusedError as error:
        if error.reason is not Reason.BIN_FULL:
            raise
        if len(taken) == 1:
            taken[0].fail(error)
        else:
            for waiting in taken:
                await publish_together(repository, [waiting], ())
        return False
    for waiting in taken:
        waiting.succeed(_result(publication, waiting.change.paths, repository.offline.bins))
    return True


def _result(publication: Publication, paths: Iterable[str], bins: HashBins) -> PublicationResult:
    roles = {bins.role_for(path) for path in paths}
    versions = {role: publication.bins[role] for role in sorted(roles & publication.bins.keys())}
    return PublicationResult(publication.timestamp_version, publication.snapshot_version, versions)
