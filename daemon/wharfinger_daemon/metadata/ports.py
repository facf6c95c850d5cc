"""What publishing needs from outside."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from wharfinger_daemon.errors import CorruptStateError, InvalidRequestError, Reason
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import DocumentSignature, RoleState, UnsignedDocument
from wharfinger_daemon.metadata.planning import ClaimedVersions, OnlineKeys, Publication, PublicationOrder
from wharfinger_daemon.metadata.targets import Target


@dataclass(frozen=True)
class VersionedFile:
    """A metadata file that never changes: ``VERSION.ROLE.json``."""

    role: str
    version: int
    content: bytes


ROLE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def file_name(role: str, version: int) -> str:
    """What clients call a file. Version 0 is the one without a version in its name.

    Raises:
        InvalidRequestError: MALFORMED_REQUEST; the role is no name of a role, so that no path can come of it.
    """
    if not ROLE_NAME.fullmatch(role) or version < 0:
        raise InvalidRequestError(
            f"'{ascii(role)[1:-1][:80]}' in version {version} is no metadata: a role is called like 'timestamp' or "
            "'bins-0a3f', and versions count from 1.",
            reason=Reason.MALFORMED_REQUEST,
        )
    return f"{version}.{role}.json" if version else f"{role}.json"


VERSIONED_FILE = re.compile(r"([1-9][0-9]{0,18})\.([a-z0-9][a-z0-9-]{0,63})\.json")


def versioned_file(name: str) -> tuple[str, int] | None:
    """Role and version of a versioned file by its name; None if it is another file."""
    match = VERSIONED_FILE.fullmatch(name)
    return None if match is None else (match[2], int(match[1]))


def removable_file_name(role: str, version: int) -> str:
    """What clients call a file that may be removed.

    Raises:
        InvalidRequestError: MALFORMED_REQUEST; it is a root (all of them stay: TUF specification 1.0.34, section 6.1),
            has no version in its name, or is no metadata.
    """
    name = file_name(role, version)
    if role == "root" or not version:
        raise InvalidRequestError(
            f"{name} is never removed: clients need it. Only superseded versions of other roles may go.",
            reason=Reason.MALFORMED_REQUEST,
        )
    return name


def another_content(name: str) -> CorruptStateError:
    """The error for a file that was to be added and exists with another content."""
    return CorruptStateError(
        f"The metadata store has a file {name} with another content than the one that was to be added. It was left as "
        "it is. Two publishers may have worked on this repository, or its database is an old copy.",
        reason=Reason.REPOSITORY_INVALID,
        file=name,
    )


def another_timestamp() -> CorruptStateError:
    """The error for a timestamp that is not the one that was to be replaced."""
    return CorruptStateError(
        "The published timestamp is not the one that this publisher had seen: another one published meanwhile. It was "
        "left as it is. Stop one of them.",
        reason=Reason.FENCED,
    )


class MetadataFiles(Protocol):
    """Where files of one repository can be read."""

    async def read(self, role: str, version: int) -> bytes | None:
        """The file ``VERSION.ROLE.json``, or None if there is none. Version 0 of ``timestamp`` is ``timestamp.json``,
        the only file without a version in its name.

        Raises:
            UnavailableError: STORE_UNAVAILABLE. The same call may be made again.
        """
        ...


class MetadataStore(MetadataFiles, Protocol):
    """Where the files of one repository are kept for clients.

    Raises:
        UnavailableError: from every method: STORE_UNAVAILABLE. The same call may be made again.
    """

    async def read_all(self, files: Sequence[tuple[str, int]]) -> list[bytes | None]:
        """What ``read`` returns for each of these, by role and version."""
        ...

    async def add(self, files: Sequence[VersionedFile]) -> None:
        """Adds files. They are durable when this returns; each appears whole or not at all. Repeats safely.

        Raises:
            CorruptStateError: REPOSITORY_INVALID; a file of that name exists, with another content. It is left alone.
        """
        ...

    async def replace_timestamp(self, content: bytes, *, replacing: bytes | None) -> None:
        """Replaces ``timestamp.json`` in one step, durably. Repeats safely.

        Args:
            replacing: what it must be now; None if there must be none.

        Raises:
            CorruptStateError: FENCED; it is something else: another publisher went on. It is left alone.
        """
        ...

    async def absent(self, files: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Which of these files, by role and version, are not there or are empty. Their content is not looked at."""
        ...

    async def listed(self) -> Sequence[tuple[str, int]]:
        """Role and version of every versioned file that is there, in any order, roots included; what is no metadata is
        passed over. A file that is added or removed meanwhile may be among them or not."""
        ...

    async def remove(self, files: Sequence[tuple[str, int]]) -> None:
        """Removes versioned files, by role and version, durably; which are gone when this is cut off, is not known.
        Repeats safely: a file that is not there is no error.

        Raises:
            InvalidRequestError: MALFORMED_REQUEST; one of them is a root, has no version in its name, or is no
                metadata. Nothing was removed.
        """
        ...

    async def stage(self, content: bytes | None) -> None:
        """Keeps one note durably, where clients do not see it, in one step; None throws it away. Repeats safely."""
        ...

    async def staged(self) -> bytes | None:
        """The note that is kept."""
        ...

    async def lock(self) -> None:
        """Keeps all other publishers out, until ``unlock`` or the end of this process.

        Raises:
            StartupError: PUBLISHER_RUNNING; another one is in.
        """
        ...

    async def unlock(self) -> None:
        """Lets others in. Does nothing if the store is not locked."""
        ...


class PublicationRecords(Protocol):
    """The truth about one repository: its targets, the versions of its roles, its newest publication.

    Every method is one transaction.

    Raises:
        UnavailableError: from every method, when the records cannot be read or written.
    """

    async def newest(self) -> Publication | None:
        """The publication prepared last; None before the first."""
        ...

    async def prepare(self, order: PublicationOrder) -> Publication | None:
        """Applies a change and writes the publication down that ``planning.plan`` decides on: all of it, or nothing.

        Returns:
            None if no publication is needed.

        Raises:
            CorruptStateError: the newest publication is not finished, or the plan is impossible. Nothing was written.
            RefusedError: BIN_FULL; clients would not read a bin any more. Nothing was written.
        """
        ...

    async def evade(self, claimed: Mapping[str, ClaimedVersions], order: PublicationOrder) -> Publication:
        """Gives the prepared publication other versions, as ``planning.evade`` decides.

        Raises:
            CorruptStateError: there is no prepared publication. Nothing was written.
        """
        ...

    async def assign(self, bins: HashBins) -> None:
        """Gives every target its bin of these: in many transactions of bounded size, after any of which it may be
        interrupted. Repeats safely. Nothing may be prepared or published meanwhile."""
        ...

    async def last_shown(self) -> int:
        """The version of the timestamp that was marked published last; 0 before the first."""
        ...

    async def mark_published(self, publication: Publication, at: datetime) -> None:
        """Says that clients can see a publication. Repeats safely."""
        ...

    async def states(self, roles: Collection[str] | None = None) -> Mapping[str, RoleState]:
        """The newest state of these roles that there are, or of every role, by name, prepared or published."""
        ...

    async def signed_by_others(self, keys: OnlineKeys, limit: int) -> list[RoleState]:
        """Online roles whose newest version is not to be signed with these keys, by name."""
        ...

    async def signers(self) -> Mapping[str, Mapping[str, int]]:
        """How many roles have their newest version from which key: by ``bins``, ``snapshot`` and ``timestamp``, then by
        keyid; an empty one stands for a key that was not written down."""
        ...

    async def prove_writable(self) -> None:
        """Writes something that changes nothing, durably: what can be read may still not take a write."""
        ...

    async def targets_of(self, bins: Collection[str]) -> Mapping[str, list[Target]]:
        """The targets that each of these bins lists, by role; an empty bin is there with an empty list."""
        ...


class OnlineSigner(Protocol):
    """Signs for the online roles of one repository, and remembers: the same document has the same signature again."""

    async def sign(self, documents: Sequence[UnsignedDocument]) -> list[DocumentSignature]:
        """One signature for each document, in order, by the key that its state names.

        Raises:
            UnavailableError, DeadlineError: nothing was signed, or it is not known; the same call may be made again.
            WharfingerError: it is refused.
        """
        ...

    async def keys(self, a_bin: str) -> OnlineKeys:
        """Which keys sign new metadata at this moment.

        Args:
            a_bin: the name of any bin; all of them have the same key.

        Raises:
            RefusedError: there is a role that none may sign now.
        """
        ...

    async def claimed(self) -> Mapping[str, ClaimedVersions]:
        """Which versions are taken, by role, whoever had them signed."""
        ...
