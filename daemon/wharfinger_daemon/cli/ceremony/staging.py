"""``wharfinger root stage``, and the same for ``targets`` and ``bins``."""

from __future__ import annotations

from pathlib import Path

import click

from wharfinger_daemon.ceremony.chain import Chain, verify_chain
from wharfinger_daemon.ceremony.draft import make_draft
from wharfinger_daemon.ceremony.rules import require_signable, require_sound
from wharfinger_daemon.ceremony.signatures import collect, states
from wharfinger_daemon.ceremony.staging import read_staged, stage
from wharfinger_daemon.cli.ceremony.ceremony_file import read_ceremony_file
from wharfinger_daemon.cli.ceremony.folder import create_folder, read_metadata_files, read_staged_files
from wharfinger_daemon.cli.ceremony.opening import require_kind
from wharfinger_daemon.cli.ceremony.telling import staged_as_json, tell, tell_staged, tell_states
from wharfinger_daemon.cli.program import json_option, print_json
from wharfinger_daemon.clock import SystemClock


@click.command(name="stage")
@click.argument("ceremony", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder to make, which is then carried from signer to signer; it must not exist.",
)
@json_option
def stage_metadata(ceremony: Path, output: Path, as_json: bool) -> None:
    """Prepare the next version as the file CEREMONY wants it, unsigned.

    Verifies what the repository signed so far, from the trusted root 1 on; makes the next version; checks it; shows
    what changes. Needs no network and no key.
    """
    now = SystemClock().now()
    file = read_ceremony_file(ceremony, now)
    require_kind(file.plan.kind)
    chain = Chain() if file.metadata is None else verify_chain(read_metadata_files(file.metadata), file.root_sha256)
    draft = make_draft(file.plan, chain)
    require_sound(draft.kind, draft.signed, chain)
    require_signable(draft.kind, draft.signed, chain, draft.quorums, now)
    create_folder(output, stage(draft, file.root_sha256, file.plan.file_sha256))
    # What is told is what lies there, and not what was meant to.
    staged = read_staged(read_staged_files(output), file.root_sha256)
    nothing = collect(staged, {})
    if as_json:
        print_json({**staged_as_json(staged, nothing, now), "folder": str(output)})
        return
    tell_staged(staged, now)
    tell_states(staged, states(staged, nothing))
    tell([f"Staged in {output}. Write the digest down, and carry the folder to the signers."])
