"""What is not taken in, and why: nothing of it is trusted, written down, or added."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from tests.support.importing import NAME, ImportWorld, Process, make_import_world
from tests.support.publishing import target
from wharfinger_daemon.bin_delegation import DelegationForm
from wharfinger_daemon.errors import (
    CorruptStateError,
    InvalidRequestError,
    NotFoundError,
    Reason,
    RefusedError,
    UnavailableError,
    WharfingerError,
)
from wharfinger_daemon.keys import importing_rules as rules
from wharfinger_daemon.keys.importing import ImportedFile
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.ports import VersionedFile
from wharfinger_daemon.metadata.repository import Repository
from wharfinger_daemon.storage.schema import audit_leaves

File = tuple[str, bytes]


@pytest.fixture
async def world(tmp_path: Path) -> ImportWorld:
    return await make_import_world(tmp_path / "world", bins=2)


@pytest.fixture
async def process(world: ImportWorld) -> AsyncIterator[Process]:
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        yield process
        await process.publisher.close()


async def refusal(process: Process, *files: File, **options: Any) -> WharfingerError:
    """The error of an import that must change nothing."""
    before = _everything(process)
    with pytest.raises(WharfingerError) as refused:
        await process.take(*files, **options)
    assert before == _everything(process)
    return refused.value


def _everything(process: Process) -> Any:
    with process.database.transaction() as connection:
        leaves = connection.execute(audit_leaves.select()).all()
    content = process.world.metadata.iterdir()
    files = {file.name: file.read_bytes() for file in content if file.is_file() and ".publisher" not in file.name}
    return files, leaves, process.standing.now.repositories, process.publisher.problem


def rejects(error: WharfingerError, *words: str) -> None:
    assert isinstance(error, InvalidRequestError)
    assert Reason.METADATA_REJECTED == error.reason
    for word in words:
        assert word in error.message


@pytest.mark.parametrize(
    "name",
    ["", "root.json", "02.root.json", "0.root.json", "2.timestamp.json", "2.snapshot.json", "2.bins-0.json",
     "../2.root.json", "2.root.json\n", "2.ROOT.json", "9" * 19 + ".root.json", "２.root.json"],
)  # fmt: skip
async def test_a_name_that_no_ceremony_gives(world: ImportWorld, process: Process, name: str) -> None:
    _, content = world.ceremony.next("root")
    rejects(await refusal(process, (name, content)), "2.root.json")


async def test_a_name_that_stands_there_twice(world: ImportWorld, process: Process) -> None:
    file = world.ceremony.next("root")
    rejects(await refusal(process, file, file), "twice")


async def test_a_file_that_clients_would_not_read(world: ImportWorld, process: Process) -> None:
    """python-tuf and tuf-js refuse a root beyond 512,000 bytes, and nobody could take it back."""
    name, content = world.ceremony.next("root")
    rejects(await refusal(process, (name, content + b" " * 512_000)), "512000")


async def test_a_gap(world: ImportWorld, process: Process) -> None:
    for role in ("root", "targets", "bins"):
        world.ceremony.next(role)
        rejects(await refusal(process, world.ceremony.next(role)), f"3.{role}.json", "version 2 must come next")


async def test_another_content_for_a_version_that_is_published(world: ImportWorld, process: Process) -> None:
    content = (world.metadata / "1.root.json").read_bytes()
    rejects(await refusal(process, ("1.root.json", content + b"\n")), "another content")


async def test_a_root_that_the_old_keys_did_not_sign(world: ImportWorld, process: Process) -> None:
    """An attacker with keys of their own brings a root that lists them."""
    mine = [CryptoSigner.generate_ecdsa() for _ in range(3)]

    def usurp(root: Root) -> None:
        for keyid in list(root.roles["root"].keyids):
            root.revoke_key(keyid, "root")
        for signer in mine:
            root.add_key(signer.public_key, "root")

    rejects(await refusal(process, world.ceremony.next("root", usurp, signers=mine)), "2.root.json", "signatures")


async def test_a_root_below_its_threshold(world: ImportWorld, process: Process) -> None:
    signers = world.ceremony.signers["root"][:1]
    rejects(await refusal(process, world.ceremony.next("root", signers=signers)), "2.root.json")


@pytest.mark.parametrize("role", ["targets", "bins"])
async def test_offline_metadata_that_a_stranger_signed(world: ImportWorld, process: Process, role: str) -> None:
    signers = [CryptoSigner.generate_ecdsa() for _ in range(2)]
    rejects(await refusal(process, world.ceremony.next(role, signers=signers)), f"2.{role}.json")


@pytest.mark.parametrize("said", [False, None])
@pytest.mark.parametrize("revoke", [False, True])
async def test_a_root_that_sends_clients_to_files_that_are_not_published(
    world: ImportWorld, process: Process, said: bool | None, revoke: bool
) -> None:
    """Without consistent snapshots clients ask for ``snapshot.json``: whoever has that root is locked out."""

    def inconsistent(root: Root) -> None:
        root.consistent_snapshot = said

    rejects(await refusal(process, world.ceremony.next("root", inconsistent), revoke=revoke), "consistent_snapshot")


async def test_a_version_between_that_does_not_verify(world: ImportWorld, process: Process) -> None:
    """Also what no snapshot will ever name is verified before it lies among the published files."""
    between = world.ceremony.next("bins", signers=[CryptoSigner.generate_ecdsa()])
    rejects(await refusal(process, between, world.ceremony.next("bins")), "2.bins.json")


@pytest.mark.parametrize("role", ["targets", "bins"])
async def test_a_version_between_that_says_another_version(world: ImportWorld, process: Process, role: str) -> None:
    def twice(signed: Targets) -> None:
        signed.version = 7

    _, content = world.ceremony.next(role, twice)
    world.ceremony.newest[role].signed.version = 2
    error = await refusal(process, (f"2.{role}.json", content), world.ceremony.next(role))
    rejects(error, f"2.{role}.json", "version 7")


async def test_root_metadata_under_the_name_of_targets(world: ImportWorld, process: Process) -> None:
    _, content = world.ceremony.next("root")
    rejects(await refusal(process, ("2.targets.json", content)), "2.targets.json")


async def test_what_is_no_metadata(world: ImportWorld, process: Process) -> None:
    rejects(await refusal(process, ("2.root.json", b"no metadata")), "2.root.json", "cannot be read")


@pytest.mark.parametrize("role", ["root", "targets", "bins"])
async def test_metadata_that_has_expired(world: ImportWorld, process: Process, role: str) -> None:
    def expire(signed: Any) -> None:
        signed.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)

    rejects(await refusal(process, world.ceremony.next(role, expire)), f"2.{role}.json", "expired")


def other_bins(bins: HashBins) -> Callable[[Targets], None]:
    def change(signed: Targets) -> None:
        assert signed.delegations is not None and signed.delegations.succinct_roles is not None
        keyids = signed.delegations.succinct_roles.keyids
        signed.delegations = bins.delegation(keyids, 1).delegations(signed.delegations.keys)

    return change


@pytest.mark.parametrize(
    "bins",
    [
        HashBins(1),
        HashBins(5),
        HashBins(2, "other"),
        HashBins(3, "other"),
        HashBins(3, form=DelegationForm.PATH_HASH_PREFIXES),
    ],
    ids=["fewer", "longer names", "another prefix", "more of another prefix", "another form"],
)
async def test_bins_that_do_not_keep_those_that_are_published(tmp_path: Path, bins: HashBins) -> None:
    """Clients refuse a snapshot that has lost a role."""
    world = await make_import_world(tmp_path / "four", bins=4)
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        error = await refusal(process, world.ceremony.next("bins", other_bins(bins)))
        await process.publisher.close()
    rejects(error, "4 bins called 'bins-…' by succinct are published", "cannot be changed otherwise")


async def test_more_bins_while_something_is_revoked(world: ImportWorld, process: Process) -> None:
    file = world.ceremony.next("bins", other_bins(HashBins(2)))
    rejects(await refusal(process, file, revoke=True), "grow in an import that revokes nothing")


async def test_bins_whose_prefixes_are_uneven(world: ImportWorld, process: Process) -> None:
    def change(signed: Targets) -> None:
        other_bins(HashBins(1, form=DelegationForm.PATH_HASH_PREFIXES))(signed)
        assert signed.delegations is not None and signed.delegations.roles is not None
        signed.delegations.roles["bins-0"].path_hash_prefixes = ["0"]

    rejects(await refusal(process, world.ceremony.next("bins", change)), "bins-0", "path_hash_prefixes")


async def test_bins_that_delegate_no_bins(world: ImportWorld, process: Process) -> None:
    def change(signed: Targets) -> None:
        signed.delegations = None

    rejects(
        await refusal(process, world.ceremony.next("bins", change), revoke=True), "neither targets nor bins delegates"
    )


async def test_an_online_role_with_a_threshold_of_two(world: ImportWorld, process: Process) -> None:
    _, new, _ = world.keys

    def change(root: Root) -> None:
        root.add_key(new, "timestamp")
        root.roles["timestamp"].threshold = 2

    rejects(await refusal(process, world.ceremony.next("root", change), revoke=True), "2 signatures", "timestamp")


async def test_metadata_that_does_not_fit_the_key_lines(world: ImportWorld, process: Process) -> None:
    process.succession.problem = "a role is in two lines."
    rejects(await refusal(process, world.ceremony.next("root")), "a role is in two lines")


@pytest.mark.parametrize("revoke", [False, True])
async def test_metadata_that_lists_no_key_of_the_token(world: ImportWorld, process: Process, revoke: bool) -> None:
    """Nothing could be signed any more, whatever the caller says."""
    stranger = CryptoSigner.generate_ecdsa().public_key
    error = await refusal(process, world.ceremony.root(stranger), world.ceremony.bins(stranger), revoke=revoke)
    assert isinstance(error, RefusedError)
    assert (Reason.KEY_NOT_HELD, "snapshot") == (error.reason, error.details["role"])


async def test_revoking_where_the_successor_is_not_clear(world: ImportWorld, process: Process) -> None:
    _, one, other = world.keys
    error = await refusal(process, world.ceremony.root(one, other), world.ceremony.bins(one, other), revoke=True)
    assert isinstance(error, RefusedError)
    assert Reason.KEYID_REQUIRED == error.reason
    assert one.keyid in error.message and other.keyid in error.message


async def test_an_unknown_repository(process: Process) -> None:
    with pytest.raises(NotFoundError) as refused:
        await process.imports.take("other", [], caller="security", revoke=False, dry_run=False)
    assert Reason.UNKNOWN_REPOSITORY == refused.value.reason


async def test_another_role_that_has_expired_does_not_stand_in_the_way(world: ImportWorld, process: Process) -> None:
    """What has run out must be replaceable, one role after the other."""

    def long(signed: Any) -> None:
        signed.expires += timedelta(days=200)

    files = [world.ceremony.next("root", long), world.ceremony.next("bins", long)]
    world.clock.advance(timedelta(days=400))
    await process.take(*files)
    assert ["targets"] == process.standing.now.repository(NAME).expired_at(world.clock.now())


async def test_bins_without_targets(world: ImportWorld) -> None:
    """Nothing could delegate to them."""
    with world.process() as process:
        await process.open()
        verified = replace(process.standing.now.repository(NAME).verified, targets=None)
    with pytest.raises(InvalidRequestError) as refused:
        rules.require_each_verified([VersionedFile("bins", 2, world.ceremony.next("bins")[1])], verified)
    rejects(refused.value, "2.bins.json", "no targets")


# ---- What clients would refuse ---------------------------------------------------------------------------------------
def still_needed(error: WharfingerError, *words: str) -> None:
    assert isinstance(error, RefusedError)
    assert Reason.KEY_STILL_NEEDED == error.reason
    for word in (*words, "revoke"):
        assert word in error.message


async def test_a_root_without_the_key_that_signed_the_timestamp(world: ImportWorld, process: Process) -> None:
    old, new, _ = world.keys
    error = await refusal(process, world.ceremony.root(new), world.ceremony.bins(old, new))
    still_needed(error, "root 2", old.keyid)


async def test_bins_without_the_key_that_signed_the_bins(world: ImportWorld, process: Process) -> None:
    old, new, _ = world.keys
    error = await refusal(process, world.ceremony.root(old, new), world.ceremony.bins(new))
    still_needed(error, old.keyid, "2 published version(s) of 'bins'")


@pytest.fixture
def without_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is signed anew by itself."""

    async def due(self: Repository, most: int) -> list[str]:
        return []

    monkeypatch.setattr(Repository, "due", due)


@pytest.mark.usefixtures("without_renewal")
async def test_dropping_the_old_key_before_everything_is_signed_anew(world: ImportWorld, process: Process) -> None:
    old, new, _ = world.keys
    await process.take(world.ceremony.root(old, new), world.ceremony.bins(old, new))
    process.activate(new)
    still_needed(await refusal(process, world.ceremony.root(new), world.ceremony.bins(new)), old.keyid)


@pytest.mark.usefixtures("without_renewal")
async def test_dropping_the_key_that_was_activated_and_has_signed_nothing_yet(
    world: ImportWorld, process: Process
) -> None:
    old, new, _ = world.keys
    await process.take(world.ceremony.root(old, new), world.ceremony.bins(old, new))
    process.activate(new)
    error = await refusal(process, world.ceremony.root(old), world.ceremony.bins(old))
    still_needed(error, new.keyid, "signs 'bins-0' now")


async def test_a_root_under_which_published_targets_do_not_verify(world: ImportWorld, process: Process) -> None:
    """Clients read the new root before any new snapshot."""
    ceremony = world.ceremony
    ceremony.replace_offline_keys("targets")
    error = await refusal(process, ceremony.root_for("targets", world.keys[0]), ceremony.next("targets"))
    still_needed(error, "1.targets.json", "root 2")


async def test_each_root_on_the_way_is_asked(world: ImportWorld, process: Process) -> None:
    """A client may meet the second of three roots, with what is published now."""
    old, new, _ = world.keys
    error = await refusal(process, world.ceremony.root(old), world.ceremony.root(new), world.ceremony.root(old))
    still_needed(error, "root 3")


# ---- What fails on the way -------------------------------------------------------------------------------------------
async def test_an_import_that_fails_after_it_was_accepted_is_finished_by_itself(
    world: ImportWorld, process: Process
) -> None:
    files = [world.ceremony.next("root"), world.ceremony.next("bins")]
    process.keys.available = False
    with pytest.raises(UnavailableError) as told:
        await process.take(*files)
    assert Reason.TOKEN_UNAVAILABLE == told.value.reason, "the token is asked before anything is accepted"
    process.keys.available = True
    sign = process.keys.sign

    async def fail(*arguments: object, **options: object) -> Any:
        raise UnavailableError("The token went away.", reason=Reason.TOKEN_UNAVAILABLE)

    process.keys.sign = fail  # type: ignore[method-assign]
    with pytest.raises(UnavailableError) as told:
        await process.take(*files)
    assert (Reason.PUBLICATION_FAILED, Reason.TOKEN_UNAVAILABLE) == (told.value.reason, told.value.details["cause"])
    assert process.publisher.problem is not None
    assert {"root": 2, "targets": 1, "bins": 2} == process.standing.now.repository(NAME).versions
    with pytest.raises(UnavailableError) as busy:
        await process.take(world.ceremony.next("targets"))
    assert "2.bins.json" in busy.value.message
    dry = await process.take(*files, dry_run=True)
    assert (("2.root.json", "2.bins.json"), 0) == (dry.taken, dry.timestamp_version)
    process.keys.sign = sign  # type: ignore[method-assign]
    outcome = await process.take(*files)
    assert {"root": 2, "targets": 1, "bins": 2} == outcome.versions
    assert not (world.metadata / ".staged").exists()
    await process.publisher.publish([target("after")], [], timeout_seconds=10)
    assert process.publisher.problem is None


async def test_a_store_that_fails_while_staging_leaves_the_rest_alone(world: ImportWorld, process: Process) -> None:
    async def fail(content: bytes | None) -> None:
        raise UnavailableError("The disk is full.", reason=Reason.STORE_UNAVAILABLE)

    process.store.stage = fail  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await process.take(world.ceremony.next("root"))
    assert 1 == process.standing.now.repository(NAME).versions["root"]
    await process.publisher.publish([target("after")], [], timeout_seconds=10)
    assert process.publisher.problem is None


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b'{"files": [{"role": 1}], "revoke": false, "caller": ""}'])
async def test_a_damaged_note_of_an_import_stops_everything(world: ImportWorld, note: bytes) -> None:
    (world.metadata / ".staged").write_bytes(note)
    with world.process() as process:
        with pytest.raises(CorruptStateError) as refused:
            await process.open()
    assert ".staged" == refused.value.details["file"]


async def test_what_was_put_into_the_store_by_hand_is_taken_in(world: ImportWorld, process: Process) -> None:
    """Otherwise it is before clients and nobody here trusts it, and whatever follows it would be a gap."""
    first, second = world.ceremony.next("root"), world.ceremony.next("root")
    (world.metadata / first[0]).write_bytes(first[1])

    taken = await process.take(first)

    assert (("2.root.json",), 2) == (taken.taken, process.standing.now.repository(NAME).versions["root"])
    assert 3 == (await process.take(first, second)).versions["root"]
    assert () == (await process.take(first, second)).taken


async def test_a_closed_publisher_takes_nothing_in(world: ImportWorld) -> None:
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        await process.publisher.close()
        with pytest.raises(UnavailableError) as refused:
            await process.take(world.ceremony.next("root"))
    assert Reason.DRAINING == refused.value.reason


# ---- A repository that is published elsewhere ------------------------------------------------------------------------
@pytest.fixture
async def only_signs(world: ImportWorld) -> AsyncIterator[Process]:
    """A process beside the one that publishes."""
    with world.process() as process:
        await process.open()
        await process.publisher.start()
        await process.publisher.close()
        process.imports._publishers = {}
        yield process


async def test_where_it_is_published_elsewhere_the_store_is_read_again(world: ImportWorld, only_signs: Process) -> None:
    name, content = world.ceremony.next("root")
    error = await refusal(only_signs, (name, content))
    assert isinstance(error, RefusedError)
    assert (Reason.METADATA_REJECTED, True) == (error.reason, "2.root.json" in error.message)
    (world.metadata / name).write_bytes(content)
    dry = await only_signs.take((name, content), dry_run=True)
    assert ((name,), 0, 1) == (
        dry.taken,
        dry.timestamp_version,
        only_signs.standing.now.repository(NAME).versions["root"],
    )
    for taken in ((name,), ()):
        outcome = await only_signs.take((name, content))
        assert (taken, 0) == (outcome.taken, outcome.timestamp_version)
        assert 2 == only_signs.standing.now.repository(NAME).versions["root"]
    await only_signs.imports.take(NAME, [ImportedFile(name, content)], caller="c", revoke=False, dry_run=False)
    with only_signs.database.transaction() as connection:
        assert 1 == sum(b"metadata-imported" in row.data for row in connection.execute(audit_leaves.select()))


async def test_metadata_is_what_a_ceremony_of_python_tuf_makes(world: ImportWorld, process: Process) -> None:
    """Also with white space, as python-tuf writes files by default."""
    _, content = world.ceremony.next("bins")
    assert Metadata[Targets].from_bytes(content).signed.version == 2
    assert ("2.bins.json",) == (await process.take(("2.bins.json", content))).taken
