"""Grants, rates and bounds in the configuration: typed, misspellings refused, and what is seldom meant warned of."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from wharfinger.audit.v1 import audit_pb2
from wharfinger.keys.v1 import keys_pb2
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2
from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.servers import _callers, _limits
from wharfinger_daemon.bootstrap.signing import _policy
from wharfinger_daemon.config import SigningSettings
from wharfinger_daemon.config.rpcs import require_known_rpc
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.signing.model import Caller, Rate, RoleType, SigningGrant

TLS = {"certificate_file": "a.crt", "key_file": "a.key", "client_ca_file": "ca.crt"}
SIGN = "wharfinger.signing.v1.SigningService/Sign"
PROTO = Path(__file__).parents[3] / "proto" / "wharfinger"


def parse(**sections: Any) -> config.Settings:
    document = {"roles": ["scan"], "grpc": {"tls": TLS}, **sections}
    return config.parse(document, base=Path("/etc/wharfinger"), origin="test.toml")


def caller(**changes: Any) -> dict[str, Any]:
    return {"name": "warehouse", "san": "warehouse.example.com", **changes}


def refusal(**sections: Any) -> str:
    with pytest.raises(StartupError) as caught:
        parse(**sections)
    assert Reason.CONFIGURATION_INVALID == caught.value.reason
    return caught.value.message


def published(**of_the_caller: Any) -> config.Settings:
    """A daemon that publishes 'pypi' and may sign for 'mirror', too."""
    repositories = [
        {"name": name, "root_sha256": digit * 64, "metadata_directory": name}
        for name, digit in (("pypi", "0"), ("mirror", "1"))
    ]
    return parse(
        roles=["sign", "metadata"],
        hsm={"module": "m.so", "token_label": "t", "pin_file": "pin"},
        repositories=repositories,
        metadata={"repository": "pypi"},
        callers=[caller(**of_the_caller)],
    )


# ---- RPCs ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", [signing_pb2, metadata_pb2, scan_pb2, keys_pb2, audit_pb2])
def test_every_rpc_of_the_contract_can_be_granted(file: Any) -> None:
    for service in file.DESCRIPTOR.services_by_name.values():
        for method in (*service.methods_by_name, "*"):
            pattern = f"{service.full_name}/{method}"
            assert pattern == require_known_rpc(pattern)


def test_every_area_of_the_contract_is_known() -> None:
    """A new proto must be added to what can be granted."""
    areas = {path.parent.parent.name for path in PROTO.glob("*/v1/*.proto")}
    assert {"signing", "metadata", "scan", "keys", "audit"} == areas


def test_a_misspelt_service_is_refused_with_the_nearest() -> None:
    message = refusal(callers=[caller(rpcs=["wharfinger.signing.v1.SigningServise/*"])])
    assert "callers.0.rpcs.0: there is no service 'wharfinger.signing.v1.SigningServise'; did you mean" in message
    assert "'wharfinger.signing.v1.SigningService'" in message


def test_a_misspelt_rpc_is_refused_with_the_nearest() -> None:
    message = refusal(callers=[caller(rpcs=["wharfinger.signing.v1.SigningService/Sing"])])
    assert "has no RPC 'Sing'; did you mean 'Sign'?" in message


def test_an_rpc_like_none_is_refused_with_all_that_there_are() -> None:
    message = refusal(callers=[caller(rpcs=["wharfinger.signing.v1.SigningService/Xyzzy"])])
    assert "It has: Sign, Lint, ListSigningKeys" in message


# ---- Grants and rates ------------------------------------------------------------------------------------------------
def test_grants_and_rates_arrive_where_they_act() -> None:
    grants = [
        {"repositories": ["mirror"], "roles": ["timestamp"], "rate": {"signatures_per_second": 0.5, "burst": 3}},
        {"repositories": ["other"], "roles": ["snapshot"]},
    ]
    one = caller(rpcs=[SIGN], repositories=["pypi"], roles=["bins-*"], rate={"signatures_per_second": 7}, grants=grants)
    directory = _callers(parse(callers=[one]))
    admitted = directory.admit({"x509_subject_alternative_name": [b"warehouse.example.com"]}, SIGN)
    assert (
        Caller(
            "warehouse",
            (
                SigningGrant(("pypi",), ("bins-*",)),
                SigningGrant(("mirror",), ("timestamp",), Rate(0.5, 3)),
                SigningGrant(("other",), ("snapshot",)),
            ),
            Rate(7, 256),
        )
        == admitted.for_signing()
    )


def test_a_configuration_without_grants_and_rates_means_what_it_meant() -> None:
    directory = _callers(parse(callers=[caller(rpcs=[SIGN], repositories=["pypi"], roles=["bins-*"])]))
    admitted = directory.admit({"x509_subject_alternative_name": [b"warehouse.example.com"]}, SIGN)
    assert Caller("warehouse", (SigningGrant(("pypi",), ("bins-*",)),)) == admitted.for_signing()


@pytest.mark.parametrize(
    "rate",
    [
        {},
        {"signatures_per_second": 0},
        {"signatures_per_second": -1},
        {"signatures_per_second": float("inf")},
        {"signatures_per_second": float("nan")},
        {"signatures_per_second": 1, "burst": 0},
        {"signatures_per_second": 1, "per_minute": 3},
    ],
    ids=repr,
)
def test_a_rate_that_makes_no_sense_is_refused(rate: dict[str, Any]) -> None:
    assert "callers.0.rate" in refusal(callers=[caller(rate=rate)])


@pytest.mark.parametrize("grant", [{}, {"repositories": [], "roles": ["x"]}, {"repositories": ["x"], "roles": []}])
def test_a_grant_of_nothing_is_refused(grant: dict[str, Any]) -> None:
    assert "callers.0.grants.0" in refusal(callers=[caller(grants=[grant])])


def test_an_unknown_key_of_a_grant_is_refused_with_the_nearest() -> None:
    grant = {"repositories": ["x"], "roles": ["x"], "rates": {}}
    assert "did you mean 'rate'?" in refusal(callers=[caller(grants=[grant])])


# ---- Bounds ----------------------------------------------------------------------------------------------------------
def test_bounds_arrive_where_they_act() -> None:
    policy = _policy(
        SigningSettings.model_validate(
            {
                "version_jumps": {"root": 1, "bins": 5, "roles": {"bins-0*": 2}},
                "expiry_ceilings": {"roles_hours": {"bins-0*": 3}},
            }
        )
    )
    assert timedelta(hours=3) == policy.expiry_ceilings.of(RoleType.BINS, "bins-01")
    roles = [("root", RoleType.ROOT), ("bins-01", RoleType.BINS), ("bins-11", RoleType.BINS)]
    assert {"root": 1, "bins-01": 2, "bins-11": 5} == policy.version_jumps.exceptions(roles)
    assert {} == _policy(SigningSettings()).version_jumps.exceptions(roles)


@pytest.mark.parametrize(
    "signing",
    [
        {"version_jumps": {"mirrors": 1}},
        {"version_jumps": {"bins": 0}},
        {"version_jumps": {"roles": {"bins-*": 0}}},
        {"version_jumps": {"roles": {"": 1}}},
        {"expiry_ceilings": {"roles_hours": {"bins-*": -1}}},
    ],
    ids=repr,
)
def test_a_bound_that_makes_no_sense_is_refused(signing: dict[str, Any]) -> None:
    assert "signing." in refusal(signing=signing)


def test_the_least_time_of_a_call_arrives_where_it_acts() -> None:
    assert 0.25 == _limits(parse(grpc={"tls": TLS, "min_deadline_seconds": 0.25})).min_deadline_seconds
    assert 0.01 == _limits(parse()).min_deadline_seconds


# ---- Warnings --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "granted",
    [
        {"rpcs": [SIGN], "repositories": ["pypi"], "roles": ["bins-*"]},
        {"rpcs": ["wharfinger.signing.v1.SigningService/*"], "repositories": ["py*"], "roles": ["*"]},
        {"rpcs": [SIGN], "grants": [{"repositories": ["pypi"], "roles": ["timestamp"]}]},
    ],
    ids=["plain", "by patterns", "by a further grant"],
)
def test_whoever_may_have_signed_what_is_published_here_is_warned_of(granted: dict[str, Any]) -> None:
    [warning] = config.warnings(published(**granted))
    assert "Caller 'warehouse' may have roles of 'pypi' signed, which this daemon publishes" in warning


@pytest.mark.parametrize(
    "granted",
    [
        {"rpcs": [SIGN], "repositories": ["pypi"], "roles": []},
        {"rpcs": [SIGN], "repositories": ["mirror"], "roles": ["*"]},
        {"rpcs": ["wharfinger.metadata.v1.MetadataService/*"], "repositories": ["pypi"], "roles": ["*"]},
    ],
    ids=["no roles", "another repository", "other RPCs"],
)
def test_what_is_granted_well_is_not_warned_of(granted: dict[str, Any]) -> None:
    assert [] == list(config.warnings(published(**granted)))


def test_a_repository_that_nobody_configured_is_warned_of() -> None:
    [warning] = config.warnings(published(rpcs=[SIGN], repositories=["pipy"], roles=["*"]))
    assert "granted repository 'pipy', and no [[repositories]] is called so" in warning


def test_grants_for_signing_without_an_rpc_that_signs_are_warned_of() -> None:
    grants = [{"repositories": ["mirror"], "roles": ["timestamp"]}]
    [warning] = config.warnings(published(grants=grants))
    assert "its rpcs grant neither Sign nor Lint" in warning


def test_a_daemon_that_only_scans_has_nothing_to_warn_of() -> None:
    assert [] == list(config.warnings(parse(callers=[caller(rpcs=[SIGN])])))


def test_caches_that_outlive_the_files_are_warned_of() -> None:
    settings = published(rpcs=[], repositories=[], roles=[])
    slow = settings.model_copy(update={"http": settings.http.model_copy(update={"timestamp_max_age_seconds": 601})})
    [warning] = config.warnings(slow)
    assert "601 s" in warning and "600 s" in warning


def test_caches_that_nobody_would_tell_are_warned_of() -> None:
    settings = parse(caches={"varnish": {"addresses": ["127.0.0.1:6081"]}})
    [warning] = config.warnings(settings)
    assert "publishes nothing" in warning
