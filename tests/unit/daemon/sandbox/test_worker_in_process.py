"""The worker's own code, run here, where nothing confines it."""

from __future__ import annotations

import gc
import io
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.daemon.scanning.archives.conftest import zip_of
from wharfinger_daemon.checks.archive_structure import ArchiveStructureCheck
from wharfinger_daemon.sandbox import CheckSource, InProcessExaminer, Layer, protocol, worker
from wharfinger_daemon.sandbox.confinement import Layers, Terms, early_layers, late_layers
from wharfinger_daemon.sandbox.handover import readonly_descriptor
from wharfinger_daemon.sandbox.preparation import loaded_checks, settle_memory
from wharfinger_daemon.scanning.archives import ArtifactUnreadableError
from wharfinger_daemon.scanning.deadline import WatchedDeadline
from wharfinger_daemon.scanning.engine import Engine, EngineLimits
from wharfinger_daemon.scanning.model import Examination, Subject, SubjectKind
from wharfinger_daemon.scanning.registry import load_checks, rule_set_version

SUBJECT = Subject(kind=SubjectKind.FILE, project="sample", version="1", filename="sample-1-py3-none-any.whl")
ARTIFACT = zip_of(("../a.py", b"print()\n"))
SETUP = protocol.Setup(
    parent=os.getpid(), limits=EngineLimits(), checks=CheckSource(), memory_bytes=1 << 30, cpu_seconds=60
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    daemon, channel = socket.socketpair()
    with daemon, channel:
        yield daemon, channel


@pytest.fixture
def kept_output() -> Iterator[None]:
    """The worker points its output at the null device; this gives it back."""
    sys.stdout.flush()
    kept = [os.dup(1), os.dup(2)]
    yield
    for descriptor, copy in zip((1, 2), kept, strict=True):
        os.dup2(copy, descriptor)
        os.close(copy)


def test_preparation_loads_checks_and_applies_layers(
    pair: tuple[socket.socket, socket.socket], kept_output: None
) -> None:
    """The layers come in their order, and those that fail are in the greeting."""
    daemon, channel = pair
    applied: list[str] = []

    def failing() -> None:
        raise OSError(38, "Function not implemented")

    def late(given: socket.socket, terms: Terms) -> Layers:
        assert Terms(parent=os.getpid(), memory_bytes=1 << 30, cpu_seconds=60) == terms
        return [(Layer.SECCOMP, lambda: applied.append("late"))]

    early: Layers = [(Layer.LIMITS, lambda: applied.append("early")), (Layer.LANDLOCK, failing)]
    protocol.send(daemon, SETUP)
    _, hello = worker.prepared(channel, WatchedDeadline(), early, late)
    assert ["early", "late"] == applied
    assert (Layer.LIMITS, Layer.SECCOMP) == hello.active
    assert [Layer.LANDLOCK] == list(hello.missing)
    assert rule_set_version(load_checks().checks) == hello.rule_set


def test_checks_are_found_by_name_in_other_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    source = CheckSource(("wharfinger_daemon.checks.eager_code:EagerCodeCheck",), (str(tmp_path),))
    assert ["eager-code"] == [check.name for check in loaded_checks(source).checks]
    assert str(tmp_path) == sys.path[-1]


def test_every_layer_has_its_turn(pair: tuple[socket.socket, socket.socket]) -> None:
    terms = Terms(parent=1, memory_bytes=1, cpu_seconds=1)
    layers = [layer for layer, _ in (*early_layers(), *late_layers(pair[1], terms))]
    assert set(Layer) == set(layers)
    assert Layer.SECCOMP == layers[-1]


class _Failing(Engine):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def examine(self, file: object, subject: Subject) -> Examination:
        raise self.error


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (_Failing(MemoryError()), protocol.Failed(why="out-of-memory", by_content=True)),
        (_Failing(ArtifactUnreadableError("disk")), protocol.Failed(why="disk", by_content=False)),
        (_Failing(KeyError("?")), protocol.Failed(why="crashed-with-KeyError", by_content=True)),
    ],
)
def test_what_fails_is_answered(
    pair: tuple[socket.socket, socket.socket], engine: Engine, expected: protocol.Failed
) -> None:
    assert expected == _served(pair, engine)


def test_a_job_is_done(pair: tuple[socket.socket, socket.socket]) -> None:
    answer = _served(pair, Engine([ArchiveStructureCheck()], EngineLimits(), WatchedDeadline()))
    assert isinstance(answer, protocol.Done)
    assert "path-traversal" in [finding.rule for finding in answer.examination.findings]


def _served(pair: tuple[socket.socket, socket.socket], engine: Engine) -> protocol.Done | protocol.Failed:
    daemon, channel = pair
    serving = threading.Thread(target=worker.serve, args=(channel, engine))
    serving.start()
    descriptor = readonly_descriptor(io.BytesIO(ARTIFACT))
    socket.send_fds(daemon, [protocol.frame(protocol.Job(subject=SUBJECT))], [descriptor])
    os.close(descriptor)
    answer = protocol.receive(daemon, protocol.ANSWER)
    daemon.shutdown(socket.SHUT_WR)
    serving.join(20)
    assert not serving.is_alive()
    return answer


@pytest.mark.parametrize("confined", [True, False])
def test_the_program_says_hello_or_why_not(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, confined: bool
) -> None:
    daemon, channel = pair
    hello = protocol.Hello(rule_set="x", active=(), missing={}, load_failures=())

    def prepared(*arguments: object) -> tuple[Engine, protocol.Hello]:
        if not confined:
            raise ValueError("no rules")
        return _Failing(KeyError()), hello

    settled: list[int] = []
    monkeypatch.setattr(worker, "prepared", prepared)
    monkeypatch.setattr(worker, "settle_memory", lambda: settled.append(1))
    daemon.shutdown(socket.SHUT_WR)
    status = worker.main([str(channel.detach())])
    assert (0 if confined else worker.COULD_NOT_START) == status
    assert confined == bool(settled)
    expected = hello if confined else protocol.Refusal(why="ValueError: no rules")
    assert expected == protocol.receive(daemon, protocol.GREETING)


def test_searches_for_garbage_become_rare() -> None:
    """And what was loaded is left out of them."""
    before = gc.get_threshold()
    try:
        settle_memory()
        assert (50_000, 20, 100) == gc.get_threshold()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_an_artifact_is_handed_over_for_reading_only(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "artifact"
    path.write_bytes(b"content")
    with path.open(mode) as artifact:
        path.unlink()
        assert b"con" == artifact.read(3)
        descriptor = readonly_descriptor(artifact)  # type: ignore[arg-type]
        assert 3 == artifact.tell()
    with io.FileIO(descriptor) as received:
        assert b"content" == received.read()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(received.fileno(), b"x")


def test_an_artifact_in_memory_is_copied() -> None:
    artifact = io.BytesIO(b"content")
    artifact.read()
    with io.FileIO(readonly_descriptor(artifact)) as received:
        assert b"content" == received.read()


async def test_the_examiner_without_a_sandbox_finds_the_same() -> None:
    checks = load_checks().checks
    examiner = InProcessExaminer(checks)
    assert rule_set_version(checks) == examiner.rule_set
    examination = await examiner.examine(io.BytesIO(ARTIFACT), SUBJECT)
    assert ["path-traversal"] == [finding.rule for finding in examination.findings]
    assert () == examination.unread
