"""What every memory of reviews does: who decided what stays, and the queue has what waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.journaled import stored
from tests.support.judged import AT, Reviewing, finding, judged
from wharfinger_daemon.audit.leaf import Act, read_leaf
from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.errors import InvalidRequestError, NotFoundError
from wharfinger_daemon.scanning.model import Classification, Confidence
from wharfinger_daemon.scanning.moderation import (
    Decision,
    Moderation,
    QueueFilter,
    QueuePosition,
    QueueState,
)


async def names(world: Reviewing, **wanted: object) -> list[str]:
    return [found.project for found in await world.reviews.queue(QueueFilter(**wanted), 100)]  # type: ignore[arg-type]


async def test_the_queue_has_what_is_not_benign_and_nobody_decided_worst_first(world: Reviewing) -> None:
    for project, score in (("calm", 0.0), ("odd", 5.0), ("bad", 12.0), ("worse", 30.0)):
        await judged(world.scans, project, score)
    assert ["worse", "bad", "odd"] == await names(world)


async def test_a_project_is_one_entry_with_its_worst_first(world: Reviewing) -> None:
    for number in range(7):
        await judged(world.scans, "many", 10.0 + number, version=f"{number}.0", at=AT + timedelta(hours=number))
    (entry,) = await world.reviews.queue(QueueFilter(), 10)
    assert (7, 16.0, AT + timedelta(hours=6)) == (entry.number, entry.score, entry.newest_at)
    assert [16.0, 15.0, 14.0, 13.0, 12.0] == [verdict.score for verdict in entry.verdicts]


async def test_pages_follow_one_another_without_gap_or_repetition(world: Reviewing) -> None:
    for number in range(9):
        await judged(world.scans, f"p{number}", 10.0 + number % 3)
    seen: list[str] = []
    after = None
    while page := await world.reviews.queue(QueueFilter(), 2, after):
        seen += [entry.project for entry in page]
        after = QueuePosition(page[-1].score, page[-1].project)
    assert ["p2", "p5", "p8", "p1", "p4", "p7", "p0", "p3", "p6"] == seen


async def test_filters_let_through_what_they_name(world: Reviewing) -> None:
    await judged(world.scans, "alpha", 12.0, confidence=Confidence.HIGH)
    await judged(world.scans, "alphabet", 5.0, findings=[finding("yara-rules", 5.0)], at=AT + timedelta(days=2))
    await judged(world.scans, "beta", 0.0, findings=[])
    assert ["alpha"] == await names(world, confidence=Confidence.HIGH)
    assert ["alphabet"] == await names(world, classification=Classification.INDETERMINATE)
    assert ["alphabet"] == await names(world, check="yara-rules")
    assert ["alpha", "alphabet"] == await names(world, search="alpha")
    assert ["alphabet"] == await names(world, search="alphab")
    assert [] == await names(world, search="%")
    assert ["alphabet"] == await names(world, finished_after=AT + timedelta(days=1))
    assert ["alpha"] == await names(world, finished_before=AT + timedelta(days=1))
    assert ["alpha", "alphabet"] == await names(world, state=QueueState.ANY)
    assert ["beta"] == await names(world, state=QueueState.ANY, search="be")
    assert ["beta"] == await names(world, state=QueueState.ANY, classification=Classification.BENIGN)


async def test_a_digest_finds_its_verdict(world: Reviewing) -> None:
    scan = await world.scans.get(await judged(world.scans, "alpha"))
    await judged(world.scans, "beta")
    assert ["alpha"] == await names(world, search=scan.sha256)


async def test_what_was_decided_leaves_the_queue_and_undoing_brings_it_back(world: Reviewing) -> None:
    scan_id = await judged(world.scans, "alpha")
    await world.reviews.add([scan_id], Decision.BENIGN, "A test.", "issuer#7", AT)
    assert ([], ["alpha"]) == (await names(world), await names(world, state=QueueState.BENIGN))
    await world.reviews.undo(scan_id, "issuer#8", AT)
    assert (["alpha"], []) == (await names(world), await names(world, state=QueueState.BENIGN))


async def test_a_benign_verdict_that_a_person_calls_a_threat_is_listed_as_one(world: Reviewing) -> None:
    await world.reviews.add([await judged(world.scans, "calm", 0.0)], Decision.THREAT, "", "issuer#7", AT)
    assert ["calm"] == await names(world, state=QueueState.THREAT)


async def test_no_review_is_lost_and_the_newest_that_was_not_undone_stands(world: Reviewing) -> None:
    scan_id = await judged(world.scans, "alpha")
    for decision, minutes in ((Decision.NOT_SURE, 1), (Decision.THREAT, 2)):
        await world.reviews.add([scan_id], decision, "Why.", "issuer#7", AT + timedelta(minutes=minutes))
    assert ["alpha"] == await names(world, state=QueueState.THREAT)
    undone = await world.reviews.undo(scan_id, "issuer#8", AT + timedelta(hours=1))
    assert undone is not None
    assert ("issuer#8", AT + timedelta(hours=1)) == (undone.undone_by, undone.undone_at)
    assert ["alpha"] == await names(world, state=QueueState.NOT_SURE)
    kept = await world.reviews.reviews(scan_id)
    assert [(Decision.THREAT, "issuer#8"), (Decision.NOT_SURE, "")] == [
        (review.decision, review.undone_by) for review in kept
    ]


async def test_where_nothing_stands_there_is_nothing_to_undo(world: Reviewing) -> None:
    assert await world.reviews.undo(await judged(world.scans, "alpha"), "issuer#7", AT) is None


async def test_a_decision_on_many_is_whole_or_absent(world: Reviewing) -> None:
    scan_id = await judged(world.scans, "alpha")
    with pytest.raises(NotFoundError):
        await world.reviews.add([scan_id, "ffffffff-0000"], Decision.THREAT, "", "issuer#7", AT)
    assert (["alpha"], []) == (await names(world), list(await world.reviews.reviews(scan_id)))


async def test_every_act_is_in_the_audit_log(logged: Reviewing) -> None:
    scan_id = await judged(logged.scans, "alpha")
    await logged.reviews.add([scan_id], Decision.THREAT, "It steals\ntokens.", "issuer#7", AT)
    await logged.reviews.undo(scan_id, "issuer#8", AT)
    leaves = [read_leaf(data) for _, _, data in logged.database.read_blocking(stored)]
    assert [(Act.VERDICT_REVIEWED, "issuer#7"), (Act.VERDICT_REVIEW_UNDONE, "issuer#8")] == [
        (leaf.act, leaf.caller) for leaf in leaves
    ]
    assert ("alpha", scan_id, "threat") == tuple(leaves[0].details[key] for key in ("project", "scan", "decision"))


async def test_without_an_audit_log_acts_are_told_once_they_are_true(world: Reviewing) -> None:
    scan_id = await judged(world.scans, "alpha")
    with pytest.raises(NotFoundError):
        await world.reviews.add([scan_id, "ffffffff-0000"], Decision.THREAT, "", "issuer#7", AT)
    assert [] == world.told
    await world.reviews.add([scan_id], Decision.THREAT, "", "issuer#7", AT)
    assert [Act.VERDICT_REVIEWED] == [leaf.act for leaf in world.told]


async def test_checks_are_judged_by_projects_and_not_by_files(world: Reviewing) -> None:
    """Who uploads a thousand harmless files under one name has one voice."""
    flood = [await judged(world.scans, "flood", version=f"{number}.0") for number in range(5)]
    other = await judged(world.scans, "other", at=AT + timedelta(days=1, hours=1))
    await world.reviews.add(flood, Decision.BENIGN, "", "issuer#7", AT)
    await world.reviews.add([other], Decision.THREAT, "", "issuer#7", AT)
    (record,) = await world.reviews.check_records(AT, 3)
    assert ("eager-code", 6, (5, 1, 0), 1, 1) == (
        record.check,
        record.alarms,
        record.by_day,
        record.right,
        record.wrong,
    )


async def test_the_next_that_waits_is_the_worst_of_the_others(world: Reviewing) -> None:
    worst, bad = await judged(world.scans, "worst", 30.0), await judged(world.scans, "bad", 12.0)
    await judged(world.scans, "calm", 0.0)
    found = [await world.reviews.next_waiting(besides) for besides in ("", worst)]
    assert [worst, bad] == [one.scan_id for one in found if one is not None]
    await world.reviews.add([bad], Decision.BENIGN, "", "issuer#7", AT)
    assert await world.reviews.next_waiting(worst) is None


async def test_the_history_of_a_project_has_all_its_verdicts_newest_first(world: Reviewing) -> None:
    for number in range(3):
        await judged(world.scans, "alpha", 6.0 * number, version=f"{number}.0", at=AT + timedelta(days=number))
    assert ["2.0", "1.0", "0.0"] == [one.subject.version for one in await world.reviews.history("alpha", 10)]


@pytest.mark.parametrize("number", [0, 201])
async def test_neither_nothing_nor_too_much_is_decided_at_once(world: Reviewing, number: int) -> None:
    moderation = Moderation(world.reviews, FixedClock(AT))
    with pytest.raises(InvalidRequestError):
        await moderation.decide([str(one) for one in range(number)], Decision.BENIGN, "", reviewer="issuer#7")


@pytest.mark.parametrize("reason", ["x" * 2001, "a\0b"], ids=["long", "nul"])
async def test_a_reason_that_cannot_be_kept_is_refused(world: Reviewing, reason: str) -> None:
    scan_id = await judged(world.scans, "alpha")
    with pytest.raises(InvalidRequestError):
        await Moderation(world.reviews, FixedClock(AT)).decide([scan_id], Decision.BENIGN, reason, reviewer="i#7")


async def test_a_verdict_that_is_not_there_cannot_be_undone(world: Reviewing) -> None:
    with pytest.raises(NotFoundError):
        await Moderation(world.reviews, FixedClock(AT)).undo("ffffffff", reviewer="issuer#7")
