"""Which jobs go into one request, and what every waiting one is told."""

import asyncio
from typing import Any

import pytest

from wharfinger_hsm.crew import Crew, Job, merged
from wharfinger_hsm.errors import TokenUnavailableError
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.messages import ListKeys, Sign, WireItem
from wharfinger_hsm.model import Digest, KeyAlgorithm, Message, SigningItem
from wharfinger_hsm.verifier import SignatureVerifier

KEY = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "key").public_key
LIMITS = SupervisorLimits(items_per_request=4, least=0.01)


@pytest.fixture
async def crew() -> Crew:
    def nothing(reason: object) -> None:
        pass

    async def launch() -> Any:
        raise NotImplementedError

    return Crew(launch, LIMITS, SignatureVerifier(), on_worker_lost=nothing, on_pin_refused=nothing)


def signing(number: int, items: int = 1, seconds: float = 10, payload: Digest | Message | None = None) -> Job:
    payload = payload or Digest(number.to_bytes(32, "big"))
    asked = tuple([SigningItem(KEY, payload)] * items)
    request = Sign(number, [WireItem.of(item) for item in asked])
    deadline = asyncio.get_running_loop().time() + seconds
    return Job(request, deadline, allowance=1, ceiling=10, repeatable=True, items=asked)


def listing(number: int) -> Job:
    deadline = asyncio.get_running_loop().time() + 10
    return Job(ListKeys(number), deadline, allowance=1, ceiling=10, repeatable=True)


async def test_signing_jobs_that_wait_share_a_request_up_to_the_limit(crew: Crew) -> None:
    jobs = [signing(number) for number in range(6)]
    for job in jobs:
        crew.submit(job)

    assert jobs[:4] == crew.take()
    assert jobs[4:] == crew.take()
    assert [] == crew.take()


async def test_a_job_is_never_divided(crew: Crew) -> None:
    jobs = [signing(1, items=3), signing(2, items=2), signing(3, items=9)]
    for job in jobs:
        crew.submit(job)

    assert [jobs[:1], jobs[1:2], jobs[2:]] == [crew.take(), crew.take(), crew.take()]


async def test_what_does_not_fit_into_a_frame_waits(crew: Crew) -> None:
    half = Message(bytes(33 * 1024 * 1024))
    jobs = [signing(number, payload=half) for number in range(2)]
    for job in jobs:
        crew.submit(job)

    assert [jobs[:1], jobs[1:]] == [crew.take(), crew.take()]


async def test_other_requests_are_not_merged(crew: Crew) -> None:
    jobs = [signing(1), listing(2), listing(3), signing(4), signing(5)]
    for job in jobs:
        crew.submit(job)

    assert [jobs[:1], jobs[1:2], jobs[2:3], jobs[3:]] == [crew.take() for _ in range(4)]


async def test_a_job_that_was_refused_among_others_goes_alone(crew: Crew) -> None:
    jobs = [signing(number) for number in range(3)]
    for job in jobs:
        job.alone = True
    crew.put_back(jobs)

    assert [jobs[:1], jobs[1:2], jobs[2:]] == [crew.take() for _ in range(3)]


async def test_idle_workers_share_what_waits(crew: Crew) -> None:
    crew.idle = 2
    jobs = [signing(number) for number in range(3)]
    for job in jobs:
        crew.submit(job)

    assert jobs[:2] == crew.take()
    crew.idle = 1
    assert jobs[2:] == crew.take()


async def test_what_nobody_waits_for_any_more_is_not_done(crew: Crew) -> None:
    gone, late, there = signing(1), signing(2, seconds=0.005), signing(3)
    gone.answer.cancel()
    for job in (gone, late, there):
        crew.submit(job)

    assert [there] == crew.take()
    with pytest.raises(TokenUnavailableError, match="The time was up"):
        await late.answer


async def test_an_arrival_wakes_one_that_waits(crew: Crew) -> None:
    gone, first, second = crew.arrival(), crew.arrival(), crew.arrival()
    gone.cancel()

    crew.submit(signing(1))

    assert (True, False) == (first.done(), second.done())


async def test_an_arrival_that_nobody_waits_for_wakes_nobody(crew: Crew) -> None:
    crew.arrival().cancel()

    crew.submit(signing(1))

    assert not crew._waiting


async def test_a_merged_request_has_all_items_in_order() -> None:
    one, two = signing(1, items=2), signing(2)

    assert one.request is merged([one])
    assert Sign(1, [WireItem.of(item) for item in (*one.items, *two.items)]) == merged([one, two])


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    job = signing(1)
    job.answer.cancel()

    job.resolve(Sign(1, []))  # type: ignore[arg-type]
    job.fail(TokenUnavailableError("too late"))

    assert job.answer.cancelled()
