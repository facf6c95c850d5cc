"""``wharfinger audit export``, and what reads its files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click

from wharfinger_daemon import config
from wharfinger_daemon.audit.verification import StoredLeaf
from wharfinger_daemon.cli.program import config_option, configuration_file
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.storage.audit_reading import AuditReading, read_audit


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--from", "first", type=click.IntRange(min=0), default=0, show_default=True, help="The first leaf.")
@config_option
def export(file: str, first: int, config_path: Path | None) -> None:
    """Write the log to FILE as JSON lines, or to standard output for -.

    First all leaves, then all checkpoints. FILE must not exist. An export from the first leaf on can be verified
    anywhere: wharfinger audit verify --export FILE.
    """
    settings = config.load(configuration_file(config_path))
    with read_audit(settings.database) as reading:
        if file == "-":
            _write(reading, first, sys.stdout)
            return
        try:
            with Path(file).open("x", encoding="ascii") as output:
                leaves, checkpoints = _write(reading, first, output)
        except FileExistsError as error:
            raise InvalidRequestError(
                f"{file} exists already, and is not overwritten. Name another file.", reason=Reason.MALFORMED_REQUEST
            ) from error
    click.echo(f"{leaves} leaves and {checkpoints} checkpoints are in {file}.", err=True)


def _write(reading: AuditReading, first: int, output: TextIO) -> tuple[int, int]:
    leaves = checkpoints = 0
    for leaf in reading.leaves(first):
        line = {"index": leaf.index, "leaf": leaf.data.decode("utf-8", errors="replace"), "hash": leaf.hash.hex()}
        output.write(json.dumps(line) + "\n")
        leaves += 1
    for size, _, note in reading.checkpoints():
        output.write(json.dumps({"size": size, "checkpoint": note.decode("utf-8", errors="replace")}) + "\n")
        checkpoints += 1
    return leaves, checkpoints


@dataclass
class Exported:
    """An exported log. Read the leaves first; then the checkpoints are known.

    Attributes:
        checkpoints: size and signed note.
    """

    path: Path
    checkpoints: list[tuple[int, bytes]]

    def leaves(self) -> Iterator[StoredLeaf]:
        """The leaves, in the order of the file.

        Raises:
            InvalidRequestError: a line is not what ``audit export`` writes; says which.
        """
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                leaf = self._read(number, line)
                if leaf is not None:
                    yield leaf

    def _read(self, number: int, line: str) -> StoredLeaf | None:
        try:
            said = json.loads(line)
            if "checkpoint" in said:
                self.checkpoints.append((int(said["size"]), str(said["checkpoint"]).encode()))
                return None
            return StoredLeaf(int(said["index"]), str(said["leaf"]).encode(), bytes.fromhex(said["hash"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequestError(
                f"Line {number} of {self.path} is not of an exported log: {error}. Name a file that 'wharfinger audit "
                "export' has written.",
                reason=Reason.MALFORMED_REQUEST,
            ) from error
