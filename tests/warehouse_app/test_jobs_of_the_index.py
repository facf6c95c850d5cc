"""Changes become jobs with their transaction; jobs are done from the present state, by one worker at a time."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest
from sqlalchemy import select

from tests.warehouse_app.application import EVIL, File, Observation, Project
from tests.warehouse_app.conftest import Bench
from wharfinger_client import Classification, Client, ServerError, Target, UnavailableError
from wharfinger_client.testing import BENIGN, Judgement
from wharfinger_client.warehouse import Job, JobKind, Outcome, enqueue, listen
from wharfinger_client.warehouse.delivery import stored_name, target_of

PUBLISH = Job(JobKind.PUBLISH, "example")
SCAN = Job(JobKind.SCAN, "example-a.whl")
PAGES = {"simple/example/index.html", "simple/example/index.json"}


def upload(bench: Bench, session: Any, filename: str = "a.whl", content: bytes = b"harmless") -> None:
    file_id = f"example-{filename}"
    (bench.application.folder / file_id).write_bytes(content)
    project = session.get(Project, "example") or Project(name="example")
    session.add(project)
    digest = hashlib.sha256(content).hexdigest()
    session.add(File(id=file_id, project=project, filename=filename, sha256=digest))


def uploaded(bench: Bench, content: bytes = b"harmless", filename: str = "a.whl") -> None:
    with bench.application.sessions.begin() as session:
        upload(bench, session, filename, content)


def rendered(bench: Bench) -> set[Target]:
    with bench.application.sessions() as session:
        pages = bench.models.render(session, "example")
    assert pages is not None
    return {(target.path, target.hashes["sha256"]) for target in (target_of(*page) for page in pages.pages.items())}  # type: ignore[misc]


def published(bench: Bench) -> set[Any]:
    return {(target.path, target.hashes["sha256"]) for target in bench.daemon.targets["pypi"].values()}


# ---- collecting ------------------------------------------------------------------------------------------------------
def test_workers_are_told_after_the_commit_and_not_before(bench: Bench) -> None:
    with bench.application.sessions.begin() as session:
        upload(bench, session)
        session.flush()
        assert ([], set()) == (bench.told, bench.due())
    assert [PUBLISH, SCAN] == bench.told
    assert {PUBLISH, SCAN} == bench.due()


def test_a_rollback_leaves_nothing_behind(bench: Bench) -> None:
    with bench.application.sessions() as session:
        upload(bench, session)
        session.flush()
        session.rollback()
        session.commit()
    assert ([], set()) == (bench.told, bench.due())


def test_a_savepoint_alone_tells_nobody(bench: Bench) -> None:
    with bench.application.sessions() as session:
        with session.begin_nested():
            upload(bench, session)
        assert [] == bench.told
        session.rollback()
    assert ([], set()) == (bench.told, bench.due())


def test_a_savepoint_that_is_rolled_back_leaves_the_rest(bench: Bench) -> None:
    with bench.application.sessions.begin() as session:
        upload(bench, session)
        savepoint = session.begin_nested()
        upload(bench, session, "b.whl")
        session.flush()
        savepoint.rollback()
    assert {PUBLISH, SCAN} == bench.due()
    assert Outcome.NOTHING is bench.delivery.deliver(Job(JobKind.SCAN, "example-b.whl"))


def test_a_broker_that_is_away_fails_no_upload(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are told by a function that raises, as Celery does without its broker."""

    class Full(list[Job]):
        def append(self, job: Job) -> None:
            raise ConnectionError("no broker")

    stop = listen(bench.application.sessions, bench.models, Full().append)
    uploaded(bench)
    stop()
    assert {PUBLISH, SCAN} == bench.due()


def test_changes_that_no_flush_shows_are_enqueued_by_hand(bench: Bench) -> None:
    with bench.application.sessions.begin() as session:
        enqueue(session, PUBLISH)
    assert ([PUBLISH], {PUBLISH}) == (bench.told, bench.due())


# ---- publishing ------------------------------------------------------------------------------------------------------
def test_pages_are_stored_for_good_and_then_published(bench: Bench) -> None:
    uploaded(bench)
    assert Outcome.DONE is bench.delivery.deliver(PUBLISH)
    assert rendered(bench) == published(bench)
    for target in bench.daemon.targets["pypi"].values():
        stored = (bench.application.folder / "stored" / stored_name(target)).read_bytes()
        assert target == target_of(target.path, stored)
    assert {SCAN} == bench.due()


@pytest.mark.parametrize("change", ["yanked", "quarantined"])
def test_yank_and_quarantine_sign_anew(bench: Bench, change: str) -> None:
    uploaded(bench)
    bench.delivery.deliver(PUBLISH)
    before = published(bench)
    with bench.application.sessions.begin() as session:
        changed = session.get_one(File, "example-a.whl") if change == "yanked" else session.get_one(Project, "example")
        setattr(changed, change, True)
    assert Outcome.DONE is bench.delivery.deliver(PUBLISH)
    assert before != published(bench) == rendered(bench)


def test_a_deleted_project_loses_its_pages(bench: Bench) -> None:
    uploaded(bench)
    bench.delivery.deliver(PUBLISH)
    assert bench.pages() == PAGES
    with bench.application.sessions.begin() as session:
        session.delete(session.get_one(Project, "example"))
    assert Outcome.DONE is bench.delivery.deliver(PUBLISH)
    assert set() == bench.pages()


def test_a_job_stays_while_the_daemon_is_away(bench: Bench) -> None:
    uploaded(bench)
    bench.daemon.stop()
    for job in (PUBLISH, SCAN):
        with pytest.raises(UnavailableError):
            bench.delivery.deliver(job)
    assert {PUBLISH, SCAN} == bench.due()
    bench.daemon.start()
    assert [Outcome.DONE, Outcome.DONE] == [bench.delivery.deliver(job) for job in (PUBLISH, SCAN)]
    assert set() == bench.due()


def test_the_kill_switch_pauses_and_loses_nothing(bench: Bench) -> None:
    uploaded(bench)
    bench.disabled.add(JobKind.PUBLISH)
    assert Outcome.PAUSED is bench.delivery.deliver(PUBLISH)
    assert set() == bench.pages()
    bench.disabled.clear()
    assert Outcome.DONE is bench.delivery.deliver(PUBLISH)


def test_doing_a_job_twice_changes_nothing(bench: Bench) -> None:
    uploaded(bench)
    assert [Outcome.DONE, Outcome.NOTHING] == [bench.delivery.deliver(PUBLISH) for _ in range(2)]


def test_what_comes_while_a_job_is_done_is_done_again(bench: Bench) -> None:
    """Also of a transaction whose row has a lower id than the one that was seen: rows are named one by one."""
    uploaded(bench)
    claim = bench.outbox.claim(PUBLISH, 60)
    assert claim is not None
    uploaded(bench, filename="b.whl")
    assert bench.outbox.finish(claim)
    assert PUBLISH in bench.due()


def test_a_late_commit_with_a_lower_row_is_not_taken_for_done(bench: Bench) -> None:
    with bench.application.sessions() as late:
        upload(bench, late)
        late.flush()
        with bench.application.sessions.begin() as session:
            enqueue(session, PUBLISH)
        claim = bench.outbox.claim(PUBLISH, 60)
        assert claim is not None
        late.commit()
    assert bench.outbox.finish(claim)


def test_two_workers_do_not_publish_one_project_at_once(bench: Bench) -> None:
    uploaded(bench)
    first = bench.outbox.claim(PUBLISH, 60)
    assert first is not None
    assert Outcome.NOTHING is bench.delivery.deliver(PUBLISH)
    bench.outbox.give_up(first)
    assert Outcome.DONE is bench.delivery.deliver(PUBLISH)


def test_a_worker_that_lost_its_lease_has_its_work_done_anew(bench: Bench) -> None:
    """It may have published an older page after the newer one."""
    uploaded(bench)
    slow = bench.outbox.claim(PUBLISH, 0)
    assert slow is not None
    assert Outcome.DONE is bench.delivery.deliver(PUBLISH)
    assert bench.outbox.finish(slow)
    assert PUBLISH in bench.due()


def test_no_transaction_is_open_during_a_call(bench: Bench) -> None:
    uploaded(bench)
    open_transactions = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
    )
    seen: list[int] = []

    def judge(content: bytes) -> Any:
        with bench.application.engine.connect() as connection:
            seen.append(connection.exec_driver_sql(open_transactions).scalar_one())
        return BENIGN

    bench.daemon.judge = judge
    bench.delivery.deliver(SCAN)
    assert [1] == seen  # The one that asks.


def test_many_workers_at_once_end_with_the_newest_pages(bench: Bench) -> None:
    def work() -> None:
        for number in range(8):
            uploaded_here = f"{threading.get_ident()}-{number}.whl"
            with bench.application.sessions.begin() as session:
                session.add(File(id=uploaded_here, project_name="example", filename=uploaded_here, sha256="0" * 64))
            bench.delivery.deliver(PUBLISH)

    uploaded(bench)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while PUBLISH in bench.due():
        bench.delivery.deliver(PUBLISH)
    assert rendered(bench) == published(bench)


# ---- scanning --------------------------------------------------------------------------------------------------------
def test_a_match_is_observed_once_under_a_kind_of_its_own(bench: Bench) -> None:
    uploaded(bench, EVIL)
    bench.delivery.deliver(SCAN)
    with bench.application.sessions.begin() as session:
        enqueue(session, SCAN)
    bench.delivery.deliver(SCAN)
    with bench.application.sessions() as session:
        observed = [(each.kind, each.file_id) for each in session.scalars(select(Observation))]
    assert [("is_scanner_match", "example-a.whl")] == observed


def test_a_scan_that_could_not_be_done_is_asked_for_again(bench: Bench) -> None:
    uploaded(bench)
    bench.daemon.judge = lambda content: Judgement(Classification.BENIGN, error="The worker ended.")
    with pytest.raises(ServerError):
        bench.delivery.deliver(SCAN)
    assert SCAN in bench.due()
    bench.daemon.judge = lambda content: BENIGN
    assert Outcome.DONE is bench.delivery.deliver(SCAN)


def test_a_file_that_is_gone_is_not_scanned(bench: Bench) -> None:
    with bench.application.sessions.begin() as session:
        enqueue(session, SCAN)
    assert Outcome.DONE is bench.delivery.deliver(SCAN)
    assert [] == bench.daemon.calls


# ---- comparing -------------------------------------------------------------------------------------------------------
def test_pages_that_differ_from_the_published_ones_are_found(bench: Bench) -> None:
    uploaded(bench)
    bench.delivery.deliver(PUBLISH)
    bench.delivery.deliver(SCAN)
    assert ("example", set()) == (bench.delivery.compare("", 10), bench.due())
    client: Client = bench.daemon.client()
    client.publish_targets("pypi", remove=["simple/example/index.json"])
    bench.delivery.compare("", 10)
    assert {PUBLISH} == bench.due()
    assert "" == bench.delivery.compare("example", 10)
