"""Reads the queue of verdicts, grouped by project, out of partial indexes that hold only what is no routine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, and_, cast, exists, func, or_, select, text

from wharfinger_daemon.scanning.model import Classification, Confidence, Subject, SubjectKind
from wharfinger_daemon.scanning.moderation import (
    CheckRecord,
    Decision,
    QueuedProject,
    QueuedVerdict,
    QueueFilter,
    QueuePosition,
    QueueState,
)
from wharfinger_daemon.storage.scan_schema import NOT_BENIGN, findings, scans

_SHOWN_OF_A_PROJECT = 5
_HIGHEST_CHARACTER = "\U0010ffff"
_COLUMNS = (
    scans.c.scan_id,
    scans.c.subject_kind,
    scans.c.project,
    scans.c.version,
    scans.c.filename,
    scans.c.classification,
    scans.c.confidence,
    scans.c.score,
    scans.c.finished_at,
    scans.c.decision,
)


def projects(
    connection: Connection, queue_filter: QueueFilter, limit: int, after: QueuePosition | None
) -> list[QueuedProject]:
    """See ``ReviewRecords.queue``."""
    conditions = _conditions(connection, queue_filter)
    worst = func.max(scans.c.score)
    query = (
        select(scans.c.project, func.count(), worst, func.max(scans.c.finished_at))
        .where(*conditions)
        .group_by(scans.c.project)
        .order_by(worst.desc(), scans.c.project)
        .limit(limit)
    )
    if after is not None:
        query = query.having(or_(worst < after.score, and_(worst == after.score, scans.c.project > after.project)))
    groups = connection.execute(query).all()
    verdicts = _first_verdicts(connection, conditions, [group[0] for group in groups])
    return [
        QueuedProject(project, number, score, newest_at, tuple(verdicts[project]))
        for project, number, score, newest_at in groups
    ]


def history(connection: Connection, project: str, limit: int) -> list[QueuedVerdict]:
    """See ``ReviewRecords.history``."""
    # By the classification and not the state: there is an index of states by time, whose every row would be looked at.
    judged = (scans.c.project == project, scans.c.classification.is_not(None))
    query = select(*_COLUMNS).where(*judged).order_by(scans.c.submitted_at.desc(), scans.c.scan_id.desc()).limit(limit)
    return [_verdict(row) for row in connection.execute(query)]


def next_waiting(connection: Connection, besides: str) -> QueuedVerdict | None:
    """See ``ReviewRecords.next_waiting``."""
    query = (
        select(*_COLUMNS)
        .where(text(NOT_BENIGN), scans.c.decision.is_(None), scans.c.scan_id != besides)
        .order_by(scans.c.score.desc(), scans.c.scan_id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _verdict(row)


def check_records(connection: Connection, since: datetime, until: datetime, days: int) -> list[CheckRecord]:
    """See ``ReviewRecords.check_records``."""
    alarms = (
        text(NOT_BENIGN),
        scans.c.finished_at >= since,
        scans.c.finished_at < until,
        findings.c.weight > 0,
        findings.c.scan_id == scans.c.scan_id,
    )
    check, day = findings.c.check_name, cast(func.date(scans.c.finished_at), String)
    daily = select(check, day, func.count(scans.c.scan_id.distinct())).where(*alarms).group_by(check, day)
    by_day: dict[str, list[int]] = defaultdict(lambda: [0] * days)
    for name, date, number in connection.execute(daily):
        by_day[name][(datetime.fromisoformat(date).replace(tzinfo=UTC) - since).days] = number
    judged = (
        select(check, scans.c.decision, func.count(scans.c.project.distinct()))
        .where(*alarms, scans.c.decision.is_not(None))
        .group_by(check, scans.c.decision)
    )
    projects = {(name, decision): number for name, decision, number in connection.execute(judged)}
    return [
        CheckRecord(
            name,
            sum(counts),
            tuple(counts),
            projects.get((name, Decision.THREAT.value), 0),
            projects.get((name, Decision.BENIGN.value), 0),
        )
        for name, counts in sorted(by_day.items())
    ]


def _first_verdicts(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], names: Sequence[str]
) -> dict[str, list[QueuedVerdict]]:
    place = func.row_number().over(
        partition_by=scans.c.project, order_by=(scans.c.score.desc(), scans.c.finished_at.desc(), scans.c.scan_id)
    )
    # Ranked out of the index alone: a project may have very many.
    ranked = select(scans.c.scan_id, place.label("place")).where(*conditions, scans.c.project.in_(names)).subquery()
    query = (
        select(*_COLUMNS)
        .join(ranked, ranked.c.scan_id == scans.c.scan_id)
        .where(ranked.c.place <= _SHOWN_OF_A_PROJECT)
        .order_by(scans.c.project, ranked.c.place)
    )
    found: dict[str, list[QueuedVerdict]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.project].append(_verdict(row))
    return found


def _conditions(connection: Connection, wanted: QueueFilter) -> list[ColumnElement[bool]]:
    conditions = [*_of_state(wanted), *_of_search(connection, wanted.search)]
    if wanted.classification is not None:
        conditions.append(scans.c.classification == wanted.classification.label)
    if wanted.confidence is not None:
        conditions.append(scans.c.confidence == wanted.confidence.label)
    if wanted.check:
        of_check = (findings.c.scan_id == scans.c.scan_id, findings.c.check_name == wanted.check)
        conditions.append(exists().where(*of_check))
    if wanted.finished_after is not None:
        conditions.append(scans.c.finished_at >= wanted.finished_after)
    if wanted.finished_before is not None:
        conditions.append(scans.c.finished_at < wanted.finished_before)
    return conditions


def _of_state(wanted: QueueFilter) -> list[ColumnElement[bool]]:
    # Word for word as the partial indexes have it, or they would not be used.
    alarms: list[ColumnElement[bool]] = [text(NOT_BENIGN)]  # type: ignore[list-item]  # it stands where one may
    if wanted.state is QueueState.WAITING:
        return [*alarms, scans.c.decision.is_(None)]
    if wanted.state is not QueueState.ANY:
        return [scans.c.decision == wanted.state.value]
    if wanted.search or wanted.classification is Classification.BENIGN:
        return [scans.c.classification.is_not(None)]
    return alarms


def _of_search(connection: Connection, search: str) -> list[ColumnElement[bool]]:
    if not search:
        return []
    if len(search) == 64 and set(search.lower()) <= set("0123456789abcdef"):
        return [scans.c.sha256 == search.lower()]
    if connection.dialect.name == "sqlite":
        # A range of the index; LIKE would compare without regard to case and use none.
        return [scans.c.project >= search, scans.c.project < search + _HIGHEST_CHARACTER]
    return [scans.c.project.startswith(search, autoescape=True)]


def _verdict(row: Any) -> QueuedVerdict:
    return QueuedVerdict(
        scan_id=row.scan_id,
        subject=Subject(SubjectKind(row.subject_kind), row.project, row.version, row.filename),
        classification=Classification[row.classification.upper()],
        confidence=Confidence[row.confidence.upper()],
        score=row.score,
        finished_at=row.finished_at,
        decision=None if row.decision is None else Decision(row.decision),
    )
