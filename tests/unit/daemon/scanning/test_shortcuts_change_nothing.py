"""The pass over all bytes and the memory of earlier members make scans sooner, and nothing else."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution

import pytest

from tests.support.hostile_archives import TRICKS
from tests.unit.daemon.checks import test_eager_code_techniques as techniques
from tests.unit.daemon.checks import test_yara_rule_pack as rule_pack
from wharfinger_daemon.scanning.deadline import WatchedDeadline
from wharfinger_daemon.scanning.engine import Engine, EngineLimits
from wharfinger_daemon.scanning.model import Finding, Subject, SubjectKind, Unread
from wharfinger_daemon.scanning.plugin import Anomaly, Check, Evidence, FileCheck, Member, ScanContext
from wharfinger_daemon.scanning.registry import load_checks

_SAMPLES = [
    sample
    for module in (rule_pack, techniques)
    for table in vars(module).values()
    if isinstance(table, dict)
    for sample in table.values()
    if isinstance(sample, str | bytes)
]
_NAMES = ("setup.py", "p/__init__.py", "p/a.py", "sitecustomize.py", "p/a.pth", "p/a.md", "p/a.dat")


class _Everything(FileCheck):
    """A check that is shown every member, each time."""

    def __init__(self, check: Check) -> None:
        self.name, self.version, self._check = check.name, check.version, check

    def begin(self, context: ScanContext) -> None:
        self._check.begin(context)

    def member(self, member: Member) -> Iterator[Evidence]:
        return self._check.member(member)

    def anomalies(self, anomalies: Iterable[Anomaly]) -> Iterator[Evidence]:
        return self._check.anomalies(anomalies)

    def end(self) -> Iterator[Evidence]:
        return self._check.end()


_CHECKS = load_checks().checks
_QUICK = Engine(_CHECKS, EngineLimits(), WatchedDeadline())
_THOROUGH = Engine([_Everything(check) for check in _CHECKS], EngineLimits(), WatchedDeadline())


def _result(engine: Engine, artifact: bytes) -> tuple[list[Finding], tuple[Unread, ...]]:
    examined = engine.examine(io.BytesIO(artifact), Subject(SubjectKind.FILE, "p", "1", "p-1-py3-none-any.whl"))
    return list(examined.findings), examined.unread


def _wheel(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _real_code(project: str) -> bytes:
    paths = [path for path in distribution(project).files or [] if path.suffix == ".py"]
    return _wheel((str(path), path.read_binary()) for path in paths)


@pytest.mark.parametrize("name", _NAMES)
def test_samples_are_found_all_the_same(name: str) -> None:
    """Each technique and each look-alike, in a member of any kind, the first time and the next time."""
    found = 0
    members = [(name, one.encode() if isinstance(one, str) else one) for one in _SAMPLES]
    for number in range(0, len(members), 20):
        artifact = _wheel((f"{index}-1/{member[0]}", member[1]) for index, member in enumerate(members[number:][:20]))
        expected = _result(_THOROUGH, artifact)
        assert expected == _result(_QUICK, artifact)
        assert expected == _result(_QUICK, artifact)
        found += len(expected[0])
    assert found


@pytest.mark.parametrize(
    "project", ["click", "starlette", "asn1crypto", pytest.param("SQLAlchemy", marks=pytest.mark.long)]
)
def test_real_code_is_judged_all_the_same(project: str) -> None:
    artifact = _real_code(project)
    expected = _result(_THOROUGH, artifact)
    assert expected == _result(_QUICK, artifact)
    assert expected == _result(_QUICK, artifact)


@pytest.mark.parametrize("trick", TRICKS)
def test_hostile_archives_are_judged_all_the_same(trick: str) -> None:
    artifact = TRICKS[trick].make()
    assert _result(_THOROUGH, artifact) == _result(_QUICK, artifact)
