"""``wharfinger targets import``: millions of targets at once."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap import publish_once
from wharfinger_daemon.bootstrap.local_targets import open_target_rows, published_here
from wharfinger_daemon.cli.program import (
    EXIT_FOUND_SOMETHING,
    config_option,
    configuration_file,
    json_option,
    print_json,
)
from wharfinger_daemon.cli.targets.telling import ImportReport
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.metadata.ports import versioned_file
from wharfinger_daemon.metadata.target_import import ImportProgress, import_targets
from wharfinger_daemon.metadata.target_lines import LineFormat

_BUFFER_BYTES = 1024 * 1024


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path))
@click.option(
    "--format",
    "line_format",
    type=click.Choice([one.value for one in LineFormat]),
    help="How FILE writes targets. By default as its name ends, .csv or .jsonl; of standard input, jsonl.",
)
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Append refused lines to this file, as JSON lines with line, why and text.",
)
@click.option(
    "--publish-later",
    is_flag=True,
    help="Only write the rows: the next import, or start of the daemon, publishes them.",
)
@config_option
@json_option
def import_rows(
    file: Path,
    line_format: str | None,
    rejected: Path | None,
    publish_later: bool,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Bring millions of targets into the repository: FILE, or - for standard input, has one a line.

    JSON lines are objects with path, length and hashes, by algorithm; CSV has a first line that names its columns:
    path, length, sha256. Lines that are no target are named and left out. Targets that are not in FILE stay.

    The daemon must be stopped. Each bin is signed once, at the end. If this is interrupted, the same command goes on
    where it was. Offline metadata such as 2.targets.json is taken in by 'wharfinger root import'.

    Ends with status 0 if everything was taken, 1 if lines were refused, 2 if it could not run.
    """
    if versioned_file(file.name) is not None:
        raise click.UsageError(
            f"{file.name} is called like TUF metadata, which 'wharfinger root import' takes in. Call it otherwise if "
            "it lists targets."
        )
    settings = config.load(configuration_file(config_path))
    published_here(settings)
    chosen = LineFormat(line_format) if line_format else _format_of(file)
    with (
        _opened(file) as stream,
        nullcontext() if rejected is None else rejected.open("a", encoding="utf-8") as refused,
        ImportReport(_size(stream), refused) as report,
    ):
        progress = asyncio.run(_import(settings, stream, chosen, report, publish_later=publish_later))
    _tell(progress, report, publish_later=publish_later, as_json=as_json)
    sys.exit(EXIT_FOUND_SOMETHING if progress.refused else 0)


async def _import(
    settings: Settings, stream: BinaryIO, line_format: LineFormat, report: ImportReport, *, publish_later: bool
) -> ImportProgress:
    clock = SystemClock()
    async with open_target_rows(settings, clock) as rows:
        progress = await asyncio.to_thread(import_targets, stream, line_format, rows, report)
        if publish_later:
            rows.finish()
            return progress
    await publish_once(settings, clock, report)
    # Only now: whoever is killed before signs what is left, and does not read the rows again.
    async with open_target_rows(settings, clock) as rows:
        rows.finish()
    return progress


def _format_of(file: Path) -> LineFormat:
    return LineFormat.CSV if file.suffix.lower() == ".csv" else LineFormat.JSON_LINES


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb", buffering=_BUFFER_BYTES) as stream:
        yield stream


def _size(stream: BinaryIO) -> int | None:
    state = os.fstat(stream.fileno())
    return state.st_size if stat.S_ISREG(state.st_mode) else None


def _tell(progress: ImportProgress, report: ImportReport, *, publish_later: bool, as_json: bool) -> None:
    publication = report.publication
    bins = 0 if publication is None else len(publication.bins)
    if as_json:
        print_json(
            {
                "lines": progress.lines,
                "added": progress.added,
                "replaced": progress.replaced,
                "unchanged": progress.unchanged,
                "refused": progress.refused,
                "bins_published": bins,
                "timestamp_version": 0 if publication is None else publication.timestamp_version,
            }
        )
        return
    counts = f"{progress.added:,} targets added, {progress.replaced:,} replaced, {progress.unchanged:,} unchanged"
    click.echo(f"{counts}; {progress.refused:,} lines refused.")
    if publish_later:
        click.echo("Nothing is published yet: the next import, or start of the daemon, does that.")
    elif publication is not None:
        click.echo(f"{bins:,} bins are signed; clients see them from timestamp {publication.timestamp_version} on.")
