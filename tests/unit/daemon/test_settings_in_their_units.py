"""Every key of the configuration arrives where it acts, in the unit that is used there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.metadata import lifetimes
from wharfinger_daemon.bootstrap.scanning import _sandbox_settings
from wharfinger_daemon.bootstrap.servers import _callers, _limits
from wharfinger_daemon.bootstrap.signing import _policy
from wharfinger_daemon.config import MetadataSettings, ScanSettings, SigningSettings
from wharfinger_daemon.sandbox.layers import Layer

TLS = {"certificate_file": "a.crt", "key_file": "a.key", "client_ca_file": "ca.crt"}


def parse(**sections: Any) -> config.Settings:
    document = {"roles": ["scan"], "grpc": {"tls": TLS}, **sections}
    return config.parse(document, base=Path("/etc/wharfinger"), origin="test.toml")


def test_limits_of_calls() -> None:
    grpc = {"tls": TLS, "max_message_mib": 3, "default_deadline_seconds": 4, "max_deadline_seconds": 5}
    limits = _limits(parse(grpc=grpc))
    assert (3 * 1024 * 1024, 4, 5) == (
        limits.message_bytes,
        limits.default_deadline_seconds,
        limits.max_deadline_seconds,
    )


def test_callers_have_their_grants_and_no_more() -> None:
    rpcs = ["wharfinger.scan.v1.ScanService/GetScan"]
    callers = _callers(parse(callers=[{"name": "a", "san": "a.example.com", "rpcs": rpcs}]))
    grants = callers.admit({"x509_subject_alternative_name": [b"a.example.com"]}, rpcs[0])
    assert ("a", tuple(rpcs), (), ()) == (grants.name, grants.rpcs, grants.repositories, grants.roles)


def test_lifetimes_of_metadata() -> None:
    metadata = MetadataSettings(repository="r", bins_expire_hours=1, snapshot_expire_hours=2, timestamp_expire_hours=3)
    made = lifetimes(metadata)
    assert [timedelta(hours=hours) for hours in (1, 2, 3)] == [
        made.bins,
        made.snapshot,
        made.timestamp,
    ]


def test_signing_policy() -> None:
    ceilings = {"root_days": 1, "targets_days": 2, "bins_hours": 3, "snapshot_hours": 4, "timestamp_hours": 5}
    policy = _policy(
        SigningSettings.model_validate({"max_batch": 6, "max_version_jump": 7, "expiry_ceilings": ceilings})
    )
    assert (6, 7) == (policy.max_batch, policy.max_version_jump)
    assert [timedelta(days=1), timedelta(days=2), timedelta(hours=3), timedelta(hours=4), timedelta(hours=5)] == [
        policy.expiry_ceilings.root,
        policy.expiry_ceilings.targets,
        policy.expiry_ceilings.bins,
        policy.expiry_ceilings.snapshot,
        policy.expiry_ceilings.timestamp,
    ]


def test_limits_of_the_sandbox() -> None:
    sandbox = _sandbox_settings(
        ScanSettings(
            workers=2,
            scan_timeout_seconds=3,
            check_timeout_seconds=4,
            worker_memory_mib=5,
            unpacked_max_mib=6,
            member_max_mib=7,
        )
    )
    mebibyte = 1024 * 1024
    assert (2, 3, 5 * mebibyte) == (sandbox.workers, sandbox.job_seconds, sandbox.memory_bytes)
    assert (4, 6 * mebibyte, 7 * mebibyte) == (
        sandbox.limits.check_seconds,
        sandbox.limits.archive.total_bytes,
        sandbox.limits.archive.member_bytes,
    )


@pytest.mark.parametrize(("key", "layer"), [("require_seccomp", Layer.SECCOMP), ("require_landlock", Layer.LANDLOCK)])
def test_a_layer_of_the_sandbox_is_required_unless_it_is_said_not_to_be(key: str, layer: Layer) -> None:
    every = _sandbox_settings(ScanSettings()).required_layers
    assert {layer} == every - _sandbox_settings(ScanSettings.model_validate({key: False})).required_layers
