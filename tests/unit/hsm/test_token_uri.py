"""PKCS#11 URIs that name a token (RFC 7512)."""

from pathlib import Path
from string import printable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_hsm.errors import TokenUriError
from wharfinger_hsm.token_uri import TokenUri, parse_token_uri

# What CK_TOKEN_INFO can hold and a terminal can show.
TEXT = st.text(min_size=1, max_size=40).filter(str.isprintable)
PATHS = TEXT.map(lambda text: Path("/" + text))


def spelt(uri: TokenUri, safe: str = "") -> str:
    """The URI as RFC 7512 writes it."""
    path = {
        "token": uri.label,
        "serial": uri.serial,
        "slot-id": None if uri.slot is None else str(uri.slot),
        "manufacturer": uri.manufacturer,
        "model": uri.model,
    }
    query = {
        "module-path": None if uri.module is None else str(uri.module),
        "pin-source": None if uri.pin_file is None else f"file:{uri.pin_file}",
    }
    parts = [
        separator.join(f"{name}={quote(value, safe=safe)}" for name, value in said.items() if value is not None)
        for separator, said in ((";", path), ("&", query))
    ]
    return "pkcs11:" + "?".join(part for part in parts if part)


TOKENS = st.builds(
    TokenUri,
    label=TEXT,
    serial=st.none() | TEXT,
    slot=st.none() | st.integers(0, 2**64 - 1),
    manufacturer=st.none() | TEXT,
    model=st.none() | TEXT,
    module=st.none() | PATHS,
    pin_file=st.none() | PATHS.filter(lambda path: not str(path).startswith("//")),
)


@given(TOKENS, st.sampled_from(["", ":[]@!$'()*+,="]))
def test_what_is_written_is_read(uri: TokenUri, safe: str) -> None:
    assert uri == parse_token_uri(spelt(uri, safe))


@given(st.text(alphabet=st.sampled_from("pkcs11:token=?&;%/-" + printable)) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for uri in (text, f"pkcs11:{text}", f"pkcs11:token=a?{text}"):
        try:
            parse_token_uri(uri)
        except TokenUriError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("pkcs11:token=The%20Software%20PKCS%2311%20Softtoken", TokenUri(label="The Software PKCS#11 Softtoken")),
        ("pkcs11:serial=DECC0401648;slot-id=3", TokenUri(serial="DECC0401648", slot=3)),
        (
            "pkcs11:manufacturer=Snake%20Oil;model=1.0?module-path=/usr/lib/snake.so&pin-source=file:/etc/pin",
            TokenUri(
                manufacturer="Snake Oil", model="1.0", module=Path("/usr/lib/snake.so"), pin_file=Path("/etc/pin")
            ),
        ),
        ("pkcs11:token=a?pin-source=file:///etc/pin", TokenUri(label="a", pin_file=Path("/etc/pin"))),
        ("pkcs11:token=a?pin-source=file://localhost/etc/pin", TokenUri(label="a", pin_file=Path("/etc/pin"))),
        ("pkcs11:token=a?pin-source=/etc/pin", TokenUri(label="a", pin_file=Path("/etc/pin"))),
        ("pkcs11:token=gr%C3%BCn&blau", TokenUri(label="grün&blau")),
    ],
)
def test_examples_are_read(uri: str, expected: TokenUri) -> None:
    assert expected == parse_token_uri(uri)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("", "begins with 'pkcs11:'"),
        ("PKCS11:token=a", "begins with 'pkcs11:'"),
        ("pkcs11:", "names no token"),
        ("pkcs11:?module-path=/a", "names no token"),
        ("pkcs11:token=a?", "nothing behind its question mark"),
        ("pkcs11:token", "token is empty"),
        ("pkcs11:token=", "token is empty"),
        ("pkcs11:token=a b", "must be percent-encoded"),
        ("pkcs11:token=%zz", "must be percent-encoded"),
        ("pkcs11:token=a/b", "must be percent-encoded"),
        ("pkcs11:token=%FF", "token is not UTF-8"),
        ("pkcs11:token=a%00b", "cannot be printed"),
        ("pkcs11:token=a;token=b", "says token twice"),
        ("pkcs11:token=a;", "an unknown attribute, which is not accepted"),
        ("pkcs11:token=a;object=key", "'object', which is not accepted: keys are found by their public key's value"),
        ("pkcs11:token=a;id=%01", "keys are found"),
        ("pkcs11:token=a;library-version=3", "'library-version', which is not accepted: known here are"),
        ("pkcs11:token=a?module-name=softhsm", "use module-path"),
        ("pkcs11:token=a?token=b?c", "token twice|'token'|must be percent-encoded"),
        ("pkcs11:token=a;slot-id=x", "slot-id is not a slot's number"),
        ("pkcs11:token=a;slot-id=18446744073709551616", "slot-id is not a slot's number"),
        ("pkcs11:token=a?module-path=lib.so", "module-path must be an absolute path"),
        ("pkcs11:token=a?pin-source=file:pin", "pin-source must be file:"),
        ("pkcs11:token=a?pin-source=%7Ccat%20/etc/pin", "pin-source must be file:"),
        ("pkcs11:token=a?pin-source=https://example.com/pin", "pin-source must be file:"),
    ],
)
def test_anything_else_is_refused_precisely(uri: str, told: str) -> None:
    with pytest.raises(TokenUriError, match=told):
        parse_token_uri(uri)


@pytest.mark.parametrize(
    "uri", ["pkcs11:token=a?pin-value=hunter2", "pkcs11:token=a;hunter2?x=y", "pkcs11:HUNTER2=hunter2"]
)
def test_a_pin_in_a_uri_is_refused_and_not_quoted(uri: str) -> None:
    """Configurations are kept, copied and shown; a PIN among them would be everybody's."""
    with pytest.raises(TokenUriError) as raised:
        parse_token_uri(uri)

    assert "hunter2" not in str(raised.value).lower()


def test_a_pin_value_says_what_to_use_instead() -> None:
    with pytest.raises(TokenUriError, match="a PIN never stands in a configuration; use pin-source=file:PATH"):
        parse_token_uri("pkcs11:token=a?pin-value=1234")
