"""The newest version of every role of a repository: the table ``metadata_roles``, within a transaction of others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, case, delete, func, insert, or_, select

from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import BINS, SNAPSHOT, TIMESTAMP, OnlineKeys
from wharfinger_daemon.storage.schema import metadata_roles

# Both SQLite and PostgreSQL take this many parameters in one statement, with room to spare.
_NAMES_AT_ONCE = 500
# No offline role has a dash in its name, and every bin has one.
_ONLINE = or_(metadata_roles.c.role.in_((SNAPSHOT, TIMESTAMP)), metadata_roles.c.role.contains("-"))


class RoleRows:
    """Those of one repository.

    Args:
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.
    """

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._all = select(metadata_roles).where(metadata_roles.c.repository == repository)

    def states(self, connection: Connection, roles: Collection[str] | None = None) -> Mapping[str, RoleState]:
        """Those of these roles that there are, or of all, by name."""
        if roles is None:
            return {row.role: _state(row) for row in connection.execute(self._all)}
        return {
            row.role: _state(row)
            for names in in_batches(roles)
            for row in connection.execute(self._all.where(metadata_roles.c.role.in_(names)))
        }

    def online(self, connection: Connection) -> int:
        """How many online roles there are."""
        query = select(func.count()).where(metadata_roles.c.repository == self._repository).where(_ONLINE)
        return connection.execute(query).scalar_one()

    def signed_by_others(self, connection: Connection, keys: OnlineKeys, limit: int) -> list[RoleState]:
        """Online roles whose newest version is not to be signed with these keys, by name."""
        expected = case(
            (metadata_roles.c.role == SNAPSHOT, keys.snapshot),
            (metadata_roles.c.role == TIMESTAMP, keys.timestamp),
            else_=keys.bins,
        )
        query = (
            self._all.where(_ONLINE)
            .where(metadata_roles.c.keyid != expected)
            .order_by(metadata_roles.c.role)
            .limit(limit)
        )
        return [_state(row) for row in connection.execute(query)]

    def signers(self, connection: Connection) -> Mapping[str, Mapping[str, int]]:
        """How many online roles have their newest version from which key, by kind of role and keyid."""
        kind = case((metadata_roles.c.role.in_((SNAPSHOT, TIMESTAMP)), metadata_roles.c.role), else_=BINS)
        query = (
            select(kind.label("kind"), metadata_roles.c.keyid, func.count().label("roles"))
            .where(metadata_roles.c.repository == self._repository)
            .where(_ONLINE)
            .group_by(kind, metadata_roles.c.keyid)
        )
        counted: dict[str, dict[str, int]] = {}
        for row in connection.execute(query):
            counted.setdefault(row.kind, {})[row.keyid] = row.roles
        return counted

    def replace(self, connection: Connection, states: Sequence[RoleState]) -> None:
        """Puts these states in the place of what there was of their roles."""
        for names in in_batches([state.role for state in states]):
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


def in_batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Names in order, as many at a time as one statement takes."""
    remaining = iter(sorted(names))
    while batch := list(islice(remaining, _NAMES_AT_ONCE)):
        yield batch


def _state(row: Row[Any]) -> RoleState:
    return RoleState(row.role, row.version, row.expires, row.keyid)
