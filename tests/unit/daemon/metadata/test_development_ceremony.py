"""The development ceremony, whole, interrupted and misused."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from tests.support.publishing import public_key_of
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.ceremony import OFFLINE_LIFETIME, create_development_repository
from wharfinger_daemon.metadata.memory_store import MemoryStore

NOW = datetime(2030, 1, 1, 12, 30, 0, 500, tzinfo=UTC)
KEY_FILES = {"root-1.pem", "root-2.pem", "root-3.pem", "targets-1.pem", "targets-2.pem", "bins-1.pem", "bins-2.pem"}


class Ceremony:
    """The arguments of a ceremony, of which tests change one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.online = CryptoSigner.generate_ecdsa()
        self.store = MemoryStore()

    async def hold(self, **changed: Any) -> str:
        arguments: dict[str, Any] = {
            "ceremony_directory": self.folder,
            "online_public_key": public_key_of(self.online),
            "bins": HashBins(4),
            "clock": FixedClock(NOW),
            "store": self.store,
        }
        return await create_development_repository(**arguments | changed)


@pytest.fixture
def ceremony(tmp_path: Path) -> Ceremony:
    return Ceremony(tmp_path / "ceremony")


async def test_the_pin_is_the_digest_of_root_1(ceremony: Ceremony) -> None:
    pin = await ceremony.hold()
    assert hashlib.sha256(ceremony.store.files["1.root.json"]).hexdigest() == pin


async def test_every_offline_role_is_signed_by_keys_of_its_delegator(ceremony: Ceremony) -> None:
    await ceremony.hold()
    files = ceremony.store.files
    root = Metadata[Root].from_bytes(files["1.root.json"])
    targets = Metadata[Targets].from_bytes(files["1.targets.json"])
    bins = Metadata[Targets].from_bytes(files["1.bins.json"])
    root.verify_delegate("root", root)
    root.verify_delegate("targets", targets)
    targets.verify_delegate("bins", bins)
    assert root.signed.consistent_snapshot
    thresholds = {name: (len(role.keyids), role.threshold) for name, role in root.signed.roles.items()}
    assert {"root": (3, 2), "targets": (2, 2), "snapshot": (1, 1), "timestamp": (1, 1)} == thresholds
    assert {NOW.replace(microsecond=0) + OFFLINE_LIFETIME} == {one.signed.expires for one in (root, targets, bins)}


async def test_the_online_key_signs_snapshot_timestamp_and_bins_and_nothing_else(ceremony: Ceremony) -> None:
    await ceremony.hold()
    keyid = ceremony.online.public_key.keyid
    root = Metadata[Root].from_bytes(ceremony.store.files["1.root.json"]).signed
    bins = Metadata[Targets].from_bytes(ceremony.store.files["1.bins.json"]).signed
    assert {"snapshot", "timestamp"} == {name for name, role in root.roles.items() if keyid in role.keyids}
    assert bins.delegations is not None and bins.delegations.succinct_roles is not None
    succinct = bins.delegations.succinct_roles
    assert ([keyid], 4, "bins") == (succinct.keyids, succinct.bit_length, succinct.name_prefix)


async def test_targets_delegates_every_path_to_bins(ceremony: Ceremony) -> None:
    await ceremony.hold()
    targets = Metadata[Targets].from_bytes(ceremony.store.files["1.targets.json"]).signed
    assert targets.delegations is not None
    for path in (f"packages/{n}/file-{n}.whl" for n in range(100)):
        assert ["bins"] == [name for name, _ in targets.delegations.get_roles_for_target(path)]


async def test_keys_are_kept_where_only_their_owner_reads_them(ceremony: Ceremony) -> None:
    await ceremony.hold()
    assert KEY_FILES == {file.name for file in ceremony.folder.iterdir()}
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in ceremony.folder.iterdir()}
    assert 0o700 == stat.S_IMODE(ceremony.folder.stat().st_mode)


async def test_a_second_ceremony_finds_everything_and_changes_nothing(ceremony: Ceremony) -> None:
    pin = await ceremony.hold()
    files = dict(ceremony.store.files)
    keys = {file.name: file.read_bytes() for file in ceremony.folder.iterdir()}
    assert pin == await ceremony.hold(clock=FixedClock(NOW + timedelta(days=3)))
    assert files == ceremony.store.files
    assert keys == {file.name: file.read_bytes() for file in ceremony.folder.iterdir()}


@pytest.mark.parametrize("lost", [["1.root.json"], ["1.root.json", "1.targets.json"], ["1.bins.json"]])
async def test_an_interrupted_ceremony_can_be_finished(ceremony: Ceremony, lost: list[str]) -> None:
    await ceremony.hold()
    for name in lost:
        del ceremony.store.files[name]
    if "1.root.json" in lost:
        (ceremony.folder / "root-3.pem").unlink()
    await ceremony.hold(clock=FixedClock(NOW + timedelta(days=3)))
    root = Metadata[Root].from_bytes(ceremony.store.files["1.root.json"])
    root.verify_delegate("targets", Metadata[Targets].from_bytes(ceremony.store.files["1.targets.json"]))


@pytest.mark.parametrize(
    "changed",
    [
        {"bins": HashBins(3)},
        {"online_public_key": public_key_of(CryptoSigner.generate_ecdsa())},
    ],
    ids=["another number of bins", "another online key"],
)
async def test_metadata_of_another_ceremony_is_refused(ceremony: Ceremony, changed: dict[str, Any]) -> None:
    await ceremony.hold()
    with pytest.raises(StartupError) as refused:
        await ceremony.hold(**changed)
    assert (Reason.REPOSITORY_INVALID, "1.bins.json") == (refused.value.reason, refused.value.details["file"])


async def test_metadata_that_other_offline_keys_signed_is_refused(ceremony: Ceremony, tmp_path: Path) -> None:
    await ceremony.hold()
    with pytest.raises(StartupError):
        await ceremony.hold(ceremony_directory=tmp_path / "other")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"signed": {}, "signatures": []}'])
async def test_damaged_metadata_is_refused(ceremony: Ceremony, content: bytes) -> None:
    await ceremony.hold()
    ceremony.store.files["1.root.json"] = content
    with pytest.raises(StartupError) as refused:
        await ceremony.hold()
    assert "1.root.json" == refused.value.details["file"]


async def test_a_signature_that_does_not_hold_is_refused(ceremony: Ceremony) -> None:
    await ceremony.hold()
    metadata = Metadata[Targets].from_bytes(ceremony.store.files["1.targets.json"])
    metadata.signed.expires += timedelta(days=1)
    ceremony.store.files["1.targets.json"] = metadata.to_bytes()
    with pytest.raises(StartupError):
        await ceremony.hold()


ED25519_PEM = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("content", [b"", b"no key", ED25519_PEM], ids=["empty", "garbage", "another algorithm"])
async def test_a_file_that_is_no_key_is_refused_and_left_alone(ceremony: Ceremony, content: bytes) -> None:
    ceremony.folder.mkdir()
    (ceremony.folder / "root-2.pem").write_bytes(content)
    with pytest.raises(StartupError) as refused:
        await ceremony.hold()
    assert "root-2.pem" in refused.value.message
    assert content == (ceremony.folder / "root-2.pem").read_bytes()


async def test_a_folder_that_cannot_be_made_is_reported(ceremony: Ceremony) -> None:
    ceremony.folder.touch()
    with pytest.raises(StartupError) as refused:
        await ceremony.hold()
    assert str(ceremony.folder) in refused.value.message


X25519_KEY = (
    x25519.X25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)


@pytest.mark.parametrize("key", [b"", b"garbage", X25519_KEY], ids=["none", "garbage", "x25519"])
async def test_an_online_key_that_cannot_sign_is_refused(ceremony: Ceremony, key: bytes) -> None:
    with pytest.raises(StartupError) as refused:
        await ceremony.hold(online_public_key=key)
    assert Reason.REPOSITORY_INVALID == refused.value.reason


async def test_a_store_that_is_being_published_is_left_alone(ceremony: Ceremony) -> None:
    await ceremony.store.lock()
    with pytest.raises(StartupError) as refused:
        await ceremony.hold()
    assert Reason.PUBLISHER_RUNNING == refused.value.reason
    assert {} == ceremony.store.files
