"""Takes metadata in without a daemon and without a token: for the day on which no daemon can start, because the present
metadata lists no key that the token holds.

Everything that can be verified here is; then it is staged, as a daemon would, and the next start takes it to clients
(``metadata.intake``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.keys.importing import ImportOutcome, ImportRequest
from wharfinger_daemon.metadata.documents import DocumentSignature, UnsignedDocument
from wharfinger_daemon.metadata.planning import ClaimedVersions, OnlineKeys
from wharfinger_daemon.metadata.repository import Repository


class AbsentSigner:
    """``metadata.ports.OnlineSigner`` where there is none: what would have to be signed is refused."""

    async def sign(self, documents: Sequence[UnsignedDocument]) -> list[DocumentSignature]:
        raise _absent()

    async def keys(self, a_bin: str) -> OnlineKeys:
        """Nobody knows them here."""
        return OnlineKeys()

    async def claimed(self) -> Mapping[str, ClaimedVersions]:
        raise _absent()


async def stage_import(request: ImportRequest, repository: Repository) -> ImportOutcome:
    """Verifies and stages metadata. The store must be locked, so that no daemon publishes.

    Args:
        repository: with an ``AbsentSigner``.

    Raises:
        WharfingerError: as from ``MetadataImport.take``. A publication that was begun must be finished by a daemon
            first, unless the import revokes: UnavailableError, TOKEN_UNAVAILABLE.
    """
    intake = await request.decide(repository)
    if intake is not None:
        await repository.store.stage(intake.encode())
    assert request.outcome is not None  # The decision was made.
    return request.outcome


def _absent() -> UnavailableError:
    return UnavailableError(
        "A publication was begun and is not finished, which needs the token. Start the daemon once, then import; or "
        "import with 'revoke', if its key is to be revoked.",
        reason=Reason.TOKEN_UNAVAILABLE,
    )
