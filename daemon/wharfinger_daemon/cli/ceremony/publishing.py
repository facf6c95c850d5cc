"""``wharfinger root publish``, and the same for ``targets`` and ``bins``."""

from __future__ import annotations

from pathlib import Path

import click

from wharfinger_daemon.ceremony.publication import assemble
from wharfinger_daemon.ceremony.record import record_name, write_record
from wharfinger_daemon.ceremony.rules import require_signable
from wharfinger_daemon.ceremony.signatures import collect
from wharfinger_daemon.cli.ceremony.folder import create_files, read_signature_files
from wharfinger_daemon.cli.ceremony.opening import folder_argument, open_staged, trusted_root_option
from wharfinger_daemon.cli.ceremony.telling import digests, tell
from wharfinger_daemon.cli.program import json_option, print_json
from wharfinger_daemon.clock import SystemClock


@click.command(name="publish")
@folder_argument
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for the metadata and the record; it is made if it is missing, and nothing in it is overwritten.",
)
@trusted_root_option
@json_option
def publish_staged(folder: Path, output: Path, trusted_root: str | None, as_json: bool) -> None:
    """Put the signed metadata together from the staged FOLDER, with a record to print.

    Everything is verified anew. Refused while a threshold is missing.
    """
    staged = open_staged(folder, trusted_root)
    now = SystemClock().now()
    require_signable(staged.kind, staged.signed, staged.chain, staged.quorums, now)
    collected = collect(staged, read_signature_files(folder))
    content = assemble(staged, collected)
    record = write_record(staged, collected, content, now).encode("ascii")
    names = (staged.name, record_name(staged.kind, staged.signed.version))
    output.mkdir(parents=True, exist_ok=True)
    create_files(output, dict(zip(names, (content, record), strict=True)))
    if as_json:
        print_json({"files": {str(output / names[0]): digests(content), str(output / names[1]): digests(record)}})
        return
    tell(record.decode("ascii").splitlines())
    tell([f"Published in {output}: {names[0]}, and {names[1]} to print."])
