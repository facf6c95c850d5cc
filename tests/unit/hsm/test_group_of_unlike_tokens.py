"""One key on tokens of two kinds: one takes digests, the other whole messages."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from wharfinger_hsm.errors import KeyNotFoundError, TokenUnavailableError
from wharfinger_hsm.group import TokenGroup
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem, TokenKey
from wharfinger_hsm.verification import verify


class SupervisorOfOne:
    """Stands in for a supervisor, on a token in memory."""

    healthy_workers = 1
    restarts = 0

    def __init__(self, token: MemoryToken, *, takes_messages: bool) -> None:
        self.token = token
        self._takes_messages = takes_messages
        self.signed: list[SigningItem] = []
        self.broken = False
        self.asked = asyncio.Event()
        self.takes_back: asyncio.Event | None = None

    async def start(self) -> None:
        pass

    async def keys(self) -> list[TokenKey]:
        held = self.token.keys()
        return [replace(key, takes_messages=self._takes_messages) for key in held]

    async def sign(self, items: Sequence[SigningItem], *, timeout_seconds: float) -> list[bytes]:
        self.asked.set()
        if self.takes_back is not None:
            await self.takes_back.wait()
        if self.broken:
            raise TokenUnavailableError("broken")
        self.signed += items
        held = [key.public_key for key in await self.keys()]
        if any(item.public_key not in held for item in items):
            raise KeyNotFoundError("not here")
        if not self._takes_messages:
            return self.token.sign(items)
        return [b""] * len(items)

    async def close(self) -> None:
        pass


async def group_of(token: MemoryToken) -> tuple[TokenGroup, SupervisorOfOne, SupervisorOfOne]:
    hsm, cloud = SupervisorOfOne(token, takes_messages=False), SupervisorOfOne(token, takes_messages=True)
    supervisors: Any = {"hsm": hsm, "cloud": cloud}
    group = TokenGroup(supervisors)
    await group.start()
    return group, hsm, cloud


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ECDSA_P256, KeyAlgorithm.ECDSA_P384, KeyAlgorithm.ED25519])
async def test_a_message_serves_both(algorithm: KeyAlgorithm) -> None:
    group, hsm, cloud = await group_of(token := MemoryToken())
    token.generate(algorithm, "online")
    (key,) = await group.keys()
    item = SigningItem(key.public_key, Message(b"message"))
    assert key.takes_messages

    (signature,) = await group.sign([item], timeout_seconds=5)
    hsm.broken = True
    await group.sign([item], timeout_seconds=5)

    verify(item, signature)
    assert [Message if algorithm is KeyAlgorithm.ED25519 else Digest] == [type(one.payload) for one in hsm.signed]
    assert [item] == cloud.signed


async def test_a_key_that_appeared_since_is_found_when_it_is_needed() -> None:
    group, _, _ = await group_of(token := MemoryToken())
    key = token.generate(KeyAlgorithm.ED25519, "new")
    item = SigningItem(key.public_key, Message(b"message"))

    verify(item, (await group.sign([item], timeout_seconds=5))[0])


async def test_a_token_that_shows_the_key_no_more_is_passed_over_by_who_was_about_to_ask_it() -> None:
    """Tokens are asked for their keys at any time, also while another one is about to fail."""
    token, emptied = MemoryToken(), MemoryToken()
    key = token.generate(KeyAlgorithm.ECDSA_P256, "online")
    group, hsm, cloud = await group_of(token)
    hsm.takes_back, hsm.broken = asyncio.Event(), True
    signing = asyncio.create_task(group.sign([SigningItem(key.public_key, Message(b"message"))], timeout_seconds=5))
    await hsm.asked.wait()
    cloud.token = emptied
    await group.keys()
    hsm.takes_back.set()

    with pytest.raises(TokenUnavailableError, match="broken"):
        await signing
