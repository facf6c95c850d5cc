"""A suspended repository gets no signature, from anybody; the switch is logged, kept, and holds at once."""

from __future__ import annotations

import asyncio

import pytest

from wharfinger_daemon.errors import InvalidRequestError, NotFoundError, Reason, RefusedError, UnavailableError
from wharfinger_daemon.signing.model import Caller, SigningGrant
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.suspension import Suspension, Suspensions


class RecordsInMemory:
    """Implements ``SuspensionRecords``; waits or fails where the test says so."""

    def __init__(self):
        self.kept = {}
        self.log = []
        self.before_writing = lambda: None
        self.gate = None

    async def add(self, identity, suspension):
        await self._write()
        self.kept[identity] = suspension
        self.log.append(("suspended", suspension.caller))

    async def remove(self, identity, repository, *, caller, at):
        await self._write()
        if self.kept.pop(identity, None) is not None:
            self.log.append(("resumed", caller))

    async def all(self, names):
        return [
            Suspension(names[identity], one.reason, one.caller, one.since)
            for identity, one in self.kept.items()
            if identity in names
        ]

    async def _write(self):
        self.before_writing()
        if self.gate is not None:
            await self.gate.wait()


@pytest.fixture
def records():
    return RecordsInMemory()


@pytest.fixture
def suspensions(bench, records):
    return Suspensions(records, bench.standing, bench.maker.clock)


async def refusal(bench, prepared=False):
    with pytest.raises(RefusedError) as caught:
        if prepared:
            await bench.sign_prepared(bench.prepared(bench.maker.bin(), "bins-0"))
        else:
            await bench.sign(bench.item(bench.maker.snapshot()))
    assert Reason.SIGNING_SUSPENDED == caught.value.reason
    return caught.value.message


@pytest.mark.parametrize("prepared", [False, True], ids=["caller", "publisher"])
async def test_nothing_is_signed_until_it_is_resumed(bench, suspensions, prepared):
    await suspensions.suspend("pypi", "Warehouse is compromised", caller="security")
    message = await refusal(bench, prepared)
    assert "is suspended: Warehouse is compromised. Whoever" in message
    assert (0, []) == (bench.reservations(), bench.keys.batches)
    await suspensions.resume("pypi", caller="security")
    await bench.sign(bench.item(bench.maker.snapshot()))


async def test_lint_says_so_too(bench, suspensions):
    await suspensions.suspend("pypi", "Why!", caller="security")
    [result] = await bench.lint(bench.item(bench.maker.snapshot()))
    assert (Reason.SIGNING_SUSPENDED, await refusal(bench)) == (result.reason, result.message)


async def test_what_was_suspended_holds_in_the_next_process(bench, records, suspensions):
    await suspensions.suspend("pypi", "A drill.", caller="security")
    restarted = Standing([bench.repository])
    await Suspensions(records, restarted, bench.maker.clock).load()
    assert {"pypi": "A drill."} == restarted.now.suspended


async def test_suspensions_of_repositories_that_are_no_longer_configured_do_not_hinder(bench, records, suspensions):
    records.kept["0" * 64] = Suspension("", "Old.", "security", bench.maker.clock.now())
    await suspensions.load()
    assert ({}, []) == (bench.standing.now.suspended, await suspensions.all())


async def test_suspensions_are_listed_with_who_why_and_when(bench, suspensions):
    suspension = await suspensions.suspend("pypi", "  A drill ", caller="security")
    assert Suspension("pypi", "A drill", "security", bench.maker.clock.now()) == suspension
    assert [suspension] == await suspensions.all()


async def test_the_newest_reason_stands(bench, suspensions):
    await suspensions.suspend("pypi", "First.", caller="security")
    await suspensions.suspend("pypi", "Second.", caller="other")
    assert "Second." in await refusal(bench)
    assert [("Second.", "other")] == [(one.reason, one.caller) for one in await suspensions.all()]


async def test_resuming_what_is_not_suspended_changes_nothing(bench, records, suspensions):
    await suspensions.resume("pypi", caller="security")
    assert [] == records.log


async def test_an_unknown_repository_is_not_found(suspensions):
    for act in (suspensions.suspend("other", "Why.", caller="x"), suspensions.resume("other", caller="x")):
        with pytest.raises(NotFoundError) as caught:
            await act
        assert Reason.UNKNOWN_REPOSITORY == caught.value.reason


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "\x1b[31m", "x" * 501])
async def test_a_reason_is_one_line_that_can_be_shown(bench, suspensions, reason):
    with pytest.raises(InvalidRequestError) as caught:
        await suspensions.suspend("pypi", reason, caller="security")
    assert Reason.MALFORMED_REQUEST == caught.value.reason
    assert {} == bench.standing.now.suspended


def _fail():
    raise UnavailableError("The disk is full.", reason=Reason.DATABASE_UNAVAILABLE)


@pytest.mark.parametrize("before", [{}, {"pypi": "First."}], ids=["not suspended", "suspended"])
async def test_what_cannot_be_written_leaves_all_as_it_was(bench, records, suspensions, before):
    for reason in before.values():
        await suspensions.suspend("pypi", reason, caller="security")
    records.before_writing = _fail
    with pytest.raises(UnavailableError):
        await suspensions.suspend("pypi", "Second.", caller="security")
    with pytest.raises(UnavailableError):
        await suspensions.resume("pypi", caller="security")
    assert before == bench.standing.now.suspended


async def test_it_holds_before_it_is_written(bench, records, suspensions):
    """So nothing enters the ledger behind the leaf that says that signing is suspended."""
    records.gate = asyncio.Event()
    suspending = asyncio.create_task(suspensions.suspend("pypi", "Now.", caller="security"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await refusal(bench)
    records.gate.set()
    await suspending


async def test_it_is_resumed_only_after_that_is_written(bench, records, suspensions):
    await suspensions.suspend("pypi", "Now.", caller="security")
    records.gate = asyncio.Event()
    resuming = asyncio.create_task(suspensions.resume("pypi", caller="security"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await refusal(bench)
    records.gate.set()
    await resuming
    await bench.sign(bench.item(bench.maker.snapshot()))


async def test_a_caller_that_goes_away_does_not_part_record_and_standing(bench, records, suspensions):
    records.gate = asyncio.Event()
    suspending = asyncio.create_task(suspensions.suspend("pypi", "Now.", caller="security"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    suspending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await suspending
    records.gate.set()
    await suspensions.resume("pypi", caller="security")
    assert ([("suspended", "security"), ("resumed", "security")], {}) == (records.log, bench.standing.now.suspended)


async def test_a_suspension_that_comes_after_the_ledger_still_keeps_the_token_from_being_asked(bench, suspensions):
    class Suspending:
        """The ledger, in front of which somebody suspends."""

        async def reserve(self, *arguments, **named):
            recorded = await bench.ledger.reserve(*arguments, **named)
            await suspensions.suspend("pypi", "Now.", caller="security")
            return recorded

    bench.service._ledger = Suspending()
    await refusal(bench)
    assert [] == bench.keys.batches


async def test_a_suspension_during_the_examination_keeps_the_ledger_as_it_was(bench, suspensions):
    large = bench.maker.bin("bins-0")
    large.unrecognized_fields["note"] = "x" * 100_000  # So that it is examined on a thread.
    signing = asyncio.create_task(bench.sign(bench.item(large, "bins-0")))
    await asyncio.sleep(0)
    await suspensions.suspend("pypi", "Now.", caller="security")
    with pytest.raises(RefusedError) as caught:
        await signing
    assert Reason.SIGNING_SUSPENDED == caught.value.reason
    assert 0 == bench.reservations()


async def test_another_repository_is_still_signed_for(maker, bench, suspensions):
    other = type(maker)(online=maker.online)
    other.put_offline()
    bench.standing.trust(await other.load("mirror"))
    await suspensions.suspend("mirror", "Now.", caller="security")
    await suspensions.resume("mirror", caller="security")
    await suspensions.suspend("pypi", "Now.", caller="security")
    everything = Caller("warehouse", (SigningGrant(("*",), ("*",)),))
    [signature] = await bench.sign(bench.item(other.snapshot(), repository="mirror"), caller=everything)
    assert "snapshot" == signature.role
    await refusal(bench)


async def test_a_second_name_of_a_suspended_repository_is_no_way_around(maker, bench, suspensions):
    """The ledger knows repositories by their roots, and so does the switch."""
    bench.standing.trust(await maker.load("alias"))
    await suspensions.suspend("alias", "Now.", caller="security")
    await refusal(bench)
    await suspensions.resume("pypi", caller="security")
    assert {} == bench.standing.now.suspended
