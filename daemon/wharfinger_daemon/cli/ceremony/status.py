"""``wharfinger root status``, and the same for ``targets`` and ``bins``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wharfinger_daemon.ceremony.signatures import collect, states
from wharfinger_daemon.cli.ceremony.folder import read_signature_files
from wharfinger_daemon.cli.ceremony.opening import folder_argument, open_staged, trusted_root_option
from wharfinger_daemon.cli.ceremony.telling import is_complete, staged_as_json, tell, tell_staged, tell_states
from wharfinger_daemon.cli.program import EXIT_FOUND_SOMETHING, json_option, print_json
from wharfinger_daemon.clock import SystemClock


@click.command(name="status")
@folder_argument
@trusted_root_option
@json_option
def show_status(folder: Path, trusted_root: str | None, as_json: bool) -> None:
    """Show who has signed the staged FOLDER, and who is missing. Ends with status 1 while it cannot be published."""
    staged = open_staged(folder, trusted_root)
    now = SystemClock().now()
    collected = collect(staged, read_signature_files(folder))
    found = states(staged, collected)
    if as_json:
        print_json(staged_as_json(staged, collected, now))
    else:
        tell_staged(staged, now)
        tell_states(staged, found)
        tell(f"PROBLEM: {problem}" for problem in collected.problems.values())
        if staged.signed.expires <= now:
            tell(["PROBLEM: it has expired, and must be staged anew."])
    if not is_complete(found, collected) or staged.signed.expires <= now:
        sys.exit(EXIT_FOUND_SOMETHING)
