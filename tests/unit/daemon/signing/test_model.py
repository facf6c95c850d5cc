"""Grants and policy."""

from datetime import timedelta

import pytest

from wharfinger_daemon.signing.model import Caller, ExpiryCeilings, RoleType, SigningGrant, SigningPolicy

CALLER = Caller("warehouse", (SigningGrant(("pypi",), ("bins-*", "snapshot")), SigningGrant(("test*",), ("*",))))


@pytest.mark.parametrize(
    ("repository", "role", "allowed"),
    [
        ("pypi", "bins-0a", True),
        ("pypi", "snapshot", True),
        ("pypi", "bins", False),
        ("pypi", "timestamp", False),
        ("pypi", "Snapshot", False),
        ("testpypi", "root", True),
        ("other", "snapshot", False),
    ],
)
def test_grant_needs_a_pattern_for_both_repository_and_role(repository, role, allowed):
    assert allowed == CALLER.may_sign(repository, role)


def test_caller_without_grants_may_do_nothing():
    caller = Caller("nobody", ())
    assert not caller.may_sign("pypi", "snapshot")
    assert not caller.may_use("pypi")


def test_caller_may_use_the_repositories_that_a_grant_names():
    assert CALLER.may_use("pypi")
    assert not CALLER.may_use("other")


def test_each_type_of_role_has_its_ceiling():
    hours = {role_type: timedelta(hours=number) for number, role_type in enumerate(RoleType, start=1)}
    ceilings = ExpiryCeilings(**{role_type.value: duration for role_type, duration in hours.items()})
    assert hours == {role_type: ceilings.of(role_type, "any") for role_type in RoleType}


@pytest.mark.parametrize(("spec_version", "spoken"), [("1.0.31", True), ("1.1", True), ("2.0.0", False)])
def test_specification_versions_are_patterns(spec_version, spoken):
    assert spoken == SigningPolicy().speaks(spec_version)
