"""``wharfinger root sign``, and the same for ``targets`` and ``bins``."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click
from securesystemslib.signer import Key

from wharfinger_daemon.ceremony.changes import called
from wharfinger_daemon.ceremony.quorum import signing_keys
from wharfinger_daemon.ceremony.refusals import invalid, refused
from wharfinger_daemon.ceremony.rules import require_signable
from wharfinger_daemon.ceremony.signatures import (
    Collected,
    collect,
    encode_signature,
    read_signature,
    require_may_sign,
    signature_name,
    states,
)
from wharfinger_daemon.ceremony.staging import Staged
from wharfinger_daemon.cli.ceremony.folder import add_signature, read_signature_files
from wharfinger_daemon.cli.ceremony.opening import folder_argument, open_staged, trusted_root_option
from wharfinger_daemon.cli.ceremony.signers import require_known, sign_with
from wharfinger_daemon.cli.ceremony.telling import staged_as_json, tell, tell_staged, tell_states
from wharfinger_daemon.cli.program import EXIT_COULD_NOT_RUN, json_option, print_json
from wharfinger_daemon.clock import SystemClock

_TYPED_DIGITS = 8


@click.command(name="sign")
@folder_argument
@click.option(
    "--signer",
    "uri",
    required=True,
    metavar="URI",
    help="What signs: file:PATH, pkcs11:token=NAME?module-path=PATH, or any URI that securesystemslib knows.",
)
@click.option("--key", "name", metavar="NAME", help="Which key the signer has, where it does not tell.")
@click.option("--yes-digest", metavar="HEX", help="The whole SHA-256 to be signed, instead of typing its start.")
@trusted_root_option
@json_option
def sign_staged(
    folder: Path, uri: str, name: str | None, yes_digest: str | None, trusted_root: str | None, as_json: bool
) -> None:
    """Add one signature to the staged FOLDER.

    Everything in the folder is verified anew, and what is going to be signed is shown. Compare the digest with the one
    that was announced, then type its first digits. Each signature is a file of its own: copy the files of several
    folders together to merge them.
    """
    staged = open_staged(folder, trusted_root)
    now = SystemClock().now()
    require_signable(staged.kind, staged.signed, staged.chain, staged.quorums, now)
    collected = collect(staged, read_signature_files(folder))
    candidates = _candidates(staged, name, collected)
    require_known(uri, candidates)
    tell_staged(staged, now, err=True)
    _confirm(staged, yes_digest)
    signature = sign_with(uri, candidates, staged.content, _ask)
    content = encode_signature(staged, signature)
    file = signature_name(signature.keyid)
    read_signature(staged, file, add_signature(folder, file, content))
    collected = collect(staged, read_signature_files(folder))
    if as_json:
        print_json({**staged_as_json(staged, collected, now), "keyid": signature.keyid})
        return
    tell([f"Signed by {called(signature.keyid, staged.record.names)}: {folder / 'signatures' / file}"])
    tell_states(staged, states(staged, collected))


def _candidates(staged: Staged, name: str | None, collected: Collected) -> dict[str, Key]:
    """The keys that may sign now: the named one, or all that have not signed."""
    keys = signing_keys(staged.quorums)
    if name is None:
        left = {keyid: key for keyid, key in keys.items() if keyid not in collected.signatures}
        if not left:
            raise refused("Every key that may sign has signed already.")
        return left
    by_name = {known: keyid for keyid, known in staged.record.names.items()}
    keyid = by_name.get(name)
    if keyid is None:
        raise invalid(f"No key is called {name!a} in this ceremony. There are {', '.join(sorted(by_name))}.")
    require_may_sign(staged, keyid, collected)
    return {keyid: keys[keyid]}


def _confirm(staged: Staged, digest: str | None) -> None:
    wanted = staged.record.sha256 if digest is not None else staged.record.sha256[:_TYPED_DIGITS]
    if (_typed() if digest is None else digest.lower()) != wanted:
        click.echo("wharfinger: that is not the digest of what would be signed. Nothing was signed.", err=True)
        sys.exit(EXIT_COULD_NOT_RUN)


def _typed() -> str:
    asked = f"Compare the SHA-256 with the one that was announced. Type its first {_TYPED_DIGITS} digits to sign"
    try:
        return str(click.prompt(asked, err=True)).strip().lower()
    except click.Abort:  # Nobody is there to type.
        return ""


def _ask(secret: str) -> str:
    return getpass.getpass(f"{secret}: ")
