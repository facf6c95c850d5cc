"""The client for asyncio. ``client.Client`` is the same, blocking; both share all but the performing of steps."""

# ruff: noqa: ASYNC109 - a timeout here is the deadline that gRPC sends to the daemon, more than a local asyncio.timeout

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from wharfinger_client import _channel, _rpcs, audit, health, metadata, scanning, signing
from wharfinger_client._artifact import ArtifactSource
from wharfinger_client._failures import wharfinger_error
from wharfinger_client._operations import Operations, Page, ScanFilter
from wharfinger_client._steps import Chance, Operation, Pause, Send, Step, T
from wharfinger_client._watching import PublicationWatch
from wharfinger_client.errors import WharfingerError
from wharfinger_client.settings import ClientSettings


class AsyncClient:
    """Calls the daemon from asyncio. The methods, their arguments and their errors are those of ``Client``.

        async with AsyncClient(settings) as client:
            async for key in client.list_signing_keys("pypi"):
                ...

    Constructing one reads nothing and connects to nothing. The connection belongs to the event loop of the first call;
    for another loop or another process, construct another client (before or after a fork). Files are read on a thread.
    Cancelling a task cancels its call; what the call was to change may still be changed.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._operations = Operations(settings, Chance(monotonic, chance))
        self._made: grpc.aio.Channel | None = None
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, if there is one. Calls under way are cancelled."""
        self._closed = True
        channel, self._made = self._made, None
        if channel is not None:
            await channel.close()

    # ---- signing -----------------------------------------------------------------------------------------------------
    async def sign(
        self, items: Iterable[signing.SigningItem], *, request_id: str = "", timeout: float | None = None
    ) -> tuple[signing.Signature, ...]:
        """Signs a batch: all items or none. See ``Client.sign``."""
        return await self._run(self._operations.sign(items, request_id, timeout))

    async def sign_metadata(
        self,
        repository: str,
        signed: bytes,
        *,
        role: str = "",
        keyid: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> signing.Signature:
        """Signs one TUF ``signed`` object, given as canonical JSON. See ``Client.sign_metadata``."""
        item = signing.SigningItem(repository, signed, role, keyid)
        return await self._run(self._operations.sign_metadata(item, request_id, timeout))

    async def lint(
        self, items: Iterable[signing.SigningItem], *, timeout: float | None = None
    ) -> tuple[signing.LintResult, ...]:
        """Asks what ``sign`` would say of each item, and changes nothing. See ``Client.lint``."""
        return await self._run(self._operations.lint(items, timeout))

    def list_signing_keys(self, repository: str, *, timeout: float | None = None) -> AsyncIterator[signing.SigningKey]:
        """Iterates over the keys that sign for a repository. See ``Client.list_signing_keys``."""
        return self._each(lambda token: self._operations.list_signing_keys(repository, token, timeout))

    # ---- metadata ----------------------------------------------------------------------------------------------------
    async def get_metadata(
        self, repository: str, role: str, *, version: int = 0, if_none_match: str = "", timeout: float | None = None
    ) -> metadata.MetadataFile:
        """Reads one metadata file; version 0 is the newest that is published. See ``Client.get_metadata``."""
        return await self._run(self._operations.get_metadata(repository, role, version, if_none_match, timeout))

    async def publish_targets(
        self,
        repository: str,
        *,
        add: Iterable[metadata.Target] = (),
        remove: Iterable[str] = (),
        request_id: str = "",
        timeout: float | None = None,
    ) -> metadata.PublicationResult:
        """Adds, replaces and removes targets, and returns when it is visible. See ``Client.publish_targets``."""
        return await self._run(self._operations.publish_targets(repository, add, remove, request_id, timeout))

    async def get_target(self, repository: str, path: str, *, timeout: float | None = None) -> metadata.PublishedTarget:
        """Reads what the published metadata says of a path. See ``Client.get_target``."""
        return await self._run(self._operations.get_target(repository, path, timeout))

    def watch_publications(self, repository: str, *, after: int | None = None) -> AsyncIterator[metadata.Publication]:
        """Iterates over publications, in order and without end. See ``Client.watch_publications``."""
        return self._watch(self._operations.watch_publications(repository, after))

    # ---- scanning ----------------------------------------------------------------------------------------------------
    async def scan_file(
        self,
        source: ArtifactSource,
        *,
        subject: scanning.Subject,
        sha256: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> scanning.ScanReply:
        """Streams an artifact to the daemon and returns its scan, with the findings. See ``Client.scan_file``."""
        return await self._run(self._operations.scan_file(source, subject, sha256, request_id, timeout))

    async def create_scan(
        self,
        subject: scanning.Subject,
        sha256: str,
        artifact: scanning.ArtifactPath | scanning.ArtifactUrl,
        *,
        request_id: str = "",
        timeout: float | None = None,
    ) -> scanning.ScanReply:
        """Queues the scan of an artifact that the daemon reads by itself. See ``Client.create_scan``."""
        return await self._run(self._operations.create_scan(subject, sha256, artifact, request_id, timeout))

    async def get_scan(self, scan_id: str, *, timeout: float | None = None) -> scanning.Scan:
        """Reads one scan with its findings. See ``Client.get_scan``."""
        return await self._run(self._operations.get_scan(scan_id, timeout))

    async def wait_for_scan(self, scan_id: str, *, timeout: float) -> scanning.Scan:
        """Asks for a scan until it is done. See ``Client.wait_for_scan``."""
        return await self._run(self._operations.wait_for_scan(scan_id, timeout))

    def list_scans(
        self,
        *,
        project: str = "",
        sha256: str = "",
        classification: scanning.Classification | None = None,
        state: scanning.ScanState | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[scanning.Scan]:
        """Iterates over scans, newest first, without their findings. See ``Client.list_scans``."""
        chosen = ScanFilter(project, sha256, classification, state, page_size)
        return self._each(lambda token: self._operations.list_scans(chosen, token, timeout))

    # ---- audit log ---------------------------------------------------------------------------------------------------
    async def checkpoint(self, size: int = 0, *, timeout: float | None = None) -> audit.Checkpoint:
        """Reads the newest checkpoint of the audit log, or that of a size. See ``Client.checkpoint``."""
        return await self._run(self._operations.checkpoint(size, timeout))

    async def inclusion_proof(self, leaf_index: int, *, timeout: float | None = None) -> audit.InclusionProof:
        """Reads the proof that a leaf is in the audit log. See ``Client.inclusion_proof``."""
        return await self._run(self._operations.inclusion_proof(leaf_index, timeout))

    # ---- health ------------------------------------------------------------------------------------------------------
    async def check_health(self, service: str = "", *, timeout: float | None = None) -> health.ServingStatus:
        """Asks ``grpc.health.v1`` about a service, or the daemon as a whole. See ``Client.check_health``."""
        return await self._run(self._operations.check_health(service, timeout))

    # ---- how ---------------------------------------------------------------------------------------------------------
    async def _each(self, page: Callable[[str], Operation[Page[T]]]) -> AsyncIterator[T]:
        token = ""
        while True:
            got = await self._run(page(token))
            for item in got.items:
                yield item
            token = got.next_token
            if not token:
                return

    async def _run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                try:
                    outcome = await self._perform(step)
                except BaseException as error:  # noqa: BLE001 - the operation cleans up and raises it, or another one
                    step = operation.throw(error)
                else:
                    step = operation.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _perform(self, step: Step) -> Any:
        match step:
            case Send():
                return await self._send(step)
            case Pause():
                return await self._sleep(step.seconds)
        return await asyncio.to_thread(step.work)

    async def _watch(self, watch: PublicationWatch) -> AsyncIterator[metadata.Publication]:
        rpc = _rpcs.WATCH_PUBLICATIONS
        coding = (rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        while True:
            call: Any = self._channel().unary_stream(*coding)(watch.request(), metadata=watch.call_metadata)
            failure: WharfingerError
            try:
                async for message in call:
                    yield watch.taken(message)
                failure = watch.ended()
            except grpc.RpcError as error:
                failure = wharfinger_error(error, address=self._settings.address, request_id=watch.request_id)
                failure.__cause__ = error
            finally:
                call.cancel()
            await self._sleep(watch.pause_after(failure))

    async def _send(self, send: Send) -> Any:
        channel = self._channel()
        rpc = send.rpc
        coding = (rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        request: Any = send.request()
        try:
            if not rpc.streams:
                return await channel.unary_unary(*coding)(request, timeout=send.timeout, metadata=send.metadata)
            stream = _on_threads(request)
            return await channel.stream_unary(*coding)(stream, timeout=send.timeout, metadata=send.metadata)
        except grpc.RpcError as error:
            raise wharfinger_error(error, address=self._settings.address, request_id=send.request_id) from error

    def _channel(self) -> grpc.aio.Channel:
        if self._closed:
            raise RuntimeError("The client is closed; construct another one.")
        owner = (os.getpid(), asyncio.get_running_loop())
        if self._made is None:
            settings = self._settings
            self._made = grpc.aio.secure_channel(
                settings.address, _channel.credentials(settings), _channel.options(settings)
            )
            self._owner = owner
        elif self._owner != owner:
            raise RuntimeError("The client is connected from another event loop or process; construct another one.")
        return self._made


async def _on_threads(messages: Iterator[Any]) -> AsyncIterator[Any]:
    """Takes each message on a thread, because the next one may have to wait for a file."""
    while (message := await asyncio.to_thread(next, messages, None)) is not None:
        yield message
