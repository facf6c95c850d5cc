"""What the ledger reads does not grow with what it holds."""

from sqlalchemy import event

from wharfinger_daemon.signing.ledger import Requester
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import MADE, SqlLedger


async def test_every_lookup_goes_through_an_index(database, reservation, at):
    """A year of PyPI is millions of entries: a query that reads them all would be noticed too late."""
    ledger = SqlLedger(Journal(database))
    statements = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def remember(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith(("SELECT", "WITH")):
            statements.append((statement, parameters[0] if executemany else parameters))

    for version in (1, 1, 2):
        batch = [reservation(version, role=f"bins-{number}") for number in range(3)]
        entered = await ledger.reserve(batch, Requester("caller", "request"), max_version_jump=10, at=at)
        await ledger.record([(recorded.leaf, b"signature") for recorded in entered], synced=True)
    assert {"WITH", "SELECT"} == {statement.split(maxsplit=1)[0] for statement, _ in statements}

    def plans(connection):
        return [
            (statement, step.detail)
            for statement, parameters in list(statements)
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            if "ledger_" in step.detail
        ]

    # Goes to the driver as it is, where no event tells of it.
    statements.append((str(MADE.compile(dialect=database.engine.dialect)), (b"signature", 1)))
    found = await database.run(plans)
    assert found
    for statement, step in found:
        assert "SEARCH" in step, statement
        assert any(column in step for column in ("role=?", "entry=?", "rowid=?", "epoch=?")), statement
