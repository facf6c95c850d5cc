"""The token's keys as the signing domain sees them."""

import hashlib
from dataclasses import replace

import pytest

from wharfinger_daemon.custody.token_keys import HsmKeys
from wharfinger_daemon.errors import OverloadedError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.signing.keys import TokenRequest
from wharfinger_hsm import errors as hsm
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import KeyAlgorithm, Message


class WorkersOnOneToken:
    """Implements ``HsmWorkers`` on a token in memory; raises ``error`` if there is one."""

    def __init__(self):
        self.token = MemoryToken()
        self.error = None
        self.timeouts = []

    async def keys(self):
        return self._answer(self.token.keys)

    async def sign(self, items, *, timeout_seconds):
        self.timeouts.append(timeout_seconds)
        return self._answer(lambda: self.token.sign(items))

    def _answer(self, ask):
        if self.error is not None:
            raise self.error
        return ask()


@pytest.fixture
def workers():
    workers = WorkersOnOneToken()
    yield workers
    workers.token.close()


async def test_keys_are_known_by_value(workers):
    keys = {workers.token.generate(algorithm, algorithm).public_key for algorithm in ("ecdsa-p256", "ed25519")}
    assert keys == await HsmKeys(workers, 10).public_keys()


async def test_digests_and_messages_are_signed_in_one_call(workers):
    ecdsa = workers.token.generate(KeyAlgorithm.ECDSA_P256, "one").public_key
    eddsa = workers.token.generate(KeyAlgorithm.ED25519, "two").public_key
    signatures = await HsmKeys(workers, 10).sign(
        [
            TokenRequest(ecdsa, b"a", hashlib.sha256(b"a").digest()),
            TokenRequest(eddsa, b"a", None),
        ],
        timeout_seconds=1,
    )
    assert 2 == len(set(signatures))
    assert 64 == len(signatures[1])


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (hsm.TokenUnavailableError("x"), UnavailableError, Reason.TOKEN_UNAVAILABLE),
        (hsm.KeyNotFoundError("x"), UnavailableError, Reason.TOKEN_UNAVAILABLE),
        (hsm.WrongPinError("x"), UnavailableError, Reason.TOKEN_UNAVAILABLE),
        (hsm.TokenMissingError("x"), UnavailableError, Reason.TOKEN_UNAVAILABLE),
        (hsm.SignatureInvalidError("x"), UnavailableError, Reason.SIGNATURE_INVALID),
        (hsm.OverloadedError("x"), OverloadedError, Reason.TOO_MANY_CONCURRENT_REQUESTS),
        (hsm.UnsupportedItemError("x"), RefusedError, Reason.KEY_NOT_HELD),
    ],
)
async def test_errors_of_the_token_become_ours_and_keep_its_words_for_the_log(workers, error, kind, reason):
    workers.error = error
    keys = HsmKeys(workers, 10)
    for call in (keys.public_keys(), keys.sign([], timeout_seconds=1)):
        with pytest.raises(kind) as caught:
            await call
        assert reason == caught.value.reason
        assert error is caught.value.__cause__


async def test_digest_of_a_length_that_no_key_takes_is_refused(workers):
    with pytest.raises(RefusedError):
        await HsmKeys(workers, 10).sign([TokenRequest(b"key", b"short", b"short")], timeout_seconds=1)


@pytest.mark.parametrize(
    ("items", "wanted", "given"), [(1, 60, 10), (16, 60, 10), (17, 60, 20), (640, 60, 60), (1, 3, 3)]
)
async def test_a_worker_is_given_no_longer_than_is_configured_for_a_batch(workers, items, wanted, given):
    """A caller may set ten minutes; a worker that hangs must be found out long before."""
    key = workers.token.generate(KeyAlgorithm.ECDSA_P256, "one").public_key
    request = TokenRequest(key, b"a", hashlib.sha256(b"a").digest())
    await HsmKeys(workers, 10).sign([request] * items, timeout_seconds=wanted)
    assert [given] == workers.timeouts


class SignersOnOneToken(WorkersOnOneToken):
    """All keys take whole messages."""

    async def keys(self):
        held = self.token.keys()
        return [replace(key, takes_messages=True) for key in held]

    async def sign(self, items, *, timeout_seconds):
        self.items = items
        return [b""] * len(items)


async def test_a_key_that_takes_messages_is_given_the_message():
    """Signers of cloud services hash for themselves: a digest would be hashed once more."""
    workers = SignersOnOneToken()
    key = workers.token.generate(KeyAlgorithm.ECDSA_P256, "one").public_key
    other = workers.token.generate(KeyAlgorithm.ED25519, "two").public_key
    requests = [TokenRequest(key, b"a", hashlib.sha256(b"a").digest()), TokenRequest(other, b"b", None)]
    await HsmKeys(workers, 10).sign(requests, timeout_seconds=1)
    assert [Message(b"a"), Message(b"b")] == [item.payload for item in workers.items]


async def test_what_keys_take_is_asked_once_and_again_with_the_keys():
    workers = WorkersOnOneToken()
    asked = []
    workers.keys = lambda ask=workers.keys: asked.append(1) or ask()
    key = workers.token.generate(KeyAlgorithm.ECDSA_P256, "one").public_key
    keys = HsmKeys(workers, 10)
    for _ in range(3):
        await keys.sign([TokenRequest(key, b"a", hashlib.sha256(b"a").digest())], timeout_seconds=1)
    assert 1 == len(asked)
    await keys.public_keys()
    assert 2 == len(asked)
