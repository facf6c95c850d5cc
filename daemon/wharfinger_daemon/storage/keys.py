"""The lives of keys in the database: the table ``signing_keys``, written with the leaves of the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from wharfinger_daemon.errors import CorruptStateError, Reason
from wharfinger_daemon.keys.life_cycle import Keys, LineKey
from wharfinger_daemon.keys.records import Decision
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal, JournalTransaction
from wharfinger_daemon.storage.schema import metadata_roles, signing_keys


class SqlKeyRecords:
    """``keys.records.KeyRecords`` on the tables ``signing_keys`` and ``metadata_roles``."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database = database
        self._journal = journal

    async def all(self, repository: str) -> Keys:
        return await self._database.read(lambda connection: _keys(connection, repository))

    async def change(self, repository: str, decide: Decision) -> Keys:
        def work(transaction: JournalTransaction) -> Keys:
            present = _keys(transaction.connection, repository)
            changes = decide(present)
            for key in changes.keys:
                _write(transaction.connection, repository, key)
            for leaf in changes.leaves:
                transaction.log(leaf)
            return {**present, **{key.keyid: key for key in changes.keys}}

        return await self._journal.write(work)

    async def needed_by(self, repository: str) -> Mapping[str, int]:
        columns = metadata_roles.c
        query = (
            select(columns.keyid, func.count().label("roles"))
            .where(columns.repository == repository)
            .where(columns.keyid != "")
            .group_by(columns.keyid)
        )

        def work(connection: Connection) -> Mapping[str, int]:
            return {row.keyid: row.roles for row in connection.execute(query)}

        return await self._database.read(work)

    async def labels(self) -> frozenset[str]:
        query = select(signing_keys.c.label)
        return await self._database.read(lambda connection: frozenset(connection.execute(query).scalars()))


def _keys(connection: Connection, repository: str) -> dict[str, LineKey]:
    rows = connection.execute(select(signing_keys).where(signing_keys.c.repository == repository))
    return {row.keyid: _key(row) for row in rows}


def _key(row: Row[Any]) -> LineKey:
    try:
        state = KeyState(row.state)
    except ValueError as error:
        raise CorruptStateError(
            f"The database has key {row.keyid} in a state that there is not: '{row.state}'. Restore the database from "
            "a good copy.",
            reason=Reason.KEY_STATE_INVALID,
            keyid=row.keyid,
        ) from error
    values = {name: getattr(row, name) for name in _COLUMNS}
    return LineKey(**{**values, "state": state, "public_key": bytes(row.public_key)})


def _write(connection: Connection, repository: str, key: LineKey) -> None:
    columns = signing_keys.c
    connection.execute(delete(signing_keys).where(columns.repository == repository).where(columns.keyid == key.keyid))
    values = {name: getattr(key, name) for name in _COLUMNS}
    connection.execute(insert(signing_keys), {**values, "repository": repository, "state": key.state.value})


# A key's attributes are called as its columns.
_COLUMNS = tuple(column.name for column in signing_keys.columns if column.name != "repository")
