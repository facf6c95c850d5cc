"""``wharfinger keys generate``."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from wharfinger_daemon import config
from wharfinger_daemon.audit.leaf import Act, Leaf
from wharfinger_daemon.bootstrap.local_keys import LocalKeys, open_local_keys, require_hsm
from wharfinger_daemon.cli.keys.exclusive import exclusive_file, one_at_a_time
from wharfinger_daemon.cli.program import config_option, configuration_file, json_option, print_json
from wharfinger_daemon.clock import SystemClock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.custody.opening import startup_errors
from wharfinger_daemon.keys.generation import TokenKeyPair, generated_key, next_label, pending_key, tuf_key
from wharfinger_daemon.keys.life_cycle import LineKey, pem_of
from wharfinger_daemon.keys.lines import CANARY_LINE, LOG_LINE, KeyLine
from wharfinger_daemon.keys.records import LOCAL, Changes, key_leaf
from wharfinger_hsm.model import KeyAlgorithm

# What the canary's and the log's key are: the one as most online keys, the other as witnesses of logs want it.
_PURPOSES = {CANARY_LINE: KeyAlgorithm.ECDSA_P256, LOG_LINE: KeyAlgorithm.ED25519}


@dataclass(frozen=True)
class _Generated:
    """A key that is there now. ``reused``: it was there before."""

    line: str
    repository: str
    pair: TokenKeyPair
    reused: bool

    def as_json(self) -> dict[str, Any]:
        key = tuf_key(self.pair.public_key)
        return {
            "keyid": key.keyid,
            "repository": self.repository or None,
            "line": self.line,
            "label": self.pair.label,
            "algorithm": self.pair.algorithm,
            "reused": self.reused,
            "public_key_pem": self.pem,
            "tuf_key": key.to_dict(),
        }

    @property
    def pem(self) -> str:
        return pem_of(self.pair.public_key)


@click.command()
@click.argument("line")
@click.option("--repository", metavar="NAME", help="Whose line, where several repositories have one of that name.")
@click.option("--token", metavar="NAME", help="On which of [[hsm.tokens]], where there are several.")
@click.option(
    "--public-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the public key there, as PEM; the file must not exist.",
)
@config_option
@json_option
def generate(
    line: str,
    repository: str | None,
    token: str | None,
    public_key_file: Path | None,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Generate the next key of LINE in the token, on this host; a daemon may be running.

    LINE is one of [[keys]]; `online` for a repository that has none there; `canary`, or `log`. A key that waits to be
    published is taken instead of making another. What is printed goes into the ceremony.
    """
    settings = config.load(configuration_file(config_path))
    # Two at once would both find no key that waits, and generate two, of one label even.
    with exclusive_file(public_key_file) as write, one_at_a_time(settings.state_directory):
        made = asyncio.run(_generate(settings, line, repository, token))
        write(made.pem)
    if as_json:
        print_json(made.as_json())
        return
    told = made.as_json()
    done = "waits to be used already; none was generated" if made.reused else "was generated"
    click.echo(f"Key {told['keyid']} ('{made.pair.label}', {made.pair.algorithm}) of line '{line}' {done}.")
    click.echo(made.pem, nl=False)
    click.echo(json.dumps({told["keyid"]: told["tuf_key"]}, indent=1))


async def _generate(settings: Settings, name: str, repository: str | None, token: str | None) -> _Generated:
    async with open_local_keys(settings, SystemClock(), token=True, alone=False, metadata=False) as local:
        if name in _PURPOSES:
            return await _for_purpose(local, name, token)
        return await _for_line(local, local.lines.named(name, repository), token)


async def _for_purpose(local: LocalKeys, name: str, token: str | None) -> _Generated:
    hsm, audit = require_hsm(local.settings), local.settings.audit
    label = hsm.canary_key_label if name == CANARY_LINE else audit.key_label
    for pair in await _pairs(local):
        if pair.label == label:
            return _Generated(name, "", pair, reused=True)
    pair = await _mint(local, _PURPOSES[name], label, token)
    details = {"line": name, "keyid": tuf_key(pair.public_key).keyid, "label": label}
    leaf = Leaf(Act.KEY_GENERATED, SystemClock().now(), LOCAL, details)
    await local.journal.write(lambda transaction: transaction.log(leaf))
    return _Generated(name, "", pair, reused=False)


async def _for_line(local: LocalKeys, line: KeyLine, token: str | None) -> _Generated:
    repository = local.settings.repository(line.repository)
    pairs = await _pairs(local)
    pending = pending_key(line, await local.records.all(repository.root_sha256), pairs)
    if pending is not None:
        pair = TokenKeyPair(pending.public_key, pending.label, line.algorithm)
        return _Generated(line.name, line.repository, pair, reused=True)
    label = next_label(line.name, {*await local.records.labels(), *(pair.label for pair in pairs)})
    pair = await _mint(local, KeyAlgorithm(line.algorithm), label, token)
    await _write_down(local, repository.root_sha256, generated_key(line.name, pair, SystemClock().now()))
    return _Generated(line.name, line.repository, pair, reused=False)


async def _write_down(local: LocalKeys, repository: str, key: LineKey) -> None:
    leaf = key_leaf(Act.KEY_GENERATED, key, repository, LOCAL, key.generated_at)
    await local.records.change(repository, lambda keys: Changes((key,), (leaf,)))


async def _pairs(local: LocalKeys) -> list[TokenKeyPair]:
    with startup_errors():
        keys = await local.the_token().keys()
    return [TokenKeyPair(key.public_key, key.label, key.algorithm.value) for key in keys]


async def _mint(local: LocalKeys, algorithm: KeyAlgorithm, label: str, token: str | None) -> TokenKeyPair:
    with startup_errors():
        key = await local.the_token().generate(algorithm, label, token)
    return TokenKeyPair(key.public_key, key.label, key.algorithm.value)
