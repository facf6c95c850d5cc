"""Any sequence of acts, ceremonies and restarts: never two active keys in a line, never back from destroyed, never
active without the verified metadata; and all kinds of records agree.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.key_repositories import KeyWorld, OnlineKey
from tests.support.postgresql_cluster import PostgresqlCluster
from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.keys.life_cycle import LineKey, begin_destruction, finish_destruction
from wharfinger_daemon.keys.memory_records import MemoryKeyRecords
from wharfinger_daemon.keys.records import Changes, KeyRecords
from wharfinger_daemon.keys.succession import Situation
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.keys import SqlKeyRecords
from wharfinger_daemon.storage.migrate import upgrade

KEYS = [OnlineKey() for _ in range(3)]
some_keys = st.lists(st.sampled_from(KEYS), unique_by=lambda key: key.keyid, max_size=3)
some_key = st.sampled_from(KEYS)
Act = Callable[[KeyWorld], Coroutine[None, None, object]]


class KeyMachine(RuleBasedStateMachine):
    cluster: PostgresqlCluster

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite:///{Path(self.folder.name) / 'keys.db'}")
        upgrade(self.database)
        self.server = Database(self.cluster.new_url())
        kinds: list[KeyRecords] = [
            MemoryKeyRecords(),
            *(SqlKeyRecords(database, Journal(database)) for database in (self.database, self.server)),
        ]
        self.worlds = [KeyWorld(records, *KEYS[:2]) for records in kinds]
        # All judge by the same metadata.
        for world in self.worlds[1:]:
            world.repository = self.worlds[0].repository
            world.administration._clock = self.worlds[0].repository.clock
        self.loop = asyncio.new_event_loop()
        self.destroyed: set[str] = set()
        self.active: dict[str, bool] = {}

    def teardown(self) -> None:
        self.loop.close()
        self.database.close()
        self.server.close()
        self.folder.cleanup()

    def all(self, act: Act) -> str:
        """What becomes of an act on all kinds of records, which must be the same."""
        answers = []
        for world in self.worlds:
            try:
                self.loop.run_until_complete(act(world))
                answers.append("")
            except WharfingerError as error:
                answers.append(f"{error.reason}: {error.message}")
        assert [answers[0]] * len(answers) == answers
        return answers[0]

    def rows(self) -> dict[str, LineKey]:
        first, *others = (self.loop.run_until_complete(world.rows()) for world in self.worlds)
        assert [first] * len(others) == others
        return first

    def situation(self) -> Situation:
        world = self.worlds[0]
        trusted = world.standing.now.repository("pypi")
        return Situation(
            trusted, tuple(world.administration._lines), dict(world.token.labels), world.repository.clock.now()
        )

    @initialize(keys=some_keys)
    def first_start(self, keys: list[OnlineKey]) -> None:
        self.ceremony(keys, keys)
        assert not self.all(lambda world: world.administration.start())

    @rule(keys=some_keys, bins=some_keys)
    def ceremony(self, keys: list[OnlineKey], bins: list[OnlineKey]) -> None:
        self.worlds[0].repository.list(*keys, bins=bins)
        trusted = self.loop.run_until_complete(self.worlds[0].repository.trusted())
        for world in self.worlds:
            world.standing.trust(trusted)

    @rule(key=some_key, present=st.booleans())
    def token_changes(self, key: OnlineKey, present: bool) -> None:
        for world in self.worlds:
            if present:
                world.token.labels[key.der] = f"online-{KEYS.index(key) + 1}"
            else:
                world.token.labels.pop(key.der, None)

    @rule()
    def adopt(self) -> None:
        assert not self.all(lambda world: world.administration.adopt("pypi"))

    @rule()
    def succeed(self) -> None:
        assert not self.all(lambda world: world.administration.succeed("pypi", caller="security"))

    @rule(key=some_key)
    def publish(self, key: OnlineKey) -> None:
        self.all(lambda world: world.administration.publish(key.keyid, caller="security"))

    @rule(key=some_key)
    def activate(self, key: OnlineKey) -> None:
        if not self.all(lambda world: world.administration.activate(key.keyid, caller="security")):
            assert KeyState.ACTIVE is self.rows()[key.keyid].state

    @rule(key=some_key)
    def retire(self, key: OnlineKey) -> None:
        self.all(lambda world: world.administration.retire(key.keyid, caller="security"))

    @rule(key=some_key, finished=st.booleans())
    def destroy(self, key: OnlineKey, finished: bool) -> None:
        row = self.rows().get(key.keyid)
        if row is None:
            return
        situation = self.situation()
        try:
            gone = begin_destruction(row, situation.evidence(row), 0, situation.at)
        except WharfingerError:
            return
        gone = finish_destruction(gone) if finished else gone
        for world in self.worlds:
            change = world.records.change(world.repository.identity, lambda keys: Changes((gone,)))
            self.loop.run_until_complete(change)
        if finished:
            self.destroyed.add(key.keyid)

    @invariant()
    def never_two_active_keys(self) -> None:
        rows = self.rows()
        assert [row.state for row in rows.values()].count(KeyState.ACTIVE) <= 1

    @invariant()
    def never_back_from_destroyed(self) -> None:
        rows = self.rows()
        for keyid in self.destroyed:
            assert KeyState.DESTROYED is rows[keyid].state

    @invariant()
    def never_activated_without_the_verified_metadata(self) -> None:
        rows = self.rows()
        now = {keyid: row.state is KeyState.ACTIVE for keyid, row in rows.items()}
        for keyid, active in now.items():
            if active and not self.active.get(keyid, False):
                evidence = self.situation().evidence(rows[keyid])
                assert ((), True) == (evidence.missing, evidence.held)
        self.active = now

    @invariant()
    def signing_knows_no_other_active_key(self) -> None:
        rows = self.rows()
        for world in self.worlds:
            for keyid, state in world.states().items():
                if state in (KeyState.ACTIVE, KeyState.RETIRING):
                    assert state is rows[keyid].state or rows[keyid].destroyed_at is not None


@pytest.fixture(scope="module", autouse=True)
def server(postgresql: PostgresqlCluster) -> None:
    KeyMachine.cluster = postgresql


TestKeyMachine = KeyMachine.TestCase
TestKeyMachine.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
