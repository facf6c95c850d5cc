"""Targets, role versions and publications in the database."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, case, delete, func, insert, or_, select, update

from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, Reason
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import (
    BINS,
    SNAPSHOT,
    TIMESTAMP,
    Change,
    ClaimedVersions,
    OnlineKeys,
    Publication,
    PublicationOrder,
    evade,
    plan,
)
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.schema import metadata_roles, publication_bins, publications, targets

_PREPARED = "prepared"
_PUBLISHED = "published"
# Both SQLite and PostgreSQL take this many parameters in one statement, with room to spare.
_NAMES_AT_ONCE = 500
# No offline role has a dash in its name, and every bin has one.
_ONLINE = or_(metadata_roles.c.role.in_((SNAPSHOT, TIMESTAMP)), metadata_roles.c.role.contains("-"))


class SqlPublications:
    """``metadata.ports.PublicationRecords`` on the tables ``targets``, ``metadata_roles``, ``publications`` and
    ``publication_bins``.

    Args:
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.
    """

    def __init__(self, database: Database, repository: str) -> None:
        self._database = database
        self._repository = repository

    async def newest(self) -> Publication | None:
        return await self._database.run(self._newest)

    async def prepare(self, order: PublicationOrder) -> Publication | None:
        def work(connection: Connection) -> Publication | None:
            self._require_finished(connection)
            change = order.change.beyond(self._listed(connection, order.change.paths))
            touched = {order.offline.bins.role_for(path) for path in change.paths}
            planned = plan(order, touched, self._states(connection))
            if planned is None:
                return None
            self._apply(connection, change, order)
            self._replace_states(connection, planned.states)
            self._record(connection, planned.publication, order.at)
            return planned.publication

        return await self._database.run(work)

    async def evade(self, claimed: Mapping[str, ClaimedVersions], order: PublicationOrder) -> Publication:
        def work(connection: Connection) -> Publication:
            prepared = self._newest(connection)
            if prepared is None or prepared.published:
                raise CorruptStateError(
                    "There is no prepared publication whose versions could be changed.",
                    reason=Reason.PUBLICATION_FAILED,
                )
            planned = evade(prepared, self._states(connection), claimed, order)
            # Its rows of bins go with it.
            connection.execute(
                delete(publications)
                .where(publications.c.repository == self._repository)
                .where(publications.c.state == _PREPARED)
            )
            self._replace_states(connection, planned.states)
            self._record(connection, planned.publication, order.at)
            return planned.publication

        return await self._database.run(work)

    async def last_shown(self) -> int:
        query = (
            select(func.coalesce(func.max(publications.c.timestamp_version), 0))
            .where(publications.c.repository == self._repository)
            .where(publications.c.state == _PUBLISHED)
        )
        return await self._database.run(lambda connection: connection.execute(query).scalar_one())

    async def mark_published(self, publication: Publication, at: datetime) -> None:
        def work(connection: Connection) -> None:
            connection.execute(
                update(publications)
                .where(publications.c.repository == self._repository)
                .where(publications.c.timestamp_version == publication.timestamp_version)
                .where(publications.c.state == _PREPARED)
                .values(state=_PUBLISHED, published_at=at)
            )

        await self._database.run(work)

    async def states(self) -> Mapping[str, RoleState]:
        return await self._database.run(self._states)

    async def expiring(self, before: datetime, limit: int) -> list[RoleState]:
        query = (
            select(metadata_roles)
            .where(metadata_roles.c.repository == self._repository)
            .where(metadata_roles.c.expires < before)
            .order_by(metadata_roles.c.expires, metadata_roles.c.role)
            .limit(limit)
        )
        return await self._database.run(lambda connection: [_state(row) for row in connection.execute(query)])

    async def signed_by_others(self, keys: OnlineKeys, limit: int) -> list[RoleState]:
        expected = case(
            (metadata_roles.c.role == SNAPSHOT, keys.snapshot),
            (metadata_roles.c.role == TIMESTAMP, keys.timestamp),
            else_=keys.bins,
        )
        query = (
            select(metadata_roles)
            .where(metadata_roles.c.repository == self._repository)
            .where(_ONLINE)
            .where(metadata_roles.c.keyid != expected)
            .order_by(metadata_roles.c.role)
            .limit(limit)
        )
        return await self._database.run(lambda connection: [_state(row) for row in connection.execute(query)])

    async def signers(self) -> Mapping[str, Mapping[str, int]]:
        kind = case((metadata_roles.c.role.in_((SNAPSHOT, TIMESTAMP)), metadata_roles.c.role), else_=BINS)
        query = (
            select(kind.label("kind"), metadata_roles.c.keyid, func.count().label("roles"))
            .where(metadata_roles.c.repository == self._repository)
            .where(_ONLINE)
            .group_by(kind, metadata_roles.c.keyid)
        )

        def work(connection: Connection) -> Mapping[str, Mapping[str, int]]:
            counted: dict[str, dict[str, int]] = {}
            for row in connection.execute(query):
                counted.setdefault(row.kind, {})[row.keyid] = row.roles
            return counted

        return await self._database.run(work)

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

        await self._database.run(work)

    async def targets_of(self, bins: Collection[str]) -> Mapping[str, list[Target]]:
        def work(connection: Connection) -> Mapping[str, list[Target]]:
            listed: dict[str, list[Target]] = {role: [] for role in bins}
            for names in _batches(bins):
                query = (
                    select(targets)
                    .where(targets.c.repository == self._repository)
                    .where(targets.c.bin.in_(names))
                    .order_by(targets.c.bin, targets.c.path)
                )
                for row in connection.execute(query):
                    listed[row.bin].append(_target(row))
            return listed

        return await self._database.run(work)

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

    def _listed(self, connection: Connection, paths: Collection[str]) -> Mapping[str, Target]:
        listed = {}
        for names in _batches(paths):
            query = select(targets).where(targets.c.repository == self._repository).where(targets.c.path.in_(names))
            listed.update({row.path: _target(row) for row in connection.execute(query)})
        return listed

    def _states(self, connection: Connection) -> Mapping[str, RoleState]:
        query = select(metadata_roles).where(metadata_roles.c.repository == self._repository)
        return {row.role: _state(row) for row in connection.execute(query)}

    def _apply(self, connection: Connection, change: Change, order: PublicationOrder) -> None:
        for names in _batches(change.paths):
            connection.execute(
                delete(targets).where(targets.c.repository == self._repository).where(targets.c.path.in_(names))
            )
        rows = [
            {
                "repository": self._repository,
                "path": path,
                "bin": order.offline.bins.role_for(path),
                "length": target.length,
                "hashes": json.dumps(dict(target.hashes), sort_keys=True),
            }
            for path, target in change.add.items()
        ]
        if rows:
            connection.execute(insert(targets), rows)

    def _replace_states(self, connection: Connection, states: Sequence[RoleState]) -> None:
        for names in _batches([state.role for state in states]):
            connection.execute(
                delete(metadata_roles)
                .where(metadata_roles.c.repository == self._repository)
                .where(metadata_roles.c.role.in_(names))
            )
        rows = [
            {
                "repository": self._repository,
                "role": state.role,
                "version": state.version,
                "expires": state.expires,
                "keyid": state.keyid,
            }
            for state in states
        ]
        connection.execute(insert(metadata_roles), rows)

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


def _state(row: Row[Any]) -> RoleState:
    return RoleState(row.role, row.version, row.expires, row.keyid)


def _target(row: Row[Any]) -> Target:
    try:
        return Target(row.path, row.length, json.loads(row.hashes))
    except (InvalidRequestError, ValueError, AttributeError, TypeError) as error:
        raise CorruptStateError(
            f"The database has a target that is none, in '{row.bin}': {error} Restore the database from a good copy.",
            reason=Reason.TARGET_INVALID,
            role=row.bin,
        ) from error


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(sorted(names))
    while batch := list(islice(remaining, _NAMES_AT_ONCE)):
        yield batch
