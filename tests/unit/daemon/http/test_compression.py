"""Compressed copies: made once, beside the event loop, and never more of them than there is room for."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading

import pytest

from wharfinger_daemon.http import compression
from wharfinger_daemon.http.compression import LEAST_BYTES, CompressedCopies

CONTENT = b"0123456789abcdef" * 100


async def test_a_copy_is_the_same_content() -> None:
    copy = await CompressedCopies(1 << 20).of("a", CONTENT)
    assert copy is not None and len(copy) < len(CONTENT)
    assert CONTENT == gzip.decompress(copy)


async def test_the_same_content_gives_the_same_copy_at_any_time() -> None:
    """Two daemons behind one name must not disagree about what an ETag stands for."""
    first, second = [await CompressedCopies(1 << 20).of("a", CONTENT) for _ in range(2)]
    assert first == second


async def test_many_who_ask_at_once_share_one_copy_that_is_made_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def compress(content: bytes, level: int, mtime: int) -> bytes:
        made.append(threading.get_ident())
        return gzip.compress(content, mtime=mtime)

    monkeypatch.setattr(compression.igzip, "compress", compress)
    copies = CompressedCopies(1 << 20)
    answers = await asyncio.gather(*(copies.of("a", CONTENT) for _ in range(20)))
    answers.append(await copies.of("a", CONTENT))
    assert (1, 1) == (len(made), len(set(answers)))
    assert threading.get_ident() not in made


async def test_one_that_goes_away_does_not_take_the_copy_from_the_others() -> None:
    copies = CompressedCopies(1 << 20)
    first = asyncio.create_task(copies.of("a", CONTENT))
    await asyncio.sleep(0)
    second = asyncio.create_task(copies.of("a", CONTENT))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    assert first.cancelled()


async def test_the_copies_that_were_used_last_stay() -> None:
    chance = random.Random(1)
    contents = {str(number): chance.randbytes(1000) for number in range(50)}
    most = 16_000
    copies = CompressedCopies(most)
    for digest, content in contents.items():
        await copies.of("0", contents["0"])
        await copies.of(digest, content)
        assert copies.kept_bytes <= most
    assert "0" in copies._kept
    assert "1" not in copies._kept
    assert sum(map(len, copies._kept.values())) == copies.kept_bytes


@pytest.mark.parametrize("size", [0, LEAST_BYTES - 1, 1001])
async def test_what_is_too_small_or_too_large_is_sent_as_it_is(size: int) -> None:
    assert None is await CompressedCopies(8000).of("a", b"a" * size)


async def test_a_flood_of_different_files_is_sent_as_it_is() -> None:
    copies = CompressedCopies(1 << 20)
    answers = await asyncio.gather(*(copies.of(str(number), CONTENT) for number in range(100)))
    assert 100 > sum(answer is None for answer in answers) > 0
