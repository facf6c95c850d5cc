"""A repository in memory whose offline metadata anybody may sign: chains, plans and drafts for the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from wharfinger_daemon.ceremony.chain import Chain, verify_chain
from wharfinger_daemon.ceremony.draft import Draft, make_draft
from wharfinger_daemon.ceremony.plan import (
    BinsContent,
    Kind,
    NamedKey,
    Plan,
    RootContent,
    Signers,
    TargetsContent,
)
from wharfinger_daemon.ceremony.staging import Staged, read_staged, stage
from wharfinger_daemon.metadata.bins import HashBins

NOW = datetime(2030, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
FILE_SHA256 = hashlib.sha256(b"the ceremony file").hexdigest()

ROOT = ("alice", "bob", "carol")
TARGETS = ("dave", "erin")
BINS = ("frank", "grace")
ONLINE = ("online",)


class Family:
    """Keys by name, and the files that were signed with them."""

    def __init__(self) -> None:
        self.signers: dict[str, CryptoSigner] = {}
        self.files: dict[str, bytes] = {}
        for name in (*ROOT, *TARGETS, *BINS, *ONLINE):
            self.add(name)

    def add(self, name: str) -> CryptoSigner:
        self.signers[name] = CryptoSigner.generate_ecdsa()
        return self.signers[name]

    def add_under_keyid(self, name: str, keyid: str, like: str | None = None) -> None:
        """A key that metadata lists under a keyid that another tool gave it."""
        private: Any = self.signers[like]._private_key if like else ec.generate_private_key(ec.SECP256R1())
        self.signers[name] = CryptoSigner(private, SSlibKey.from_crypto(private.public_key(), keyid=keyid))

    def key(self, name: str) -> Key:
        return self.signers[name].public_key

    def keyid(self, name: str) -> str:
        keyid: str = self.key(name).keyid
        return keyid

    # ---- Plans -------------------------------------------------------------------------------------------------------
    def plan(self, content: RootContent | TargetsContent | BinsContent, *names: str, **options: Any) -> Plan:
        """On top of the newest version; ``names`` are keys that the ceremony file names."""
        kind = {RootContent: Kind.ROOT, TargetsContent: Kind.TARGETS, BinsContent: Kind.BINS}[type(content)]
        newest = self.newest(kind)
        arguments: dict[str, Any] = {
            "kind": kind,
            "expires": NOW + YEAR,
            "keys": tuple(NamedKey(name, self.key(name)) for name in dict.fromkeys(names)),
            "content": content,
            "previous_sha256": newest and hashlib.sha256(self.files[f"{newest}.{kind}.json"]).hexdigest(),
            "file_sha256": FILE_SHA256,
        }
        arguments["previous_sha256"] = arguments["previous_sha256"] or None
        return Plan(**{**arguments, **options})

    def root_plan(
        self,
        root: Sequence[str] = ROOT,
        threshold: int = 2,
        targets: Sequence[str] = TARGETS,
        online: Sequence[str] = ONLINE,
        also: Sequence[str] = (),
        consistent_snapshot: bool = True,
        **options: Any,
    ) -> Plan:
        roles = {
            "root": Signers(tuple(root), threshold),
            "targets": Signers(tuple(targets), len(targets)),
            "snapshot": Signers(tuple(online), 1),
            "timestamp": Signers(tuple(online), 1),
        }
        return self.plan(RootContent(roles, consistent_snapshot), *root, *targets, *online, *also, **options)

    def targets_plan(self, bins: Sequence[str] = BINS, also: Sequence[str] = (), **options: Any) -> Plan:
        return self.plan(TargetsContent(Signers(tuple(bins), len(bins))), *bins, *also, **options)

    def bins_plan(
        self, online: Sequence[str] = ONLINE, bit_length: int = 1, threshold: int = 1, **options: Any
    ) -> Plan:
        content = BinsContent(Signers(tuple(online), threshold), HashBins(bit_length))
        return self.plan(content, *online, **options)

    # ---- What was signed ---------------------------------------------------------------------------------------------
    @property
    def pin(self) -> str:
        return hashlib.sha256(self.files["1.root.json"]).hexdigest() if self.files else ""

    @property
    def chain(self) -> Chain:
        return verify_chain(self.files, self.pin) if self.files else Chain()

    def newest(self, kind: Kind) -> int:
        version = 0
        while f"{version + 1}.{kind}.json" in self.files:
            version += 1
        return version

    def draft(self, plan: Plan) -> Draft:
        return make_draft(plan, self.chain)

    def keep(self, signed: Root | Targets, kind: Kind, *names: str) -> None:
        """Signs by hand, whatever it is, and adds the file."""
        metadata: Metadata[Any] = Metadata(signed)
        for name in names:
            metadata.sign(self.signers[name], append=True)
        self.files[f"{signed.version}.{kind}.json"] = metadata.to_bytes()

    def hold(self, plan: Plan, *names: str) -> None:
        """A ceremony without its rules."""
        draft = self.draft(plan)
        self.keep(draft.signed, draft.kind, *names)

    def resign(self, name: str, change: Callable[[Any], None], *signers: str) -> None:
        """Changes a file and has it signed anew."""
        kind = Kind(name.split(".")[1])
        signed = Metadata.from_bytes(self.files.pop(name)).signed
        change(signed)
        self.keep(signed, kind, *signers)

    # ---- What is carried around --------------------------------------------------------------------------------------
    def folder(self, plan: Plan) -> dict[str, bytes]:
        return stage(self.draft(plan), self.pin, FILE_SHA256)

    def staged(self, plan: Plan) -> Staged:
        return read_staged(self.folder(plan))


def first_family() -> Family:
    """After the ceremonies of the first root, targets and bins."""
    family = Family()
    family.hold(family.root_plan(), "alice", "bob")
    family.hold(family.targets_plan(), *TARGETS)
    family.hold(family.bins_plan(), *BINS)
    return family
