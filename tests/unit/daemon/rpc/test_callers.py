"""Who may call what: default deny."""

from __future__ import annotations

import pytest

from wharfinger_daemon.errors import NotGrantedError, Reason, UnauthenticatedError
from wharfinger_daemon.rpc.callers import CallerDirectory, Grants, require_repository
from wharfinger_daemon.signing.model import Caller, Rate, SigningGrant

SIGN = "wharfinger.signing.v1.SigningService/Sign"
SCAN = "wharfinger.scan.v1.ScanService/Scan"
HEALTH = "grpc.health.v1.Health/Check"


def grants(*rpcs: str, repositories: tuple[str, ...] = ()) -> Grants:
    return Grants("warehouse", "warehouse.example.com", rpcs, repositories, ())


def shown(*names: bytes) -> dict[str, list[bytes]]:
    return {"x509_subject_alternative_name": list(names)}


def test_a_caller_is_known_by_any_of_its_names() -> None:
    directory = CallerDirectory([grants(SIGN)])
    assert "warehouse" == directory.admit(shown(b"other", b"warehouse.example.com"), SIGN).name


def test_a_service_can_be_granted_whole_and_no_more() -> None:
    directory = CallerDirectory([grants("wharfinger.signing.v1.SigningService/*")])
    directory.admit(shown(b"warehouse.example.com"), SIGN)
    with pytest.raises(NotGrantedError):
        directory.admit(shown(b"warehouse.example.com"), SCAN)


def test_no_grant_is_no_rpc_but_health() -> None:
    directory = CallerDirectory([grants()])
    with pytest.raises(NotGrantedError) as caught:
        directory.admit(shown(b"warehouse.example.com"), SIGN)
    assert Reason.RPC_NOT_GRANTED == caught.value.reason
    assert "warehouse" == directory.admit(shown(b"warehouse.example.com"), HEALTH).name


def test_a_stranger_may_not_even_ask_for_health() -> None:
    with pytest.raises(NotGrantedError) as caught:
        CallerDirectory([grants(SIGN)]).admit(shown(b"stranger"), HEALTH)
    assert Reason.CALLER_UNKNOWN == caught.value.reason


def test_a_name_with_a_nul_byte_is_not_the_name_before_it() -> None:
    with pytest.raises(NotGrantedError):
        CallerDirectory([grants(SIGN)]).admit(shown(b"warehouse.example.com\x00.evil"), SIGN)


def test_a_name_that_is_not_text_is_a_stranger() -> None:
    with pytest.raises(NotGrantedError):
        CallerDirectory([grants(SIGN)]).admit(shown(b"\xff\xfe"), SIGN)


@pytest.mark.parametrize("authentication", [{}, {"x509_common_name": [b"warehouse.example.com"]}])
def test_a_common_name_is_no_identity(authentication: dict[str, list[bytes]]) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        CallerDirectory([grants(SIGN)]).admit(authentication, SIGN)
    assert Reason.CLIENT_CERTIFICATE_REQUIRED == caught.value.reason


def test_a_repository_may_be_granted_by_any_of_the_grants() -> None:
    further = SigningGrant(("mirror",), ("timestamp",))
    one = Grants("warehouse", "warehouse.example.com", (), ("pypi",), (), (further,), Rate(1, 2))
    for repository in ("pypi", "mirror"):
        require_repository(one, repository)
    assert Caller("warehouse", (SigningGrant(("pypi",), ()), further), Rate(1, 2)) == one.for_signing()


def test_a_repository_must_be_granted() -> None:
    require_repository(grants(repositories=("py*",)), "pypi")
    with pytest.raises(NotGrantedError) as caught:
        require_repository(grants(repositories=("py*",)), "other")
    assert Reason.REPOSITORY_NOT_GRANTED == caught.value.reason
