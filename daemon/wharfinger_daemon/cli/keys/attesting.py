"""``wharfinger keys attest``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap.local_keys import LocalKeys, open_local_keys
from wharfinger_daemon.cli.keys.described import named_by
from wharfinger_daemon.cli.keys.exclusive import exclusive_file
from wharfinger_daemon.cli.program import EXIT_FOUND_SOMETHING, config_option, configuration_file
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.custody.opening import startup_errors
from wharfinger_daemon.keys.generation import tuf_key
from wharfinger_daemon.keys.life_cycle import pem_of
from wharfinger_hsm.model import KeyAttributes

# What must be true of a signing key: as a question that the token leaves open, and as what is wrong otherwise.
_PROTECTED = {
    "local": ("was generated in the token", "The key was not generated in the token: a copy may be elsewhere."),
    "sensitive": ("is sensitive", "The key is not sensitive: its value can be read from the token."),
    "always_sensitive": ("was always sensitive", "The key was not always sensitive: its value may have been read."),
    "never_extractable": ("could never be extracted", "The key could be extracted once: a copy may be elsewhere."),
    "private": ("needs the PIN", "The key is not private: it can be used without the PIN."),
}
_ONLY_SIGNS = {
    "derive": "derive other keys",
    "decrypt": "decrypt",
    "unwrap": "unwrap other keys",
    "sign_recover": "sign with recovery",
    "modifiable": "have its attributes changed",
    "copyable": "be copied within the token",
}
_OF_THE_TOKEN = ("token_label", "token_serial", "token_manufacturer", "token_model", "library")
_OF_THE_KEY = ("public_key", "algorithm", "label", "key_id")


@click.command()
@click.argument("keyid")
@click.option("--token", metavar="NAME", help="Which of [[hsm.tokens]] to ask, where several hold the key.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it there, and not to standard output; the file must not exist.",
)
@config_option
def attest(keyid: str, token: str | None, output: Path | None, config_path: Path | None) -> None:
    """Export, as JSON, what the token says of a key, on this host.

    The attributes are bound to the public key by its SHA-256. They are the token's own words and no proof to others.
    KEYID may also be the id of a key outside the lines, such as the canary's. Ends with status 1, and says why on
    standard error, if the key is not as a signing key should be.
    """
    settings = config.load(configuration_file(config_path))
    with exclusive_file(output) as write:
        attestation = asyncio.run(_attest(settings, keyid, token))
        text = json.dumps(attestation, indent=1) + "\n"
        write(text)
    if output is None:
        click.echo(text, nl=False)
    for weakness in attestation["weaknesses"]:
        click.echo(f"wharfinger: {weakness}", err=True)
    if attestation["weaknesses"]:
        sys.exit(EXIT_FOUND_SOMETHING)


async def _attest(settings: Settings, prefix: str, token: str | None) -> dict[str, Any]:
    async with open_local_keys(settings, SystemClock(), token=True, alone=False, metadata=False) as local:
        by_keyid = await _public_keys(local)
        keyid = named_by(prefix, by_keyid)
        with startup_errors():
            attributes = await local.the_token().attributes(by_keyid[keyid], token)
        return attestation_of(keyid, attributes)


async def _public_keys(local: LocalKeys) -> dict[str, bytes]:
    """Every key on the token, and every key of a line, by keyid."""
    with startup_errors():
        found = {tuf_key(key.public_key).keyid: key.public_key for key in await local.the_token().keys()}
    for repository in local.settings.repositories:
        rows = await local.records.all(repository.root_sha256)
        found |= {key.keyid: key.public_key for key in rows.values()}
    return found


def attestation_of(keyid: str, attributes: KeyAttributes) -> dict[str, Any]:
    """The whole document."""
    told = asdict(attributes)
    return {
        "keyid": keyid,
        "public_key_sha256": hashlib.sha256(attributes.public_key).hexdigest(),
        "public_key_pem": pem_of(attributes.public_key),
        "algorithm": attributes.algorithm.value,
        "label": attributes.label,
        "key_id": attributes.key_id.hex(),
        "at": SystemClock().now().isoformat(timespec="seconds"),
        "token": {name.removeprefix("token_"): told[name] for name in _OF_THE_TOKEN},
        "attributes": {name: told[name] for name in told if name not in (*_OF_THE_TOKEN, *_OF_THE_KEY)},
        "weaknesses": weaknesses(attributes),
    }


def weaknesses(attributes: KeyAttributes) -> list[str]:
    """In what a key is not as a signing key should be. What protects it and is not told counts as lacking."""
    told = asdict(attributes)
    found = [
        f"The token does not tell whether the key {open_question}." if told[name] is None else wrong
        for name, (open_question, wrong) in _PROTECTED.items()
        if told[name] is not True
    ]
    if attributes.extractable is not False:
        found.append(
            "The key is extractable: whoever has the PIN can take it out of the token."
            if attributes.extractable
            else "The token does not tell whether the key is extractable."
        )
    if attributes.sign is False:
        found.append("The key may not sign.")
    found += [f"The key may also {what}." for name, what in _ONLY_SIGNS.items() if told[name]]
    if attributes.allowed_mechanisms == ():
        found.append("The token does not restrict the mechanisms that the key may be used with.")
    return found
