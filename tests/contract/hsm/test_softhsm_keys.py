"""What only a PKCS#11 token can show: how keys are made and found, and what the token forbids."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from wharfinger_hsm import pkcs11_token
from wharfinger_hsm.errors import (
    KeyExistsError,
    KeyNotFoundError,
    ModuleMissingError,
    SignatureInvalidError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem, TokenKey
from wharfinger_hsm.pkcs11_token import Pkcs11Token
from wharfinger_hsm.softhsm import SoftHsmToken
from wharfinger_hsm.token import Token

SIGN_AND_VERIFY = MechanismFlag.SIGN | MechanismFlag.VERIFY


@pytest.fixture
def token(open_softhsm: Callable[[], Pkcs11Token]) -> Pkcs11Token:
    return open_softhsm()


@pytest.fixture
def writable(token: Pkcs11Token) -> Iterator[Any]:
    """A PKCS#11 session of our own, for what `Token` does not do; it shares the token's log-in."""
    session = token._session.token.open(rw=True, attribute_mapper=pkcs11_token._attribute_mapper())
    yield session
    session.close()


def listed(token: Token) -> list[TokenKey]:
    return token.keys()


def private_key(session: Any, label: str) -> Any:
    (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})
    return key


def generate_ec(session: Any, curve: str = "secp256r1", **options: Any) -> tuple[Any, Any]:
    parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
    domain = session.create_domain_parameters(KeyType.EC, parameters, local=True)
    pair: tuple[Any, Any] = domain.generate_keypair(store=True, capabilities=SIGN_AND_VERIFY, **options)
    return pair


@pytest.mark.parametrize(
    ("algorithm", "mechanism"),
    [
        (KeyAlgorithm.ECDSA_P256, Mechanism.ECDSA),
        (KeyAlgorithm.ED25519, Mechanism.EDDSA),
        (KeyAlgorithm.RSA_PSS_2048, Mechanism.RSA_PKCS_PSS),
    ],
)
def test_a_generated_private_key_stays_on_the_token_and_only_signs(
    token: Pkcs11Token, writable: Any, algorithm: KeyAlgorithm, mechanism: Mechanism
) -> None:
    label = f"made-{algorithm}"
    token.generate(algorithm, label)
    key = private_key(writable, label)

    for required in ("TOKEN", "PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "SIGN"):
        assert (required, True) == (required, key[Attribute[required]])
    for forbidden in (
        *("EXTRACTABLE", "MODIFIABLE", "COPYABLE"),
        *("DERIVE", "DECRYPT", "UNWRAP", "SIGN_RECOVER"),
    ):
        assert (forbidden, False) == (forbidden, key[Attribute[forbidden]])
    assert [mechanism] == key[Attribute.ALLOWED_MECHANISMS]


def test_a_generated_key_is_there_after_a_new_log_in(open_softhsm: Callable[[], Pkcs11Token]) -> None:
    made = open_softhsm().generate(KeyAlgorithm.ECDSA_P256, "lasting")

    assert made == open_softhsm().find(made.public_key)


def test_a_key_that_another_application_made_is_usable(token: Pkcs11Token, writable: Any) -> None:
    generate_ec(writable, label="theirs", id=b"theirs")

    (key,) = (key for key in listed(token) if key.label == "theirs")

    assert (KeyAlgorithm.ECDSA_P256, b"theirs") == (key.algorithm, key.key_id)
    assert 1 == len(token.sign([SigningItem(key.public_key, Digest(bytes(32)))]))


def test_a_label_of_any_object_is_taken(token: Pkcs11Token, writable: Any) -> None:
    generate_ec(writable, label="taken", id=b"taken")

    with pytest.raises(KeyExistsError):
        token.generate(KeyAlgorithm.ED25519, "taken")


def test_keys_of_other_kinds_are_left_alone(token: Pkcs11Token, writable: Any) -> None:
    generate_ec(writable, curve="secp521r1", label="p521", id=b"p521")
    capabilities = {"capabilities": SIGN_AND_VERIFY, "store": True}
    writable.generate_keypair(KeyType.RSA, 1024, label="rsa-1024", id=b"rsa-1024", **capabilities)
    diffie_hellman = {Attribute.PRIME: b"\x17", Attribute.BASE: b"\x05", Attribute.VALUE: b"\x08"}
    kind = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.DH, Attribute.LABEL: "dh"}
    writable.create_object(kind | diffie_hellman)

    assert not {"p521", "rsa-1024", "dh"} & {key.label for key in listed(token)}


def test_two_private_keys_of_one_id_are_ignored(token: Pkcs11Token, writable: Any, caplog: Any) -> None:
    """It would be chance which of them signed."""
    for label in ("twin-one", "twin-two"):
        generate_ec(writable, label=label, id=b"twins")

    with caplog.at_level(logging.WARNING):
        labels = {key.label for key in listed(token)}

    assert not {"twin-one", "twin-two"} & labels
    assert "2 private keys" in caplog.text
    for key in list(writable.get_objects({Attribute.ID: b"twins"})):
        key.destroy()


def test_a_public_key_that_belongs_to_another_private_key_is_found_out(token: Pkcs11Token, writable: Any) -> None:
    """Whoever can write objects can pair a public key with another's id: the signature tells."""
    public, private = generate_ec(writable, label="honest", id=b"honest")
    other, unused = generate_ec(writable, label="swapped", id=b"swapped")
    unused.destroy()
    private[Attribute.ID] = b"swapped"
    key = next(key for key in listed(token) if key.label == "swapped")

    with pytest.raises(SignatureInvalidError, match="Do not trust"):
        token.sign([SigningItem(key.public_key, Digest(bytes(32)))])

    for made in (public, private, other):
        made.destroy()


def test_a_token_that_makes_extractable_keys_gets_none(
    token: Pkcs11Token, writable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11_token, "REQUIRED_PRIVATE", {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: True})

    with pytest.raises(UnsupportedItemError, match="can leave it"):
        token.generate(KeyAlgorithm.ECDSA_P256, "loose")

    assert [] == list(writable.get_objects({Attribute.LABEL: "loose"}))


def test_a_token_that_knows_fewer_attributes_still_makes_keys(
    token: Pkcs11Token, writable: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    # No token lets a template say that a key was always sensitive.
    monkeypatch.setattr(pkcs11_token, "WANTED_PRIVATE", {Attribute.ALWAYS_SENSITIVE: True})

    made = token.generate(KeyAlgorithm.ECDSA_P256, "plain")

    assert made == token.find(made.public_key)
    assert not private_key(writable, "plain")[Attribute.EXTRACTABLE]
    assert "goes without" in caplog.text


def test_an_algorithm_that_the_token_lacks_is_refused(token: Pkcs11Token, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = pkcs11_token._Recipe(KeyType.RSA, Mechanism.RSA_X9_31_KEY_PAIR_GEN, Mechanism.RSA_PKCS_PSS, None, 2048)
    monkeypatch.setitem(pkcs11_token._RECIPES, KeyAlgorithm.RSA_PSS_2048, recipe)

    with pytest.raises(UnsupportedItemError, match="cannot make such a key"):
        token.generate(KeyAlgorithm.RSA_PSS_2048, "exotic")


def test_a_wrong_pin_is_told_from_other_failures(softhsm: SoftHsmToken) -> None:
    with pytest.raises(WrongPinError, match="refused the PIN") as raised:
        Pkcs11Token.open(softhsm.module, softhsm.label, "wrong-9999")

    assert "wrong-9999" not in str(raised.value)


def test_a_missing_token_is_told_from_other_failures(softhsm: SoftHsmToken) -> None:
    with pytest.raises(TokenMissingError, match="'elsewhere'"):
        Pkcs11Token.open(softhsm.module, "elsewhere", "any-1234")


def test_a_missing_module_is_told_from_other_failures(tmp_path: Path) -> None:
    with pytest.raises(ModuleMissingError, match="There is no"):
        Pkcs11Token.open(tmp_path / "none.so", "any", "any-1234")
    (tmp_path / "text.so").write_text("This is no library.")
    with pytest.raises(ModuleMissingError, match="cannot be loaded"):
        Pkcs11Token.open(tmp_path / "text.so", "any", "any-1234")


def test_a_module_that_cannot_be_initialised_points_to_its_configuration(
    softhsm: SoftHsmToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "none.conf"))

    with pytest.raises(TokenUnavailableError, match="SOFTHSM2_CONF"):
        Pkcs11Token.open(softhsm.module, softhsm.label, "any-1234")


def test_a_token_that_vanished_is_unavailable_and_no_key_is_called_missing(
    open_softhsm: Callable[[], Pkcs11Token], token_directory: Path
) -> None:
    """Moved away, SoftHSM finds nothing and reports no error; moved back, only a new session sees it."""
    token = open_softhsm()
    key = token.generate(KeyAlgorithm.ECDSA_P256, "vanishing")
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere")
    away = token_directory.rename(token_directory.with_name("away"))
    try:
        for use in (
            token.keys,
            lambda: token.find(stranger.public_key),
            lambda: token.sign([SigningItem(key.public_key, Digest(bytes(32)))]),
            lambda: token.generate(KeyAlgorithm.ECDSA_P256, "unwanted"),
        ):
            with pytest.raises(TokenUnavailableError):
                use()
    finally:
        away.rename(token_directory)

    token = open_softhsm()
    assert key == token.find(key.public_key)
    assert "unwanted" not in {key.label for key in listed(token)}


def test_a_destroyed_key_is_first_unavailable_and_then_not_found(
    open_softhsm: Callable[[], Pkcs11Token],
) -> None:
    """A session that saw a key and sees it no more does not decide what that means; a new one does."""
    token = open_softhsm()
    key = token.generate(KeyAlgorithm.ED25519, "doomed")
    session = token._session.token.open(rw=True)
    for made in list(session.get_objects({Attribute.LABEL: "doomed"})):
        made.destroy()
    session.close()

    with pytest.raises(TokenUnavailableError):
        token.sign([SigningItem(key.public_key, Message(b""))])
    with pytest.raises(TokenUnavailableError, match="no longer shows 1"):
        token.keys()
    with pytest.raises(KeyNotFoundError):
        open_softhsm().find(key.public_key)


def test_the_tests_use_their_own_token(softhsm: SoftHsmToken) -> None:
    assert str(softhsm.configuration) == os.environ["SOFTHSM2_CONF"]
    assert pkcs11.lib(str(softhsm.module)).get_token(token_label=softhsm.label).label == softhsm.label
