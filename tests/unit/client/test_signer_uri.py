"""The ``wharfinger:`` URI: what it says, how it is written, what the environment adds, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_client import ClientSettings, SettingsError, TlsIdentity
from wharfinger_client._signer_uri import SignerUri

COMPLETE = "wharfinger:pypi/4e?role=bins-0a&address=daemon.example.com:50051&ca=tls/ca.crt&certificate=/c&key=/k"
ENVIRONMENT = {
    "WHARFINGER_ADDRESS": "localhost:50051",
    "WHARFINGER_CA": "/etc/ca.crt",
    "WHARFINGER_CERTIFICATE": "/etc/me.crt",
    "WHARFINGER_KEY": "/etc/me.key",
    "WHARFINGER_SERVER_NAME": "daemon.example.com",
}

# What a name, a path or an address can be: any printable text, signs that have a meaning in URIs among them.
values = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.isprintable)
optional_values = st.just("") | values


def test_a_uri_says_repository_key_role_and_connection() -> None:
    expected = SignerUri("pypi", "4e", "bins-0a", "daemon.example.com:50051", "tls/ca.crt", "/c", "/k")
    assert expected == SignerUri.parse(COMPLETE)
    assert COMPLETE == str(expected)


def test_a_uri_needs_no_more_than_repository_and_key() -> None:
    assert SignerUri("pypi", "4e") == SignerUri.parse("wharfinger:pypi/4e")
    assert "wharfinger:pypi/4e" == str(SignerUri("pypi", "4e"))


def test_a_plus_sign_in_a_path_is_a_plus_sign() -> None:
    """Forms write spaces as plus signs; a file name that has one must not be changed."""
    assert "a+b c" == SignerUri.parse("wharfinger:pypi/4e?ca=a+b%20c").ca


@given(
    repository=values,
    keyid=values,
    role=optional_values,
    address=optional_values,
    ca=optional_values,
    certificate=optional_values,
    key=optional_values,
    server_name=optional_values,
)
def test_what_is_written_is_read_as_the_same(**said: str) -> None:
    uri = SignerUri(**said)
    written = str(uri)
    assert written.isascii()
    assert uri == SignerUri.parse(written)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "scheme is not"),
        ("pypi/4e", "scheme is not"),
        ("hsm:2", "scheme is not"),
        ("WHARFINGER:pypi/4e", "scheme is not"),
        ("wharfinger:", "does not name a repository and a key"),
        ("wharfinger:pypi", "does not name a repository and a key"),
        ("wharfinger:pypi/", "does not name a repository and a key"),
        ("wharfinger:/4e", "does not name a repository and a key"),
        ("wharfinger://pypi/4e", "does not name a repository and a key"),
        ("wharfinger:pypi/4e/bins-0a", "does not name a repository and a key"),
        ("wharfinger:pypi/4e#bins-0a", "percent-encoded"),
        ("wharfinger:pypi/4e ", "percent-encoded"),
        ("wharfinger:pypi/4e\n", "percent-encoded"),
        ("wharfinger:pypi/4e?ca=/é", "percent-encoded"),
        ("wharfinger:pypi/4e?", "parameter ''"),
        ("wharfinger:pypi/4e?bin=0a", "parameter 'bin', and there are only role, address"),
        ("wharfinger:pypi/4e?Role=bins-0a", "parameter 'Role'"),
        ("wharfinger:pypi/4e?keyid=5f", "parameter 'keyid'"),
        ("wharfinger:pypi/4e?role=a&role=b", "parameter 'role' twice"),
        ("wharfinger:pypi/4e?role=", "'role' is empty"),
        ("wharfinger:pypi/4e?role", "'role' is empty"),
        ("wharfinger:pypi/4e?ca=%00", "'ca' is empty or has a control character"),
        ("wharfinger:pypi/%0a", "'keyid' is empty or has a control character"),
        ("wharfinger:pypi/4e?ca=%ff", "'ca' is not UTF-8"),
    ],
)
def test_a_malformed_uri_is_refused_and_told_what_to_write(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        SignerUri.parse(text)
    assert why in str(caught.value)
    assert "Write wharfinger:REPOSITORY/KEYID" in str(caught.value)


def test_the_environment_says_what_the_uri_leaves_out() -> None:
    identity = TlsIdentity("/etc/ca.crt", "/etc/me.crt", "/etc/me.key", "daemon.example.com")
    assert ClientSettings("localhost:50051", identity) == SignerUri("pypi", "4e").settings(ENVIRONMENT)


def test_the_uri_goes_before_the_environment() -> None:
    environment = ENVIRONMENT | {"WHARFINGER_SERVER_NAME": ""}
    settings = SignerUri.parse(COMPLETE).settings(environment)
    assert ClientSettings("daemon.example.com:50051", TlsIdentity("tls/ca.crt", "/c", "/k")) == settings


def test_a_connection_that_is_said_nowhere_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        SignerUri("pypi", "4e", ca="/ca").settings({"WHARFINGER_KEY": "/k"})
    assert "'wharfinger:pypi/4e?ca=/ca' does not say how to reach the daemon: address, certificate." in str(
        caught.value
    )
    assert "set WHARFINGER_ADDRESS, WHARFINGER_CERTIFICATE." in str(caught.value)


@pytest.mark.parametrize("address", ["localhost", ":50051", "localhost:", "localhost:grpc", "localhost:٥"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    """gRPC would take 443 for the port, and all that one would see is that nobody answers."""
    environment = ENVIRONMENT | {"WHARFINGER_ADDRESS": address}
    with pytest.raises(SettingsError, match="is not HOST:PORT"):
        SignerUri("pypi", "4e").settings(environment)
