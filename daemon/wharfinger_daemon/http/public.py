"""What a CDN reads: TUF metadata with headers that caches can trust, and, in development, the target files too.
Versioned files never change, so caches may keep them for ever; ``timestamp.json`` lives for seconds. Clients ask for
the next root until there is none, so that answer may be kept for seconds, too. No client asks for another file before
it was told of it: if a cache kept the answer that it is missing, whoever asks early could keep others from what is
published a moment later. Ranges are not served: clients want whole files.

"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from wharfinger_daemon.errors import InvalidRequestError, NotFoundError, WharfingerError
from wharfinger_daemon.metadata.invalidation import ABSENT_KEY
from wharfinger_daemon.metadata.reading import MetadataReader

_METADATA_NAME = re.compile(r"(?:(?P<version>[1-9][0-9]{0,18})\.)?(?P<role>[a-z0-9][a-z0-9-]*)\.json")
_HASH_PREFIX = re.compile(r"(?:[0-9a-f]{64}|[0-9a-f]{128})\.(?P<name>.+)")
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Readiness:
    """Whether the daemon can do its work, and why not.

    Attributes:
        notes: what is not as it should be, although the daemon can do its work.
    """

    ready: bool
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def build_public_app(
    reader: MetadataReader | None,
    readiness: Callable[[], Awaitable[Readiness]],
    *,
    timestamp_max_age_seconds: int,
    targets_directory: Path | None,
) -> Starlette:
    """The application for the CDN's address. Without a reader it serves health alone."""
    short = f"public, max-age={timestamp_max_age_seconds}"

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n", headers={"Cache-Control": "no-store"})

    async def readyz(request: Request) -> Response:
        state = await readiness()
        return JSONResponse(
            {"ready": state.ready, "problems": list(state.problems), "notes": list(state.notes)},
            status_code=200 if state.ready else 503,
            headers={"Cache-Control": "no-store"},
        )

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # Registered for that class alone.
        headers = {"Cache-Control": "no-store", **(error.headers or {})}
        return PlainTextResponse(f"{error.detail}\n", status_code=error.status_code, headers=headers)

    async def unforeseen(request: Request, error: Exception) -> Response:
        return PlainTextResponse("Something unforeseen happened.\n", 500, headers={"Cache-Control": "no-store"})

    routes: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz)]
    if reader is not None:
        routes.append(Route("/metadata/{name}", _metadata_endpoint(reader, short)))
    if targets_directory is not None:
        routes.append(Route("/targets/{path:path}", _targets_endpoint(targets_directory)))
    app = Starlette(routes=routes, exception_handlers={HTTPException: http_error, Exception: unforeseen})
    # A redirect to the name without its last slash would repeat the Host header, which is the client's to choose.
    app.router.redirect_slashes = False
    return app


def _metadata_endpoint(reader: MetadataReader, short: str) -> Callable[[Request], Awaitable[Response]]:
    absent = {"Cache-Control": short, "Surrogate-Key": f"metadata {ABSENT_KEY}"}

    async def endpoint(request: Request) -> Response:
        match = _METADATA_NAME.fullmatch(request.path_params["name"])
        # With consistent snapshots every file but the timestamp has its version in its name (TUF 1.0.34, 6.2).
        if match is None or (match["version"] is None) != (match["role"] == "timestamp"):
            raise HTTPException(404, "There is no such metadata file.", absent)
        try:
            file = await reader.get(match["role"], int(match["version"] or 0))
        except (NotFoundError, InvalidRequestError) as error:
            kept = absent if match["role"] in ("root", "timestamp") else None
            raise HTTPException(404, "There is no such metadata file, or it is no longer kept.", kept) from error
        except WharfingerError as error:
            raise HTTPException(503, "The metadata cannot be read now.", {"Retry-After": "1"}) from error
        headers = {
            "ETag": f'"{file.etag}"',
            "Cache-Control": short if match["role"] == "timestamp" else _FOR_EVER,
            "Surrogate-Key": f"metadata {match['role']}",
            "Accept-Ranges": "none",
            "X-Content-Type-Options": "nosniff",
        }
        if _has_current_copy(request, file.etag):
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type="application/json", headers=headers)

    return endpoint


def _has_current_copy(request: Request, etag: str) -> bool:
    # Weak comparison, as RFC 9110, 13.1.2 wants it for If-None-Match.
    held = [value.strip().removeprefix("W/") for value in request.headers.get("if-none-match", "").split(",")]
    return "*" in held or f'"{etag}"' in held


def _targets_endpoint(directory: Path) -> Callable[[Request], Awaitable[Response]]:
    root = directory.resolve()

    async def endpoint(request: Request) -> Response:
        wanted = PurePosixPath(request.path_params["path"])
        prefixed = _HASH_PREFIX.fullmatch(wanted.name)
        names = [wanted] if prefixed is None else [wanted, wanted.with_name(prefixed["name"])]
        for name in names:
            found = _file_beneath(root, name)
            if found is not None:
                # The content is named by its hash where clients use it; by its plain name it may change.
                life = _FOR_EVER if prefixed is not None else "no-cache"
                return FileResponse(found, media_type="application/octet-stream", headers={"Cache-Control": life})
        raise HTTPException(404, "There is no such target file.")

    return endpoint


def _file_beneath(root: Path, name: PurePosixPath) -> Path | None:
    try:
        found = (root / name).resolve()
        return found if found.is_relative_to(root) and found.is_file() else None
    except (OSError, ValueError):
        # A NUL byte, a name that is too long, a loop of links.
        return None
