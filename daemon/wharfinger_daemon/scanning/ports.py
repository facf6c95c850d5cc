"""What the scan service needs of others: an examiner, a memory of scans, and a way to read artifacts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from wharfinger_daemon.scanning.model import (
    ArtifactReference,
    Classification,
    Examination,
    Scan,
    ScanState,
    Subject,
    Verdict,
)


class ContentFailure(Exception):  # noqa: N818 - not an error of ours: a statement about the content
    """The artifact's content made its examination fail, the same way twice.

    Attributes:
        why: in kebab case, such as ``time-out``, ``out-of-memory``, ``killed``.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Examiner(Protocol):
    """Runs all checks over one artifact."""

    @property
    def rule_set(self) -> str:
        """The version of the rule set: the hexadecimal SHA-256 over checks, their versions and their rules."""
        ...

    async def examine(self, artifact: BinaryIO, subject: Subject) -> Examination:
        """Examines the artifact from its first byte; the file stays open and its position is left anywhere.

        Raises:
            ContentFailure: the content makes every examination fail.
            UnavailableError: nobody can examine now; this says nothing about the content.
        """
        ...


SUPERSEDED = "The rules changed before this scan ran; the scan with the present ones is {scan_id}."


@dataclass(frozen=True)
class ScanFilter:
    """Which scans to list. None, or an empty text, does not filter."""

    project: str = ""
    sha256: str = ""
    classification: Classification | None = None
    state: ScanState | None = None


@dataclass(frozen=True)
class ScanPosition:
    """A place in the list of scans, which runs from the newest to the oldest."""

    submitted_at: datetime
    scan_id: str


class ScanRecords(Protocol):
    """The durable memory of scans. What a method returned is on the disk.

    One daemon works on one memory at a time; what keeps two runs of one scan apart is the service, not the memory.

    Raises:
        UnavailableError: from every method, when the memory does not answer.
    """

    async def find(self, subject: Subject, sha256: str, rule_set: str) -> Scan | None:
        """The scan of that identity, with its findings."""
        ...

    async def submit(self, scan: Scan) -> tuple[Scan, bool]:
        """Adds a submitted scan, unless one of the same subject, digest and rule set exists.

        A scan in ERROR is begun anew: it keeps its identifier and takes ``submitted_at`` and ``reference`` of this one.

        Returns:
            The scan as it stands, and whether it existed: false for one added or begun anew.
        """
        ...

    async def claim(self, scan_id: str, rule_set: str, claimed_at: datetime) -> Scan | None:
        """Marks a scan as being worked on, with the rule set that will do it; None when there is nothing to do.

        After an upgrade that is another rule set than it was submitted for. If a scan of the resulting identity exists
        already, this one is superseded: it fails, and says by which.
        """
        ...

    async def finish(self, scan_id: str, verdict: Verdict, seconds: float, finished_at: datetime) -> Scan:
        """Stores the verdict with its findings. The first result stays: a scan that has one is returned as it is.

        Raises:
            NotFoundError: there is no such scan.
        """
        ...

    async def fail(self, scan_id: str, error: str, finished_at: datetime) -> Scan:
        """Stores why the scan could not be done. The first result stays: a scan that has one is returned as it is.

        Raises:
            NotFoundError: there is no such scan.
        """
        ...

    async def get(self, scan_id: str) -> Scan:
        """The scan with its findings.

        Raises:
            NotFoundError: there is no such scan.
        """
        ...

    async def list(self, scan_filter: ScanFilter, limit: int, after: ScanPosition | None = None) -> Sequence[Scan]:
        """At most ``limit`` scans behind ``after``, newest first, without their findings."""
        ...

    async def unfinished(self) -> Sequence[Scan]:
        """All scans without a result, oldest first."""
        ...


class ArtifactSource(Protocol):
    """Reads artifacts that a caller names instead of sending them."""

    async def check(self, reference: ArtifactReference) -> None:
        """Refuses at once what ``chunks`` would always refuse.

        Raises:
            InvalidRequestError: the reference is not well formed.
            NotGrantedError: it leads outside the artifact roots, or to a host that is not allowed.
            NotFoundError: there is no such file.
        """
        ...

    def chunks(self, reference: ArtifactReference) -> AsyncIterator[bytes]:
        """The artifact's bytes, in chunks of at most 1 MiB.

        Raises:
            WharfingerError: what ``check`` raises, and UnavailableError when it cannot be read now.
        """
        ...
