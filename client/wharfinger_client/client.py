"""The client that blocks. ``aio.AsyncClient`` is the same for asyncio."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator

from wharfinger_client import audit, health, metadata, scanning, signing
from wharfinger_client._artifact import ArtifactSource
from wharfinger_client._blocking import BlockingConnection
from wharfinger_client._operations import Operations, ScanFilter
from wharfinger_client._steps import Chance
from wharfinger_client.settings import ClientSettings


class Client(BlockingConnection):
    """Calls the daemon, and waits for its answers.

        with Client(ClientSettings("localhost:50051", TlsIdentity(ca=..., certificate=..., key=...))) as client:
            reply = client.scan_file("dist/example-1.0.tar.gz", subject=Subject.file(...))

    Constructing one reads nothing and connects to nothing: settings are used at the first call. A client may be shared
    by threads and may be constructed before a fork; each process opens its own connection. After ``close`` it raises
    RuntimeError.

    Every method takes ``timeout`` in seconds, None for the default of ``settings.deadlines``; the time is shared by the
    repetitions that ``settings.retry`` allows. ``request_id`` (1 to 64 printable ASCII characters) names the request in
    the daemon's logs; one is made if it is empty. All methods raise ``WharfingerError``; see ``errors`` for the tree.

    ``sleep``, ``monotonic`` and ``chance`` (a number from 0 to 1) replace the clock and the dice in tests.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(settings, sleep)
        self._operations = Operations(settings, Chance(monotonic, chance))

    # ---- signing -----------------------------------------------------------------------------------------------------
    def sign(
        self, items: Iterable[signing.SigningItem], *, request_id: str = "", timeout: float | None = None
    ) -> tuple[signing.Signature, ...]:
        """Signs a batch: all items or none. Returns the signatures in the order of the items.

        The same bytes return the same signature, so that signing again is safe.

        Raises:
            InvalidRequestError: an item is not TUF metadata as it must be; ``metadata["item"]`` is its index.
            NotGrantedError: the caller may not sign for the repository or the role.
            RefusedError: the key is not authorised, or the ledger forbids it.
        """
        return self._run(self._operations.sign(items, request_id, timeout))

    def sign_metadata(
        self,
        repository: str,
        signed: bytes,
        *,
        role: str = "",
        keyid: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> signing.Signature:
        """Signs one TUF ``signed`` object, given as canonical JSON; see ``SigningItem`` and ``sign``."""
        item = signing.SigningItem(repository, signed, role, keyid)
        return self._run(self._operations.sign_metadata(item, request_id, timeout))

    def lint(
        self, items: Iterable[signing.SigningItem], *, timeout: float | None = None
    ) -> tuple[signing.LintResult, ...]:
        """Asks what ``sign`` would say of each item, and changes nothing. Does not raise for a refused item."""
        return self._run(self._operations.lint(items, timeout))

    def list_signing_keys(self, repository: str, *, timeout: float | None = None) -> Iterator[signing.SigningKey]:
        """Iterates over the keys that sign for a repository. ``timeout`` is for each page.

        Raises:
            NotFoundError: there is no such repository.
        """
        return self._each(lambda token: self._operations.list_signing_keys(repository, token, timeout))

    # ---- metadata ----------------------------------------------------------------------------------------------------
    def get_metadata(
        self, repository: str, role: str, *, version: int = 0, if_none_match: str = "", timeout: float | None = None
    ) -> metadata.MetadataFile:
        """Reads one metadata file; version 0 is the newest that is published.

        Raises:
            NotFoundError: there is no such repository, role or version, or the version is no longer kept.
        """
        return self._run(self._operations.get_metadata(repository, role, version, if_none_match, timeout))

    def publish_targets(
        self,
        repository: str,
        *,
        add: Iterable[metadata.Target] = (),
        remove: Iterable[str] = (),
        request_id: str = "",
        timeout: float | None = None,
    ) -> metadata.PublicationResult:
        """Adds or replaces targets and removes paths, and returns when clients can see the change.

        Publishing again what is there, or removing what is not, changes nothing. After UnavailableError and
        DeadlineExceededError the change may still be published later.

        Raises:
            InvalidRequestError: a path or a hash that no client would accept; ``metadata["path"]`` names it.
            NotFoundError: there is no such repository.
        """
        return self._run(self._operations.publish_targets(repository, add, remove, request_id, timeout))

    def get_target(self, repository: str, path: str, *, timeout: float | None = None) -> metadata.PublishedTarget:
        """Reads what the published metadata says of a path.

        Raises:
            NotFoundError: there is no such repository or target.
        """
        return self._run(self._operations.get_target(repository, path, timeout))

    def watch_publications(self, repository: str, *, after: int | None = None) -> Iterator[metadata.Publication]:
        """Iterates over publications as clients come to see them, in order and without end; waits for the next one.

        It goes on where it was when the daemon was away, as often in a row as ``settings.retry`` allows; nothing is
        missed and nothing comes twice. Close the iterator, or the client, to stop.

        Args:
            after: the timestamp version that is known already; 0 for the beginning. Without it the newest publication
                comes first, at once.

        Raises:
            NotFoundError: there is no such repository.
            InvalidRequestError: ``after`` was never published.
            OverloadedError: too many watch already.
            UnavailableError: the daemon stays away. To resume, give the last ``timestamp_version`` as ``after``.
        """
        return self._watch(self._operations.watch_publications(repository, after))

    # ---- scanning ----------------------------------------------------------------------------------------------------
    def scan_file(
        self,
        source: ArtifactSource,
        *,
        subject: scanning.Subject,
        sha256: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> scanning.ScanReply:
        """Streams an artifact to the daemon and returns its scan, with the findings.

        ``source`` is a path (``str`` or path-like), the content (``bytes``), or a binary file object, which is read
        from where it stands and left open; one that cannot be rewound is copied to a temporary file first. ``sha256``
        is the artifact's, if it is known; otherwise the file is read once more to compute it.

        A scan in state ``error`` is returned, not raised: it has no classification.

        Raises:
            TooLargeError: the artifact is larger than the daemon accepts.
            InvalidRequestError: a bad subject, or the bytes do not have the given ``sha256``.
            OSError: the file cannot be read.
        """
        return self._run(self._operations.scan_file(source, subject, sha256, request_id, timeout))

    def create_scan(
        self,
        subject: scanning.Subject,
        sha256: str,
        artifact: scanning.ArtifactPath | scanning.ArtifactUrl,
        *,
        request_id: str = "",
        timeout: float | None = None,
    ) -> scanning.ScanReply:
        """Queues the scan of an artifact that the daemon reads by itself, and returns at once; see ``wait_for_scan``.

        Raises:
            InvalidRequestError: a bad subject, digest or reference.
            NotGrantedError: a path outside the artifact roots, or a host that is not allowed.
            OverloadedError: the queue is full.
        """
        return self._run(self._operations.create_scan(subject, sha256, artifact, request_id, timeout))

    def get_scan(self, scan_id: str, *, timeout: float | None = None) -> scanning.Scan:
        """Reads one scan with its findings.

        Raises:
            NotFoundError: there is no such scan.
        """
        return self._run(self._operations.get_scan(scan_id, timeout))

    def wait_for_scan(self, scan_id: str, *, timeout: float) -> scanning.Scan:
        """Asks for a scan until it is done: finished, or in state ``error``, which is returned and not raised.

        Raises:
            NotFoundError: there is no such scan.
            DeadlineExceededError: it was not done in time. It goes on.
        """
        return self._run(self._operations.wait_for_scan(scan_id, timeout))

    def list_scans(
        self,
        *,
        project: str = "",
        sha256: str = "",
        classification: scanning.Classification | None = None,
        state: scanning.ScanState | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> Iterator[scanning.Scan]:
        """Iterates over scans, newest first, without their findings. ``timeout`` is for each page.

        What is not given does not filter. ``page_size`` is at most 1,000; 0 leaves it to the daemon.
        """
        chosen = ScanFilter(project, sha256, classification, state, page_size)
        return self._each(lambda token: self._operations.list_scans(chosen, token, timeout))

    # ---- audit log ---------------------------------------------------------------------------------------------------
    def checkpoint(self, size: int = 0, *, timeout: float | None = None) -> audit.Checkpoint:
        """Reads the newest checkpoint of the audit log, or that of a size.

        Raises:
            NotFoundError: there is none.
        """
        return self._run(self._operations.checkpoint(size, timeout))

    def inclusion_proof(self, leaf_index: int, *, timeout: float | None = None) -> audit.InclusionProof:
        """Reads the proof that a leaf, such as a signature's, is in the audit log. ``verify`` checks it.

        Raises:
            NotFoundError: there is no such leaf.
            UnavailableError: no checkpoint covers it yet; one comes within seconds.
        """
        return self._run(self._operations.inclusion_proof(leaf_index, timeout))

    # ---- health ------------------------------------------------------------------------------------------------------
    def check_health(self, service: str = "", *, timeout: float | None = None) -> health.ServingStatus:
        """Asks ``grpc.health.v1`` about one service by its full name, or about the daemon as a whole.

        Raises:
            NotFoundError: the daemon does not know the service.
        """
        return self._run(self._operations.check_health(service, timeout))
