"""Compressed copies of files: made when somebody wants one, beside the event loop, once, and kept while there is room.

A publication never waits for them. Gzip alone: every client and every CDN reads it, and a CDN that wants Brotli towards
its own clients makes that itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from isal import igzip

LEAST_BYTES = 512
"""What is smaller gains nothing that anybody would notice."""

# Of 2: a bin of 20 million targets in 16,384 comes out as small as with zlib's default, in an eighth of its time.
_LEVEL = 2
_MOST_WAITING = 32


class CompressedCopies:
    """Copies with gzip, the ones that were used last.

    Args:
        most_bytes: of all copies together. A file that is larger than an eighth of that is sent as it is.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._making: dict[str, asyncio.Task[bytes]] = {}
        self._worker = asyncio.Semaphore(1)

    @property
    def kept_bytes(self) -> int:
        """What the copies take."""
        return self._bytes

    async def of(self, digest: str, content: bytes) -> bytes | None:
        """The copy of a file; None if it is to be sent as it is: too small, too large, or too many wait for copies.

        Args:
            digest: names the content: the same digest is the same content.
        """
        if not LEAST_BYTES <= len(content) <= self._most_bytes // 8:
            return None
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest]
        making = self._making.get(digest)
        if making is None:
            if len(self._making) >= _MOST_WAITING:
                return None
            making = asyncio.create_task(self._make(digest, content), name="compression")
            self._making[digest] = making
            making.add_done_callback(lambda done: self._making.pop(digest, None))
        # One that goes away must not take the copy from the others.
        return await asyncio.shield(making)

    async def _make(self, digest: str, content: bytes) -> bytes:
        async with self._worker:
            # Without a time in it, the same content gives the same copy.
            copy: bytes = await asyncio.to_thread(igzip.compress, content, _LEVEL, mtime=0)
        self._kept[digest] = copy
        self._bytes += len(copy)
        while self._bytes > self._most_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)
        return copy
