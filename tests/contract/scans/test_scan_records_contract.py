"""What every memory of scans promises (``scanning.ports.ScanRecords``)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.scanning.model import (
    ArtifactPath,
    ArtifactReference,
    ArtifactUrl,
    Classification,
    Confidence,
    Finding,
    Scan,
    ScanState,
    Subject,
    SubjectKind,
    Verdict,
)
from wharfinger_daemon.scanning.ports import ScanFilter, ScanPosition, ScanRecords

START = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = START + timedelta(seconds=5)
FINDINGS = (
    Finding("eager-code", "1", "install-network", "It talks.", "pkg/setup.py", 3, "urlopen(…)", 5.0),
    Finding("yara-rules", "2", "named-obfuscator", "It hides.", weight=0.5),
)
VERDICT = Verdict(Classification.INDETERMINATE, Confidence.LOW, 5.5, FINDINGS)


def scan_of(number: int, **changes: object) -> Scan:
    scan = Scan(
        scan_id=f"00000000-0000-0000-0000-{number:012}",
        subject=Subject(SubjectKind.FILE, f"project-{number}", "1.0", f"project_{number}-1.0.tar.gz"),
        sha256=f"{number:064x}",
        rule_set="a" * 64,
        state=ScanState.SUBMITTED,
        submitted_at=START + timedelta(seconds=number),
    )
    return replace(scan, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reference", [None, ArtifactPath("a/b.whl"), ArtifactUrl("https://example.com/b.whl")], ids=["none", "path", "url"]
)
async def test_a_submitted_scan_is_read_back_as_it_was(
    records: ScanRecords, reference: ArtifactReference | None
) -> None:
    scan = scan_of(1, reference=reference)
    assert (scan, False) == await records.submit(scan)
    assert scan == await records.get(scan.scan_id)
    assert scan == await records.find(scan.subject, scan.sha256, scan.rule_set)


async def test_submitting_the_same_identity_again_returns_the_first(records: ScanRecords) -> None:
    first = scan_of(1)
    await records.submit(first)
    assert (first, True) == await records.submit(scan_of(1, scan_id="another", submitted_at=LATER))


async def test_concurrent_submissions_of_one_identity_add_one_scan(records: ScanRecords) -> None:
    answers = await asyncio.gather(*(records.submit(scan_of(1, scan_id=f"id-{number}")) for number in range(8)))
    assert 1 == len({scan.scan_id for scan, _ in answers})
    assert 1 == sum(not existed for _, existed in answers)


@pytest.mark.parametrize(
    "difference",
    [
        {"sha256": "b" * 64},
        {"rule_set": "b" * 64},
        {"subject": Subject(SubjectKind.FILE, "project-1", "2.0", "project_1-1.0.tar.gz")},
    ],
    ids=["digest", "rule set", "subject"],
)
async def test_subject_digest_and_rule_set_name_a_scan(records: ScanRecords, difference: dict[str, object]) -> None:
    await records.submit(scan_of(1))
    other = scan_of(1, scan_id="other", **difference)
    assert await records.find(other.subject, other.sha256, other.rule_set) is None
    assert (other, False) == await records.submit(other)


async def test_a_claimed_scan_says_so_and_takes_the_rule_set_that_examines_it(records: ScanRecords) -> None:
    scan = scan_of(1)
    await records.submit(scan)
    claimed = replace(scan, state=ScanState.CLAIMED, rule_set="b" * 64)
    assert claimed == await records.claim(scan.scan_id, "b" * 64, LATER)
    assert claimed == await records.claim(scan.scan_id, "b" * 64, LATER)
    assert claimed == await records.get(scan.scan_id)


async def test_a_scan_whose_new_identity_is_taken_is_superseded(records: ScanRecords) -> None:
    old, new = scan_of(1), scan_of(1, scan_id="new", rule_set="b" * 64)
    await records.submit(old)
    await records.submit(new)
    assert await records.claim(old.scan_id, "b" * 64, LATER) is None
    failed = await records.get(old.scan_id)
    assert (ScanState.ERROR, LATER) == (failed.state, failed.finished_at)
    assert "new" in failed.error


async def test_of_scans_that_are_to_take_one_identity_one_does(records: ScanRecords) -> None:
    scans = [scan_of(1, scan_id=f"id-{number}", rule_set=str(number) * 64) for number in range(8)]
    for scan in scans:
        await records.submit(scan)
    claimed = await asyncio.gather(*(records.claim(scan.scan_id, "b" * 64, LATER) for scan in scans))
    assert 1 == sum(scan is not None for scan in claimed)
    states = [(await records.get(scan.scan_id)).state for scan in scans]
    assert (1, 7) == (states.count(ScanState.CLAIMED), states.count(ScanState.ERROR))


async def test_a_scan_with_a_result_cannot_be_claimed(records: ScanRecords) -> None:
    for number in (1, 2):
        await records.submit(scan_of(number))
    await records.finish(scan_of(1).scan_id, VERDICT, 0.5, LATER)
    await records.fail(scan_of(2).scan_id, "No sandbox.", LATER)
    assert await records.claim(scan_of(1).scan_id, "a" * 64, LATER) is None
    assert await records.claim(scan_of(2).scan_id, "a" * 64, LATER) is None
    assert await records.claim("unknown", "a" * 64, LATER) is None


async def test_a_verdict_is_read_back_with_its_findings_in_order(records: ScanRecords) -> None:
    scan = scan_of(1)
    await records.submit(scan)
    finished = replace(scan, state=ScanState.FINISHED, verdict=VERDICT, seconds=0.5, finished_at=LATER)
    assert finished == await records.finish(scan.scan_id, VERDICT, 0.5, LATER)
    assert finished == await records.get(scan.scan_id)
    assert finished == await records.find(scan.subject, scan.sha256, scan.rule_set)


async def test_a_verdict_may_have_no_findings(records: ScanRecords) -> None:
    scan = scan_of(1)
    await records.submit(scan)
    verdict = Verdict(Classification.BENIGN, Confidence.HIGH, 0.0, ())
    assert verdict == (await records.finish(scan.scan_id, verdict, 0.5, LATER)).verdict


async def test_the_first_result_stays(records: ScanRecords) -> None:
    await records.submit(scan_of(1))
    first = await records.finish(scan_of(1).scan_id, VERDICT, 0.5, LATER)
    benign = Verdict(Classification.BENIGN, Confidence.HIGH, 0.0, ())
    assert first == await records.finish(scan_of(1).scan_id, benign, 0.1, LATER + timedelta(seconds=1))
    assert first == await records.fail(scan_of(1).scan_id, "too late", LATER)
    assert (first, True) == await records.submit(scan_of(1, scan_id="again"))


async def test_a_failed_scan_has_no_verdict_and_says_why(records: ScanRecords) -> None:
    await records.submit(scan_of(1))
    failed = replace(scan_of(1), state=ScanState.ERROR, error="No sandbox.", finished_at=LATER)
    assert failed == await records.fail(scan_of(1).scan_id, "No sandbox.", LATER)


async def test_a_failed_scan_is_begun_anew_under_its_identifier(records: ScanRecords) -> None:
    await records.submit(scan_of(1))
    await records.fail(scan_of(1).scan_id, "No sandbox.", LATER)
    again = scan_of(1, scan_id="again", submitted_at=LATER, reference=ArtifactPath("a.whl"))
    expected = replace(again, scan_id=scan_of(1).scan_id)
    assert (expected, False) == await records.submit(again)
    assert expected == await records.get(expected.scan_id)


async def test_unknown_scans_are_not_found(records: ScanRecords) -> None:
    for attempt in (
        records.get("unknown"),
        records.finish("unknown", VERDICT, 0.5, LATER),
        records.fail("unknown", "why", LATER),
    ):
        with pytest.raises(NotFoundError) as caught:
            await attempt
        assert Reason.SCAN_NOT_FOUND == caught.value.reason


async def test_the_list_is_newest_first_in_pages_without_findings(records: ScanRecords) -> None:
    for number in range(5):
        await records.submit(scan_of(number, submitted_at=START + timedelta(seconds=number // 2)))
    await records.finish(scan_of(4).scan_id, VERDICT, 0.5, LATER)
    ids: list[str] = []
    position = None
    while page := await records.list(ScanFilter(), 2, position):
        ids += [scan.scan_id for scan in page]
        position = ScanPosition(page[-1].submitted_at, page[-1].scan_id)
    assert [scan_of(number).scan_id for number in (4, 3, 2, 1, 0)] == ids
    newest = (await records.list(ScanFilter(), 1))[0]
    assert replace(VERDICT, findings=()) == newest.verdict


@pytest.mark.parametrize(
    ("scan_filter", "numbers"),
    [
        (ScanFilter(), [3, 2, 1]),
        (ScanFilter(project="project-2"), [2]),
        (ScanFilter(sha256=f"{3:064x}"), [3]),
        (ScanFilter(state=ScanState.ERROR), [2]),
        (ScanFilter(classification=Classification.INDETERMINATE), [1]),
        (ScanFilter(classification=Classification.THREAT), []),
        (ScanFilter(project="project-2", state=ScanState.FINISHED), []),
    ],
)
async def test_filters_narrow_the_list(records: ScanRecords, scan_filter: ScanFilter, numbers: list[int]) -> None:
    for number in (1, 2, 3):
        await records.submit(scan_of(number))
    await records.finish(scan_of(1).scan_id, VERDICT, 0.5, LATER)
    await records.fail(scan_of(2).scan_id, "No sandbox.", LATER)
    found = await records.list(scan_filter, 10)
    assert [scan_of(number).scan_id for number in numbers] == [scan.scan_id for scan in found]


async def test_unfinished_scans_are_the_submitted_and_claimed_ones_oldest_first(records: ScanRecords) -> None:
    for number in (4, 3, 2, 1):
        await records.submit(scan_of(number))
    await records.claim(scan_of(3).scan_id, "a" * 64, LATER)
    await records.finish(scan_of(1).scan_id, VERDICT, 0.5, LATER)
    await records.fail(scan_of(2).scan_id, "No sandbox.", LATER)
    assert [scan_of(3).scan_id, scan_of(4).scan_id] == [scan.scan_id for scan in await records.unfinished()]
