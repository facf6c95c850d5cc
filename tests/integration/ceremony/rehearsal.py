"""A rehearsal of ceremonies: the real commands on real files, with python-tuf's client as the judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from tests.support.ngclient_directory import client_of
from wharfinger_daemon.cli import main
from wharfinger_daemon.metadata.bins import HashBins

BINS = 2
TARGET = "packages/aa/bb/sample-1.0.tar.gz"
ROOT_KEYS = ("alice", "bob", "carol")
TARGETS_KEYS = ("dave", "erin")
BINS_KEYS = ("frank", "grace")


class Rehearsal:
    """People with keys in files, the folder of the published metadata, and a client that remembers what it saw."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata = folder / "metadata"
        self.metadata.mkdir()
        self._staged = 0
        self._online_version = 0
        for name in (*ROOT_KEYS, *TARGETS_KEYS, *BINS_KEYS, "online-1"):
            self.make_key(name)

    # ---- Keys --------------------------------------------------------------------------------------------------------
    def make_key(self, name: str, kind: str = "ecdsa") -> CryptoSigner:
        signer: CryptoSigner = getattr(CryptoSigner, f"generate_{kind}")()
        private = signer._private_key
        (self.folder / f"{name}.key").write_bytes(
            private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self.add_public_key(name, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return signer

    def add_public_key(self, name: str, pem: bytes) -> None:
        (self.folder / f"{name}.pem").write_bytes(pem)

    def signer(self, name: str) -> CryptoSigner:
        return CryptoSigner(load_pem_private_key((self.folder / f"{name}.key").read_bytes(), None))  # type: ignore[arg-type]

    def uri(self, name: str) -> str:
        return f"file2:{self.folder / f'{name}.key'}"

    # ---- Ceremony files ----------------------------------------------------------------------------------------------
    def sha256(self, name: str) -> str:
        return hashlib.sha256((self.metadata / name).read_bytes()).hexdigest()

    def newest(self, kind: str) -> int:
        version = 0
        while (self.metadata / f"{version + 1}.{kind}.json").exists():
            version += 1
        return version

    def write(self, text: str) -> Path:
        self._staged += 1
        path = self.folder / f"ceremony-{self._staged}.toml"
        path.write_text(text)
        return path

    def text(self, kind: str, keys: Sequence[str], roles: str, head: str = "lifetime_days = 365") -> str:
        """A ceremony file on top of what is published."""
        lines = [f'kind = "{kind}"', head]
        if self.newest("root"):
            lines += ["[repository]", 'metadata = "metadata"', f'root_sha256 = "{self.sha256("1.root.json")}"']
            if self.newest(kind):
                lines.append(f'previous_sha256 = "{self.sha256(f"{self.newest(kind)}.{kind}.json")}"')
        for name in keys:
            lines += ["[[keys]]", f'name = "{name}"', f'public_key = "{name}.pem"']
        return "\n".join([*lines, roles, ""])

    def root_text(
        self,
        root: Sequence[str] = ROOT_KEYS,
        *,
        threshold: int = 2,
        targets: Sequence[str] = TARGETS_KEYS,
        targets_threshold: int | None = None,
        online: Sequence[str] = ("online-1",),
        also: Sequence[str] = (),
        head: str = "lifetime_days = 365",
    ) -> str:
        roles = f"""
        [root]
        keys = {json.dumps(list(root))}
        threshold = {threshold}
        [targets]
        keys = {json.dumps(list(targets))}
        threshold = {targets_threshold or len(targets)}
        [snapshot]
        keys = {json.dumps(list(online))}
        [timestamp]
        keys = {json.dumps(list(online))}
        """
        return self.text("root", [*dict.fromkeys([*root, *targets, *online, *also])], roles, head)

    def targets_text(
        self, bins: Sequence[str] = BINS_KEYS, *, threshold: int | None = None, also: Sequence[str] = TARGETS_KEYS
    ) -> str:
        roles = f"[bins]\nkeys = {json.dumps(list(bins))}\nthreshold = {threshold or len(bins)}"
        return self.text("targets", [*bins, *also], roles)

    def bins_text(
        self, online: Sequence[str] = ("online-1",), *, also: Sequence[str] = BINS_KEYS, delegation: str = "succinct"
    ) -> str:
        roles = f"[hash_bins]\nkeys = {json.dumps(list(online))}\nbit_length = {BINS.bit_length() - 1}"
        roles += f'\ndelegation = "{delegation}"'
        return self.text("bins", [*online, *also], roles)

    # ---- Commands ----------------------------------------------------------------------------------------------------
    def run(self, *arguments: str | Path, typed: str | None = None) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], input=typed)

    def stage(self, kind: str, text: str) -> Path:
        file = self.write(text)
        folder = self.folder / f"staged-{self._staged}"
        self.require_done(self.run(kind, "stage", file, "--output", folder))
        return folder

    def sign(self, folder: Path, *signers: str) -> None:
        """By people whose keys are in files."""
        for name in signers:
            self.require_done(self.try_to_sign(folder, self.uri(name)))

    def try_to_sign(self, folder: Path, uri: str, *options: str) -> Result:
        kind = json.loads((folder / "staging.json").read_bytes())["kind"]
        digest = hashlib.sha256((folder / "staged.canonical-json").read_bytes()).hexdigest()
        return self.run(kind, "sign", folder, "--signer", uri, "--yes-digest", digest, *options)

    def publish(self, folder: Path) -> Result:
        kind = json.loads((folder / "staging.json").read_bytes())["kind"]
        return self.run(kind, "publish", folder, "--output", self.metadata)

    def status(self, folder: Path) -> Any:
        kind = json.loads((folder / "staging.json").read_bytes())["kind"]
        result = self.run(kind, "status", folder, "--json")
        told = json.loads(result.stdout)
        assert (0 if told["complete"] else 1) == result.exit_code, result.output
        return told

    def hold(self, kind: str, text: str, *signers: str) -> Path:
        """A whole ceremony; returns the folder that was carried around."""
        folder = self.stage(kind, text)
        self.sign(folder, *signers)
        self.require_done(self.publish(folder))
        return folder

    @staticmethod
    def require_done(result: Result) -> None:
        assert 0 == result.exit_code, result.output

    def hold_first(self) -> None:
        """The ceremonies of the first root, targets and bins."""
        self.hold("root", self.root_text(), "alice", "bob")
        self.hold("targets", self.targets_text(), *TARGETS_KEYS)
        self.hold("bins", self.bins_text(), *BINS_KEYS)

    # ---- What is online ----------------------------------------------------------------------------------------------
    def go_online(self, online: str = "online-1") -> None:
        """Signs bins, snapshot and timestamp, which name the newest targets and bins."""
        signer = self.signer(online)
        self._online_version += 1
        version, expires = self._online_version, datetime.now(UTC) + timedelta(days=1)
        bins: Metadata[Targets] = Metadata.from_file(str(self.metadata / f"{self.newest('bins')}.bins.json"))
        assert bins.signed.delegations is not None
        where = dict(bins.signed.delegations.get_roles_for_target(TARGET))
        snapshot = Snapshot(version, expires=expires)
        for kind in ("targets", "bins"):
            snapshot.meta[f"{kind}.json"] = MetaFile(self.newest(kind))
        for role in HashBins.of_number(BINS).roles():
            targets = Targets(version, expires=expires)
            if role in where:
                targets.targets[TARGET] = TargetFile.from_data(TARGET, b"sample")
            self._sign(targets, f"{version}.{role}.json", signer)
            snapshot.meta[f"{role}.json"] = MetaFile(version)
        self._sign(snapshot, f"{version}.snapshot.json", signer)
        self._sign(Timestamp(version, expires=expires, snapshot_meta=MetaFile(version)), "timestamp.json", signer)

    def _sign(self, signed: Any, name: str, signer: CryptoSigner) -> None:
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(signer)
        metadata.to_file(str(self.metadata / name))

    def judge(self, cache: str = "client") -> int:
        """python-tuf's client refreshes and finds the target; returns the version of root that it trusts."""
        client = client_of(self.metadata, self.folder / cache)
        client.refresh()
        assert client.get_targetinfo(TARGET) is not None
        trusted: Metadata[Root] = Metadata.from_file(str(self.folder / cache / "root.json"))
        return trusted.signed.version


def refused(result: Result, *told: str) -> None:
    """The command could not run, said why, and did not trip over itself."""
    assert 2 == result.exit_code, result.output
    assert "Traceback" not in result.stderr
    for text in told:
        assert text in result.stderr
