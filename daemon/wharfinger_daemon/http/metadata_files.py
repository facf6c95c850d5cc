"""TUF metadata files over HTTP.

Versioned files never change, so caches may keep them for ever; ``timestamp.json`` lives for seconds. Clients ask for
the next root until there is none, so that answer may be kept for seconds, too. No client asks for another file before
it was told of it: if a cache kept the answer that it is missing, whoever asks early could keep others from what is
published a moment later. Ranges are not served: clients want whole files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from wharfinger_daemon.errors import InvalidRequestError, NotFoundError, WharfingerError
from wharfinger_daemon.http.compression import CompressedCopies
from wharfinger_daemon.http.negotiation import has_copy, prefers_gzip
from wharfinger_daemon.http.whole_file import Outgoing, WholeFile
from wharfinger_daemon.metadata.invalidation import ABSENT_KEY
from wharfinger_daemon.metadata.reading import MetadataFile, MetadataReader

FOR_EVER = "public, max-age=31536000, immutable"

_METADATA_NAME = re.compile(r"(?:(?P<version>[1-9][0-9]{0,18})\.)?(?P<role>[a-z0-9][a-z0-9-]*)\.json")


@dataclass(frozen=True)
class ServingLimits:
    """What serving may take.

    Attributes:
        timestamp_max_age_seconds: how long caches may keep ``timestamp.json``, and that there is no newer root.
        compressed_bytes: of the compressed copies that are kept.
        outgoing_bytes: of the files that are on their way at once.
    """

    timestamp_max_age_seconds: int = 10
    compressed_bytes: int = 64 << 20
    outgoing_bytes: int = 256 << 20


class MetadataFiles:
    """Answers requests for metadata."""

    def __init__(self, reader: MetadataReader, limits: ServingLimits) -> None:
        self._reader = reader
        self._short = f"public, max-age={limits.timestamp_max_age_seconds}"
        self._absent = {"Cache-Control": self._short, "Surrogate-Key": f"metadata {ABSENT_KEY}"}
        self._copies = CompressedCopies(limits.compressed_bytes)
        self._outgoing = Outgoing(limits.outgoing_bytes)

    async def answer(self, request: Request) -> Response:
        """The file that the path names, as the client wants it.

        Raises:
            HTTPException: 404 or 503.
        """
        match = _METADATA_NAME.fullmatch(request.path_params["name"])
        # With consistent snapshots every file but the timestamp has its version in its name (TUF 1.0.34, 6.2).
        if match is None or (match["version"] is None) != (match["role"] == "timestamp"):
            raise HTTPException(404, "There is no such metadata file.", self._absent)
        file = await self._read(match["role"], int(match["version"] or 0))
        assert file.content is not None  # It was not asked for conditionally.
        content, etag, encoding = file.content, f'"{file.etag}"', {}
        if prefers_gzip(", ".join(request.headers.getlist("accept-encoding")) or None):
            copy = await self._copies.of(file.etag, file.content)
            if copy is not None:
                # Other bytes, so another strong validator (RFC 9110, 8.8.3.3).
                content, etag, encoding = copy, f'"{file.etag}-gzip"', {"Content-Encoding": "gzip"}
        headers = {
            "ETag": etag,
            "Cache-Control": self._short if match["role"] == "timestamp" else FOR_EVER,
            "Surrogate-Key": f"metadata {match['role']}",
            "Vary": "Accept-Encoding",
            "Accept-Ranges": "none",
            "X-Content-Type-Options": "nosniff",
        }
        if has_copy(request.headers.getlist("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        self._outgoing.require_room(len(content))
        return WholeFile(content, {**headers, **encoding}, self._outgoing)

    async def _read(self, role: str, version: int) -> MetadataFile:
        try:
            return await self._reader.get(role, version)
        except (NotFoundError, InvalidRequestError) as error:
            kept = self._absent if role in ("root", "timestamp") else None
            raise HTTPException(404, "There is no such metadata file, or it is no longer kept.", kept) from error
        except WharfingerError as error:
            raise HTTPException(503, "The metadata cannot be read now.", {"Retry-After": "1"}) from error
