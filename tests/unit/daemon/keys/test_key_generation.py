"""Labels are never used again, and a key that waits is taken before another is made."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wharfinger_daemon.keys.generation import TokenKeyPair, generated_key, next_label, pending_key
from wharfinger_daemon.keys.life_cycle import LineKey
from wharfinger_daemon.keys.lines import KeyLine
from wharfinger_daemon.signing.standing import KeyState

AT = datetime(2030, 1, 1, tzinfo=UTC)
LINE = KeyLine("online", "pypi")


@pytest.mark.parametrize(
    ("used", "label"),
    [
        ([], "online-1"),
        (["online"], "online-1"),
        (["online-1", "online-9", "online-3"], "online-10"),
        (["canary", "online-x", "online-01", "offline-7", "online-7-old"], "online-1"),
    ],
)
def test_label_counts_on_above_all_that_were_used(used, label):
    assert label == next_label("online", used)


def waiting(keyid, state=KeyState.GENERATED, line="online", age=0, **changes):
    at = AT - timedelta(days=age)
    return LineKey(keyid, line, state, keyid, keyid.encode(), "ecdsa", "scheme", at, **changes)


def pairs(*keyids, algorithm="ecdsa-p256"):
    return [TokenKeyPair(keyid.encode(), keyid, algorithm) for keyid in keyids]


def test_newest_key_that_waits_is_taken():
    keys = {key.keyid: key for key in (waiting("old", age=2), waiting("new", age=1))}
    assert keys["new"] == pending_key(LINE, keys, pairs("old", "new"))
    assert keys["old"] == pending_key(LINE, keys, pairs("old"))


@pytest.mark.parametrize(
    ("key", "held"),
    [
        (waiting("a", KeyState.PUBLISHED), pairs("a")),
        (waiting("a", KeyState.RETIRING), pairs("a")),
        (waiting("a", line="other"), pairs("a")),
        (waiting("a", destroyed_at=AT), pairs("a")),
        (waiting("a"), pairs("b")),
        (waiting("a"), pairs("a", algorithm="ed25519")),
    ],
    ids=["published", "retired", "another line", "being destroyed", "not on the token", "another algorithm"],
)
def test_key_that_cannot_be_used_is_not_taken(key, held):
    assert pending_key(LINE, {"a": key}, held) is None


@pytest.mark.parametrize(
    ("private", "scheme"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), "ecdsa-sha2-nistp256"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "ecdsa-sha2-nistp384"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
        (lambda: rsa.generate_private_key(65537, 2048), "rsassa-pss-sha256"),
    ],
)
def test_generated_key_has_the_scheme_that_the_token_signs_with(private, scheme):
    public_key = private().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = generated_key("online", TokenKeyPair(public_key, "online-1", "whatever"), AT)
    assert (scheme, KeyState.GENERATED, "online-1", public_key) == (key.scheme, key.state, key.label, key.public_key)
    assert key.pem.startswith("-----BEGIN PUBLIC KEY-----")
