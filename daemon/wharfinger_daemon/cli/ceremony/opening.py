"""Opens a folder that was staged, for the commands that work on it."""

from __future__ import annotations

from pathlib import Path

import click

from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.refusals import invalid
from wharfinger_daemon.ceremony.staging import Staged, read_staged
from wharfinger_daemon.cli.ceremony.folder import read_staged_files

folder_argument = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))

trusted_root_option = click.option(
    "--trusted-root",
    metavar="HEX",
    help="The SHA-256 of 1.root.json, as you know it: refuse a folder that trusts another root.",
)


def kind_of_command() -> Kind:
    """Which of ``wharfinger root``, ``targets`` and ``bins`` the running command belongs to."""
    parent = click.get_current_context().parent
    assert parent is not None  # These commands stand in groups only.
    return Kind(parent.command.name or "")


def open_staged(folder: Path, trusted_root: str | None) -> Staged:
    """Verifies a folder anew.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; also when it is of another kind than the command.
    """
    staged = read_staged(read_staged_files(folder), trusted_root)
    require_kind(staged.kind)
    return staged


def require_kind(found: Kind) -> None:
    """Refuses a ceremony of another kind than the command: somebody may have the wrong folder.

    Raises:
        InvalidRequestError: CEREMONY_INVALID.
    """
    if found is not kind_of_command():
        raise invalid(f"This is a ceremony for {found}: use 'wharfinger {found}', if it is the one that you mean.")
