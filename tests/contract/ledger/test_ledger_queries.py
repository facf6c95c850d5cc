"""What the ledger reads does not grow with what it holds."""

from sqlalchemy import event

from wharfinger_daemon.signing.ledger import SignatureRecord
from wharfinger_daemon.storage.ledger import SqlLedger


async def test_every_lookup_goes_through_an_index(database, reservation, at):
    """A year of PyPI is millions of entries: a query that reads them all would be noticed too late."""
    ledger = SqlLedger(database)
    statements = []
    batch = [reservation(1, role=f"bins-{number}") for number in range(3)]

    @event.listens_for(database.engine, "before_cursor_execute")
    def remember(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith(("SELECT", "WITH", "UPDATE")):
            statements.append((statement, parameters[0] if executemany else parameters))

    for _ in range(2):
        await ledger.reserve(batch, max_version_jump=10, at=at)
        await ledger.record([SignatureRecord(one, b"signature", "caller", "request") for one in batch], at=at)
        batch = [reservation(2, role=f"bins-{number}") for number in range(3)]
    assert {"WITH", "SELECT", "UPDATE"} == {statement.split(maxsplit=1)[0] for statement, _ in statements}

    def plans(connection):
        return [
            (statement, step.detail)
            for statement, parameters in list(statements)
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            if "ledger_" in step.detail
        ]

    found = await database.run(plans)
    assert found
    for statement, step in found:
        assert "SEARCH" in step, statement
        assert any(column in step for column in ("role=?", "entry_id=?")), statement
