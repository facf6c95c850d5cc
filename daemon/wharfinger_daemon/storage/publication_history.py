"""Former publications in the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, select, tuple_

from wharfinger_daemon.metadata.feed import ShownPublication
from wharfinger_daemon.metadata.planning import SNAPSHOT
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.schema import publication_bins, publications

_PUBLISHED = "published"


class SqlPublicationHistory:
    """``metadata.retention.PublicationHistory`` and ``metadata.feed.ShownPublications``, on the tables ``publications``
    and ``publication_bins``.

    Args:
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.
        journal: writes, where there is one. What is written beside it makes the ledger read all its floors again.
    """

    def __init__(self, database: Database, repository: str, journal: Journal | None = None) -> None:
        self._database = database
        self._journal = journal
        self._repository = repository

    async def shown_at(self, instant: datetime) -> Mapping[str, int]:
        def work(connection: Connection) -> Mapping[str, int]:
            snapshot = connection.execute(
                select(func.max(publications.c.snapshot_version)).where(self._shown_before(instant))
            ).scalar_one()
            if snapshot is None:
                return {}
            return {SNAPSHOT: snapshot, **{row.role: row.newest for row in connection.execute(self._newest(instant))}}

        return await self._database.read(work)

    async def last_shown(self) -> int:
        query = select(func.coalesce(func.max(publications.c.timestamp_version), 0)).where(self._shown())
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def shown_after(self, timestamp_version: int, most: int) -> list[ShownPublication]:
        def work(connection: Connection) -> list[ShownPublication]:
            found = connection.execute(
                select(publications)
                .where(self._shown(), publications.c.timestamp_version > timestamp_version)
                .order_by(publications.c.timestamp_version)
                .limit(most)
            ).all()
            bins: dict[int, dict[str, int]] = {row.id: {} for row in found}
            for row in connection.execute(
                select(publication_bins)
                .where(publication_bins.c.publication_id.in_(bins))
                .order_by(publication_bins.c.role)
            ):
                bins[row.publication_id][row.role] = row.version
            return [
                ShownPublication(row.timestamp_version, row.snapshot_version, bins[row.id], row.published_at)
                for row in found
            ]

        return await self._database.read(work)

    async def forget(self, instant: datetime, most: int) -> int:
        def work(connection: Connection) -> int:
            bins = self._forget_bins(connection, instant, most)
            return bins + self._forget_publications(connection, instant, most - bins)

        if self._journal is None:
            return await self._database.run(work)
        return await self._journal.write(lambda transaction: work(transaction.connection))

    def _shown(self) -> ColumnElement[bool]:
        return and_(publications.c.repository == self._repository, publications.c.state == _PUBLISHED)

    def _shown_before(self, instant: datetime) -> ColumnElement[bool]:
        return and_(self._shown(), publications.c.published_at < instant)

    def _newest(self, instant: datetime) -> Select[tuple[str, int]]:
        # Versions only go up, so the highest is the last.
        return (
            select(publication_bins.c.role, func.max(publication_bins.c.version).label("newest"))
            .join(publications)
            .where(self._shown_before(instant))
            .group_by(publication_bins.c.role)
        )

    def _forget_bins(self, connection: Connection, instant: datetime, most: int) -> int:
        newest = self._newest(instant).subquery()
        superseded = (
            select(publication_bins.c.publication_id, publication_bins.c.role)
            .join(publications)
            .join(newest, newest.c.role == publication_bins.c.role)
            .where(self._shown_before(instant))
            .where(publication_bins.c.version < newest.c.newest)
            .limit(most)
        )
        row = tuple_(publication_bins.c.publication_id, publication_bins.c.role)
        return connection.execute(delete(publication_bins).where(row.in_(superseded))).rowcount

    def _forget_publications(self, connection: Connection, instant: datetime, most: int) -> int:
        # The newest of them tells the version of the snapshot, and the others that stay, that of some bin.
        newest = select(func.max(publications.c.timestamp_version)).where(self._shown_before(instant)).scalar_subquery()
        empty = (
            select(publications.c.id)
            .where(self._shown_before(instant))
            .where(publications.c.timestamp_version < newest)
            .where(publications.c.id.not_in(select(publication_bins.c.publication_id)))
            .limit(most)
        )
        return connection.execute(delete(publications).where(publications.c.id.in_(empty))).rowcount
