"""Answers that are whole files from memory, sent piece by piece, so that slow clients hold no more than they must."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_PIECE_BYTES = 128 * 1024


class Outgoing:
    """How many bytes of files are on their way, and no more than may be.

    Args:
        most_bytes: of all answers together. A larger file is sent if nothing else is.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What is on its way now."""
        return self._bytes

    def require_room(self, size: int) -> None:
        """Refuses a file for which there is no room now.

        Raises:
            HTTPException: 503, with when to come back.
        """
        if self._bytes and self._bytes + size > self._most_bytes:
            raise HTTPException(503, "Too much is on its way to others.", {"Retry-After": "1"})

    @contextmanager
    def sending(self, size: int) -> Iterator[None]:
        """Counts a file for as long as it is on its way."""
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size


class WholeFile(Response):
    """A file. The next piece is handed over when the client has taken most of the one before."""

    def __init__(self, content: bytes, headers: Mapping[str, str], outgoing: Outgoing) -> None:
        super().__init__(content, headers=headers, media_type="application/json")
        self._outgoing = outgoing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        content = memoryview(self.body)
        with self._outgoing.sending(len(content)):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(content), _PIECE_BYTES):
                piece = bytes(content[start : start + _PIECE_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
