"""A check that fails costs what it would have found, and nothing else."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.unit.daemon.scanning.archives.conftest import zip_of
from wharfinger_daemon.scanning.archives import ArchiveLimits
from wharfinger_daemon.scanning.deadline import AlarmDeadline, Deadline, Overrun, WatchedDeadline
from wharfinger_daemon.scanning.engine import Engine, EngineLimits
from wharfinger_daemon.scanning.model import Examination, Finding, Subject, SubjectKind, Unread
from wharfinger_daemon.scanning.plugin import (
    Anomaly,
    ArtifactFormat,
    Check,
    Evidence,
    FileCheck,
    Member,
    ScanContext,
)

SUBJECT = Subject(kind=SubjectKind.FILE, project="sample", version="1", filename="sample-1-py3-none-any.whl")
ARTIFACT = zip_of(("a.py", b"first\nsecond\x1b[2J\n"), ("b.py", b"other\n"))


class Witness(FileCheck):
    """Remembers all that it is shown."""

    name = "witness"
    version = "7"

    def __init__(self) -> None:
        self.seen: list[object] = []

    def begin(self, context: ScanContext) -> None:
        self.seen = [(context.format, context.size, tuple(context.member_names))]

    def member(self, member: Member) -> Iterator[Evidence]:
        self.seen.append(member.name)
        yield Evidence(rule="saw-it", message="A member.", line=2)

    def anomalies(self, anomalies: Iterable[Anomaly]) -> Iterator[Evidence]:
        self.seen.append([anomaly.rule for anomaly in anomalies])
        return iter(())

    def end(self) -> Iterator[Evidence]:
        self.seen.append("end")
        yield Evidence(rule="saw-all", message="All of it.")


class Misbehaving(FileCheck):
    """Runs what the test gives it, on each member."""

    name = "misbehaving"
    version = "1"

    def __init__(self, behaviour: Callable[[Member], Iterable[object]]) -> None:
        self.behaviour = behaviour

    def member(self, member: Member) -> Iterator[Evidence]:
        yield from self.behaviour(member)  # type: ignore[misc]


def examined(
    *checks: Check,
    artifact: bytes = ARTIFACT,
    limits: EngineLimits | None = None,
    deadline: Deadline | None = None,
    subject: Subject = SUBJECT,
) -> Examination:
    engine = Engine(checks, limits or EngineLimits(), deadline or WatchedDeadline())
    return engine.examine(io.BytesIO(artifact), subject)


def raising(error: BaseException) -> Misbehaving:
    def behave(member: Member) -> Iterator[Evidence]:
        yield Evidence(rule="before", message="Said before it failed.")
        raise error

    return Misbehaving(behave)


def test_a_check_sees_context_members_anomalies_and_end_in_that_order() -> None:
    witness = Witness()
    found = examined(witness, artifact=ARTIFACT + b"behind")
    assert [
        (ArtifactFormat.ZIP, len(ARTIFACT) + 6, ("a.py", "b.py")),
        "a.py",
        "b.py",
        "!trailing-data",
        ["trailing-data"],
        "end",
    ] == witness.seen
    assert () == found.unread
    assert found.seconds > 0


def test_findings_carry_check_version_member_line_and_excerpt() -> None:
    findings = examined(Witness()).findings
    assert (
        Finding("witness", "7", "saw-it", "A member.", member="a.py", line=2, excerpt="second\\x1b[2J"),
        Finding("witness", "7", "saw-it", "A member.", member="b.py", line=2, excerpt=""),
        Finding("witness", "7", "saw-all", "All of it."),
    ) == findings


@pytest.mark.parametrize(
    ("evidence", "finding"),
    [
        (Evidence("r", "m", line=99), Finding("misbehaving", "1", "r", "m", "a.py", 99, "")),
        (Evidence("r", "m", line=-5), Finding("misbehaving", "1", "r", "m", "a.py", 0, "")),
        (Evidence("r", "m", line=2**70), Finding("misbehaving", "1", "r", "m", "a.py", 2**31 - 1, "")),
        (Evidence("r", "m", member=""), Finding("misbehaving", "1", "r", "m", "", 0, "")),
        (Evidence("r", "m", member="x\ud800", line=1), Finding("misbehaving", "1", "r", "m", "x\\ud800", 1, "")),
        (Evidence("r", "m", excerpt="shown"), Finding("misbehaving", "1", "r", "m", "a.py", 0, "shown")),
        (Evidence("r", "a\nb"), Finding("misbehaving", "1", "r", "a\\nb", "a.py", 0, "")),
    ],
)
def test_evidence_is_bounded_and_printable(evidence: Evidence, finding: Finding) -> None:
    """Whatever a check says, a finding can be stored, logged and shown."""
    artifact = zip_of(("a.py", b"first\n"))
    assert (finding,) == examined(Misbehaving(lambda member: [evidence]), artifact=artifact).findings


def test_checks_for_other_subjects_are_not_asked() -> None:
    witness = Witness()
    found = examined(witness, subject=Subject(kind=SubjectKind.RELEASE, project="sample", version="1"))
    assert ([], ()) == (witness.seen, found.findings)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (ValueError("wrong"), "ValueError: wrong"),
        (ValueError(), "ValueError"),
        (MemoryError(), "MemoryError"),
        (SystemExit(0), "SystemExit: 0"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (RecursionError("deep"), "RecursionError: deep"),
        (ValueError("\ud800\n"), "ValueError: \\ud800\\n"),
    ],
)
def test_a_check_that_raises_loses_the_member_and_others_lose_nothing(error: BaseException, named: str) -> None:
    """What it said before stays, the member is unread, and it is asked again for the next one."""
    found = examined(raising(error), Witness())
    assert ["before", "before", "saw-it", "saw-it", "saw-all"] == [finding.rule for finding in found.findings]
    why = f"The check 'misbehaving' did not finish: {named}."
    assert (Unread("a.py", why), Unread("b.py", why)) == found.unread


def test_an_error_without_a_text_is_named_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert "MuteError: no text" in examined(raising(MuteError())).unread[0].why


def test_a_check_that_cannot_begin_sees_nothing() -> None:
    class Late(Witness):
        def begin(self, context: ScanContext) -> None:
            super().begin(context)
            raise ValueError("not ready")

    late = Late()
    found = examined(late)
    assert 1 == len(late.seen)
    assert ("", 1) == (found.unread[0].member, len(found.unread))


def test_a_check_that_keeps_failing_is_left_out() -> None:
    members = zip_of(*((f"{number}.py", b"") for number in range(20)))
    found = examined(raising(ValueError("again")), artifact=members, limits=EngineLimits(failures_per_check=3))
    assert ["0.py", "1.py", "2.py"] == [unread.member for unread in found.unread]


@pytest.mark.parametrize(
    "said",
    [
        "no evidence",
        None,
        Evidence(rule="Not Kebab", message="m"),
        Evidence(rule="x" * 65, message="m"),
        Evidence(rule="", message="m"),
        Evidence(rule=7, message="m"),  # type: ignore[arg-type]
        Evidence(rule="r", message=7),  # type: ignore[arg-type]
        Evidence(rule="r", message="m", line="7"),  # type: ignore[arg-type]
        Evidence(rule="r", message="m", member=7),  # type: ignore[arg-type]
        Evidence(rule="r", message="m", excerpt=7),  # type: ignore[arg-type]
    ],
)
def test_a_check_that_says_what_is_no_evidence_fails(said: object) -> None:
    found = examined(Misbehaving(lambda member: [said]))
    assert ((), 2) == (found.findings, len(found.unread))


def test_a_check_that_returns_nothing_to_iterate_over_fails() -> None:
    class Returning(FileCheck):
        name = "returning"
        version = "1"

        def member(self, member: Member) -> Iterator[Evidence]:
            return None  # type: ignore[return-value]

    assert 2 == len(examined(Returning()).unread)


def test_findings_are_bounded_by_rule_and_by_check() -> None:
    """Rules that come late still have room."""

    def chatter(member: Member) -> Iterator[Evidence]:
        for number in range(1000):
            yield Evidence(rule="again", message=str(number))
        for number in range(1000):
            yield Evidence(rule=f"rule-{number}", message="m")

    limits = EngineLimits(findings_per_rule=5, findings_per_check=8)
    rules = [finding.rule for finding in examined(Misbehaving(chatter), limits=limits).findings]
    assert ["again"] * 5 + ["rule-0", "rule-1", "rule-2"] == rules


def test_what_was_not_opened_is_unread() -> None:
    limits = EngineLimits(archive=ArchiveLimits(member_bytes=10))
    assert ["a.py"] == [unread.member for unread in examined(Witness(), limits=limits).unread]


def test_a_check_that_loops_is_interrupted_and_left_out() -> None:
    """Its time is for the whole artifact, so that many members are no way to take more of it."""

    def loop(member: Member) -> Iterator[Evidence]:
        yield Evidence(rule="before", message="m")
        while True:
            pass

    found = examined(Misbehaving(loop), Witness(), limits=EngineLimits(check_seconds=0.05), deadline=AlarmDeadline())
    assert (Unread("a.py", "The check 'misbehaving' did not finish: it took more than 0.05 seconds."),) == found.unread
    assert ["before", "saw-it", "saw-it", "saw-all"] == [finding.rule for finding in found.findings]


def test_time_is_counted_over_all_members() -> None:
    def slow(member: Member) -> Iterator[Evidence]:
        end = time.monotonic() + 0.06
        while time.monotonic() < end:
            pass
        return iter(())

    found = examined(Misbehaving(slow), limits=EngineLimits(check_seconds=0.1), deadline=AlarmDeadline())
    assert ["b.py"] == [unread.member for unread in found.unread]


def test_a_check_that_swallows_the_interruption_meets_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wharfinger_daemon.scanning.deadline._AGAIN_SECONDS", 0.02)
    swallowed = []

    def loop(member: Member) -> Iterator[Evidence]:
        while True:
            try:
                while True:
                    pass
            except BaseException as error:
                swallowed.append(error)
                if len(swallowed) == 3:
                    raise

    found = examined(Misbehaving(loop), limits=EngineLimits(check_seconds=0.02), deadline=AlarmDeadline())
    assert ["a.py"] == [unread.member for unread in found.unread]
    assert 3 == len(swallowed)


class TestDeadlines:
    @pytest.mark.parametrize("make", [AlarmDeadline, WatchedDeadline])
    def test_a_result_in_time_is_returned(self, make: Callable[[], Deadline]) -> None:
        assert 7 == make().call(10, lambda: 7)

    @pytest.mark.parametrize("make", [AlarmDeadline, WatchedDeadline])
    def test_errors_pass_through(self, make: Callable[[], Deadline]) -> None:
        with pytest.raises(ZeroDivisionError):
            make().call(10, lambda: 1 / 0)

    def test_no_time_left_is_an_overrun(self) -> None:
        with pytest.raises(Overrun):
            AlarmDeadline().call(0, lambda: 7)

    def test_an_overrun_is_noticed_afterwards_where_nothing_interrupts(self) -> None:
        with pytest.raises(Overrun):
            WatchedDeadline().call(-1, lambda: 7)

    def test_an_alarm_after_the_end_does_nothing(self) -> None:
        deadline = AlarmDeadline()
        deadline.call(10, lambda: 7)
        deadline._ring(14, sys._getframe())
