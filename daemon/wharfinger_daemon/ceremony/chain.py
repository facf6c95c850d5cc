"""What a repository has signed so far: verified from its pinned root 1, file by file.

Roots must be there without a gap, each signed by a threshold of the keys of the one before and of its own (TUF
specification, 5.3). Targets and ``bins`` may have been signed under an earlier root or targets, whose keys a later one
replaced: that is how a ceremony repairs a compromise. Who may sign the *next* version is always said by the newest.
Expiry is not judged here: a ceremony must be able to renew what has expired.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.refusals import invalid

FILE_NAME = re.compile(r"([1-9][0-9]{0,8})\.(root|targets|bins)\.json")

KEYID = re.compile(r"[0-9a-f]{64}")
"""Keyids become names of files and are shown to people (TUF specification, 4.2: a SHA-256 in hexadecimal)."""

LARGEST = {Kind.ROOT: 512_000, Kind.TARGETS: 5_000_000, Kind.BINS: 5_000_000}
"""How many bytes of such a file python-tuf's and tuf-js's clients read by default; they refuse a larger one."""

S = TypeVar("S", Root, Targets)
S_co = TypeVar("S_co", bound=Root | Targets, covariant=True)


@dataclass(frozen=True)
class VerifiedFile(Generic[S_co]):
    """A file whose signatures hold.

    Attributes:
        by: the version of root (of targets, for ``bins``) that authorises its signers, the newest that does.
    """

    kind: Kind
    content: bytes
    signed: S_co
    by: int

    @property
    def name(self) -> str:
        return file_name(self.kind, self.signed.version)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


AnyFile = VerifiedFile[Root | Targets]


@dataclass(frozen=True)
class Chain:
    """All versions that are known, in ascending order; empty before the first ceremony."""

    roots: Sequence[VerifiedFile[Root]] = ()
    targets: Sequence[VerifiedFile[Targets]] = ()
    bins: Sequence[VerifiedFile[Targets]] = ()

    def of(self, kind: Kind) -> Sequence[AnyFile]:
        """The versions of one kind."""
        by_kind: dict[Kind, Sequence[AnyFile]] = {
            Kind.ROOT: self.roots,
            Kind.TARGETS: self.targets,
            Kind.BINS: self.bins,
        }
        return by_kind[kind]

    def previous(self, kind: Kind) -> AnyFile | None:
        """The newest version of a kind; None if there is none yet."""
        return next(reversed(self.of(kind)), None)

    def files(self) -> dict[str, bytes]:
        """Every file that was verified, by name."""
        return {file.name: file.content for kind in Kind for file in self.of(kind)}


def file_name(kind: Kind, version: int) -> str:
    """What clients call a version of a role."""
    return f"{version}.{kind}.json"


def verify_chain(files: Mapping[str, bytes], root_sha256: str) -> Chain:
    """Verifies everything from the trusted root on.

    Args:
        files: by name; names other than ``VERSION.root.json``, and the same of targets and bins, are not looked at.
        root_sha256: of ``1.root.json``, in hexadecimal.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; names the file and what is wrong with it.
    """
    found = _sorted(files)
    roots = _roots(found[Kind.ROOT], root_sha256)
    targets = tuple(
        _delegated(Kind.TARGETS, version, content, [file.signed for file in roots])
        for version, content in found[Kind.TARGETS]
    )
    bins = tuple(
        _delegated(Kind.BINS, version, content, [file.signed for file in targets])
        for version, content in found[Kind.BINS]
    )
    return Chain(roots, targets, bins)


def _sorted(files: Mapping[str, bytes]) -> dict[Kind, list[tuple[int, bytes]]]:
    found: dict[Kind, list[tuple[int, bytes]]] = {kind: [] for kind in Kind}
    for name, content in files.items():
        match = FILE_NAME.fullmatch(name)
        if match is not None:
            found[Kind(match[2])].append((int(match[1]), content))
    for versions in found.values():
        versions.sort()
    return found


def _roots(found: Sequence[tuple[int, bytes]], pin: str) -> tuple[VerifiedFile[Root], ...]:
    roots: list[VerifiedFile[Root]] = []
    for version, content in found:
        name = file_name(Kind.ROOT, version)
        if version != len(roots) + 1:
            raise invalid(f"{len(roots) + 1}.root.json is missing, and {name} is there. Bring all roots.", file=name)
        if version == 1 and (digest := hashlib.sha256(content).hexdigest()) != pin:
            raise invalid(f"{name} is not the trusted root: its SHA-256 is {digest}, and {pin} is trusted.", file=name)
        metadata = read_metadata(Kind.ROOT, name, content, Root)
        delegators = [*(file.signed for file in roots[-1:]), metadata.signed]
        for delegator in delegators:
            _require_signed(name, metadata, Kind.ROOT, delegator)
        roots.append(VerifiedFile(Kind.ROOT, content, _of_version(name, metadata.signed, version), max(1, version - 1)))
    if not roots:
        raise invalid("1.root.json is missing. Bring all roots, from the first on.", file="1.root.json")
    return tuple(roots)


def _delegated(kind: Kind, version: int, content: bytes, delegators: Iterable[Root | Targets]) -> VerifiedFile[Targets]:
    name = file_name(kind, version)
    metadata = read_metadata(kind, name, content, Targets)
    signed = _of_version(name, metadata.signed, version)
    for delegator in reversed(list(delegators)):
        if is_signed(metadata, kind, delegator):
            return VerifiedFile(kind, content, signed, delegator.version)
    raise invalid(
        f"{name} is not signed by enough of the keys that any {delegator_of(kind)} metadata lists for it.", file=name
    )


def delegator_of(kind: Kind) -> Kind:
    """Whose metadata says who may sign the role, besides itself."""
    return Kind.TARGETS if kind is Kind.BINS else Kind.ROOT


def read_metadata(kind: Kind, name: str, content: bytes, expected: type[S]) -> Metadata[S]:
    """Parses a file, without looking at signatures.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; it is too large for clients, cannot be read, or of another type.
    """
    if len(content) > LARGEST[kind]:
        raise invalid(f"{name} has {len(content)} bytes, and clients read {LARGEST[kind]} at most.", file=name)
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
    except RepositoryError as error:
        raise invalid(f"{name} cannot be read as TUF metadata: {error}.", file=name) from error
    if not isinstance(metadata.signed, expected):
        raise invalid(f"{name} is {metadata.signed.type} metadata.", file=name)
    for keyid in listed_keys(metadata.signed):
        if KEYID.fullmatch(keyid) is None:
            raise invalid(f"{name} has the keyid {keyid!a}, which is no SHA-256 in hexadecimal.", file=name)
    return metadata


def listed_keys(signed: Root | Targets) -> dict[str, Key]:
    """All keys that metadata lists, by keyid."""
    if isinstance(signed, Root):
        return dict(signed.keys)
    return {} if signed.delegations is None else dict(signed.delegations.keys)


def is_signed(metadata: Metadata[Any], kind: Kind, delegator: Root | Targets) -> bool:
    """Whether a threshold of the keys that the delegator lists for the role has signed."""
    try:
        delegator.verify_delegate(kind, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError):  # ValueError: it does not delegate to the role at all.
        return False
    return True


def _require_signed(name: str, metadata: Metadata[Any], kind: Kind, delegator: Root) -> None:
    if not is_signed(metadata, kind, delegator):
        raise invalid(
            f"{name} is not signed by enough of the keys that {delegator.version}.root.json lists for root.", file=name
        )


def _of_version(name: str, signed: S, version: int) -> S:
    if signed.version != version:
        raise invalid(f"{name} says that it is version {signed.version}.", file=name)
    return signed
