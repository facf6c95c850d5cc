"""What a package says of itself against what it holds: each rule with a sample, and a look-alike that is left alone."""

from __future__ import annotations

import pytest

from wharfinger_daemon.checks.package_profile import PackageProfileCheck
from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.plugin import ArtifactFormat, Check, Member, ScanContext
from wharfinger_daemon.scanning.weights import SUSPICIOUS_SCORE, WEIGHTS

BARE = "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\nSummary: pkg\nHome-page: UNKNOWN\n\nUNKNOWN\n"
DESCRIBED = (
    "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\nClassifier: Typing :: Typed\n\n"
    "A package that says in enough words what it is good for.\n"
)
HOOK = "from setuptools import setup\nsetup(name='pkg', cmdclass={'install': Install})\n"
PLAIN_SETUP = "from setuptools import setup\nsetup(name='pkg')\n"
MODULE = "def f():\n    return 1\n" * 40


def rules(members: dict[str, str], project: str = "some-project") -> set[str]:
    check = PackageProfileCheck()
    context = ScanContext(Subject(SubjectKind.FILE, project, "1.0", "pkg-1.0.tar.gz"), ArtifactFormat.SDIST, 1000)
    check.begin(context)
    evidence = [each for name, text in members.items() for each in check.member(Member(name, text.encode()))]
    return {each.rule for each in (*evidence, *check.end())}


@pytest.mark.parametrize(
    "project", ["reqeusts", "requestss", "equests", "rnquests", "python-dateutill", "Requ_ests0", "setuptols"]
)
def test_a_name_one_slip_from_a_popular_one_is_found(project: str) -> None:
    assert {"imitated-name"} == rules({}, project)


@pytest.mark.parametrize(
    "project", ["requests", "python_dateutil", "python.dateutil", "sixx", "requests-oauthlib", "reqsts", "quests"]
)
def test_popular_names_themselves_short_ones_and_distant_ones_are_left_alone(project: str) -> None:
    assert set() == rules({}, project)


@pytest.mark.parametrize("version", ["99.0.0", "99", "9999.1", "1!99.0", "100.0.1"])
def test_a_version_that_outbids_every_other_is_found(version: str) -> None:
    metadata = DESCRIBED.replace("Version: 1.0", f"Version: {version}")
    assert {"inflated-version"} == rules({"pkg-1.0/PKG-INFO": metadata})


@pytest.mark.parametrize("version", ["1.99.0", "2026.1", "20260131", "202601", "23.1", "89.0", "dev", ""])
def test_versions_by_the_calendar_are_left_alone(version: str) -> None:
    metadata = DESCRIBED.replace("Version: 1.0", f"Version: {version}")
    assert set() == rules({"pkg-1.0/PKG-INFO": metadata})


def test_a_package_that_says_nothing_of_itself_is_found() -> None:
    assert {"bare-metadata"} == rules({"pkg-1.0/PKG-INFO": BARE, "pkg-1.0/pkg/__init__.py": MODULE})
    assert {"bare-metadata"} == rules({"pkg-1.0.dist-info/METADATA": BARE, "pkg/__init__.py": MODULE})


def test_a_package_that_says_little_and_holds_much_is_left_alone() -> None:
    assert set() == rules({"pkg-1.0/PKG-INFO": BARE, "pkg-1.0/pkg/__init__.py": MODULE * 20})


def test_an_installation_hook_that_nothing_explains_is_found() -> None:
    members = {"pkg-1.0/PKG-INFO": BARE, "pkg-1.0/setup.py": HOOK, "pkg-1.0/pkg/__init__.py": MODULE * 20}
    assert {"bare-install-hook"} == rules(members)


def test_an_installation_hook_of_a_described_package_is_left_alone() -> None:
    members = {"pkg-1.0/PKG-INFO": DESCRIBED, "pkg-1.0/setup.py": HOOK, "pkg-1.0/pkg/__init__.py": MODULE}
    assert set() == rules(members)


def test_a_description_in_a_header_and_a_link_count_too() -> None:
    header = BARE.replace("Summary: pkg\n", "Description: It says in enough words what it is good for.\n")
    link = BARE.replace("Summary: pkg\n", "Project-URL: Source, https://example.com/\n")
    assert set() == rules({"pkg-1.0/PKG-INFO": header, "pkg-1.0/pkg/__init__.py": MODULE})
    assert set() == rules({"pkg-1.0/PKG-INFO": link, "pkg-1.0/pkg/__init__.py": MODULE})


def test_a_setup_script_beside_no_code_is_found_and_one_of_extensions_is_not() -> None:
    assert {"lone-setup"} == rules({"pkg-1.0/setup.py": PLAIN_SETUP, "pkg-1.0/pkg/__init__.py": "\n"})
    assert set() == rules({"pkg-1.0/setup.py": PLAIN_SETUP, "pkg-1.0/src/module.c": MODULE})


@pytest.mark.parametrize(
    "source",
    [
        "exec(open('data.txt').read())",
        "exec(open(os.path.join(here, 'logo.png'), 'rb').read())",
        "exec(compile(open('x.json').read(), 'x', 'exec'))",
    ],
)
def test_a_data_file_that_is_executed_is_found(source: str) -> None:
    assert {"executed-data-file"} == rules({"pkg/module.py": source})


@pytest.mark.parametrize(
    "source",
    [
        "exec(open('pkg/version.py').read())",
        "exec(open('pkg/_version.in').read())",
        "exec(open(os.path.join(here, 'VERSION')).read())",
        "execute(open('data.txt').read())",
        "text = open('data.txt').read()",
    ],
)
def test_a_version_file_that_is_executed_is_left_alone(source: str) -> None:
    assert set() == rules({"pkg/module.py": source})


def test_one_artifact_leaves_nothing_behind_for_the_next() -> None:
    check = PackageProfileCheck()
    context = ScanContext(Subject(SubjectKind.FILE, "pkg", "1.0", "pkg-1.0.tar.gz"), ArtifactFormat.SDIST, 1000)
    check.begin(context)
    list(check.member(Member("pkg-1.0/PKG-INFO", BARE.encode())))
    list(check.member(Member("pkg-1.0/setup.py", HOOK.encode())))
    check.begin(context)
    assert [] == list(check.end())


def test_a_bare_first_attempt_stays_benign() -> None:
    found = rules({"pkg-1.0/PKG-INFO": BARE, "pkg-1.0/setup.py": PLAIN_SETUP})
    assert {"bare-metadata", "lone-setup"} == found
    assert sum(WEIGHTS["package-profile", rule] for rule in found) < SUSPICIOUS_SCORE


def test_it_is_a_check() -> None:
    assert isinstance(PackageProfileCheck(), Check)
