"""Metadata files in a bucket of S3-compatible object storage.

A versioned file is written with ``If-None-Match: *``, which never overwrites, and the timestamp with ``If-Match``,
which replaces exactly what was seen: a publisher that was paused finds that another one went on. A server that does not
obey these conditions is refused when the store is locked. What a lost answer leaves open is looked up: the same content
is there, or it is another's.

The lock is an object that its holder writes anew every few seconds. Whoever finds it unchanged for several times as
long may take it over; no clock of another machine is trusted.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.metadata.ports import (
    VersionedFile,
    another_content,
    another_timestamp,
    file_name,
    removable_file_name,
    versioned_file,
)
from wharfinger_daemon.storage.bucket_objects import CALLS_AT_ONCE, Bucket, BucketObjects, ConditionError

T = TypeVar("T")

# From here on to list the whole bucket costs less than to ask for each file.
_ASKED_ONE_BY_ONE = 64
_STAGED = ".staged"
_LOCK = ".publisher"
_FREE = b"free"
_SILENT_BEATS = 4
# An entity tag that no object has.
_NO_TAG = f'"{"0" * 32}"'
_TIMESTAMP = file_name("timestamp", 0)
_FOR_EVER = "public, max-age=31536000, immutable"


class MetadataBucket:
    """``metadata.ports.MetadataStore`` on a bucket, which must exist."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._objects = BucketObjects(bucket)
        # Beats wait for nothing else, and for no answer longer than the lock would.
        self._lock_objects = BucketObjects(
            replace(bucket, timeout_seconds=min(bucket.timeout_seconds, bucket.beat_seconds))
        )
        self._lock_thread = ThreadPoolExecutor(1, thread_name_prefix="bucket-lock")
        self._beat_by_beat = asyncio.Lock()
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="bucket")
        self._held: str | None = None
        self._beating: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._lost = False

    async def read(self, role: str, version: int) -> bytes | None:
        name = file_name(role, version)
        return await self._call(lambda: self._objects.content(name))

    async def read_all(self, files: Sequence[tuple[str, int]]) -> list[bytes | None]:
        return list(await asyncio.gather(*(self.read(role, version) for role, version in files)))

    async def add(self, files: Sequence[VersionedFile]) -> None:
        names = [file_name(file.role, file.version) for file in files]
        adding = [self._call(partial(self._add, name, file)) for name, file in zip(names, files, strict=True)]
        for outcome in await asyncio.gather(*adding, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def replace_timestamp(self, content: bytes, *, replacing: bytes | None) -> None:
        await self._call(lambda: self._replace_timestamp(content, replacing))

    async def absent(self, files: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        if len(files) < _ASKED_ONE_BY_ONE:
            there = await asyncio.gather(*(self._call(partial(self._objects.size, file_name(*file))) for file in files))
            return [file for file, size in zip(files, there, strict=True) if not size]
        sizes = await self._call(self._objects.sizes)
        return [file for file in files if not sizes.get(file_name(*file))]

    async def listed(self) -> Sequence[tuple[str, int]]:
        return [file for file in map(versioned_file, await self._call(self._objects.sizes)) if file is not None]

    async def remove(self, files: Sequence[tuple[str, int]]) -> None:
        names = [removable_file_name(*file) for file in files]
        await self._prove_place()
        await self._call(lambda: self._objects.remove(names))

    async def stage(self, content: bytes | None) -> None:
        await self._prove_place()
        if content is None:
            await self._call(lambda: self._objects.remove([_STAGED]))
        else:
            await self._call(lambda: self._objects.put(_STAGED, content))

    async def staged(self) -> bytes | None:
        return await self._call(lambda: self._objects.content(_STAGED))

    async def lock(self) -> None:
        if self._held is not None:
            raise self._busy()
        self._held, self._lost = await self._take_lock(), False
        self._leaving.clear()
        self._beating = asyncio.create_task(self._beat(), name="metadata bucket")

    async def unlock(self) -> None:
        self._leaving.set()
        if self._beating is not None:
            await self._beating  # Not cancelled: a beat on its way gives the lock another tag.
            self._beating = None
        held, self._held = self._held, None
        if held is not None and not self._lost:
            # Removed only as it is: another may have taken it over.
            with contextlib.suppress(ConditionError):
                await self._write_lock(_FREE, IfMatch=held)

    def close(self) -> None:
        """Ends the threads and connections."""
        for threads in (self._threads, self._lock_thread):
            threads.shutdown()
        for objects in (self._objects, self._lock_objects):
            objects.close()

    # ---- The lock ----------------------------------------------------------------------------------------------------
    async def _take_lock(self) -> str:
        try:
            held = await self._write_lock(_a_name(), IfNoneMatch="*")
        except ConditionError:
            held = await self._take_over()
        await self._require_obedience("If-None-Match", IfNoneMatch="*")
        await self._require_obedience("If-Match", IfMatch=_NO_TAG)
        return held

    async def _require_obedience(self, header: str, **condition: str) -> None:
        try:
            await self._write_lock(_a_name(), **condition)
        except ConditionError:
            return
        raise StartupError(
            f"The server of bucket '{self._bucket.name}' does not obey {header} when it writes, so that two "
            "publishers could overwrite each other's files. Use a server that knows conditional writes.",
            reason=Reason.STORE_UNAVAILABLE,
        )

    async def _take_over(self) -> str:
        found, seen = await self._call(lambda: self._objects.found(_LOCK))
        for _ in range(_SILENT_BEATS):
            if found == _FREE:
                break
            await asyncio.sleep(self._bucket.beat_seconds)
            found, now = await self._call(lambda: self._objects.found(_LOCK))
            if now != seen:
                raise self._busy()
        try:
            return await self._write_lock(_a_name(), **({"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}))
        except ConditionError as error:
            raise self._busy() from error

    async def _beat(self) -> None:
        while self._held is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._bucket.beat_seconds):
                    await self._leaving.wait()
                return
            with contextlib.suppress(UnavailableError):  # Who takes over meanwhile is found at the next beat.
                await self._show_life()
            if self._lost:
                return

    async def _show_life(self) -> None:
        async with self._beat_by_beat:
            if self._held is None or self._lost:
                return
            try:
                self._held = await self._write_lock(_a_name(), IfMatch=self._held)
            except ConditionError:
                self._lost = True

    async def _write_lock(self, content: bytes, **condition: str) -> str:
        def work() -> str:
            try:
                return self._lock_objects.put(_LOCK, content, **condition)
            except ConditionError:
                found, tag = self._lock_objects.found(_LOCK)
                if found != content or tag is None:
                    raise
                return tag  # An answer was lost, and this was the second try.

        return await asyncio.get_running_loop().run_in_executor(self._lock_thread, work)

    async def _prove_place(self) -> None:
        # Neither a removal nor the staged note has a condition of its own.
        await self._show_life()
        self._require_place()

    def _require_place(self) -> None:
        if self._lost:
            raise UnavailableError(
                "Another publisher works on this bucket by now, so this one writes nothing any more. Stop it.",
                reason=Reason.FENCED,
            )

    # ---- Objects, on a thread ----------------------------------------------------------------------------------------
    def _add(self, name: str, file: VersionedFile) -> None:
        self._require_place()
        try:
            self._objects.put(name, file.content, cache_control=_FOR_EVER, IfNoneMatch="*")
        except ConditionError as error:
            present = self._objects.content(name)
            if present is None:
                raise self._objects.unavailable(f"it refused {name} as present, and has none") from error
            if present != file.content:
                raise another_content(name) from error

    def _replace_timestamp(self, content: bytes, replacing: bytes | None) -> None:
        self._require_place()
        present, seen = self._objects.found(_TIMESTAMP)
        if present == content:
            return
        if present != replacing:
            raise another_timestamp()
        try:
            self._objects.put(_TIMESTAMP, content, **({"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen}))
        except ConditionError as error:
            if self._objects.content(_TIMESTAMP) != content:  # Else an answer was lost, and this is the second try.
                raise another_timestamp() from error

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _busy(self) -> StartupError:
        return StartupError(
            f"Another publisher works on the bucket '{self._bucket.name}'. Stop the other daemon, or configure another "
            "bucket or prefix.",
            reason=Reason.PUBLISHER_RUNNING,
        )


def _a_name() -> bytes:
    # Another one each time, so that whoever looks sees that its holder lives.
    return secrets.token_hex(16).encode()
