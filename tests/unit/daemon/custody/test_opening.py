"""Opening tokens: real ones, with credentials, several at once, and with a PIN that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wharfinger_daemon.config.hsm import HsmSettings, SignerSettings, TokenSettings
from wharfinger_daemon.custody.opening import key_source, open_token
from wharfinger_daemon.errors import FatalConfigurationError, Reason, StartupError
from wharfinger_hsm import model
from wharfinger_hsm.model import KeyAlgorithm
from wharfinger_hsm.softhsm import SoftHsmToken, create_token

PIN = "opening-1234"


@pytest.fixture
def token(tmp_path: Path) -> SoftHsmToken:
    return create_token(tmp_path / "softhsm", "opening", PIN, "officer-5678")


def write_pin(path: Path, pin: str = PIN) -> Path:
    path.touch(mode=0o600)
    path.write_text(pin)
    return path


def described(token: SoftHsmToken, **changes: Any) -> dict[str, Any]:
    return {"module": token.module, "environment": token.environment, "label": token.label} | changes


async def test_a_token_is_opened_with_a_credential_of_systemd(
    token: SoftHsmToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    (tmp_path / "credentials").mkdir()
    write_pin(tmp_path / "credentials" / "token-pin")
    hsm = HsmSettings(
        module=token.module, environment=token.environment, token_label="opening", pin_credential="token-pin"
    )

    async with open_token(hsm, tmp_path) as group:
        assert ("token",) == group.names
        assert "online" == (await group.generate(KeyAlgorithm.ECDSA_P256, "online")).label


async def test_a_credential_that_systemd_did_not_give_is_told(
    token: SoftHsmToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    hsm = HsmSettings(module=token.module, token_label="opening", pin_credential="token-pin")

    with pytest.raises(StartupError, match="LoadCredential=token-pin:PATH") as raised:
        async with open_token(hsm, tmp_path):
            pass

    assert Reason.CONFIGURATION_INVALID == raised.value.reason


async def test_one_of_several_that_refuses_its_pin_is_left_out_and_remembered(
    token: SoftHsmToken, tmp_path: Path
) -> None:
    good, bad = write_pin(tmp_path / "good"), write_pin(tmp_path / "bad", "wrong-1234")
    hsm = HsmSettings(
        tokens=(
            TokenSettings(name="east", **described(token, pin_file=bad)),
            TokenSettings(name="west", **described(token, pin_file=good)),
        )
    )

    for names in (("east", "west"), ("west",)):  # The second start does not try it any more.
        async with open_token(hsm, tmp_path) as group:
            assert (names, 1) == (group.names, group.healthy_workers)
    assert (tmp_path / "wrong-pin-east.json").exists()
    write_pin(bad)
    async with open_token(hsm, tmp_path) as group:
        assert 2 == group.healthy_workers
    assert not (tmp_path / "wrong-pin-east.json").exists()


async def test_when_all_refuse_their_pins_nothing_is_tried_twice(token: SoftHsmToken, tmp_path: Path) -> None:
    bad = write_pin(tmp_path / "bad", "wrong-1234")
    hsm = HsmSettings(tokens=(TokenSettings(name="east", **described(token, pin_file=bad)),))

    with pytest.raises(FatalConfigurationError, match="will not be tried again"):
        async with open_token(hsm, tmp_path):
            pass
    with pytest.raises(FatalConfigurationError, match="it was not tried again"):
        async with open_token(hsm, tmp_path):
            pass


async def test_a_token_that_is_missing_is_told_with_what_is_there(token: SoftHsmToken, tmp_path: Path) -> None:
    named = described(token, pin_file=write_pin(tmp_path / "pin"), label="elsewhere")

    with pytest.raises(StartupError, match="It shows: 'opening'") as raised:
        async with open_token(HsmSettings(tokens=(TokenSettings(name="east", **named),)), tmp_path):
            pass

    assert Reason.TOKEN_UNAVAILABLE == raised.value.reason


async def test_a_uri_names_the_token_the_module_and_the_pin_file(token: SoftHsmToken, tmp_path: Path) -> None:
    pin = write_pin(tmp_path / "pin")
    uri = f"pkcs11:token=opening;manufacturer=SoftHSM%20project?module-path={token.module}&pin-source=file:{pin}"

    async with open_token(HsmSettings(token_uri=uri, environment=token.environment), tmp_path) as group:
        assert [] == await group.keys()


def test_signers_are_told_with_their_secrets_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/wharfinger")
    signers = (
        SignerSettings(uri="awskms:alias/online", public_key_file=Path("/keys/online.pem")),
        SignerSettings(uri="own:x", public_key_file=Path("/keys/x.pem"), label="mine", secret_credential="phrase"),
    )
    token = TokenSettings(
        name="cloud", kind="signers", signers=signers, signer_modules=("own",), environment={"HOME": "/home"}
    )

    assert model.SignerSettings(
        (
            model.SignerKey("awskms:alias/online", Path("/keys/online.pem"), "online"),
            model.SignerKey("own:x", Path("/keys/x.pem"), "mine", Path("/run/credentials/wharfinger/phrase")),
        ),
        ("own",),
        {"HOME": "/home"},
    ) == key_source(token)


async def test_signers_need_no_mark(tmp_path: Path) -> None:
    """They have no PIN; what they lack is told as it is."""
    signers = (SignerSettings(uri="file2:/none", public_key_file=tmp_path / "none.pem"),)
    hsm = HsmSettings(tokens=(TokenSettings(name="cloud", kind="signers", signers=signers),))

    with pytest.raises(StartupError, match="cannot be read as PEM"):
        async with open_token(hsm, tmp_path):
            pass

    assert [] == list(tmp_path.iterdir())
