"""Writes imports into the audit log."""

from __future__ import annotations

from wharfinger_daemon.audit.leaf import Leaf
from wharfinger_daemon.storage.journal import Journal, JournalTransaction


class JournalImportLog:
    """``keys.importing.ImportLog`` on the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def log(self, leaf: Leaf) -> None:
        def work(transaction: JournalTransaction) -> None:
            transaction.log(leaf)

        await self._journal.write(work)
