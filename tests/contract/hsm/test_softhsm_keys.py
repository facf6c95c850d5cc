"""What only a PKCS#11 token can show: how keys are made and found, and what the token forbids."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid, UserAlreadyLoggedIn
from pkcs11.util.ec import encode_named_curve_parameters

from wharfinger_hsm import pkcs11_keys, pkcs11_session
from wharfinger_hsm.errors import (
    KeyExistsError,
    KeyNotDestroyedError,
    KeyNotFoundError,
    ModuleMissingError,
    SignatureInvalidError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem, TokenKey, TokenSettings
from wharfinger_hsm.pkcs11_session import attribute_mapper, describe
from wharfinger_hsm.pkcs11_token import Pkcs11Token
from wharfinger_hsm.softhsm import SoftHsmToken, create_token
from wharfinger_hsm.token import Token
from wharfinger_hsm.verification import verify

PIN = "contract-1234"
UNUSED = Path("/nonexistent/pin")
SIGN_AND_VERIFY = MechanismFlag.SIGN | MechanismFlag.VERIFY


@pytest.fixture
def token(open_softhsm: Callable[[], Pkcs11Token]) -> Pkcs11Token:
    return open_softhsm()


@pytest.fixture
def writable(token: Pkcs11Token) -> Iterator[Any]:
    """A PKCS#11 session of our own, for what `Token` does not do; it shares the token's log-in."""
    session = token._session.token.open(rw=True, attribute_mapper=attribute_mapper())
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


def test_attributes_are_what_the_token_tells(token: Pkcs11Token) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P256, "attested")
    shown = token._session.token

    told = token.attributes(key.public_key)

    must_be = {"local", "sensitive", "always_sensitive", "never_extractable", "private", "sign"}
    must_not_be = {"extractable", "modifiable", "copyable", "derive", "decrypt", "unwrap", "sign_recover"}
    assert (must_be, must_not_be) == (
        {name for name in must_be | must_not_be if getattr(told, name) is True},
        {name for name in must_be | must_not_be if getattr(told, name) is False},
    )
    assert ("CKM_EC_KEY_PAIR_GEN", ("CKM_ECDSA",)) == (told.key_gen_mechanism, told.allowed_mechanisms)
    assert ("contract", shown.serial.decode()) == (told.token_label, told.token_serial)
    assert ("SoftHSM project", "SoftHSM v2") == (told.token_manufacturer, told.token_model)
    assert told.library is not None and "SoftHSM" in told.library


def test_what_a_token_does_not_tell_is_not_assumed(
    token: Pkcs11Token, writable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = token.generate(KeyAlgorithm.ED25519, "silent")
    monkeypatch.setitem(pkcs11_keys._BOOLEANS, "always_sensitive", Attribute.TRUSTED)  # Of certificates only.

    assert None is token.attributes(key.public_key).always_sensitive


def test_attributes_are_read_one_by_one_from_a_module_that_refuses_all_for_one(
    token: Pkcs11Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = token.generate(KeyAlgorithm.ED25519, "particular")
    private = token._pairs[key.public_key].private

    class Particular:
        """Answers for single attributes, and for some not at all."""

        def get_attributes(self, wanted: object) -> dict[Attribute, Any]:
            raise AttributeTypeInvalid

        def __getitem__(self, attribute: Attribute) -> Any:
            if attribute is Attribute.COPYABLE:
                raise AttributeSensitive
            return private[attribute]

    told = pkcs11_keys.attributes_of(key, Particular(), describe(token._library, token._session.token))

    assert (True, None, False) == (told.local, told.copyable, told.modifiable)


def test_a_mechanism_without_a_name_is_told_by_its_number() -> None:
    assert "0x80000001" == pkcs11_keys._mechanism_name(0x80000001)


def test_destroying_leaves_neither_half(token: Pkcs11Token, writable: Any) -> None:
    key = token.generate(KeyAlgorithm.RSA_PSS_2048, "short-lived")

    token.destroy(key.public_key)

    assert [] == list(writable.get_objects({Attribute.ID: key.key_id}))


def test_destroying_leaves_other_keys_of_the_same_id_alone(token: Pkcs11Token, writable: Any) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P256, "one-id")
    capabilities = {"capabilities": SIGN_AND_VERIFY, "store": True}
    writable.generate_keypair(KeyType.RSA, 1024, label="theirs-rsa", id=key.key_id, **capabilities)
    for curve in ("secp521r1", "secp256r1"):
        _, unused = generate_ec(writable, curve=curve, label=f"theirs-{curve}", id=key.key_id)
        unused.destroy()

    token.destroy(key.public_key)

    left = {found[Attribute.LABEL] for found in writable.get_objects({Attribute.ID: key.key_id})}
    assert {"theirs-rsa", "theirs-secp521r1", "theirs-secp256r1"} == left
    for found in list(writable.get_objects({Attribute.ID: key.key_id})):
        found.destroy()


def test_a_key_that_the_token_keeps_is_told(token: Pkcs11Token, monkeypatch: pytest.MonkeyPatch) -> None:
    key = token.generate(KeyAlgorithm.ECDSA_P256, "clinging")

    class Clinging:
        """A private key whose token says yes, and does nothing."""

        def destroy(self) -> None:
            pass

    monkeypatch.setattr(Pkcs11Token, "_halves", lambda self, session, pair, kind: iter([Clinging()]))

    with pytest.raises(KeyNotDestroyedError, match="kept the private_key of 'clinging'"):
        token.destroy(key.public_key)


@pytest.fixture
def second_token(softhsm: SoftHsmToken) -> SoftHsmToken:
    """Another token behind the same module."""
    return create_token(softhsm.configuration.parent, "second", "second-1234", "officer-5678")


@pytest.mark.parametrize("by", ["label", "serial", "slot", "everything"])
def test_a_token_is_chosen_by_what_names_it(softhsm: SoftHsmToken, second_token: SoftHsmToken, by: str) -> None:
    with closing(Pkcs11Token.open(second_token.settings(UNUSED), "second-1234")) as opened:
        shown = opened._session.token
        serial, slot = shown.serial.decode(), shown.slot.slot_id
    anything = replace(softhsm.settings(UNUSED), token_label=None)
    named = {
        "label": replace(anything, token_label="second"),
        "serial": replace(anything, serial=serial),
        "slot": replace(anything, slot=slot),
        "everything": replace(
            anything, token_label="second", serial=serial, slot=slot, manufacturer="SoftHSM project", model="SoftHSM v2"
        ),
    }

    with closing(Pkcs11Token.open(named[by], "second-1234")) as opened:
        assert "second" == opened._session.token.label


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"token_label": None},
            r"shows 2 tokens with any name\. It shows: .*'contract' \(serial [0-9a-f]+, slot \d+\)",
        ),
        ({"token_label": None, "model": "SoftHSM v2"}, "shows 2 tokens with model 'SoftHSM v2'"),
        ({"serial": "0000"}, "shows no token with label 'contract', serial '0000'"),
        ({"slot": 0}, "shows no token with label 'contract', slot 0"),
    ],
)
def test_a_token_that_is_not_the_only_one_is_refused_with_what_is_there(
    softhsm: SoftHsmToken, second_token: SoftHsmToken, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(TokenMissingError, match=told):
        Pkcs11Token.open(replace(softhsm.settings(UNUSED), **change), PIN)


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
    """Whoever can write objects can pair a public key with another's id: the signature tells, and all stays."""
    public, private = generate_ec(writable, label="honest", id=b"honest")
    other, unused = generate_ec(writable, label="swapped", id=b"swapped")
    unused.destroy()
    private[Attribute.ID] = b"swapped"
    key = next(key for key in listed(token) if key.label == "swapped")

    item = SigningItem(key.public_key, Digest(bytes(32)))
    with pytest.raises(SignatureInvalidError, match="Do not trust"):
        verify(item, token.sign([item])[0])
    with pytest.raises(UnsupportedItemError, match="belongs to another public key"):
        token.destroy(key.public_key)
    assert 2 == len(list(writable.get_objects({Attribute.ID: b"swapped"})))

    for made in (public, private, other):
        made.destroy()


def test_a_token_that_makes_extractable_keys_gets_none(
    token: Pkcs11Token, writable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11_keys, "REQUIRED_PRIVATE", {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: True})

    with pytest.raises(UnsupportedItemError, match="can leave it"):
        token.generate(KeyAlgorithm.ECDSA_P256, "loose")

    assert [] == list(writable.get_objects({Attribute.LABEL: "loose"}))


def test_only_the_attributes_that_a_token_refuses_are_given_up(
    token: Pkcs11Token, writable: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    # No token lets a template say how a key was made, or that it was always sensitive.
    refused = {Attribute.ALWAYS_SENSITIVE: True, Attribute.LOCAL: True}
    monkeypatch.setattr(pkcs11_keys, "WANTED_PRIVATE", refused | pkcs11_keys.WANTED_PRIVATE)

    made = token.generate(KeyAlgorithm.ECDSA_P256, "plain")

    key = private_key(writable, "plain")
    assert made == token.find(made.public_key)
    for forbidden in ("EXTRACTABLE", "MODIFIABLE", "COPYABLE", "DERIVE", "DECRYPT", "UNWRAP", "SIGN_RECOVER"):
        assert (forbidden, False) == (forbidden, key[Attribute[forbidden]])
    assert [Mechanism.ECDSA] == key[Attribute.ALLOWED_MECHANISMS]
    assert "does not take CKA_LOCAL, CKA_ALWAYS_SENSITIVE" in caplog.text
    assert 2 == len(list(writable.get_objects({Attribute.LABEL: "plain"})))


def test_a_token_that_refuses_what_is_required_makes_no_key(
    token: Pkcs11Token, writable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    required = pkcs11_keys.REQUIRED_PRIVATE | {Attribute.LOCAL: True}
    monkeypatch.setattr(pkcs11_keys, "REQUIRED_PRIVATE", required)
    monkeypatch.setattr(pkcs11_keys, "WANTED_PRIVATE", {Attribute.COPYABLE: False})

    with pytest.raises(UnsupportedItemError, match="cannot make such a key"):
        token.generate(KeyAlgorithm.ECDSA_P256, "impossible")

    assert [] == list(writable.get_objects({Attribute.LABEL: "impossible"}))


def test_an_algorithm_that_the_token_lacks_is_refused(token: Pkcs11Token, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = pkcs11_keys.Recipe(KeyType.RSA, Mechanism.RSA_X9_31_KEY_PAIR_GEN, Mechanism.RSA_PKCS_PSS, None, 2048)
    monkeypatch.setitem(pkcs11_keys.RECIPES, KeyAlgorithm.RSA_PSS_2048, recipe)

    with pytest.raises(UnsupportedItemError, match="cannot make such a key"):
        token.generate(KeyAlgorithm.RSA_PSS_2048, "exotic")


def test_a_wrong_pin_is_told_from_other_failures(softhsm: SoftHsmToken) -> None:
    with pytest.raises(WrongPinError, match="refused the PIN") as raised:
        Pkcs11Token.open(softhsm.settings(UNUSED), "wrong-9999")

    assert "wrong-9999" not in str(raised.value)


@pytest.mark.parametrize("flag", [0x00020000, 0x00040000], ids=["CKF_USER_PIN_FINAL_TRY", "CKF_USER_PIN_LOCKED"])
def test_the_last_attempt_is_left_to_a_person(
    softhsm: SoftHsmToken, monkeypatch: pytest.MonkeyPatch, flag: int
) -> None:
    class Counting:
        label = "contract"
        flags = flag

    monkeypatch.setattr(pkcs11_session, "choose", lambda library, settings: Counting())

    with pytest.raises(WrongPinError, match="none was tried"):
        Pkcs11Token.open(softhsm.settings(UNUSED), PIN)


def test_a_log_in_that_another_process_shares_is_used(softhsm: SoftHsmToken, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    class LoggedIn:
        flags = 0

        def open(self, user_pin: str | None = None, attribute_mapper: object = None) -> "LoggedIn":
            opened.append(user_pin)
            if user_pin is not None:
                raise UserAlreadyLoggedIn
            return self

        def close(self) -> None:
            pass

    monkeypatch.setattr(pkcs11_session, "choose", lambda library, settings: LoggedIn())

    assert isinstance(pkcs11_session.log_in(None, softhsm.settings(UNUSED), PIN), LoggedIn)
    assert [None, PIN, None] == opened


def test_a_token_that_is_replaced_by_another_is_gone(token: Pkcs11Token) -> None:
    """The slot still shows one: not the one that was opened."""
    token._settings = replace(token._settings, serial="0000")

    with pytest.raises(TokenUnavailableError, match="shows no token"):
        token.keys()


def test_a_missing_token_is_told_from_other_failures(softhsm: SoftHsmToken) -> None:
    with pytest.raises(TokenMissingError, match="'elsewhere'"):
        Pkcs11Token.open(replace(softhsm.settings(UNUSED), token_label="elsewhere"), "any-1234")


def test_a_missing_module_is_told_from_other_failures(tmp_path: Path) -> None:
    with pytest.raises(ModuleMissingError, match="There is no"):
        Pkcs11Token.open(TokenSettings(tmp_path / "none.so", "any", UNUSED), "any-1234")
    (tmp_path / "text.so").write_text("This is no library.")
    with pytest.raises(ModuleMissingError, match="cannot be loaded"):
        Pkcs11Token.open(TokenSettings(tmp_path / "text.so", "any", UNUSED), "any-1234")


def test_a_module_that_cannot_be_initialised_points_to_its_configuration(
    softhsm: SoftHsmToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "none.conf"))

    with pytest.raises(TokenUnavailableError, match="SOFTHSM2_CONF"):
        Pkcs11Token.open(softhsm.settings(UNUSED), "any-1234")


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
