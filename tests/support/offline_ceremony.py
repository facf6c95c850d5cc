"""New versions of offline metadata, signed with the development keys of a home: what a ceremony would bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Metadata, Root, Targets

ONLINE_TOP_LEVEL = ("snapshot", "timestamp")


def offline_signers(ceremony: Path, role: str) -> list[CryptoSigner]:
    """The keys ``ROLE-N.pem``."""
    files = sorted(ceremony.glob(f"{role}-*.pem"))
    return [CryptoSigner(load_pem_private_key(file.read_bytes(), None)) for file in files]  # type: ignore[arg-type]


class OfflineCeremony:
    """Makes the next versions of root, targets and bins, on top of the newest that it made or found.

    Args:
        metadata: where version 1 of each is.
        ceremony: the folder with the private keys.
    """

    def __init__(self, metadata: Path, ceremony: Path) -> None:
        self.ceremony = ceremony
        self.newest: dict[str, Metadata[Any]] = {
            role: Metadata.from_bytes(_newest(metadata, role)) for role in ("root", "targets", "bins")
        }
        self.signers = {role: offline_signers(ceremony, role) for role in self.newest}

    def next(
        self, role: str, change: Callable[[Any], None] = lambda signed: None, signers: Sequence[CryptoSigner] = ()
    ) -> tuple[str, bytes]:
        """The next version of a role: its name, and its bytes."""
        made: Metadata[Any] = Metadata.from_bytes(self.newest[role].to_bytes())
        made.signed.version += 1
        made.signed.expires = (datetime.now(UTC) + timedelta(days=300)).replace(microsecond=0)
        change(made.signed)
        made.signatures.clear()
        for signer in signers or self.signers[role]:
            made.sign(signer, append=True)
        self.newest[role] = made
        return f"{made.signed.version}.{role}.json", made.to_bytes()

    def root(self, *online: Key, **options: Any) -> tuple[str, bytes]:
        """The next root, which lists these keys for timestamp and snapshot."""

        def change(root: Root) -> None:
            for role in ONLINE_TOP_LEVEL:
                for keyid in list(root.roles[role].keyids):
                    root.revoke_key(keyid, role)
                for key in online:
                    root.add_key(key, role)

        return self.next("root", change, **options)

    def bins(self, *online: Key, **options: Any) -> tuple[str, bytes]:
        """The next bins, which lets these keys sign the hash bins."""

        def change(bins: Targets) -> None:
            delegations = bins.delegations
            assert delegations is not None and delegations.succinct_roles is not None
            delegations.keys = {key.keyid: key for key in online}
            delegations.succinct_roles.keyids = [key.keyid for key in online]

        return self.next("bins", change, **options)

    def replace_offline_keys(self, role: str) -> list[CryptoSigner]:
        """Has other keys sign a role from now on, and returns those before. Its delegator must still say so."""
        former = self.signers[role]
        self.signers[role] = [CryptoSigner.generate_ecdsa() for _ in former]
        return former

    def root_for(self, role: str, *online: Key) -> tuple[str, bytes]:
        """The next root, which lists the present keys of ``targets`` beside the online keys."""

        def change(root: Root) -> None:
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            for signer in self.signers[role]:
                root.add_key(signer.public_key, role)

        name, content = self.root(*online)
        root: Metadata[Root] = Metadata.from_bytes(content)
        change(root.signed)
        root.signatures.clear()
        for signer in self.signers["root"]:
            root.sign(signer, append=True)
        self.newest["root"] = root
        return name, root.to_bytes()

    def targets_for_bins(self) -> tuple[str, bytes]:
        """The next targets, which delegates ``bins`` to its present keys."""

        def change(targets: Targets) -> None:
            assert targets.delegations is not None and targets.delegations.roles is not None
            keys = [signer.public_key for signer in self.signers["bins"]]
            targets.delegations.keys = {key.keyid: key for key in keys}
            targets.delegations.roles["bins"].keyids = [key.keyid for key in keys]

        return self.next("targets", change)


def _newest(metadata: Path, role: str) -> bytes:
    version = 1
    while (metadata / f"{version + 1}.{role}.json").exists():
        version += 1
    return (metadata / f"{version}.{role}.json").read_bytes()
