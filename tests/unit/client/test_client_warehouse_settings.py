"""The settings of the integration, and the services that they choose."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from pyramid.config import Configurator
from zope.interface.verify import verifyClass

from wharfinger_client import NotFoundError, SettingsError, Target
from wharfinger_client.testing import FakeDaemon
from wharfinger_client.warehouse import (
    GrpcScanService,
    GrpcSigningService,
    IScanService,
    ISigningService,
    NothingIsSignedWarning,
    NullScanService,
    NullSigningService,
    WarehouseSettings,
)

GRPC = {
    "wharfinger.backend": "grpc",
    "wharfinger.address": "localhost:50051",
    "wharfinger.tls.ca": "ca.crt",
    "wharfinger.tls.certificate": "me.crt",
    "wharfinger.tls.key": "me.key",
}


@pytest.mark.parametrize("implementation", [GrpcSigningService, NullSigningService])
def test_signing_services_have_the_methods_of_their_interface(implementation: type) -> None:
    assert verifyClass(ISigningService, implementation)


@pytest.mark.parametrize("implementation", [GrpcScanService, NullScanService])
def test_scan_services_have_the_methods_of_their_interface(implementation: type) -> None:
    assert verifyClass(IScanService, implementation)


def test_without_settings_there_is_no_daemon() -> None:
    assert WarehouseSettings.read({"pyramid.reload": "1"}).client is None


@pytest.mark.parametrize(
    "changed",
    [
        {"wharfinger.adress": "localhost:50051"},
        {"wharfinger.backend": "rest"},
        {"wharfinger.address": ""},
        {"wharfinger.tls.key": ""},
        {"wharfinger.deadline.scan": "soon"},
        {"wharfinger.deadline.scan": "0"},
        {"wharfinger.deadline.scan": "nan"},
    ],
    ids=lambda changed: "=".join(*changed.items()),
)
def test_settings_that_cannot_be_used_stop_the_start(changed: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        WarehouseSettings.read(GRPC | changed)
    assert next(iter(changed)) in str(caught.value)


def included(settings: dict[str, str]) -> Any:
    config = Configurator(settings=settings)
    config.include("wharfinger_client.warehouse")
    config.commit()
    return config


def test_the_backend_grpc_connects_to_nothing_when_it_is_included() -> None:
    """The files of these settings do not exist: they are read at the first call."""
    config = included(GRPC)
    service = config.find_service_factory(ISigningService)(None, SimpleNamespace(registry=config.registry))
    assert isinstance(service, GrpcSigningService)
    with pytest.raises(SettingsError):
        service.published("simple/example/index.html")


def test_the_backend_null_says_that_nothing_is_signed() -> None:
    config = included({})
    with pytest.warns(NothingIsSignedWarning):
        service = config.find_service_factory(ISigningService)(None, config)
    assert service.published("simple/example/index.html") is None
    assert config.find_service_factory(IScanService)(None, config).scan(None, "", b"") is None


def test_only_a_target_that_is_missing_reads_as_none() -> None:
    """A wrong repository must not look like an empty one."""
    with FakeDaemon().client() as client:
        page = Target("simple/example/index.html", 1, {"sha256": "0" * 64})
        service = GrpcSigningService(client, "pypi")
        assert service.published(page.path) is None
        service.publish([page], [])
        assert page == service.published(page.path)
        with pytest.raises(NotFoundError):
            GrpcSigningService(client, "pipy").published(page.path)


def test_the_base_client_imports_nothing_of_the_extra() -> None:
    code = (
        "import sys, wharfinger_client, wharfinger_client.testing; "
        "print(sorted({'celery', 'pyramid', 'sqlalchemy', 'zope.interface'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
