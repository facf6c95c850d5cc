"""The documentation is complete and true where a program can tell: references, licences, examples, links."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tomllib
import types
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from google.protobuf.descriptor import FileDescriptor

from wharfinger.audit.v1 import audit_pb2
from wharfinger.keys.v1 import keys_pb2
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2
from wharfinger_daemon.cli import main
from wharfinger_daemon.errors import Reason
from wharfinger_daemon.metadata.verification.findings import Rule
from wharfinger_daemon.rpc.status import CODES
from wharfinger_daemon.scanning.plugin import ENTRY_POINT_GROUP, need_of
from wharfinger_daemon.scanning.prepass import Prepass
from wharfinger_daemon.scanning.weights import SUSPICIOUS_SCORE, THREAT_SCORE, UNKNOWN_RULE_WEIGHT, WEIGHTS
from wharfinger_daemon.telemetry import Metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
PROTOS: tuple[FileDescriptor, ...] = (
    signing_pb2.DESCRIPTOR,
    keys_pb2.DESCRIPTOR,
    audit_pb2.DESCRIPTOR,
    metadata_pb2.DESCRIPTOR,
    scan_pb2.DESCRIPTOR,
)
STAGES = ("install", "import", "startup")

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """The text beneath each heading of the second level, by the heading without its back-ticks."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {heading.strip("`"): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text: str) -> dict[str, list[str]]:
    """Rows of tables whose first cell is a name in back-ticks: the other cells, by that name."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\| `([^`]+)` \|(.*)\|", line)
        if match is not None:
            assert match[1] not in found, f"{match[1]} stands there twice"
            found[match[1]] = [cell.strip() for cell in match[2].split("|")]
    return found


def blocks(name: str, language: str) -> list[str]:
    return [code for found, code in _FENCE.findall(page(name)) if found == language]


# ---- Reference -------------------------------------------------------------------------------------------------------
def test_every_reason_is_explained_and_no_other() -> None:
    explained = [row for body in sections(page("reference/errors.md")).values() for row in rows(body)]
    assert sorted(Reason) == sorted(explained)


def test_reasons_are_explained_with_statuses_that_errors_have() -> None:
    known = {code.name for code in CODES.values()}
    for body in sections(page("reference/errors.md")).values():
        for reason, (status, *others) in rows(body).items():
            if others:  # The table of reasons at the start has no statuses.
                assert set(re.findall(r"`(\w+)`", status)) <= known, reason


def test_every_rpc_is_listed_beneath_its_service_and_no_other() -> None:
    listed = sections(page("reference/rpcs.md"))
    for proto in PROTOS:
        for service in proto.services_by_name.values():
            methods = [method.name for method in service.methods]
            assert sorted(methods) == sorted(rows(listed[service.full_name])), service.full_name


def each_command(command: click.Command, path: str) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {path: command}
    context = click.Context(command)
    found: dict[str, click.Command] = {}
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found |= each_command(child, f"{path} {name}")
    return found


def test_every_command_is_described_with_its_options_and_no_other() -> None:
    described = sections(page("reference/cli.md"))
    commands = each_command(main, "wharfinger")
    assert sorted(commands) == sorted(described)
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        named = set(re.findall(r"--[a-z][a-z0-9-]*", described[name]))
        assert options == named, name


def test_every_metric_is_listed_with_its_labels_and_no_other() -> None:
    metrics = {}
    for family in Metrics().registry.collect():
        metrics[family.name + ("_total" if family.type == "counter" else "")] = family.type
    listed = rows(page("reference/metrics.md"))
    assert metrics == {name: cells[0] for name, cells in listed.items()}
    for attribute in vars(Metrics()).values():
        for name in getattr(attribute, "_labelnames", ()):
            family = attribute.describe()[0]
            full = family.name + ("_total" if family.type == "counter" else "")
            assert f"`{name}`" in listed[full][1]


def test_every_rule_is_listed_with_its_weight_and_no_other() -> None:
    listed: dict[tuple[str, str], float] = {}
    described = sections(page("reference/checks.md"))
    for check, body in described.items():
        for rule, cells in rows(body).items():
            if check == "engine":
                continue
            if len(cells) == len(STAGES) + 1:
                listed |= {(check, f"{stage}-{rule}"): float(cell) for stage, cell in zip(STAGES, cells, strict=False)}
            else:
                listed[check, rule] = float(cells[0])
    assert dict(WEIGHTS) == listed
    built_in = {
        point.name for point in entry_points(group=ENTRY_POINT_GROUP) if point.value.startswith("wharfinger_daemon.")
    }
    assert built_in | {"engine"} == set(described)


def test_the_thresholds_are_those_of_the_scorecard() -> None:
    told = page("explanation/scanning.md")
    assert f"the score is {THREAT_SCORE:g} or more" in told
    assert f"the score is {SUSPICIOUS_SCORE:g} or more" in told
    assert f"does not know weighs {UNKNOWN_RULE_WEIGHT:g}" in told


# ---- Licences --------------------------------------------------------------------------------------------------------
def test_every_dependency_has_its_licence_listed_and_no_other() -> None:
    locked = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE)
    listed = re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", page("adr/0011-licences-of-dependencies.md"), re.MULTILINE)
    assert sorted(locked) == sorted(name for name, _ in listed)
    assert [] == [name for name, licence in listed if "GPL" in licence.replace("LGPL", "")]


# ---- Examples in the text --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_in_the_text_is_well_formed(path: Path) -> None:
    for language, indented in _FENCE.findall(path.read_text(encoding="utf-8")):
        code = textwrap.dedent(indented)
        if language == "python":
            compile(code, str(path), "exec")
        elif language == "toml" and "--8<--" not in code:
            tomllib.loads(code)


def test_the_guide_to_checks_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of the guide, in a module of their own, are as it says; the first passes the guide's own test."""
    check, faster, test = blocks("how-to/write-a-check.md", "python")
    module = types.ModuleType("example_checks")
    monkeypatch.setitem(sys.modules, "example_checks", module)
    exec(check, vars(module))
    exec(faster, vars(module))
    needs = need_of(module.HookCheck())
    assert needs is not None
    assert not Prepass([needs]).wanted(b"post")[0]
    names: dict[str, Callable[[], None]] = {}
    exec(test, names)
    names["test_it_finds_what_is_to_be_done"]()


def test_the_guide_to_checks_names_the_entry_points_group() -> None:
    (registration,) = blocks("how-to/write-a-check.md", "toml")
    assert ENTRY_POINT_GROUP in tomllib.loads(registration)["project"]["entry-points"]


# ---- The site --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert 0 == built.returncode, built.stderr
    for html in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?(https?:)?//", html.read_text(encoding="utf-8"))
        styles = re.findall(r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect)[^>]*//", html.read_text(encoding="utf-8"))
        assert ([], []) == (loaded, styles), html


def test_every_rule_of_verify_repository_is_described_and_no_other() -> None:
    described = re.findall(r"^\| `([a-z-]+)` \|", page("reference/repository-rules.md"), re.MULTILINE)
    assert sorted(rule.value for rule in Rule) == sorted(described)
