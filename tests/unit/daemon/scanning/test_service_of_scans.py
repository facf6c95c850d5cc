"""The life of a scan."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import pytest

from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.errors import (
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    OverloadedError,
    Reason,
    UnavailableError,
    WharfingerError,
)
from wharfinger_daemon.scanning.memory import MemoryScanRecords
from wharfinger_daemon.scanning.model import (
    ArtifactPath,
    ArtifactReference,
    Classification,
    Examination,
    Scan,
    ScanState,
    Subject,
    SubjectKind,
)
from wharfinger_daemon.scanning.ports import ContentFailure, ScanFilter, ScanRecords
from wharfinger_daemon.scanning.run import FAILED_INSIDE, ScanPolicy
from wharfinger_daemon.scanning.service import INTERRUPTED, ScanService

SUBJECT = Subject(SubjectKind.FILE, "sampleproject", "1.0", "sampleproject-1.0.tar.gz")
DATA = b"the bytes of an artifact"
SHA256 = hashlib.sha256(DATA).hexdigest()
REFERENCE = ArtifactPath("sampleproject-1.0.tar.gz")
NOTHING_FOUND = Examination((), (), 0.25)


class ScriptedExaminer:
    """Answers what it is told to; ``gate`` holds examinations back while it is not set."""

    def __init__(self) -> None:
        self.rule_set = "a" * 64
        self.answer: Examination | Exception = NOTHING_FOUND
        self.seen: list[bytes] = []
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def examine(self, artifact: BinaryIO, subject: Subject) -> Examination:
        self.seen.append(artifact.read())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ScriptedSource:
    """Has one artifact under every reference, or one error."""

    def __init__(self) -> None:
        self.refusal: WharfingerError | None = None
        self.error: WharfingerError | None = None
        self.data = DATA

    async def check(self, reference: ArtifactReference) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def chunks(self, reference: ArtifactReference) -> AsyncIterator[bytes]:
        if self.error is not None:
            raise self.error
        yield self.data


class Stage:
    """A service with everything around it."""

    def __init__(self, records: ScanRecords | None = None) -> None:
        self.records = records if records is not None else MemoryScanRecords()
        self.examiner = ScriptedExaminer()
        self.source = ScriptedSource()
        self.clock = FixedClock(datetime(2030, 1, 1, tzinfo=UTC))
        self.observed: list[Scan] = []
        self.service = self.another()

    def another(self, concurrent: int = 2, waiting: int = 2) -> ScanService:
        policy = ScanPolicy(artifact_bytes=1000, concurrent=concurrent, waiting=waiting)
        return ScanService(self.records, self.examiner, self.source, self.clock, policy, self.observed.append)

    async def scan(self, data: bytes = DATA, sha256: str = "", subject: Subject = SUBJECT) -> tuple[Scan, bool]:
        return await self.service.scan_stream(subject, sha256, in_chunks(data))

    async def result(self, scan_id: str) -> Scan:
        scan: Scan = await until(lambda: self.service.get(scan_id), lambda scan: scan.finished_at is not None)
        return scan


async def in_chunks(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def until(read: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(10):
        while True:
            value = read()
            if asyncio.iscoroutine(value):
                value = await value
            if wanted(value):
                return value
            await asyncio.sleep(0.001)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.service.start()
    yield stage
    stage.examiner.gate.set()
    await stage.service.close(10)


async def test_a_streamed_artifact_is_examined_and_its_verdict_stored(stage: Stage) -> None:
    scan, replayed = await stage.scan(sha256=SHA256)
    assert (ScanState.FINISHED, SHA256, 0.25, False) == (scan.state, scan.sha256, scan.seconds, replayed)
    assert scan.verdict is not None
    assert Classification.BENIGN is scan.verdict.classification
    assert [DATA] == stage.examiner.seen
    assert scan == await stage.service.get(scan.scan_id)
    assert [scan] == stage.observed


async def test_a_finished_scan_is_replayed_without_another_examination(stage: Stage) -> None:
    first, _ = await stage.scan()
    assert (first, True) == await stage.scan()
    assert (first, True) == await stage.service.create(SUBJECT, SHA256, REFERENCE)
    assert 1 == len(stage.examiner.seen)


async def test_another_rule_set_scans_again(stage: Stage) -> None:
    first, _ = await stage.scan()
    stage.examiner.rule_set = "b" * 64
    second, replayed = await stage.scan()
    assert (False, True) == (replayed, first.scan_id != second.scan_id)


async def test_concurrent_submissions_of_the_same_share_one_run(stage: Stage) -> None:
    answers = await asyncio.gather(*(stage.scan() for _ in range(4)))
    assert 1 == len(stage.examiner.seen)
    assert 1 == sum(not replayed for _, replayed in answers)
    assert 1 == len({scan.scan_id for scan, _ in answers})


@pytest.mark.parametrize(
    ("data", "sha256", "kind", "reason"),
    [
        (DATA, "f" * 64, InvalidRequestError, Reason.DIGEST_MISMATCH),
        (DATA, SHA256.upper(), InvalidRequestError, Reason.MALFORMED_REQUEST),
        (DATA, "abc", InvalidRequestError, Reason.MALFORMED_REQUEST),
        (b"x" * 1001, "", OverloadedError, Reason.ARTIFACT_TOO_LARGE),
    ],
    ids=["wrong digest", "upper case", "short", "too large"],
)
async def test_wrong_bytes_are_refused_and_leave_nothing(
    stage: Stage, data: bytes, sha256: str, kind: type[WharfingerError], reason: Reason
) -> None:
    with pytest.raises(kind) as caught:
        await stage.scan(data, sha256)
    assert reason == caught.value.reason
    assert () == (await stage.service.list_scans(ScanFilter())).scans


async def test_an_artifact_of_exactly_the_limit_is_accepted(stage: Stage) -> None:
    scan, _ = await stage.scan(b"x" * 1000)
    assert ScanState.FINISHED is scan.state


@pytest.mark.parametrize(
    "subject",
    [
        Subject(SubjectKind.PROJECT, "sampleproject"),
        Subject(SubjectKind.RELEASE, "sampleproject", "1.0"),
        Subject(SubjectKind.FILE, "", "1.0", "a.whl"),
        Subject(SubjectKind.FILE, "sampleproject", "", "a.whl"),
        Subject(SubjectKind.FILE, "sampleproject", "1.0", ""),
        Subject(SubjectKind.FILE, "a" * 256, "1.0", "a.whl"),
        Subject(SubjectKind.FILE, "sample\nproject", "1.0", "a.whl"),
        Subject(SubjectKind.FILE, "sampleproject", "1.0", "a\x00.whl"),
        Subject(SubjectKind.FILE, "sampleproject", "1.0", "\u202ealw.whl"),
        Subject(SubjectKind.FILE, "sampleproject", "1.0", "../a.whl"),
    ],
)
async def test_bad_subjects_are_refused(stage: Stage, subject: Subject) -> None:
    for attempt in (stage.scan(subject=subject), stage.service.create(subject, SHA256, REFERENCE)):
        with pytest.raises(InvalidRequestError) as caught:
            await attempt
        assert Reason.SUBJECT_INVALID == caught.value.reason


async def test_what_fails_because_of_its_content_is_finished_and_indeterminate(stage: Stage) -> None:
    """Failing the scanner must not be a way to pass it."""
    stage.examiner.answer = ContentFailure("Time out")
    scan, _ = await stage.scan()
    assert ScanState.FINISHED is scan.state
    assert scan.verdict is not None
    assert Classification.INDETERMINATE is scan.verdict.classification
    assert ("engine", "content-failure-time-out") == (scan.verdict.findings[0].check, scan.verdict.findings[0].rule)
    assert (scan, True) == await stage.scan()


async def test_no_sandbox_is_an_error_without_a_verdict_and_may_be_repeated(stage: Stage) -> None:
    stage.examiner.answer = UnavailableError("No sandbox.", reason=Reason.SANDBOX_UNAVAILABLE)
    with pytest.raises(UnavailableError) as caught:
        await stage.scan()
    assert Reason.SANDBOX_UNAVAILABLE == caught.value.reason
    failed = stage.observed[0]
    assert (ScanState.ERROR, None, "No sandbox.") == (failed.state, failed.verdict, failed.error)
    stage.examiner.answer = NOTHING_FOUND
    scan, replayed = await stage.scan()
    assert (failed.scan_id, ScanState.FINISHED, False) == (scan.scan_id, scan.state, replayed)


async def test_a_defect_is_an_error_and_never_a_verdict(stage: Stage) -> None:
    stage.examiner.answer = ZeroDivisionError("a defect")
    scan, replayed = await stage.scan()
    assert (ScanState.ERROR, None, FAILED_INSIDE, False) == (scan.state, scan.verdict, scan.error, replayed)


async def test_a_created_scan_is_durable_at_once_and_done_later(stage: Stage) -> None:
    stage.examiner.gate.clear()
    created, replayed = await stage.service.create(SUBJECT, SHA256, REFERENCE)
    assert (ScanState.SUBMITTED, REFERENCE, False) == (created.state, created.reference, replayed)
    again, replayed = await stage.service.create(SUBJECT, SHA256, REFERENCE)
    assert (created.scan_id, True) == (again.scan_id, replayed)
    stage.examiner.gate.set()
    assert ScanState.FINISHED is (await stage.result(created.scan_id)).state


async def test_a_reference_that_is_never_read_is_refused_at_once(stage: Stage) -> None:
    stage.source.refusal = NotGrantedError("No roots.", reason=Reason.ARTIFACT_OUTSIDE_ROOTS)
    with pytest.raises(NotGrantedError):
        await stage.service.create(SUBJECT, SHA256, REFERENCE)
    assert () == (await stage.service.list_scans(ScanFilter())).scans


async def test_create_needs_a_digest(stage: Stage) -> None:
    with pytest.raises(InvalidRequestError):
        await stage.service.create(SUBJECT, "", REFERENCE)


async def test_a_referenced_artifact_with_another_digest_is_an_error(stage: Stage) -> None:
    stage.source.data = b"exchanged"
    created, _ = await stage.service.create(SUBJECT, SHA256, REFERENCE)
    failed = await stage.result(created.scan_id)
    assert (ScanState.ERROR, None) == (failed.state, failed.verdict)
    assert SHA256 in failed.error


async def test_a_reference_that_cannot_be_read_is_an_error_and_may_be_repeated(stage: Stage) -> None:
    stage.source.error = UnavailableError("The server is away.", reason=Reason.FETCH_FAILED)
    created, _ = await stage.service.create(SUBJECT, SHA256, REFERENCE)
    assert "The server is away." == (await stage.result(created.scan_id)).error
    stage.source.error = None
    again, replayed = await stage.service.create(SUBJECT, SHA256, REFERENCE)
    assert (created.scan_id, False) == (again.scan_id, replayed)
    assert ScanState.FINISHED is (await stage.result(created.scan_id)).state


async def test_a_stream_joins_a_run_by_reference_and_uses_its_own_bytes_when_that_fails(stage: Stage) -> None:
    stage.examiner.gate.clear()
    await stage.service.create(SUBJECT, SHA256, REFERENCE)
    await until(lambda: stage.examiner.running, lambda running: running == 1)
    streamed = asyncio.create_task(stage.scan())
    await asyncio.sleep(0.01)
    stage.examiner.answer = UnavailableError("No sandbox.", reason=Reason.SANDBOX_UNAVAILABLE)
    stage.examiner.gate.set()
    with pytest.raises(UnavailableError):
        await streamed
    assert 2 == len(stage.examiner.seen)


async def test_a_caller_that_goes_away_does_not_end_the_run(stage: Stage) -> None:
    stage.examiner.gate.clear()
    caller = asyncio.create_task(stage.scan())
    await until(lambda: stage.examiner.running, lambda running: running == 1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    stage.examiner.gate.set()
    await until(lambda: stage.observed, bool)
    assert (stage.observed[0], True) == await stage.scan()


async def test_no_more_scans_run_at_once_than_allowed(stage: Stage) -> None:
    stage.examiner.gate.clear()
    callers = [asyncio.create_task(stage.scan(DATA + bytes([number]))) for number in range(4)]
    await until(lambda: stage.examiner.running, lambda running: running == 2)
    stage.examiner.gate.set()
    await asyncio.gather(*callers)
    assert (2, 4) == (stage.examiner.most, len(stage.examiner.seen))


async def test_a_full_queue_refuses_new_scans_but_not_old_results(stage: Stage) -> None:
    finished, _ = await stage.scan()
    stage.examiner.gate.clear()
    for number in range(4):
        await stage.service.create(SUBJECT, f"{number:064x}", REFERENCE)
    for attempt in (stage.scan(b"new"), stage.service.create(SUBJECT, "e" * 64, REFERENCE)):
        with pytest.raises(OverloadedError) as caught:
            await attempt
        assert Reason.SCAN_QUEUE_FULL == caught.value.reason
    assert (finished, True) == await stage.service.create(SUBJECT, SHA256, REFERENCE)
    assert (await stage.service.create(SUBJECT, f"{0:064x}", REFERENCE))[1]


async def test_a_restart_runs_scans_by_reference_and_fails_streamed_ones() -> None:
    """No scan is lost when the daemon is killed."""
    stage = Stage()
    stage.examiner.gate.clear()
    created, _ = await stage.service.create(SUBJECT, SHA256, REFERENCE)
    caller = asyncio.create_task(stage.scan(b"streamed"))
    await until(lambda: stage.examiner.running, lambda running: running == 2)
    await stage.service.close(0)
    with pytest.raises(UnavailableError) as caught:
        await caller
    assert Reason.DRAINING == caught.value.reason
    stage.examiner.gate.set()
    stage.service = stage.another()
    await stage.service.start()
    assert ScanState.FINISHED is (await stage.result(created.scan_id)).state
    page = await stage.service.list_scans(ScanFilter(state=ScanState.ERROR))
    assert [INTERRUPTED] == [scan.error for scan in page.scans]
    await stage.service.close(10)


async def test_closing_waits_for_what_runs_and_leaves_what_only_waits() -> None:
    stage = Stage()
    service = stage.service = stage.another(concurrent=1)
    stage.examiner.gate.clear()
    caller = asyncio.create_task(stage.scan())
    await until(lambda: stage.examiner.running, lambda running: running == 1)
    waiting, _ = await service.create(SUBJECT, "e" * 64, REFERENCE)
    closing = asyncio.create_task(service.close(10))
    await asyncio.sleep(0)
    for attempt in (stage.scan(b"late"), service.create(SUBJECT, "d" * 64, REFERENCE)):
        with pytest.raises(UnavailableError):
            await attempt
    stage.examiner.gate.set()
    await closing
    assert ScanState.FINISHED is (await caller)[0].state
    assert ScanState.SUBMITTED is (await service.get(waiting.scan_id)).state
    assert 1 == len(stage.examiner.seen)


class ForgetfulRecords(MemoryScanRecords):
    """A memory that stops to answer when it is to store a result."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True

    async def finish(self, *arguments: object, **named: object) -> Scan:
        if self.away:
            raise UnavailableError("The database is away.", reason=Reason.DATABASE_UNAVAILABLE)
        return await super().finish(*arguments, **named)  # type: ignore[arg-type]

    async def fail(self, *arguments: object, **named: object) -> Scan:
        if self.away:
            raise UnavailableError("The database is away.", reason=Reason.DATABASE_UNAVAILABLE)
        return await super().fail(*arguments, **named)  # type: ignore[arg-type]


async def test_a_result_that_cannot_be_stored_is_no_result_and_the_next_submission_runs_again() -> None:
    records = ForgetfulRecords()
    stage = Stage(records)
    with pytest.raises(UnavailableError) as caught:
        await stage.scan()
    assert Reason.DATABASE_UNAVAILABLE == caught.value.reason
    records.away = False
    scan, replayed = await stage.scan()
    assert (ScanState.FINISHED, False, 2) == (scan.state, replayed, len(stage.examiner.seen))
    await stage.service.close(10)


async def test_a_scan_that_got_its_result_elsewhere_meanwhile_is_returned(stage: Stage) -> None:
    stage.service = stage.another(concurrent=1)
    stage.examiner.gate.clear()
    blocking = asyncio.create_task(stage.scan(b"first"))
    await until(lambda: stage.examiner.running, lambda running: running == 1)
    created, _ = await stage.service.create(SUBJECT, SHA256, REFERENCE)
    failed = await stage.records.fail(created.scan_id, "by hand", stage.clock.now())
    stage.examiner.gate.set()
    await blocking
    await stage.service.close(10)
    assert failed == await stage.service.get(created.scan_id)
    assert 1 == len(stage.examiner.seen)


async def test_pages_go_on_where_the_last_ended(stage: Stage) -> None:
    for number in range(5):
        await stage.scan(bytes([number]))
        stage.clock.advance(timedelta(seconds=1))
    seen: list[str] = []
    token = ""
    while True:
        page = await stage.service.list_scans(ScanFilter(), 2, token)
        seen += [scan.scan_id for scan in page.scans]
        token = page.next_page_token
        if not token:
            break
    assert [scan.scan_id for scan in reversed(stage.observed)] == seen


@pytest.mark.parametrize("token", ["x", "!!!", "W10=", "WyJhIiwgMSwgMl0=", "bnVsbA==", "WzEsMiwzXQ==", "ĳ"])
async def test_a_page_token_that_is_not_ours_is_refused(stage: Stage, token: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await stage.service.list_scans(ScanFilter(), 2, token)
    assert Reason.PAGE_TOKEN_INVALID == caught.value.reason


async def test_a_page_token_without_a_time_zone_is_refused(stage: Stage) -> None:
    token = base64.urlsafe_b64encode(b'["2030-01-01T00:00:00", "a", "b"]').decode()
    with pytest.raises(InvalidRequestError):
        await stage.service.list_scans(ScanFilter(), 2, token)


async def test_a_page_token_of_another_filter_is_refused(stage: Stage) -> None:
    for number in range(2):
        await stage.scan(bytes([number]))
    token = (await stage.service.list_scans(ScanFilter(), 1)).next_page_token
    with pytest.raises(InvalidRequestError) as caught:
        await stage.service.list_scans(ScanFilter(project="other"), 1, token)
    assert Reason.PAGE_TOKEN_INVALID == caught.value.reason


async def test_page_sizes_are_bounded(stage: Stage) -> None:
    await stage.scan()
    assert 1 == len((await stage.service.list_scans(ScanFilter(), 10**9)).scans)
    with pytest.raises(InvalidRequestError):
        await stage.service.list_scans(ScanFilter(), -1)


async def test_unknown_scans_are_not_found(stage: Stage) -> None:
    with pytest.raises(NotFoundError):
        await stage.service.get("unknown")
