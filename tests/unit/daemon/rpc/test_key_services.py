"""The key services tell what administrators may see, and pass acts on with the caller's name."""

from datetime import UTC, datetime

import pytest

from tests.support.key_repositories import KeyWorld, OnlineKey
from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger_daemon.errors import InvalidRequestError, NotFoundError, NotGrantedError, Reason
from wharfinger_daemon.keys.importing import ImportedFile, ImportOutcome
from wharfinger_daemon.keys.life_cycle import begin_destruction, finish_destruction
from wharfinger_daemon.keys.memory_records import MemoryKeyRecords
from wharfinger_daemon.keys.records import Changes
from wharfinger_daemon.keys.succession import Situation
from wharfinger_daemon.rpc.callers import Grants
from wharfinger_daemon.rpc.keys import KeyAdminServicer, KeyServicer
from wharfinger_daemon.rpc.passage import Call, current_call
from wharfinger_daemon.signing.suspension import Suspension

OLD, NEW = OnlineKey(), OnlineKey()
SINCE = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class RecordingImports:
    """Takes whatever comes."""

    def __init__(self):
        self.taken = []

    async def take(self, repository, files, *, caller, revoke, dry_run):
        self.taken.append((repository, list(files), caller, revoke, dry_run))
        return ImportOutcome(("2.root.json",), {"root": 2, "targets": 1, "bins": 1}, 7)


class RecordingSuspensions:
    """Remembers who asked for what."""

    def __init__(self):
        self.asked = []

    async def suspend(self, repository, reason, *, caller):
        self.asked.append(("suspend", repository, caller))
        return Suspension(repository, reason, caller, SINCE)

    async def resume(self, repository, *, caller):
        self.asked.append(("resume", repository, caller))

    async def all(self):
        return [Suspension("pypi", "why", "security", SINCE)]


@pytest.fixture
def called_by():
    """Makes the rest of the test a call of a caller with these repositories."""

    def begin(*repositories):
        grants = Grants("security", "security", ("wharfinger.keys.v1.KeyAdminService/*",), repositories, ())
        current_call.set(Call("request", grants, 10.0))

    return begin


@pytest.fixture
async def world():
    made = KeyWorld(MemoryKeyRecords(), OLD, NEW)
    await made.trust(OLD, NEW)
    await made.administration.start()
    await made.administration.activate(OLD.keyid, caller="local")
    return made


@pytest.fixture
def reading(world):
    return KeyServicer(world.administration)


@pytest.fixture
def parts():
    return RecordingImports(), RecordingSuspensions()


@pytest.fixture
def acting(world, parts):
    return KeyAdminServicer(world.administration, *parts)


async def test_keys_are_listed_by_page_with_all_that_is_known(reading, called_by):
    called_by("pypi")
    first = await reading.ListKeys(wire.ListKeysRequest(page_size=1), None)
    rest = await reading.ListKeys(wire.ListKeysRequest(repository="pypi", page_token=first.next_page_token), None)
    keys = {key.keyid: key for key in (*first.keys, *rest.keys)}
    assert {OLD.keyid, NEW.keyid} == set(keys)
    assert "" == rest.next_page_token
    active = keys[OLD.keyid]
    assert ("pypi", "online", wire.KEY_STATE_ACTIVE, "ecdsa", "online-1", True) == (
        active.repository,
        active.line,
        active.state,
        active.keytype,
        active.label,
        active.held,
    )
    assert active.public_key_pem.startswith("-----BEGIN PUBLIC KEY-----")
    assert {"timestamp", "snapshot", "bins-*"} == set(active.roles)
    assert active.HasField("activated_at") and not active.HasField("retired_at")


async def test_destruction_that_is_not_finished_has_no_time_yet(world, reading, called_by):
    called_by("pypi")
    await world.trust(OLD)
    row = (await world.rows())[NEW.keyid]
    trusted = world.standing.now.repository("pypi")
    situation = Situation(trusted, tuple(world.administration._lines), world.token.labels, SINCE)
    begun = begin_destruction(row, situation.evidence(row), 0, SINCE)
    for changed, told in ((begun, False), (finish_destruction(begun), True)):
        await world.records.change(world.repository.identity, lambda keys, changed=changed: Changes((changed,)))
        key = (await reading.GetKey(wire.GetKeyRequest(keyid=NEW.keyid), None)).key
        assert told is key.HasField("destroyed_at")
    assert wire.KEY_STATE_DESTROYED == key.state


async def test_caller_sees_and_moves_keys_of_granted_repositories_alone(world, reading, acting, parts, called_by):
    called_by("another")
    assert [] == list((await reading.ListKeys(wire.ListKeysRequest(), None)).keys)
    for asking in (
        reading.ListKeys(wire.ListKeysRequest(repository="pypi"), None),
        reading.GetKey(wire.GetKeyRequest(keyid=NEW.keyid), None),
        acting.PublishKey(wire.PublishKeyRequest(keyid=NEW.keyid), None),
        acting.ActivateKey(wire.ActivateKeyRequest(keyid=NEW.keyid), None),
        acting.RetireKey(wire.RetireKeyRequest(keyid=NEW.keyid), None),
        acting.ImportMetadata(wire.ImportMetadataRequest(repository="pypi"), None),
        acting.SuspendSigning(wire.SuspendSigningRequest(repository="pypi"), None),
        acting.ResumeSigning(wire.ResumeSigningRequest(repository="pypi"), None),
    ):
        with pytest.raises(NotGrantedError) as caught:
            await asking
        assert Reason.REPOSITORY_NOT_GRANTED == caught.value.reason
    assert ([], []) == (parts[0].taken, parts[1].asked)
    assert [] == list((await acting.ListSuspensions(wire.ListSuspensionsRequest(), None)).suspensions)


async def test_acts_move_keys_in_the_callers_name(world, acting, called_by):
    called_by("*")
    published = await acting.PublishKey(wire.PublishKeyRequest(keyid=NEW.keyid), None)
    assert wire.KEY_STATE_PUBLISHED == published.key.state
    activated = await acting.ActivateKey(wire.ActivateKeyRequest(keyid=NEW.keyid), None)
    assert wire.KEY_STATE_ACTIVE == activated.key.state
    assert "security" == world.records.leaves[-1].caller
    await world.trust(NEW)
    retired = await acting.RetireKey(wire.RetireKeyRequest(keyid=OLD.keyid), None)
    assert wire.KEY_STATE_RETIRING == retired.key.state


@pytest.mark.parametrize(("keyid", "error"), [("", InvalidRequestError), ("0" * 64, NotFoundError)])
async def test_act_names_a_key(acting, called_by, keyid, error):
    called_by("*")
    with pytest.raises(error):
        await acting.ActivateKey(wire.ActivateKeyRequest(keyid=keyid), None)


async def test_files_of_a_ceremony_are_passed_on(acting, parts, called_by):
    called_by("pypi")
    request = wire.ImportMetadataRequest(
        repository="pypi", files=[wire.MetadataFile(name="2.root.json", content=b"{}")], revoke=True, dry_run=True
    )
    outcome = await acting.ImportMetadata(request, None)
    assert [("pypi", [ImportedFile("2.root.json", b"{}")], "security", True, True)] == parts[0].taken
    assert (["2.root.json"], {"root": 2, "targets": 1, "bins": 1}, 7) == (
        list(outcome.taken),
        dict(outcome.versions),
        outcome.timestamp_version,
    )


async def test_signing_is_suspended_and_resumed_in_the_callers_name(acting, parts, called_by):
    called_by("pypi")
    answer = await acting.SuspendSigning(wire.SuspendSigningRequest(repository="pypi", reason="why"), None)
    await acting.ResumeSigning(wire.ResumeSigningRequest(repository="pypi"), None)
    assert [("suspend", "pypi", "security"), ("resume", "pypi", "security")] == parts[1].asked
    (listed,) = (await acting.ListSuspensions(wire.ListSuspensionsRequest(), None)).suspensions
    assert listed == answer.suspension
    assert SINCE == listed.since.ToDatetime(UTC)
