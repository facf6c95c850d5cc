"""Which ways to name a token fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wharfinger_daemon import config
from wharfinger_daemon.config import HsmSettings
from wharfinger_daemon.errors import StartupError

BASE = Path("/etc/wharfinger")
DOCUMENT: dict[str, Any] = {
    "roles": ["scan"],
    "grpc": {"tls": {"certificate_file": "a.crt", "key_file": "a.key", "client_ca_file": "ca.crt"}},
}
SIGNER = {"uri": "awskms:alias/online", "public_key_file": "online.pem"}


def parsed(**hsm: Any) -> HsmSettings:
    settings = config.parse({**DOCUMENT, "hsm": hsm}, base=BASE, origin="test.toml").hsm
    assert settings is not None
    return settings


def refusal(**hsm: Any) -> str:
    with pytest.raises(StartupError) as caught:
        parsed(**hsm)
    return caught.value.message


def test_the_keys_of_the_section_itself_mean_one_token() -> None:
    hsm = parsed(module="hsm.so", token_label="online", pin_file="pin", environment={"A": "b"})

    (token,) = hsm.all_tokens()

    assert ("token", "pkcs11", BASE / "hsm.so", BASE / "pin") == (token.name, token.kind, token.module, token.pin_file)
    assert ("online", None, {"A": "b"}) == (token.token_uri.label, token.token_uri.serial, token.environment)
    assert [("hsm.module", BASE / "hsm.so"), ("hsm.pin_file", BASE / "pin")] == hsm.files()


@pytest.mark.parametrize("named", [{"token_serial": "12ab"}, {"token_slot": 0}, {"token_label": "a", "token_slot": 3}])
def test_a_token_is_named_in_more_than_one_way(named: dict[str, Any]) -> None:
    (token,) = parsed(module="hsm.so", pin_credential="pin", **named).all_tokens()

    uri = token.token_uri
    assert named == {
        key: value
        for key, value in (("token_label", uri.label), ("token_serial", uri.serial), ("token_slot", uri.slot))
        if value is not None
    }


def test_a_uri_alone_can_say_everything() -> None:
    hsm = parsed(token_uri="pkcs11:token=online;model=X?module-path=/usr/lib/x.so&pin-source=file:/etc/pin")

    assert [("hsm.module", Path("/usr/lib/x.so")), ("hsm.pin_file", Path("/etc/pin"))] == hsm.files()


def test_several_tokens_keep_their_order_and_the_limits_of_the_section() -> None:
    hsm = parsed(
        workers=3,
        tokens=[
            {"name": "east", "module": "hsm.so", "label": "online", "pin_file": "pin"},
            {"name": "cloud", "kind": "signers", "signers": [{**SIGNER, "secret_file": "secret"}], "workers": 8},
        ],
    )

    assert [("east", None), ("cloud", 8)] == [(token.name, token.workers) for token in hsm.all_tokens()]
    assert [
        ("hsm.tokens 'east' module", BASE / "hsm.so"),
        ("hsm.tokens 'east' pin_file", BASE / "pin"),
        ("hsm.tokens 'cloud' public_key_file", BASE / "online.pem"),
        ("hsm.tokens 'cloud' secret_file", BASE / "secret"),
    ] == hsm.files()


@pytest.mark.parametrize(
    ("hsm", "told"),
    [
        ({}, "nothing names the token"),
        ({"token_label": "a", "pin_file": "pin"}, "give the path of the PKCS#11 module once"),
        ({"token_label": "a", "module": "m"}, "say where the PIN is, once"),
        ({"token_label": "a", "module": "m", "pin_file": "p", "pin_credential": "p"}, "say where the PIN is, once"),
        ({"token_label": "", "module": "m", "pin_file": "p"}, "hsm.token_label"),
        ({"token_slot": -1, "module": "m", "pin_file": "p"}, "hsm.token_slot"),
        ({"token_label": "a", "module": "m", "pin_credential": "../pin"}, "hsm.pin_credential"),
        ({"token_uri": "pkcs11:token=a", "module": "m", "pin_file": "p", "token_label": "a"}, "names the token alone"),
        ({"token_uri": "pkcs11:token=a?module-path=/m", "module": "m", "pin_file": "p"}, "module once"),
        ({"token_uri": "pkcs11:token=a?pin-source=/p", "module": "m", "pin_file": "p"}, "PIN is, once"),
        ({"token_uri": "pkcs11:", "module": "m", "pin_file": "p"}, "names no token"),
        ({"token_uri": "pkcs11:token=a?pin-value=1234", "module": "m"}, "a PIN never stands in a configuration"),
    ],
)
def test_what_does_not_name_one_token_is_refused(hsm: dict[str, Any], told: str) -> None:
    message = refusal(**hsm)

    assert told in message
    assert "1234" not in message


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ({}, "nothing names the token"),
        ({"signers": [SIGNER]}, 'signers need kind = "signers"'),
        ({"kind": "signers"}, "signers is empty"),
        ({"kind": "signers", "signers": [SIGNER], "module": "m"}, "nothing of a PKCS#11 token"),
        ({"kind": "signers", "signers": [{"uri": "no uri", "public_key_file": "p"}]}, "signers.0.uri"),
        (
            {"kind": "signers", "signers": [{**SIGNER, "secret_file": "a", "secret_credential": "b"}]},
            "secret_file and secret_credential stand there both",
        ),
        ({"kind": "elsewhere"}, "kind"),
        ({"labl": "a"}, "did you mean 'label'?"),
    ],
)
def test_what_is_no_token_is_refused(token: dict[str, Any], told: str) -> None:
    assert told in refusal(tokens=[{"name": "one", **token}])


def test_tokens_have_names_of_their_own() -> None:
    token = {"name": "one", "module": "m", "label": "a", "pin_file": "p"}

    assert "two [[hsm.tokens]] have the same name" in refusal(tokens=[token, token])


def test_a_token_stands_there_once() -> None:
    """Its PIN, if it is wrong, would be sent twice; a clone is found in another place."""
    token = {"module": "m", "label": "a", "pin_file": "p"}
    first, second = {"name": "one", **token}, {"name": "two", **token}
    assert "two [[hsm.tokens]] are one token" in refusal(tokens=[first, second])
    clone = {**second, "environment": {"SOFTHSM2_CONF": "elsewhere"}}
    assert ["one", "two"] == [one.name for one in HsmSettings.model_validate({"tokens": [first, clone]}).all_tokens()]


@pytest.mark.parametrize("own", [{"module": "m"}, {"token_label": "a"}, {"environment": {"A": "b"}}])
def test_a_section_with_tokens_describes_none_itself(own: dict[str, Any]) -> None:
    """Which of the two was meant?"""
    token = {"name": "one", "module": "m", "label": "a", "pin_file": "p"}

    assert "describes a token itself and has [[hsm.tokens]] too" in refusal(tokens=[token], **own)
