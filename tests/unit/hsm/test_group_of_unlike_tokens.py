"""One key on tokens of two kinds: one takes digests, the other whole messages."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from wharfinger_hsm.errors import TokenUnavailableError
from wharfinger_hsm.group import TokenGroup
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem, TokenKey
from wharfinger_hsm.verification import verify


class SupervisorOfOne:
    """Stands in for a supervisor, on a token in memory."""

    healthy_workers = 1
    restarts = 0

    def __init__(self, token: MemoryToken, *, takes_messages: bool) -> None:
        self._token = token
        self._takes_messages = takes_messages
        self.signed: list[SigningItem] = []
        self.broken = False

    async def start(self) -> None:
        pass

    async def keys(self) -> list[TokenKey]:
        held = self._token.keys()
        return [replace(key, takes_messages=self._takes_messages) for key in held]

    async def sign(self, items: Sequence[SigningItem], *, timeout_seconds: float) -> list[bytes]:
        if self.broken:
            raise TokenUnavailableError("broken")
        self.signed += items
        if not self._takes_messages:
            return self._token.sign(items)
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
