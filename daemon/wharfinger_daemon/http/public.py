"""What a CDN reads: TUF metadata, health, and, in development, the target files too."""

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

from wharfinger_daemon.http.metadata_files import FOR_EVER, MetadataFiles, ServingLimits
from wharfinger_daemon.metadata.reading import MetadataReader

_HASH_PREFIX = re.compile(r"(?:[0-9a-f]{64}|[0-9a-f]{128})\.(?P<name>.+)")


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
    limits: ServingLimits,
    targets_directory: Path | None,
) -> Starlette:
    """The application for the CDN's address. Without a reader it serves health alone."""

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
        routes.append(Route("/metadata/{name}", MetadataFiles(reader, limits).answer))
    if targets_directory is not None:
        routes.append(Route("/targets/{path:path}", _targets_endpoint(targets_directory)))
    app = Starlette(routes=routes, exception_handlers={HTTPException: http_error, Exception: unforeseen})
    # A redirect to the name without its last slash would repeat the Host header, which is the client's to choose.
    app.router.redirect_slashes = False
    return app


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
                life = FOR_EVER if prefixed is not None else "no-cache"
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
