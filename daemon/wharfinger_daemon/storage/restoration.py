"""Writes the rows of a repository anew from its published metadata, when the database with them was lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, insert, select
from tuf.api.metadata import Signed, Targets

from wharfinger_daemon.errors import AlreadyExistsError, Reason
from wharfinger_daemon.storage.listed_targets import hashes_text
from wharfinger_daemon.storage.schema import metadata_roles, publications, targets


class Restoration:
    """Takes the published roles one after another. ``seen`` fits ``signing.recovery.verify_publication``.

    Args:
        repository: its identity, the hexadecimal SHA-256 of its trusted root 1.

    Attributes:
        targets: how many were written.

    Raises:
        AlreadyExistsError: the database has rows of this repository; they are the truth, and stay.
    """

    def __init__(self, connection: Connection, repository: str) -> None:
        self._connection = connection
        self._repository = repository
        self.targets = 0
        query = select(func.count()).select_from(metadata_roles).where(metadata_roles.c.repository == repository)
        if connection.execute(query).scalar_one():
            raise AlreadyExistsError(
                "The database has targets and versions of this repository already, which are never overwritten. Leave "
                "--with-targets out, to rebuild the ledger alone.",
                reason=Reason.RECORDS_BEHIND,
            )

    def seen(self, role: str, signed: Signed, keyid: str) -> None:
        """Takes one verified role.

        Args:
            keyid: of the key that signed it; empty for a role that is signed elsewhere.
        """
        row = {
            "repository": self._repository,
            "role": role,
            "version": signed.version,
            "expires": signed.expires,
            "keyid": keyid,
        }
        self._connection.execute(insert(metadata_roles), row)
        if isinstance(signed, Targets) and signed.targets:
            self._connection.execute(insert(targets), [self._target(role, path, signed) for path in signed.targets])
            self.targets += len(signed.targets)

    def finish(self, versions: Mapping[str, int], at: datetime) -> None:
        """Writes the publication that shows all this."""
        row = {
            "repository": self._repository,
            "state": "published",
            "snapshot_version": versions["snapshot"],
            "timestamp_version": versions["timestamp"],
            "prepared_at": at,
            "published_at": at,
        }
        self._connection.execute(insert(publications), row)

    def _target(self, role: str, path: str, signed: Targets) -> dict[str, object]:
        described = signed.targets[path]
        return {
            "repository": self._repository,
            "path": path,
            "bin": role,
            "length": described.length,
            "hashes": hashes_text(described.hashes),
        }
