"""Checkpoints of a real log in a real database, signed with a key in memory."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_daemon.audit.checkpoint import CheckpointError, LogKey, parse_vkey, read_checkpoint
from wharfinger_daemon.audit.checkpointer import Checkpointer, KeptCheckpoint, require_consistent
from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.custody.log_key import LogSigner
from wharfinger_daemon.errors import CorruptStateError, Reason, StartupError, UnavailableError
from wharfinger_daemon.signing.memory_keys import MemoryKeys
from wharfinger_daemon.storage.audit_log import SqlAuditLog, begin_log
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.migrate import upgrade

AT = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}


class Remembering:
    """Implements ``LogObserver``."""

    def __init__(self):
        self.sizes = []

    def looked(self, leaves, covered):
        pass

    def checkpointed(self, size, at):
        self.sizes.append(size)


class World:
    def __init__(self, folder, key="ed25519"):
        self.path = folder / "log.db"
        self.database = Database(f"sqlite:///{self.path}")
        upgrade(self.database)
        self.journal = Journal(self.database)
        self.log = SqlAuditLog(self.database)
        self.tokens = MemoryKeys([KEYS[key]])
        public = KEYS[key].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key = LogKey(begin_log(self.journal, "example.com/log", FixedClock(AT)), public)
        self.kept = KeptCheckpoint(folder / "audit-checkpoint")
        self.observer = Remembering()

    def checkpointer(self, seconds=1000.0):
        signer = LogSigner(self.tokens, self.key.public_key, 1)
        return Checkpointer(self.log, self.key, signer, self.kept, FixedClock(AT), seconds, self.observer)

    async def started(self):
        made = self.checkpointer()
        made.start(await require_consistent(self.log, [self.key], self.kept))
        return made

    def grow(self, count=1):
        for number in range(count):
            self.journal.write_blocking(lambda tx, n=number: tx.log(Leaf(Act.SIGNATURE, AT, "warehouse", {"n": n})))

    def edit(self, statement):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.database.close()


@pytest.mark.parametrize("kind", KEYS)
async def test_checkpoint_is_signed_by_any_kind_of_key_and_verified_by_its_vkey(tmp_path, kind):
    world = World(tmp_path, kind)
    world.grow(5)
    assert await world.checkpointer().sign_news()
    signed = await world.log.checkpoint(None)
    assert 6 == signed.checkpoint.size
    assert signed.checkpoint == parse_vkey(world.key.vkey).verify(signed.note)
    assert signed.checkpoint.root == await world.log.root(6)
    assert signed.note == world.kept.read()
    world.database.close()


async def test_without_news_nothing_is_signed(world):
    checkpointer = world.checkpointer()
    assert [True, False] == [await checkpointer.sign_news(), await checkpointer.sign_news()]
    world.grow()
    assert await checkpointer.sign_news()
    assert [1, 2] == world.observer.sizes
    assert 1 == (await world.log.checkpoint(1)).checkpoint.size
    assert await world.log.checkpoint(7) is None


async def test_orderly_end_signs_what_is_left(world):
    checkpointer = await world.started()
    world.grow(3)
    await checkpointer.close()
    assert [4] == world.observer.sizes
    await checkpointer.close()


async def test_news_are_signed_by_themselves_and_a_token_that_comes_back_is_used(world):
    world.tokens.available = False
    checkpointer = world.checkpointer(seconds=0.01)
    checkpointer.start(None)
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert [] == world.observer.sizes
    assert checkpointer.problem is None, "not overdue yet"
    world.tokens.available = True
    async with asyncio.timeout(30):
        while not world.observer.sizes:
            await asyncio.sleep(0.01)
    await checkpointer.close()


async def test_copy_that_could_not_be_written_is_written_later(world, tmp_path):
    checkpointer = world.checkpointer()
    world.kept.path = tmp_path / "missing" / "copy"
    with pytest.raises(OSError, match="missing"):
        await checkpointer.sign_news()
    world.kept.path.parent.mkdir()
    assert not await checkpointer.sign_news()
    assert (await world.log.checkpoint(None)).note == world.kept.read()


@pytest.mark.parametrize(
    "edits",
    [
        ["DELETE FROM audit_checkpoints"],
        ["DELETE FROM audit_checkpoints WHERE size > 10"],
        ["UPDATE audit_checkpoints SET root = zeroblob(32), note = 'no note'"],
        ["UPDATE audit_leaves SET hash = zeroblob(32) WHERE position = 3"],
        ["DELETE FROM audit_leaves WHERE position > 12"],
    ],
)
async def test_history_that_is_changed_under_a_running_daemon_is_never_signed(world, edits):
    """Whoever takes checkpoints away must not get new ones for another past."""
    checkpointer = world.checkpointer()
    world.grow(9)
    await checkpointer.sign_news()
    world.grow(10)
    await checkpointer.sign_news()
    before = world.kept.read()
    for edit in edits:
        world.edit(edit)
    if "WHERE position >" not in edits[0]:
        world.grow(3)
    with pytest.raises(CorruptStateError) as caught:
        await checkpointer.sign_news()
    assert Reason.LOG_INVALID == caught.value.reason
    assert (before, [10, 20]) == (world.kept.read(), world.observer.sizes)


async def test_changed_history_is_a_problem_at_once(world):
    world.grow(3)
    checkpointer = world.checkpointer(seconds=0.01)
    checkpointer.start(None)
    async with asyncio.timeout(30):
        while not world.observer.sizes:
            await asyncio.sleep(0.01)
        world.edit("DELETE FROM audit_checkpoints")
        while checkpointer.problem is None:
            await asyncio.sleep(0.01)
    assert "lost what was signed" in checkpointer.problem
    await checkpointer.close()


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ("UPDATE audit_leaves SET hash = zeroblob(32) WHERE position = 2", "Its root is not"),
        ("DELETE FROM audit_leaves WHERE position = 6", "It vouches for 7 leaves"),
        ("DELETE FROM audit_checkpoints", "the database has no checkpoint of as many"),
        ("UPDATE audit_checkpoints SET note = 'no note'", "This is no signed note"),
        ("UPDATE audit_checkpoints SET note = CAST(replace(note, '/log', '/lag') AS BLOB)", "is of the log"),
    ],
)
async def test_start_is_refused_on_a_log_that_is_not_what_was_signed(world, edit, why):
    world.grow(6)
    await world.checkpointer().sign_news()
    world.edit(edit)
    with pytest.raises(StartupError, match=why) as caught:
        await require_consistent(world.log, [world.key], world.kept)
    assert Reason.LOG_INVALID == caught.value.reason


async def test_log_outlives_its_key_if_the_former_is_named(world, tmp_path):
    await world.checkpointer().sign_news()
    former = world.key
    public = KEYS["p256"].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    successor = LogKey(former.origin, public)
    with pytest.raises(StartupError, match="signed with another key"):
        await require_consistent(world.log, [successor], world.kept)
    assert 1 == (await require_consistent(world.log, [successor, former], world.kept)).size


async def test_copy_that_cannot_be_read_is_no_missing_copy(world):
    world.kept.path.mkdir()
    with pytest.raises(StartupError, match="cannot be read"):
        await require_consistent(world.log, [world.key], world.kept)


async def test_signature_of_a_witness_is_left_alone(world):
    await world.checkpointer().sign_news()
    note = world.kept.read()
    witnessed = note + "— witness.example.com AAAABBBBCCCC\n".encode()
    assert world.key.verify(note) == world.key.verify(witnessed)


async def test_signature_that_the_token_got_wrong_is_not_kept(world):
    class Wrong:
        async def sign(self, message, digest):
            return b"x" * 64

    checkpointer = Checkpointer(world.log, world.key, Wrong(), world.kept, FixedClock(AT), 1000, world.observer)
    with pytest.raises(CheckpointError, match="does not hold"):
        await checkpointer.sign_news()
    assert await world.log.checkpoint(None) is None


@pytest.mark.parametrize(
    "vkey", ["", "a+b", "a+00000000+AQ==", "a+00000000+Ag==", "a+00000000+?", "a+00000000+AQ" + "A" * 42 + "="]
)
def test_what_is_no_verifier_key_is_refused(vkey):
    with pytest.raises(CheckpointError, match="no verifier key"):
        parse_vkey(vkey)


def test_key_of_an_unknown_kind_is_refused():
    other = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ValueError, match=r"[Cc]ould not|neither|kind|parse|deserialize"):
        LogKey("example.com", other[:-3])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"example.com\n1\nAAAA\n",
        "example.com\n1\nAAAA\n\n— example.com AAAABBBB\n".encode(),
        "example.com\n01\n{root}\n\n— example.com AAAABBBB\n".encode(),
        "\n1\n{root}\n\n— example.com AAAABBBB\n".encode(),
        "example.com\n1\n{root}\n\n— example.com AAAABBBB".encode(),
        b"example.com\n1\n{root}\n\n- example.com AAAABBBB\n",
        "example.com\n1\n{root}\nmore\n\n— example.com AAAABBBB\n".encode(),
        b"\xff\n\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(note):
    with pytest.raises(CheckpointError):
        read_checkpoint(note.replace(b"{root}", b"A" * 43 + b"="))


async def test_unavailable_token_is_told_as_such(world):
    world.tokens.available = False
    with pytest.raises(UnavailableError):
        await world.checkpointer().sign_news()
