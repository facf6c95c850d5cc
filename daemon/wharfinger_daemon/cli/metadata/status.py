"""``wharfinger metadata status``."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wharfinger_daemon.bootstrap.metadata import lifetimes
from wharfinger_daemon.cli.metadata.opening import OpenedRepository, opened_repository
from wharfinger_daemon.cli.program import EXIT_FOUND_SOMETHING, config_option, json_option, print_json
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.metadata.condition import Condition, RoleCondition, Urgency, condition_at
from wharfinger_daemon.metadata.expiries import newest_root
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.planning import Publication
from wharfinger_daemon.metadata.published import read_offline_roles
from wharfinger_daemon.metadata.retention import Survey

_STYLES = {
    Urgency.VALID: "green",
    Urgency.DUE: "yellow",
    Urgency.OVERDUE: "bold red",
    Urgency.EXPIRED: "bold red",
}


@dataclass(frozen=True)
class _Status:
    repository: str
    at: datetime
    condition: Condition
    prepared: Publication | None
    files: Survey


@click.command()
@config_option
@json_option
def status(config_path: Path | None, as_json: bool) -> None:
    """Show versions, expiries and what is due.

    Reads database and metadata store directly, and so works with and without a running daemon, which it does not
    disturb. Ends with status 1 if something is expired, or has been due for too long.
    """
    with opened_repository(config_path) as opened:
        found = asyncio.run(_look(opened))
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)
    if found.condition.wrong:
        sys.exit(EXIT_FOUND_SOMETHING)


async def _look(opened: OpenedRepository) -> _Status:
    offline = await read_offline_roles(await including_staged(opened.store))
    newest, states = await opened.records.newest(), await opened.records.states()
    root, now = await newest_root(opened.store), SystemClock().now()
    # Before the first publication the records have no states, and there are offline roles already.
    by_role = {state.role: state for state in offline.states} | dict(states)
    if root is not None:
        by_role[root.role] = root
    return _Status(
        opened.published.repository,
        now,
        condition_at(now, by_role.values(), lifetimes(opened.published), offline.bins),
        None if newest is None or newest.published else newest,
        await opened.retention.look(),
    )


def _as_json(found: _Status) -> dict[str, Any]:
    bins, prepared = found.condition.bins, found.prepared
    return {
        "repository": found.repository,
        "at": found.at.isoformat(),
        "wrong": found.condition.wrong,
        "roles": [_role_as_json(one) for one in found.condition.roles],
        "bins": None
        if bins is None
        else {
            "number": bins.number,
            "first_to_expire": _role_as_json(bins.first),
            **{urgency.value: bins.urgencies.get(urgency, 0) for urgency in Urgency},
        },
        "prepared": None
        if prepared is None
        else {
            "timestamp_version": prepared.timestamp_version,
            "snapshot_version": prepared.snapshot_version,
            "bins": len(prepared.bins),
        },
        "files": {"kept": found.files.kept, "sweepable": len(found.files.sweepable)},
    }


def _role_as_json(one: RoleCondition) -> dict[str, Any]:
    return {
        "role": one.state.role,
        "version": one.state.version,
        "expires": one.state.expires.isoformat(),
        "urgency": one.urgency.value,
    }


def _show(found: _Status) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("role", "version", "expires", "left", ""):
        table.add_column(heading)
    for one in found.condition.roles:
        _add(table, one.state.role, one, found.at)
    bins = found.condition.bins
    if bins is not None:
        _add(table, f"{bins.first.state.role}, first of {bins.number}", bins.first, found.at)
    console.print(Text(f"Repository '{found.repository}'"))
    console.print(table)
    for line in _sentences(found):
        console.print(line)


def _add(table: Table, name: str, one: RoleCondition, now: datetime) -> None:
    expires = f"{one.state.expires:%Y-%m-%d %H:%M:%S} UTC"
    left = _duration(one.state.expires - now)
    table.add_row(name, str(one.state.version), expires, left, Text(one.urgency.value, style=_STYLES[one.urgency]))


def _sentences(found: _Status) -> list[Text]:
    lines = []
    bins = found.condition.bins
    if bins is None:
        lines.append(Text("Nothing is published yet. Start the daemon.", style="yellow"))
    else:
        lines += [
            Text(f"{bins.urgencies[urgency]} bins are {urgency.value}.", style=_STYLES[urgency])
            for urgency in (Urgency.EXPIRED, Urgency.OVERDUE, Urgency.DUE)
            if urgency in bins.urgencies
        ]
    if found.prepared is not None:
        lines.append(
            Text(f"Publication {found.prepared.timestamp_version} is prepared and not yet published.", style="yellow")
        )
    swept = len(found.files.sweepable)
    lines.append(Text(f"{found.files.kept} files are kept, and {swept} can be swept."))
    return lines


def _duration(left: timedelta) -> str:
    minutes = abs(left) // timedelta(minutes=1)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    told = f"{days} d {hours} h" if days else f"{hours} h {minutes} min"
    return told if left >= timedelta() else f"{told} ago"
