"""What a browser posts: names and values, urlencoded, and not much of it."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

_MOST_BYTES = 64 * 1024
_MOST_FIELDS = 600


async def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of a posted form, each with its values.

    Raises:
        HTTPException: 413 or 415, or 400 for what is no form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "This takes forms alone.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "The form is too large.")
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise HTTPException(400, "This is no form.") from error
