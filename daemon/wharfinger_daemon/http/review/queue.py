"""The queue: verdicts that wait for a person, grouped by project, and decisions on several of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.http.review.gate import Gate, Visit
from wharfinger_daemon.http.review.people import Role
from wharfinger_daemon.http.review.rendering import Pages, see_other
from wharfinger_daemon.scanning.model import Classification, Confidence
from wharfinger_daemon.scanning.moderation import (
    Decision,
    Moderation,
    QueueFilter,
    QueuePosition,
    QueueState,
    ReviewRecords,
)

_PROJECTS_ON_A_PAGE = 25
_MOST_SEARCH_CHARACTERS = 255
_FIELDS = ("q", "check", "classification", "confidence", "state", "age")

T = TypeVar("T")


class _Age(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    OLDER = "older"


_LENGTHS = {_Age.DAY: timedelta(days=1), _Age.WEEK: timedelta(days=7), _Age.MONTH: timedelta(days=30)}


class QueuePages:
    """Shows the queue and takes bulk decisions."""

    def __init__(self, records: ReviewRecords, moderation: Moderation, gate: Gate, pages: Pages, clock: Clock) -> None:
        self._records = records
        self._moderation = moderation
        self._gate = gate
        self._pages = pages
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [
            Route("/", self._gate.showing(Role.VIEWER, self._show)),
            Route("/decide", self._gate.acting(Role.MODERATOR, self._decide), methods=["POST"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        query = visit.request.query_params
        wanted = _filter(query, self._clock)
        found = await self._records.queue(wanted, _PROJECTS_ON_A_PAGE + 1, _position(query.get("after", "")))
        shown = found[:_PROJECTS_ON_A_PAGE]
        chosen = {name: query[name] for name in _FIELDS if query.get(name)}
        onward = None
        if len(found) > len(shown):
            onward = urlencode(chosen | {"after": f"{shown[-1].score!r} {shown[-1].project}"})
        return self._pages.page(
            "queue",
            visit.session,
            current="queue",
            projects=shown,
            chosen=chosen,
            fields={name: query.get(name, "") for name in _FIELDS},
            later="after" in query,
            here=urlencode({**chosen, **({"after": query["after"]} if "after" in query else {})}),
            onward=onward,
            decided=query.get("decided", ""),
            may_decide=visit.session.person.role.includes(Role.MODERATOR),
            choices={
                "state": list(QueueState),
                "classification": [one.label for one in Classification],
                "confidence": [one.label for one in Confidence],
                "age": list(_Age),
            },
        )

    async def _decide(self, visit: Visit) -> Response:
        decision = named(Decision, visit.field("decision"))
        done = await self._moderation.decide(
            visit.form.get("scan", []), decision, visit.field("reason"), reviewer=visit.session.person.name
        )
        back = {name: value for name, value in parse_qsl(visit.field("here")) if name in (*_FIELDS, "after")}
        return see_other("/review/", **back, decided=str(len(done)))


def named(kind: type[T], name: str) -> T:
    """A value by its name.

    Raises:
        InvalidRequestError: there is none.
    """
    try:
        return kind(name)  # type: ignore[call-arg]  # an enumeration of texts
    except ValueError as error:
        raise _malformed(f"There is no '{name[:40]}' to choose here.") from error


def _filter(query: Mapping[str, str], clock: Clock) -> QueueFilter:
    search = query.get("q", "").strip()
    if len(search) > _MOST_SEARCH_CHARACTERS or "\0" in search + query.get("check", ""):
        raise _malformed("Nothing is called that.")
    age = named(_Age, query["age"]) if query.get("age") else None
    now = clock.now()
    return QueueFilter(
        search=search,
        check=query.get("check", "")[:64],
        classification=_labelled(Classification, query.get("classification", "")),
        confidence=_labelled(Confidence, query.get("confidence", "")),
        state=named(QueueState, query.get("state") or QueueState.WAITING.value),
        finished_after=None if age is None or age is _Age.OLDER else now - _LENGTHS[age],
        finished_before=now - _LENGTHS[_Age.MONTH] if age is _Age.OLDER else None,
    )


def _labelled(kind: type[T], label: str) -> T | None:
    if not label:
        return None
    found = next((one for one in kind if one.label == label), None)  # type: ignore[attr-defined]  # an enumeration
    if found is None:
        raise _malformed(f"There is no '{label[:40]}' to choose here.")
    chosen: T = found
    return chosen


def _position(token: str) -> QueuePosition | None:
    if not token:
        return None
    score, _, project = token.partition(" ")
    try:
        return QueuePosition(float(score), project)
    except ValueError as error:
        raise _malformed("There is no such page. Begin with the first one.") from error


def _malformed(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason=Reason.MALFORMED_REQUEST)
