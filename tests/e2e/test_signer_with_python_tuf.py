"""A repository of python-tuf's own making, its online roles signed through the daemon, judged by python-tuf's client.

Root, targets and bins are signed with key files, as in a ceremony. The daemon has the online key on SoftHSM, and is
told the repository's root and nothing else; it does not publish.
"""

from __future__ import annotations

import copy
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from tests.support.daemon_process import DaemonProcess, place_home, poll
from tests.support.ngclient_directory import client_of
from wharfinger_client import (
    InvalidRequestError,
    NotGrantedError,
    RefusedError,
    UnavailableError,
    WharfingerError,
)
from wharfinger_client.signer import WharfingerSigner, register

REPOSITORY = "development"
BINS = SuccinctRoles([], 1, 2, "bins")
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "sign-with-python-tuf.md"


def in_hours(hours: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)


def connection(daemon: DaemonProcess, name: str = "warehouse") -> dict[str, str]:
    """The connection parameters of the URI."""
    tls = daemon.home / "tls"
    files = {"ca": f"{tls}/ca.crt", "certificate": f"{tls}/{name}.crt", "key": f"{tls}/{name}.key"}
    return {"address": f"127.0.0.1:{daemon.ports['grpc']}", **files}


class BuiltRepository:
    """What a program has that builds a repository with python-tuf: metadata in memory, signers, and a folder."""

    def __init__(self, folder: Path, online: Key) -> None:
        folder.mkdir()
        self.folder = folder
        self.online = online
        self.offline = {role: CryptoSigner.generate_ecdsa() for role in ("root", "targets", "bins")}
        self.metadata: dict[str, Metadata[Any]] = {
            "root": Metadata(self._root()),
            "targets": Metadata(self._delegating("targets")),
            "bins": Metadata(self._delegating("bins")),
            **{role: Metadata(Targets(expires=in_hours(24))) for role in BINS.get_roles()},
            "snapshot": Metadata(Snapshot(expires=in_hours(24))),
            "timestamp": Metadata(Timestamp(expires=in_hours(24))),
        }
        for role, signer in self.offline.items():
            self.sign(role, signer)
            self.snapshot.meta |= {} if role == "root" else {f"{role}.json": MetaFile(1)}

    @property
    def root_sha256(self) -> str:
        return hashlib.sha256((self.folder / "1.root.json").read_bytes()).hexdigest()

    @property
    def snapshot(self) -> Snapshot:
        signed = self.metadata["snapshot"].signed
        assert isinstance(signed, Snapshot)
        return signed

    def sign(self, role: str, signer: Signer) -> None:
        """Signs a role and writes its file."""
        metadata = self.metadata[role]
        metadata.sign(signer)
        version = "" if role == "timestamp" else f"{metadata.signed.version}."
        (self.folder / f"{version}{role}.json").write_bytes(metadata.to_bytes())

    def publish(self, signer: WharfingerSigner, targets: Mapping[str, bytes], *, first: bool = False) -> None:
        """Adds targets, and signs the bins that they fall into, the snapshot and the timestamp."""
        touched = set(BINS.get_roles()) if first else set()
        for path, content in targets.items():
            role = BINS.get_role_for_target(path)
            self.metadata[role].signed.targets[path] = TargetFile.from_data(path, content)
            touched.add(role)
        for role in sorted(touched):
            self._bump(role, first)
            self.sign(role, signer.for_role(role))
            self.snapshot.meta[f"{role}.json"] = MetaFile(self.metadata[role].signed.version)
        self._bump("snapshot", first)
        self.sign("snapshot", signer)
        self._bump("timestamp", first)
        snapshot = (self.folder / f"{self.snapshot.version}.snapshot.json").read_bytes()
        # With the hash, which the daemon compares at its next start.
        self.metadata["timestamp"].signed.snapshot_meta = MetaFile.from_data(
            self.snapshot.version, snapshot, ["sha256"]
        )
        self.sign("timestamp", signer)

    def _bump(self, role: str, first: bool) -> None:
        self.metadata[role].signed.version += not first

    def _root(self) -> Root:
        root = Root(expires=in_hours(24 * 300), consistent_snapshot=True)
        for role in ("root", "targets"):
            root.roles[role] = Role([], 1)
            root.add_key(self.offline[role].public_key, role)
        for role in ("snapshot", "timestamp"):
            root.add_key(self.online, role)
        return root

    def _delegating(self, role: str) -> Targets:
        expires = in_hours(24 * 300)
        if role == "bins":
            succinct = SuccinctRoles([self.online.keyid], 1, BINS.bit_length, BINS.name_prefix)
            return Targets(
                expires=expires, delegations=Delegations({self.online.keyid: self.online}, succinct_roles=succinct)
            )
        key = self.offline["bins"].public_key
        everything = DelegatedRole("bins", [key.keyid], 1, False, path_hash_prefixes=[f"{n:x}" for n in range(16)])
        return Targets(expires=expires, delegations=Delegations({key.keyid: key}, {"bins": everything}))


def online_key_of(home: Path) -> Key:
    root = Metadata[Root].from_file(str(home / "metadata" / "1.root.json")).signed
    return root.keys[root.roles["timestamp"].keyids[0]]


def sign_only(home: Path, built: BuiltRepository) -> None:
    """Configures a daemon that signs for the built repository, and does not publish."""
    file = home / "config.toml"
    text = re.sub(r"(?m)^roles = \[.*\]$", 'roles = ["sign"]', file.read_text(), count=1)
    text = re.sub(r'(?m)^root_sha256 = ".*"$', f'root_sha256 = "{built.root_sha256}"', text)
    file.write_text(text.replace('metadata_directory = "metadata"', f'metadata_directory = "{built.folder.name}"'))


class World:
    """A daemon that has the online key, and the repository that it signs for."""

    def __init__(self, pristine_home: Path, place: Path) -> None:
        self.daemon = DaemonProcess(place, place_home(pristine_home, place))
        self.built = BuiltRepository(place / "built", online_key_of(place))
        sign_only(place, self.built)

    def start(self) -> None:
        self.daemon.start()
        with self.signer() as signer:
            self.built.publish(signer, {"packages/first.whl": b"first"}, first=True)

    def signer(self, role: str = "", *, caller: str = "warehouse") -> WharfingerSigner:
        uri, public_key = WharfingerSigner.import_(REPOSITORY, role=role, **connection(self.daemon))
        uri = uri.replace("warehouse", caller)
        signer = Signer.from_priv_key_uri(uri, public_key)
        assert isinstance(signer, WharfingerSigner)
        return signer

    def end(self) -> None:
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.kill()

    def later(self, role: str) -> Metadata[Any]:
        """The next version of a role, not signed."""
        metadata = copy.deepcopy(self.built.metadata[role])
        metadata.signed.version += 1
        metadata.signed.expires = in_hours(12)
        return metadata


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    register()
    yield
    del SIGNER_FOR_URI_SCHEME[WharfingerSigner.SCHEME]


@pytest.fixture(scope="module")
def world(pristine_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests that leave its daemon running. Its repository has been published once."""
    world = World(pristine_home, tmp_path_factory.mktemp("signing") / "home")
    try:
        world.start()
        yield world
    finally:
        world.end()


@pytest.fixture
def signer(world: World) -> Iterator[WharfingerSigner]:
    with world.signer() as signer:
        yield signer


def refusal(metadata: Metadata[Any], signer: WharfingerSigner) -> WharfingerError:
    """What the daemon says against signing; python-tuf wraps it, and leaves the signatures as they are."""
    before = dict(metadata.signatures)
    with pytest.raises(UnsignedMetadataError) as caught:
        metadata.sign(signer)
    assert before == metadata.signatures
    assert isinstance(caught.value.__cause__, WharfingerError)
    assert caught.value.__cause__.message in str(caught.value)
    return caught.value.__cause__


# ---- A whole repository ----------------------------------------------------------------------------------------------
def test_a_client_trusts_a_repository_whose_online_roles_the_daemon_signed(
    world: World, signer: WharfingerSigner, tmp_path: Path
) -> None:
    contents = {f"packages/{n}/example-{n}.whl": f"content {n}".encode() for n in range(12)}
    updater = client_of(world.built.folder, tmp_path / "cache")
    updater.refresh()
    world.built.publish(signer, contents)

    for cache in ("cache", "new"):
        updater = client_of(world.built.folder, tmp_path / cache)
        updater.refresh()
        for path, content in {**contents, "packages/first.whl": b"first"}.items():
            info = updater.get_targetinfo(path)
            assert info is not None
            info.verify_length_and_hashes(content)
        assert updater.get_targetinfo("packages/never.whl") is None


def test_the_imported_public_key_is_the_one_of_the_root(world: World, signer: WharfingerSigner) -> None:
    assert online_key_of(world.daemon.home) == signer.public_key == world.built.online


def test_a_uri_of_one_bin_signs_that_bin(world: World) -> None:
    bin_metadata = world.later("bins-3")
    with world.signer("bins-3") as signer:
        bin_metadata.sign(signer)
    world.built.metadata["bins"].signed.verify_delegate("bins-3", bin_metadata.signed_bytes, bin_metadata.signatures)
    world.built.metadata["bins-3"] = bin_metadata


def test_the_guide_signs(world: World) -> None:
    """The functions of the how-to guide, run."""
    _, signing, bins, *_ = re.findall(r"(?ms)^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"))
    guide: dict[str, Any] = {}
    exec(signing + bins, guide)
    with world.signer() as signer:
        uri = f"wharfinger:{REPOSITORY}/{signer.public_key.keyid}"
        with pytest.MonkeyPatch.context() as environment:
            for name, value in connection(world.daemon).items():
                environment.setenv(f"WHARFINGER_{name.upper()}", value)
            guide["sign_timestamp"](world.built.metadata["timestamp"], uri, signer.public_key)
        guide["sign_bins"](signer, {role: world.built.metadata[role] for role in BINS.get_roles()})


def test_signing_again_gives_the_same_signature(world: World, signer: WharfingerSigner) -> None:
    """ECDSA has a new signature each time; that it is the same one shows that the ledger had it."""
    metadata = world.built.metadata["timestamp"]
    recorded = dict(metadata.signatures)
    metadata.sign(signer)
    assert recorded == metadata.signatures


# ---- What is refused -------------------------------------------------------------------------------------------------
def test_other_bytes_for_a_used_version_are_refused(world: World, signer: WharfingerSigner) -> None:
    metadata = copy.deepcopy(world.built.metadata["timestamp"])
    metadata.signed.expires = in_hours(12)
    refused = refusal(metadata, signer)
    assert (RefusedError, "VERSION_EQUIVOCATION") == (type(refused), refused.reason)
    assert f"Version {metadata.signed.version} of 'timestamp' was used for other bytes" in refused.message


def test_a_lower_version_is_refused(world: World, signer: WharfingerSigner) -> None:
    world.built.publish(signer, {"packages/newer.whl": b"newer"})
    metadata = world.later("snapshot")
    metadata.signed.version = 1
    assert refusal(metadata, signer).reason in ("VERSION_EQUIVOCATION", "VERSION_ROLLBACK")


def test_a_role_must_be_right_and_named_where_the_bytes_do_not_tell_it(world: World, signer: WharfingerSigner) -> None:
    refused = {
        "": "ROLE_REQUIRED",
        "snapshot": "ROLE_TYPE_MISMATCH",
        "bins-4": "UNKNOWN_ROLE",
        "targets": "KEY_NOT_AUTHORISED",
    }
    first = BINS.get_role_for_target("packages/first.whl")
    reasons = {role: refusal(world.later(first), signer.for_role(role)).reason for role in refused}
    assert refused == reasons
    other = next(role for role in BINS.get_roles() if role != first)
    assert "TARGET_OUTSIDE_BIN" == refusal(world.later(first), signer.for_role(other)).reason
    assert "ROLE_TYPE_MISMATCH" == refusal(world.later("timestamp"), signer.for_role("snapshot")).reason


def test_what_is_no_tuf_metadata_is_refused(signer: WharfingerSigner) -> None:
    """The daemon signs no bytes that it does not understand, so that its keys speak for the repository alone."""
    with pytest.raises(InvalidRequestError) as caught:
        Envelope(b"{}", "application/vnd.in-toto+json", {}).sign(signer)
    assert "NOT_JSON" == caught.value.reason


def test_a_caller_without_the_grant_is_refused(world: World) -> None:
    with world.signer(caller="moderator") as signer:
        assert isinstance(refusal(world.later("timestamp"), signer), NotGrantedError)


# ---- A daemon that is down -------------------------------------------------------------------------------------------
def signs(metadata: Metadata[Any], signer: WharfingerSigner) -> bool:
    try:
        metadata.sign(signer)
    except UnsignedMetadataError:
        return False
    return True


def test_a_signer_says_that_the_daemon_is_down_and_signs_when_it_is_back(pristine_home: Path, tmp_path: Path) -> None:
    world = World(pristine_home, tmp_path / "home")
    try:
        world.start()
        with world.signer() as signer:
            metadata = world.later("timestamp")
            metadata.sign(signer)
            before = dict(metadata.signatures)
            assert 0 == world.daemon.stop()
            assert isinstance(refusal(metadata, signer), UnavailableError)
            world.daemon.start()
            poll(lambda: signs(metadata, signer), "the channel connects again")  # gRPC waits longer each time.
            assert before == metadata.signatures
    finally:
        world.end()


# ---- A repository that the daemon publishes --------------------------------------------------------------------------
def test_a_new_timestamp_of_a_published_repository_is_one_that_clients_trust(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    uri, public_key = WharfingerSigner.import_(REPOSITORY, **connection(shared_daemon))
    shutil.copytree(shared_daemon.home / "metadata", tmp_path / "metadata")
    file = tmp_path / "metadata" / "timestamp.json"
    timestamp = Metadata[Timestamp].from_file(str(file))
    timestamp.signed.version += 1
    timestamp.signed.expires = in_hours(1)
    with WharfingerSigner.from_priv_key_uri(uri, public_key) as signer:
        timestamp.sign(signer)
    timestamp.to_file(str(file))

    updater = client_of(tmp_path / "metadata", tmp_path / "cache")
    updater.refresh()
    trusted = Metadata[Timestamp].from_file(str(tmp_path / "cache" / "timestamp.json"))
    assert timestamp.signed.version == trusted.signed.version
