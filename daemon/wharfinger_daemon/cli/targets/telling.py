"""Shows how an import goes: a bar on a terminal, and else a line now and then."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wharfinger_daemon.metadata.observer import SilentObserver
from wharfinger_daemon.metadata.planning import Publication
from wharfinger_daemon.metadata.target_import import ImportProgress, RefusedLine

# More refused lines than that are only counted, where no file is named for them.
_SHOWN = 20
_QUIET_SECONDS = 10.0
_SHOWN_BYTES = 1_000


class ImportReport(SilentObserver):
    """Told of rows by ``import_targets`` and of bins by the publisher; a context, within which it shows them.

    Args:
        size: bytes of the file; None if nobody knows.
        rejected: where refused lines go, as JSON lines; None for standard error, the first ones.
    """

    def __init__(self, size: int | None, rejected: TextIO | None) -> None:
        self._size = size
        self._rejected = rejected
        self._shown = 0
        self._quiet_until = time.monotonic() + _QUIET_SECONDS
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self.publication: Publication | None = None

    def __enter__(self) -> ImportReport:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def resumed(self, progress: ImportProgress) -> None:
        """Says where it goes on."""
        self._console.print(f"This file was imported up to line {progress.lines:,}: going on from there.")

    def refused(self, lines: Sequence[RefusedLine]) -> None:
        """Names refused lines."""
        for line in lines:
            text = line.text[:_SHOWN_BYTES].decode("utf-8", "backslashreplace").rstrip("\r\n")
            if self._rejected is not None:
                self._rejected.write(json.dumps({"line": line.number, "why": line.why, "text": text}) + "\n")
            elif self._shown < _SHOWN:
                click.echo(f"line {line.number}: {line.why}", err=True)
            elif self._shown == _SHOWN:
                click.echo("More lines are refused; name a file for all of them with --rejected.", err=True)
            self._shown += 1
        if self._rejected is not None:
            self._rejected.flush()

    def advanced(self, progress: ImportProgress) -> None:
        """Shows the rows."""
        rows = progress.added + progress.replaced + progress.unchanged
        self._show("Reading", progress.offset, self._size, f"{rows:,} targets, {progress.refused:,} lines refused")

    def signed_bins(self, number: int, of: int) -> None:
        """Shows the bins."""
        self._show("Signing", number, of, f"{number:,} of {of:,} bins")

    def published(self, publication: Publication) -> None:
        """Remembers what clients see now."""
        self.publication = publication

    def _show(self, what: str, done: int, total: int | None, state: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, state=state)
        self._bars.update(self._tasks[what], completed=done, state=state)
        if self._bars.disable and time.monotonic() > self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            click.echo(f"{what}: {state}", err=True)
