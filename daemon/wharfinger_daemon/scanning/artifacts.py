"""Spooling: an artifact is copied to a file that has no name before anybody looks at it.

Nobody else can then change it between the check of its digest and its examination, and it is gone when it is closed,
however the daemon ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO

from wharfinger_daemon.errors import InvalidRequestError, OverloadedError, Reason


@dataclass(frozen=True)
class Spooled:
    """A spooled artifact; whoever holds it closes ``file``.

    Attributes:
        file: an unlinked temporary file, open for reading and writing.
        sha256: the hexadecimal digest of its bytes.
        size: their number.
    """

    file: BinaryIO
    sha256: str
    size: int


async def spool(chunks: AsyncIterator[bytes], *, expected_sha256: str, max_bytes: int) -> Spooled:
    """Copies the chunks to an unlinked file, and closes it again if anything is wrong with them.

    Args:
        expected_sha256: what the bytes must have; empty if any will do.

    Raises:
        OverloadedError: ARTIFACT_TOO_LARGE; a limit of this daemon, which the contract calls RESOURCE_EXHAUSTED.
        InvalidRequestError: DIGEST_MISMATCH.
        Exception: whatever ``chunks`` raises.
    """
    file: BinaryIO = tempfile.TemporaryFile(prefix="wharfinger-")  # noqa: SIM115 - Spooled hands it on
    try:
        digest = hashlib.sha256()
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise OverloadedError(
                    f"The artifact has more than the {max_bytes} bytes that this daemon accepts.",
                    reason=Reason.ARTIFACT_TOO_LARGE,
                    max_bytes=str(max_bytes),
                )
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.flush)
        found = digest.hexdigest()
        if expected_sha256 and expected_sha256 != found:
            raise InvalidRequestError(
                f"The artifact's bytes have the sha256 {found}, not the stated {expected_sha256}.",
                reason=Reason.DIGEST_MISMATCH,
                sha256=found,
            )
        file.seek(0)
        return Spooled(file=file, sha256=found, size=size)
    except BaseException:
        file.close()
        raise
