"""What must be true of metadata from a ceremony before it is taken in.

Names and versions first; then signatures, by the rules that also hold at every start (``signing.trust``); then what
clients and the token would say. Nothing here changes anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.ports import MetadataFiles, VersionedFile, file_name
from wharfinger_daemon.signing.delegation import INTERMEDIATE_BINS, RoleAuthority
from wharfinger_daemon.signing.model import RoleType
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.signing.trust import TrustedRepository, VerifiedMetadata

_NAME = re.compile(r"([1-9][0-9]{0,17})\.(root|targets|bins)\.json")
# What python-tuf's and tuf-js's clients read of such a file by default; they refuse a larger one.
_LARGEST = {"root": 512_000, "targets": 5_000_000, INTERMEDIATE_BINS: 5_000_000}
_ORDER = ("root", "targets", INTERMEDIATE_BINS)
_ONLINE = (RoleType.TIMESTAMP, RoleType.SNAPSHOT, RoleType.BINS)


@dataclass(frozen=True)
class ImportedFile:
    """A file from a ceremony: what clients call it, ``VERSION.ROLE.json``, and its bytes. Nothing of it is believed."""

    name: str
    content: bytes


def parse_files(files: Sequence[ImportedFile]) -> list[VersionedFile]:
    """The files in the order in which they are verified: roots, targets, bins, each in ascending versions.

    Raises:
        InvalidRequestError: METADATA_REJECTED; a name is none, stands there twice, or a file is larger than clients
            read.
    """
    parsed: dict[tuple[int, int], VersionedFile] = {}
    for file in files:
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise rejected(
                ascii(file.name)[1:-1][:80],
                "such a name has no metadata of a ceremony; there are 2.root.json, "
                "2.targets.json and 2.bins.json, with any version",
            )
        version, role = int(match[1]), match[2]
        if len(file.content) > _LARGEST[role]:
            raise rejected(file.name, f"it has {len(file.content)} bytes, and clients read {_LARGEST[role]} at most")
        place = _ORDER.index(role), version
        if place in parsed:
            raise rejected(file.name, "it stands there twice")
        parsed[place] = VersionedFile(role, version, file.content)
    return [file for _, file in sorted(parsed.items(), key=lambda item: item[0])]


async def lacking(store: MetadataFiles, files: Iterable[VersionedFile]) -> list[VersionedFile]:
    """Those files that the store does not have yet.

    Raises:
        InvalidRequestError: METADATA_REJECTED; it has one with another content.
    """
    new = []
    for file in files:
        present = await store.read(file.role, file.version)
        if present is None:
            new.append(file)
        elif present != file.content:
            raise rejected(
                file_name(file.role, file.version),
                "the repository has a file of this name with another content; a version that was published never "
                "changes, so hold the ceremony again with the next version",
            )
    return new


def require_no_gaps(new: Iterable[VersionedFile], versions: Mapping[str, int]) -> None:
    """Refuses versions that do not follow those that are trusted, one by one.

    Raises:
        InvalidRequestError: METADATA_REJECTED.
    """
    newest = dict(versions)
    for file in new:
        following = newest.get(file.role, 0) + 1
        if file.version != following:
            raise rejected(
                file_name(file.role, file.version),
                f"version {newest.get(file.role, 0)} is the newest that is trusted, so version {following} must come "
                "next",
            )
        newest[file.role] = following


def require_each_verified(new: Iterable[VersionedFile], verified: VerifiedMetadata) -> None:
    """Refuses targets and bins that do not verify, also those below the newest, which ``signing.trust`` does not read.

    Raises:
        InvalidRequestError: METADATA_REJECTED.
    """
    for file in new:
        delegator: Root | Targets | None = verified.root if file.role == "targets" else verified.targets
        if file.role != "root":
            _require_verified(file, delegator)


def require_not_expired(new: Iterable[VersionedFile], trusted: TrustedRepository, now: datetime) -> None:
    """Refuses new metadata that clients would refuse for its age.

    Raises:
        InvalidRequestError: METADATA_REJECTED.
    """
    brought = {file.role for file in new}
    for role in trusted.expired_at(now):
        if role in brought:
            name = file_name(role, trusted.versions[role])
            raise rejected(name, f"it expired at {trusted.expires[role].isoformat()}")


def require_consistent_snapshots(root: Root) -> None:
    """Refuses a root that has clients ask for files without a version in their names: none such are published here.

    Raises:
        InvalidRequestError: METADATA_REJECTED.
    """
    if root.consistent_snapshot is not True:
        raise rejected(
            file_name("root", root.version),
            "its consistent_snapshot is not true, and every published file has its version in its name, so clients "
            "would find nothing",
        )


def require_single_signatures(trusted: TrustedRepository) -> None:
    """Refuses delegations that one online key cannot satisfy.

    Raises:
        InvalidRequestError: METADATA_REJECTED.
    """
    for authority in _online(trusted):
        if authority.threshold != 1:
            raise rejected(
                "the delegation",
                f"'{authority.pattern}' would need {authority.threshold} signatures, and online roles have one",
            )


def require_bins_kept(published: HashBins, brought: HashBins, *, revoke: bool) -> None:
    """Refuses other bins than those that are published, unless these stay under their names, and others join them.

    Raises:
        InvalidRequestError: METADATA_REJECTED.
    """
    if brought == published:
        return
    change = f"it leads to {_in_words(brought)}, and {_in_words(published)} are published"
    if not brought.grows_from(published):
        raise rejected(
            "targets or bins",
            f"{change}. Clients refuse a snapshot that lost a role, so bins can become more, as long as their names "
            "keep their length, and cannot be changed otherwise",
        )
    if revoke:
        raise rejected(
            "targets or bins",
            f"{change}. Bins grow in an import that revokes nothing: revoke first, and import this afterwards",
        )


def require_held(trusted: TrustedRepository, held: frozenset[bytes]) -> None:
    """Refuses delegations that the token cannot satisfy, whatever the caller wants.

    Raises:
        RefusedError: KEY_NOT_HELD.
    """
    for authority in _online(trusted):
        if not _able(authority, held):
            raise RefusedError(
                f"The new metadata lets only {', '.join(authority.keyids)} sign '{authority.pattern}', and the token "
                "holds none of them. Bring the key to the token, or hold the ceremony again with a key that it holds.",
                reason=Reason.KEY_NOT_HELD,
                role=authority.pattern,
            )


def require_one_successor(trusted: TrustedRepository, held: frozenset[bytes], states: Mapping[str, KeyState]) -> None:
    """Refuses to revoke keys where it is not clear which key is to follow: nobody is asked before it is activated.

    Args:
        states: of all keys that have a life, by keyid.

    Raises:
        RefusedError: KEYID_REQUIRED.
    """
    for authority in _online(trusted):
        able = _able(authority, held)
        stays = any(states.get(keyid) is KeyState.ACTIVE for keyid in able)
        if len(able) > 1 and not stays:
            raise RefusedError(
                f"The new metadata lets {', '.join(able)} sign '{authority.pattern}', and the token holds them all, so "
                "it is not clear which is to follow the revoked one. Hold the ceremony again with one of them, or "
                "activate one before.",
                reason=Reason.KEYID_REQUIRED,
                role=authority.pattern,
            )


def rejected(file: str, why: str) -> InvalidRequestError:
    """The error for metadata that is not taken in."""
    return InvalidRequestError(
        f"The metadata is not taken in: {file}: {why}.", reason=Reason.METADATA_REJECTED, file=file
    )


def _require_verified(file: VersionedFile, delegator: Root | Targets | None) -> None:
    name = file_name(file.role, file.version)
    if delegator is None:
        raise rejected(name, "the repository has no targets metadata that could delegate to it")
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(file.content)
        delegator.verify_delegate(file.role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise rejected(name, str(error)) from error
    if not isinstance(metadata.signed, Targets) or metadata.signed.version != file.version:
        raise rejected(name, f"it says that it is version {metadata.signed.version} of {metadata.signed.type} metadata")


def _in_words(bins: HashBins) -> str:
    return f"{bins.number} bins called '{bins.prefix}-…' by {bins.form}"


def _able(authority: RoleAuthority, held: frozenset[bytes]) -> list[str]:
    return [key.keyid for key in authority.keys.values() if key.der in held]


def _online(trusted: TrustedRepository) -> list[RoleAuthority]:
    return [authority for authority in trusted.authorities() if authority.role_type in _ONLINE]
