"""The configuration: typed, unknown keys refused, and the sample file is the manual of every key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy.engine import make_url

from wharfinger_daemon import config
from wharfinger_daemon.config.loading import section_of
from wharfinger_daemon.config.settings import LoggingSettings
from wharfinger_daemon.errors import Reason, StartupError

SAMPLE = Path(__file__).parents[3] / "deploy" / "wharfinger.toml"
MINIMAL: dict[str, Any] = {
    "roles": ["scan"],
    "grpc": {"tls": {"certificate_file": "a.crt", "key_file": "a.key", "client_ca_file": "ca.crt"}},
}


def parse(**changes: Any) -> config.Settings:
    return config.parse({**MINIMAL, **changes}, base=Path("/etc/wharfinger"), origin="test.toml")


def refusal(**changes: Any) -> str:
    with pytest.raises(StartupError) as caught:
        parse(**changes)
    assert Reason.CONFIGURATION_INVALID == caught.value.reason
    return caught.value.message


def test_the_sample_is_valid() -> None:
    assert "pypi" == config.load(SAMPLE).repositories[0].name


def test_the_sample_names_every_key() -> None:
    """The sample is the manual: a key that it does not show does not exist for an administrator."""
    text = SAMPLE.read_text()

    def keys(section: type[BaseModel]) -> list[str]:
        found = []
        for name, field in section.model_fields.items():
            found.append(field.alias or name)
            nested = section_of(field.annotation)
            if nested is not None:
                found += keys(nested)
        return found

    missing = [key for key in keys(config.Settings) if f"{key} = " not in text and f"{key}]" not in text]
    assert [] == missing


def test_the_sample_shows_the_defaults() -> None:
    """Where a section has defaults for all keys, the sample shows those very values."""
    document = tomllib.loads(SAMPLE.read_text())
    for name, section in (("scan", config.ScanSettings), ("logging", LoggingSettings)):
        assert section() == section.model_validate(document[name])
    assert config.SigningSettings() == config.SigningSettings.model_validate(document["signing"])


def test_relative_paths_are_relative_to_the_file() -> None:
    settings = parse(database={"url": "sqlite:///state/w.db"})
    assert Path("/etc/wharfinger/a.crt") == settings.grpc.tls.certificate_file
    assert "sqlite:////etc/wharfinger/state/w.db" == settings.database.url
    assert "sqlite:////var/w.db" == parse(database={"url": "sqlite:////var/w.db"}).database.url
    assert Path("/etc/wharfinger") == settings.state_directory


@pytest.mark.parametrize("name", ["is it?", "100%20", "a@b:c", "für"])
def test_the_database_lies_beside_the_file_whatever_the_folder_is_called(name: str) -> None:
    settings = config.parse(MINIMAL, base=Path("/srv") / name, origin="test.toml")
    assert f"/srv/{name}/wharfinger.db" == make_url(settings.database.url).database


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 0, -1])
def test_a_time_is_a_positive_number_that_ends(seconds: float) -> None:
    assert "drain_seconds" in refusal(grpc={**MINIMAL["grpc"], "drain_seconds": seconds})


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    message = refusal(scan={"worker": 3})
    assert "scan.worker: there is no such key; did you mean 'workers'?" in message


def test_an_unknown_key_without_a_near_one_is_refused_with_all_known_ones() -> None:
    assert "Known here: level, format" in refusal(logging={"zzz": 1})


def test_an_unknown_key_in_a_list_of_tables_is_refused_with_the_nearest() -> None:
    assert "did you mean 'san'" in refusal(callers=[{"name": "a", "san": "a", "sann": "b"}])


def test_every_problem_is_listed_at_once() -> None:
    message = refusal(scan={"workers": 0}, logging={"level": "loud"}, http={"address": "nowhere"})
    assert all(where in message for where in ("scan.workers", "logging.level", "http.address"))


def test_a_missing_key_is_named() -> None:
    assert "grpc.tls: this key is required" in refusal(grpc={})


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:http", ":80", "127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:\u00b2"]
)
def test_an_address_without_a_port_is_refused(address: str) -> None:
    assert "must be HOST:PORT" in refusal(http={"address": address})


@pytest.mark.parametrize("address", ["0.0.0.0:8081", "metrics.example.com:8081"])
def test_administration_without_access_control_stays_on_loopback(address: str) -> None:
    assert "loopback" in refusal(administration={"http_address": address})


@pytest.mark.parametrize("address", ["localhost:1", "[::1]:1", "127.0.0.9:1"])
def test_loopback_addresses_are_taken(address: str) -> None:
    assert address == parse(administration={"http_address": address}).administration.http_address


@pytest.mark.parametrize("url", ["postgresql://host/x", "sqlite://", "sqlite:///"])
def test_a_database_that_is_not_supported_is_refused(url: str) -> None:
    assert "must be sqlite:///PATH" in refusal(database={"url": url})


def test_the_url_of_a_server_stays_as_it_is() -> None:
    url = "postgresql+psycopg://wharfinger@db.example.com/wharfinger?sslmode=verify-full"
    settings = parse(database={"url": url, "password_file": "password"}).database
    assert (url, Path("/etc/wharfinger/password"), False) == (settings.url, settings.password_file, settings.is_sqlite)


@pytest.mark.parametrize("url", ["//user:hunter2@localhost/name", "//user@localhost/name?password=hunter2"])
def test_password_in_the_url_is_refused_and_not_shown(url: str) -> None:
    said = refusal(database={"url": f"postgresql+psycopg:{url}"})
    assert "database.url: must not hold the password; name its file in database.password_file." in said
    assert "hunter2" not in said


def test_file_of_a_password_is_for_a_server_only() -> None:
    assert "SQLite has no password" in refusal(database={"password_file": "password"})


REPOSITORY = {"name": "r", "root_sha256": "0" * 64, "metadata_directory": "m"}
HSM = {"module": "m.so", "token_label": "t", "pin_file": "pin"}


def test_sign_needs_a_token_and_a_repository() -> None:
    assert "[hsm]" in refusal(roles=["sign"], repositories=[REPOSITORY])
    assert "[[repositories]]" in refusal(roles=["sign"], hsm=HSM)


def test_metadata_needs_sign_beside_it() -> None:
    assert "needs 'sign'" in refusal(roles=["metadata"], metadata={"repository": "r"})


def test_metadata_needs_its_section_and_a_known_repository() -> None:
    signing = {"roles": ["sign", "metadata"], "hsm": HSM, "repositories": [REPOSITORY]}
    assert "needs [metadata]" in refusal(**signing)
    assert "'other'" in refusal(**signing, metadata={"repository": "other"})
    assert "r" == parse(**signing, metadata={"repository": "r"}).repository("r").name


def test_an_expiry_beyond_the_ceiling_is_refused_before_it_is_at_run_time() -> None:
    message = refusal(
        roles=["sign", "metadata"],
        hsm=HSM,
        repositories=[REPOSITORY],
        metadata={"repository": "r", "snapshot_expire_hours": 49},
    )
    assert "snapshot_expire_hours is 49" in message


def test_names_and_certificates_are_unique() -> None:
    assert "'a' stands there twice" in refusal(callers=[{"name": "a", "san": "x"}, {"name": "a", "san": "y"}])
    assert "'x' stands there twice" in refusal(callers=[{"name": "a", "san": "x"}, {"name": "b", "san": "x"}])
    assert "'r' stands there twice" in refusal(repositories=[REPOSITORY, REPOSITORY])


def test_a_grant_must_look_like_an_rpc() -> None:
    assert "rpcs" in refusal(callers=[{"name": "a", "san": "x", "rpcs": ["*"]}])


def test_a_file_that_is_missing_or_not_toml_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        config.load(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("= what")
    with pytest.raises(StartupError, match="is not TOML"):
        config.load(tmp_path / "bad.toml")


FASTLY = {"service_id": "SU1Z0", "token_file": "token"}


def test_caches_are_told_of_nothing_unless_configured() -> None:
    caches = parse().caches
    assert (None, None) == (caches.fastly, caches.varnish)


def test_a_token_goes_nowhere_in_the_clear() -> None:
    assert "https://" in refusal(caches={"fastly": {**FASTLY, "api_url": "http://api.example.com"}})
    assert "must be a URL" in refusal(caches={"fastly": {**FASTLY, "api_url": "api.example.com"}})
    fastly = parse(caches={"fastly": {**FASTLY, "api_url": "http://localhost:1/"}}).caches.fastly
    assert fastly is not None
    assert ("http://localhost:1", Path("/etc/wharfinger/token")) == (fastly.api_url, fastly.token_file)


@pytest.mark.parametrize("addresses", [[], ["cache"], ["cache:1", "cache:1"]])
def test_varnishes_are_named_by_address_once_each(addresses: list[str]) -> None:
    assert "caches.varnish.addresses" in refusal(caches={"varnish": {"addresses": addresses}})
