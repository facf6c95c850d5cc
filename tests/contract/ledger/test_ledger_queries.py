"""What the ledger reads does not grow with what it holds."""

from functools import partial

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

    # Goes to the driver as it is, where no event tells of it.
    statements.append((str(MADE.compile(dialect=database.engine.dialect)), {"made": b"signature", "of_leaf": 1}))
    if database.file is not None:
        statements[-1] = (statements[-1][0], (b"signature", 1))
        _require_searches(await database.read(partial(_sqlite_plans, statements=statements)))
    else:
        _require_no_sequential_scan(await database.run(partial(_postgresql_plans, statements=statements)))


def _sqlite_plans(connection, statements):
    return [
        (statement, step.detail)
        for statement, parameters in statements
        for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        if "ledger_" in step.detail
    ]


def _require_searches(found):
    assert found
    for statement, step in found:
        assert "SEARCH" in step, statement
        assert any(column in step for column in ("role=?", "entry=?", "rowid=?", "epoch=?")), statement


def _postgresql_plans(connection, statements):
    # Where a table is small, reading it whole is quicker, unless that is forbidden.
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    return [
        (statement, step)
        for statement, parameters in statements
        for step in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
    ]


def _require_no_sequential_scan(found):
    assert any("Index" in step for _, step in found)
    for statement, step in found:
        assert "Seq Scan" not in step, (statement, step)
