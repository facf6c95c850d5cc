"""Both sides prove who they are, or nothing is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.client.conftest import Caller, FakeTime
from tests.unit.client.fake_daemon import Authority, FakeDaemon
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger_client import ClientSettings, RetryPolicy, SettingsError, TlsIdentity, UnavailableError

REPLY = metadata_pb2.GetMetadataResponse(content=b"{}", version=1)
ONCE = RetryPolicy(max_attempts=1)


def test_files_and_bytes_are_the_same(call: Caller, daemon: FakeDaemon, authority: Authority, tmp_path: Path) -> None:
    daemon.script.set("GetMetadata", REPLY)
    certificate, key = authority.identity()
    for name, content in (("ca", authority.ca), ("crt", certificate), ("key", key)):
        (tmp_path / name).write_bytes(content)
    tls = TlsIdentity(ca=tmp_path / "ca", certificate=str(tmp_path / "crt"), key=tmp_path / "key")
    assert 1 == call("get_metadata", "pypi", "root", settings=ClientSettings(daemon.address, tls)).version


def test_a_daemon_of_another_ca_is_not_spoken_to(
    call: Caller, daemon: FakeDaemon, authority: Authority, settings: ClientSettings
) -> None:
    daemon.script.set("GetMetadata", REPLY)
    tls = replace(settings.tls, ca=authority.foreign.cert_pem.bytes())
    with pytest.raises(UnavailableError, match="signed by the given CA"):
        call("get_metadata", "pypi", "root", settings=replace(settings, tls=tls, retry=ONCE))
    assert [] == daemon.received


def test_a_caller_of_another_ca_is_not_answered(
    call: Caller, daemon: FakeDaemon, authority: Authority, settings: ClientSettings
) -> None:
    daemon.script.set("GetMetadata", REPLY)
    certificate, key = authority.identity(issuer=authority.foreign)
    tls = TlsIdentity(ca=authority.ca, certificate=certificate, key=key)
    with pytest.raises(UnavailableError, match="trusts the caller's certificate"):
        call("get_metadata", "pypi", "root", settings=replace(settings, tls=tls, retry=ONCE))
    assert [] == daemon.received


@pytest.fixture
def elsewhere(authority: Authority) -> Iterator[FakeDaemon]:
    """A daemon whose certificate has another name than the address that it is reached at."""
    running = FakeDaemon(authority, "wharfinger.example.com")
    running.script.set("GetMetadata", REPLY)
    yield running
    running.stop()


def test_a_daemon_with_another_name_is_not_spoken_to(call: Caller, elsewhere: FakeDaemon, authority: Authority) -> None:
    settings = ClientSettings(elsewhere.address, authority.caller(), retry=ONCE)
    with pytest.raises(UnavailableError, match="has the expected name"):
        call("get_metadata", "pypi", "root", settings=settings)


def test_the_expected_name_can_be_given(call: Caller, elsewhere: FakeDaemon, authority: Authority) -> None:
    tls = replace(authority.caller(), server_name="wharfinger.example.com")
    assert 1 == call("get_metadata", "pypi", "root", settings=ClientSettings(elsewhere.address, tls)).version


@pytest.mark.parametrize("part", ["ca", "certificate", "key"])
def test_a_missing_file_is_named(part: str, call: Caller, settings: ClientSettings, tmp_path: Path) -> None:
    tls = replace(settings.tls, **{part: tmp_path / "missing.pem"})
    with pytest.raises(SettingsError, match=r"missing\.pem: No such file"):
        call("get_metadata", "pypi", "root", settings=replace(settings, tls=tls))


@pytest.mark.parametrize("part", ["ca", "certificate", "key"])
def test_what_is_not_pem_is_named_and_not_shown(
    part: str, call: Caller, settings: ClientSettings, fake_time: FakeTime
) -> None:
    tls = replace(settings.tls, **{part: b"secret in another form"})
    with pytest.raises(SettingsError, match="is not PEM") as raised:
        call("get_metadata", "pypi", "root", settings=replace(settings, tls=tls))
    assert "secret" not in str(raised.value)
    assert [] == fake_time.pauses


def test_keys_are_not_shown_by_repr(settings: ClientSettings) -> None:
    assert "PRIVATE KEY" not in repr(settings)


def test_a_proxy_in_the_environment_is_not_used(
    call: Caller, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon must see the caller's own certificate."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    daemon.script.set("GetMetadata", REPLY)
    assert 1 == call("get_metadata", "pypi", "root").version
