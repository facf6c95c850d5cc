"""Does the jobs: renders, stores and publishes; scans and records. No transaction is open during a call."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wharfinger_client._artifact import ArtifactSource
from wharfinger_client.errors import ServerError, UnavailableError
from wharfinger_client.metadata import Target
from wharfinger_client.scanning import Scan, ScanState, Subject
from wharfinger_client.settings import Deadlines
from wharfinger_client.warehouse.models import Models, SimplePages
from wharfinger_client.warehouse.outbox import Claim, Job, JobKind, Outbox

_SPARE_SECONDS = 60.0
"""What a worker has for rendering and storing, besides the deadline of the call."""

log = logging.getLogger(__name__)


class Signing(Protocol):
    """``ISigningService``, as far as it is used here."""

    def publish(self, add: list[Target], remove: list[str]) -> None: ...

    def published(self, path: str) -> Target | None: ...


class Scanning(Protocol):
    """``IScanService``, as far as it is used here."""

    def scan(self, subject: Subject, sha256: str, source: ArtifactSource) -> Scan | None: ...


class Outcome(StrEnum):
    """What became of a job."""

    DONE = "done"
    AGAIN = "again"
    """More came meanwhile: the job has to be done once more."""
    NOTHING = "nothing"
    """It was done already, or somebody else is at it, who will see what is new."""
    PAUSED = "paused"
    """The kill switch is on. The job waits."""


@dataclass(frozen=True)
class Services:
    """The two services, and the kill switches: ``disabled`` is asked before each job."""

    signing: Signing
    scanning: Scanning
    disabled: Callable[[JobKind], bool]


class Delivery:
    """Does jobs, each as often as needed and by one worker at a time."""

    def __init__(
        self,
        outbox: Outbox,
        models: Models,
        services: Services,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 - a frozen value
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outbox = outbox
        self._models = models
        self._services = services
        self._monotonic = monotonic
        self._seconds = {JobKind.PUBLISH: deadlines.publish, JobKind.SCAN: deadlines.scan}

    def deliver(self, job: Job) -> Outcome:
        """Does a job if it is there to be done.

        Raises:
            WharfingerError: the daemon could not do it. The job stays.
            Exception: what the models raised. The job stays.
        """
        if self._services.disabled(job.kind):
            return Outcome.PAUSED
        started = self._monotonic()
        # Twice the spare time, so that a call which begins in time ends before the lease does.
        claim = self.outbox.claim(job, self._seconds[job.kind] + 2 * _SPARE_SECONDS)
        if claim is None:
            return Outcome.NOTHING
        try:
            if job.kind is JobKind.PUBLISH:
                self._publish(job.subject, started)
            else:
                self._scan(job.subject)
        except BaseException:
            self._give_up(claim)
            raise
        return Outcome.AGAIN if self.outbox.finish(claim) else Outcome.DONE

    def compare(self, after: str, limit: int) -> str:
        """Compares the next projects with what is published, and adds a job for each that differs.

        Returns the last name, to go on after it; empty at the end. Asks the daemon once for each page.
        """
        with self.outbox.transaction() as session:
            projects = self._models.projects_after(session, after, limit)
            rendered = {project: self._models.render(session, project) for project in projects}
        different = {
            Job(JobKind.PUBLISH, project)
            for project, pages in rendered.items()
            if not self._is_published(project, pages)
        }
        self.outbox.add(different)
        if different:
            log.warning("wharfinger found %d projects whose published pages differ", len(different))
        return projects[-1] if projects else ""

    def _publish(self, project: str, started: float) -> None:
        with self.outbox.transaction() as session:
            rendered = self._models.render(session, project)
        targets, removed = self._change(project, rendered)
        if rendered is not None:
            for target in targets:
                self._models.store(stored_name(target), rendered.pages[target.path])
        if self._monotonic() - started > _SPARE_SECONDS:
            raise UnavailableError(f"Rendering and storing the pages of {project} took too long to publish them now.")
        self._services.signing.publish(targets, removed)

    def _scan(self, file_id: str) -> None:
        with self.outbox.transaction() as session:
            upload = self._models.upload(session, file_id)
        if upload is None:
            return
        scan = self._services.scanning.scan(upload.subject, upload.sha256, upload.source)
        if scan is not None and scan.state is not ScanState.FINISHED:
            # No verdict is not a benign one. What always fails because of its content, the daemon ends with a verdict.
            raise ServerError(f"The scan {scan.scan_id} could not be done and has to be asked for again: {scan.error}")
        if scan is not None:
            with self.outbox.transaction() as session:
                self._models.record_scan(session, file_id, scan)

    def _is_published(self, project: str, rendered: SimplePages | None) -> bool:
        targets, removed = self._change(project, rendered)
        published = self._services.signing.published
        return all(published(target.path) == target for target in targets) and not any(map(published, removed))

    def _change(self, project: str, rendered: SimplePages | None) -> tuple[list[Target], list[str]]:
        pages = {} if rendered is None else rendered.pages
        removed = [path for path in self._models.page_paths(project) if path not in pages]
        return [target_of(path, content) for path, content in pages.items()], removed

    def _give_up(self, claim: Claim) -> None:
        try:
            self.outbox.give_up(claim)
        except Exception as error:  # noqa: BLE001 - the error that led here is the one to raise; the lease runs out
            log.warning("wharfinger could not give a lease back, which now has to run out: %r", error)


def target_of(path: str, content: bytes) -> Target:
    """The page as a target."""
    return Target(path, len(content), {"sha256": hashlib.sha256(content).hexdigest()})


def stored_name(target: Target) -> str:
    """The name of a page that never changes, as for TUF's consistent snapshots: ``simple/example/HASH.index.html``."""
    folder, slash, name = target.path.rpartition("/")
    return f"{folder}{slash}{target.hashes['sha256']}.{name}"
