"""Which checks run, and the version of their set."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from wharfinger_daemon.scanning import registry
from wharfinger_daemon.scanning.plugin import ENTRY_POINT_GROUP, FileCheck
from wharfinger_daemon.scanning.registry import BuiltInCheckError, load_checks, rule_set_version


class First(FileCheck):
    name = "first"
    version = "1"
    rule_texts = (b"rule a", b"rule b")


class Second(FileCheck):
    name = "second"
    version = "1"


class Impostor(FileCheck):
    name = "archive-structure"
    version = "666"


class Broken(FileCheck):
    name = "broken"
    version = "1"

    def __init__(self) -> None:
        raise RuntimeError("rules do not compile")


class Nameless(FileCheck):
    name = ""
    version = "1"


class Numbered(FileCheck):
    name = "numbered"
    version = 1  # type: ignore[assignment]


class NoCheck:
    name = "no-check"


@pytest.fixture(autouse=True)
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("registry_plug_ins")
    for check in (First, Second, Impostor, Broken, Nameless, Numbered, NoCheck):
        setattr(module, check.__name__, check)
    monkeypatch.setitem(sys.modules, "registry_plug_ins", module)


def point(name: str, value: str | None = None) -> EntryPoint:
    return EntryPoint(name=name, value=value or f"registry_plug_ins:{name}", group=ENTRY_POINT_GROUP)


def test_installed_checks_are_sorted_by_name_and_load() -> None:
    """The built-in ones come through the public entry point."""
    loaded = load_checks()
    names = [check.name for check in loaded.checks]
    assert {"archive-structure", "eager-code", "yara-rules"} <= set(names)
    assert sorted(names) == names
    assert () == loaded.failures


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Broken", "RuntimeError: rules do not compile"),
        ("NoCheck", "TypeError: 'registry_plug_ins:NoCheck' is not a check"),
        ("Nameless", "states no name"),
        ("Numbered", "states no version"),
        ("Missing", "AttributeError"),
    ],
)
def test_a_plug_in_that_does_not_load_is_reported_and_costs_nothing_else(name: str, why: str) -> None:
    loaded = load_checks([point(name), point("First")])
    assert ["first"] == [check.name for check in loaded.checks]
    assert [name] == [failure.name for failure in loaded.failures]
    assert why in loaded.failures[0].why


def test_nobody_takes_the_name_of_a_built_in_check() -> None:
    own = point("archive-structure", "wharfinger_daemon.checks.archive_structure:ArchiveStructureCheck")
    loaded = load_checks([point("Impostor"), own])
    assert ["1"] == [check.version for check in loaded.checks]
    assert ["Impostor"] == [failure.name for failure in loaded.failures]


def test_a_built_in_check_that_does_not_load_stops_everything() -> None:
    with pytest.raises(BuiltInCheckError, match="'gone' does not load"):
        load_checks([point("gone", "wharfinger_daemon.checks.gone:Gone")])


def test_the_version_does_not_depend_on_order_and_is_a_sha256() -> None:
    version = rule_set_version([First(), Second()])
    assert version == rule_set_version([Second(), First()])
    assert 64 == len(version)


def test_the_version_changes_with_all_that_decides_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Renamed(First):
        name = "renamed"

    class Newer(First):
        version = "2"

    class OtherRules(First):
        rule_texts = (b"rule a", b"rule c")

    class OneRule(First):
        rule_texts = (b"rule arule b",)

    versions = [rule_set_version(checks) for checks in ([], [First()], [Renamed()], [Newer()], [OtherRules()])]
    versions += [rule_set_version([OneRule()]), rule_set_version([First(), Second()])]
    monkeypatch.setattr(registry, "ENGINE_VERSION", "next")
    versions.append(rule_set_version([First()]))
    monkeypatch.setattr(registry, "SCORECARD_VERSION", "next")
    versions.append(rule_set_version([First()]))
    assert len(versions) == len(set(versions))
