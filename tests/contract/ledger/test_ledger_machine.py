"""Any sequence of calls on any ledger keeps its promises, and the implementations agree."""

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.postgresql_cluster import PostgresqlCluster
from wharfinger_daemon.errors import RefusedError
from wharfinger_daemon.signing.ledger import Epoch, Requester, Reservation
from wharfinger_daemon.signing.memory_ledger import MemoryLedger
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.migrate import upgrade

JUMP = 5
AT = datetime(2030, 1, 1, tzinfo=UTC)
REQUESTER = Requester("caller", "request")
EPOCHS = [Epoch("a" * 64), Epoch("b" * 64)]

reservations = st.builds(
    lambda epoch, role, version, content, keyid, meta: Reservation(
        epoch, role, version, content, keyid, meta if role == "snapshot" else {}
    ),
    st.sampled_from(EPOCHS),
    st.sampled_from(["bins-0", "snapshot"]),
    st.integers(0, 12),
    st.sampled_from([b"x" * 32, b"y" * 32]),
    st.sampled_from(["key", "other"]),
    st.dictionaries(st.sampled_from(["targets", "bins-0", "bins-1"]), st.integers(1, 8)),
)


class LedgerMachine(RuleBasedStateMachine):
    cluster: PostgresqlCluster

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite:///{Path(self.folder.name) / 'ledger.db'}")
        upgrade(self.database)
        self.server = Database(self.cluster.new_url())
        self.ledgers = [MemoryLedger(), *(SqlLedger(Journal(database)) for database in (self.database, self.server))]
        self.loop = asyncio.new_event_loop()
        self.digests = {}
        self.signatures = {}
        self.leaves = {}
        self.highest = {}

    def teardown(self):
        self.loop.close()
        self.database.close()
        self.server.close()
        self.folder.cleanup()

    def all(self, call):
        """What all ledgers answer, which must be the same."""
        answers = []
        for ledger in self.ledgers:
            try:
                answers.append(self.loop.run_until_complete(call(ledger)))
            except RefusedError as error:
                answers.append((error.reason, error.message, error.details))
        assert [answers[0]] * len(answers) == answers
        return answers[0]

    @rule(batch=st.lists(reservations, min_size=1, max_size=4))
    def reserve(self, batch):
        answer = self.all(lambda ledger: ledger.reserve(batch, REQUESTER, max_version_jump=JUMP, at=AT))
        if isinstance(answer, tuple):
            return
        for one, recorded in zip(batch, answer, strict=True):
            version = (one.epoch, one.role, one.version)
            assert one.digest == self.digests.setdefault(version, one.digest)
            assert self.signatures.get((*version, one.keyid)) == recorded.signature
            assert recorded.leaf == self.leaves.setdefault((*version, one.keyid), recorded.leaf)
            assert len(self.leaves) > recorded.leaf.index, "leaves are numbered without gaps"

    @rule(data=st.data(), signature=st.binary(min_size=1, max_size=4), synced=st.booleans())
    def record(self, data, signature, synced):
        if not self.leaves:
            return
        version = data.draw(st.sampled_from(sorted(self.leaves, key=repr)))
        made = [(self.leaves[version], signature)]
        [kept] = self.all(lambda ledger: ledger.record(made, synced=synced))
        assert kept == self.signatures.setdefault(version, signature)

    @rule(batch=st.lists(reservations, max_size=4))
    def preview(self, batch):
        async def said(ledger):
            answers = await ledger.preview(batch, max_version_jump=JUMP)
            return [answer.message if isinstance(answer, RefusedError) else answer for answer in answers]

        self.all(said)

    @invariant()
    def floors_agree_and_never_go_down(self):
        for epoch in EPOCHS:
            floors = self.all(lambda ledger, epoch=epoch: ledger.floors(epoch))
            for role, names in floors.items():
                for name, version in names.items():
                    assert version >= self.highest.get((epoch, role, name), 0)
                    self.highest[epoch, role, name] = version


@pytest.fixture(scope="module", autouse=True)
def server(postgresql):
    LedgerMachine.cluster = postgresql


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
