"""Targets, role versions and publications in the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import (
    SNAPSHOT,
    TIMESTAMP,
    ClaimedVersions,
    OnlineKeys,
    Publication,
    PublicationOrder,
    concerned_roles,
    evade,
    plan,
)
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.storage.bin_sizes import require_room
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.listed_targets import ListedTargets, target_of, targets_of_bins
from wharfinger_daemon.storage.role_rows import RoleRows, in_batches
from wharfinger_daemon.storage.schema import metadata_roles, publication_bins, publications, unpublished_bins

T = TypeVar("T")

_PREPARED = "prepared"
_PUBLISHED = "published"


class SqlPublications:
    """``metadata.ports.PublicationRecords`` on the tables ``targets``, ``metadata_roles``, ``publications`` and
    ``publication_bins``.

    Args:
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.
        journal: writes, where there is one. What is written beside it makes the ledger read all its floors again.
    """

    def __init__(self, database: Database, repository: str, journal: Journal | None = None) -> None:
        self._database = database
        self._journal = journal
        self._repository = repository
        self._roles = RoleRows(repository)

    async def newest(self) -> Publication | None:
        return await self._database.read(self._newest)

    async def prepare(self, order: PublicationOrder) -> Publication | None:
        def work(connection: Connection) -> Publication | None:
            self._require_finished(connection)
            listing = ListedTargets(self._repository, order.offline.bins.role_for)
            present = listing.rows(connection, order.change.paths)
            change = order.change.beyond({path: target_of(row) for path, row in present.items()})
            touched = {order.offline.bins.role_for(path) for path in change.paths} | self._unpublished(connection)
            # Once all roles are there, those that are not concerned need not be read.
            complete = self._roles.online(connection) == order.offline.bins.number + len((SNAPSHOT, TIMESTAMP))
            concerned = concerned_roles(order, touched) if complete else None
            planned = plan(order, touched, self._roles.states(connection, concerned), complete=complete)
            if planned is None:
                return None
            listing.replace(connection, change.add.values(), change.paths.intersection(present))
            require_room(connection, self._repository, {order.offline.bins.role_for(path) for path in change.add})
            self._roles.replace(connection, planned.states)
            self._record(connection, planned.publication, order.at)
            return planned.publication

        return await self._write(work)

    async def evade(self, claimed: Mapping[str, ClaimedVersions], order: PublicationOrder) -> Publication:
        def work(connection: Connection) -> Publication:
            prepared = self._newest(connection)
            if prepared is None or prepared.published:
                raise CorruptStateError(
                    "There is no prepared publication whose versions could be changed.",
                    reason=Reason.PUBLICATION_FAILED,
                )
            planned = evade(prepared, self._roles.states(connection), claimed, order)
            # Its rows of bins go with it.
            connection.execute(
                delete(publications)
                .where(publications.c.repository == self._repository)
                .where(publications.c.state == _PREPARED)
            )
            self._roles.replace(connection, planned.states)
            self._record(connection, planned.publication, order.at)
            return planned.publication

        return await self._write(work)

    async def assign(self, bins: HashBins) -> None:
        listing = ListedTargets(self._repository, bins.role_for)
        last: tuple[str, str] | None = ("", "")
        while last is not None:
            last = await self._write(partial(listing.assign_after, last))

    async def last_shown(self) -> int:
        query = (
            select(func.coalesce(func.max(publications.c.timestamp_version), 0))
            .where(publications.c.repository == self._repository)
            .where(publications.c.state == _PUBLISHED)
        )
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def mark_published(self, publication: Publication, at: datetime) -> None:
        def work(connection: Connection) -> None:
            connection.execute(
                update(publications)
                .where(publications.c.repository == self._repository)
                .where(publications.c.timestamp_version == publication.timestamp_version)
                .where(publications.c.state == _PREPARED)
                .values(state=_PUBLISHED, published_at=at)
            )
            self._forget_unpublished(connection, publication.bins)

        await self._write(work)

    async def states(self, roles: Collection[str] | None = None) -> Mapping[str, RoleState]:
        return await self._database.read(lambda connection: self._roles.states(connection, roles))

    async def signed_by_others(self, keys: OnlineKeys, limit: int) -> list[RoleState]:
        return await self._database.read(lambda connection: self._roles.signed_by_others(connection, keys, limit))

    async def signers(self) -> Mapping[str, Mapping[str, int]]:
        return await self._database.read(self._roles.signers)

    async def prove_writable(self) -> None:
        # A row of its own size and place is written, so that the disk and the file have to take it.
        query = (
            update(metadata_roles)
            .where(metadata_roles.c.repository == self._repository)
            .where(metadata_roles.c.role == TIMESTAMP)
            .values(version=metadata_roles.c.version)
        )

        def work(connection: Connection) -> None:
            connection.execute(query)

        await self._write(work)

    async def targets_of(self, bins: Collection[str]) -> Mapping[str, list[Target]]:
        return await self._database.read(lambda connection: targets_of_bins(connection, self._repository, bins))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        if self._journal is None:
            return await self._database.run(work)
        return await self._journal.write(lambda transaction: work(transaction.connection))

    def _newest(self, connection: Connection) -> Publication | None:
        row = connection.execute(
            select(publications)
            .where(publications.c.repository == self._repository)
            .order_by(publications.c.timestamp_version.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        bins = connection.execute(select(publication_bins).where(publication_bins.c.publication_id == row.id))
        return Publication(
            timestamp_version=row.timestamp_version,
            snapshot_version=row.snapshot_version,
            bins={one.role: one.version for one in bins},
            published=row.state == _PUBLISHED,
        )

    def _require_finished(self, connection: Connection) -> None:
        newest = self._newest(connection)
        if newest is not None and not newest.published:
            raise CorruptStateError(
                f"Publication {newest.timestamp_version} is prepared and must be published before another is prepared.",
                reason=Reason.PUBLICATION_FAILED,
            )

    def _unpublished(self, connection: Connection) -> set[str]:
        query = select(unpublished_bins.c.role).where(unpublished_bins.c.repository == self._repository)
        return set(connection.execute(query).scalars())

    def _forget_unpublished(self, connection: Connection, bins: Collection[str]) -> None:
        for names in in_batches(self._unpublished(connection).intersection(bins)):
            connection.execute(
                delete(unpublished_bins)
                .where(unpublished_bins.c.repository == self._repository)
                .where(unpublished_bins.c.role.in_(names))
            )

    def _record(self, connection: Connection, publication: Publication, at: datetime) -> None:
        inserted = connection.execute(
            insert(publications).values(
                repository=self._repository,
                state=_PREPARED,
                snapshot_version=publication.snapshot_version,
                timestamp_version=publication.timestamp_version,
                prepared_at=at,
            )
        ).inserted_primary_key
        assert inserted is not None  # Both databases give the key of a row that they number.
        rows = [
            {"publication_id": inserted.id, "role": role, "version": version}
            for role, version in publication.bins.items()
        ]
        if rows:
            connection.execute(insert(publication_bins), rows)
