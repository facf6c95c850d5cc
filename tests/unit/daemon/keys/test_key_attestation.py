"""An attestation tells all that the token tells, and says in words what is not as it should be."""

import json
from dataclasses import replace

import pytest

from tests.support.key_repositories import OnlineKey
from wharfinger_daemon.cli.keys.attesting import attestation_of, weaknesses
from wharfinger_hsm.model import KeyAlgorithm, KeyAttributes

KEY = OnlineKey()
GOOD = KeyAttributes(
    public_key=KEY.der,
    algorithm=KeyAlgorithm.ECDSA_P256,
    label="online-1",
    key_id=b"\x01\x02",
    local=True,
    sensitive=True,
    always_sensitive=True,
    extractable=False,
    never_extractable=True,
    private=True,
    modifiable=False,
    copyable=False,
    derive=False,
    decrypt=False,
    unwrap=False,
    sign=True,
    sign_recover=False,
    key_gen_mechanism="CKM_EC_KEY_PAIR_GEN",
    allowed_mechanisms=("CKM_ECDSA",),
    token_label="online",
    token_serial="0123",
)


def test_key_as_it_should_be_has_no_weakness():
    assert [] == weaknesses(GOOD)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extractable": True}, "extractable"),
        ({"extractable": None}, "does not tell whether the key is extractable"),
        ({"never_extractable": False}, "could be extracted once"),
        ({"local": False}, "not generated in the token"),
        ({"local": None}, "does not tell whether the key was generated in the token"),
        ({"sensitive": False}, "its value can be read"),
        ({"always_sensitive": False}, "may have been read"),
        ({"private": False}, "without the PIN"),
        ({"sign": False}, "may not sign"),
        ({"decrypt": True}, "may also decrypt"),
        ({"derive": True}, "may also derive other keys"),
        ({"unwrap": True}, "may also unwrap"),
        ({"sign_recover": True}, "sign with recovery"),
        ({"modifiable": True}, "have its attributes changed"),
        ({"copyable": True}, "be copied"),
        ({"allowed_mechanisms": ()}, "does not restrict the mechanisms"),
    ],
)
def test_each_weakness_is_said_in_words(change, said):
    (weakness,) = weaknesses(replace(GOOD, **change))
    assert said in weakness


def test_what_a_token_does_not_tell_of_other_uses_is_no_weakness():
    """Many tokens know no CKA_COPYABLE, and tell no mechanisms."""
    assert [] == weaknesses(replace(GOOD, copyable=None, modifiable=None, sign_recover=None, allowed_mechanisms=None))


def test_attestation_is_json_and_bound_to_the_public_key():
    attestation = json.loads(json.dumps(attestation_of(KEY.keyid, replace(GOOD, extractable=True))))
    assert (KEY.keyid, "online-1", "0102", "ecdsa-p256") == tuple(
        attestation[name] for name in ("keyid", "label", "key_id", "algorithm")
    )
    assert {"label": "online", "serial": "0123", "manufacturer": None, "model": None} == {
        name: value for name, value in attestation["token"].items() if name != "library"
    }
    assert True is attestation["attributes"]["extractable"]
    assert ["CKM_ECDSA"] == attestation["attributes"]["allowed_mechanisms"]
    assert 1 == len(attestation["weaknesses"])
    assert attestation["public_key_pem"].startswith("-----BEGIN PUBLIC KEY-----")
