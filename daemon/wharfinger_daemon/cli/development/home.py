"""Makes a development home, step by step. Each step is whole or absent, so that a killed init can be run again."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from string import Template

from wharfinger_daemon import config
from wharfinger_daemon.bootstrap import publish_once
from wharfinger_daemon.cli.development.tls import create_certificates
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import HsmSettings
from wharfinger_daemon.custody.opening import open_token, startup_errors
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.ceremony import create_development_repository
from wharfinger_daemon.storage import migrate
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.metadata_directory import MetadataDirectory
from wharfinger_hsm.model import KeyAlgorithm, TokenKey
from wharfinger_hsm.softhsm import create_token, find_module

TOKEN_LABEL = "wharfinger-development"  # noqa: S105  # a label, no secret
ONLINE_KEY_LABEL = "online"
CANARY_KEY_LABEL = "canary"
LOG_KEY_LABEL = "log"

_ALGORITHMS = {
    ONLINE_KEY_LABEL: KeyAlgorithm.ECDSA_P256,
    CANARY_KEY_LABEL: KeyAlgorithm.ECDSA_P256,
    # What every verifier of checkpoints knows.
    LOG_KEY_LABEL: KeyAlgorithm.ED25519,
}

Tell = Callable[[str], None]


async def create_home(home: Path, *, bins: HashBins, clock: Clock, tell: Tell) -> None:
    """Makes whatever the home lacks, and leaves alone what it has.

    Args:
        home: the folder; made with mode 0700.
        bins: the hash bins, and how they are delegated to.
        clock: what the ceremony dates its metadata with.
        tell: is told each step that is taken.

    Raises:
        StartupError: a step could not be taken; says which and what to do.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "targets").mkdir(exist_ok=True)
    if not (home / "tls").exists():
        tell("TLS: an authority, and certificates for the server and its callers")
        create_certificates(home / "tls")
    hsm = _hsm_settings(home)
    with startup_errors():
        online = await _token(home, hsm, tell)
    root_sha256 = await _ceremony(home, online, bins, clock, tell)
    if not (home / "config.toml").exists():
        tell("Configuration: config.toml")
        _write_configuration(home, hsm, root_sha256)
    settings = config.load(home / "config.toml")
    with closing(Database.of(settings.database)) as database:
        before, after = migrate.upgrade(database)
    if before != after:
        tell(f"Database: revision {after}")
    if not (home / "metadata" / "timestamp.json").exists():
        tell(f"First publication: {bins.number} bins, snapshot and timestamp")
        await publish_once(settings, clock)


def _hsm_settings(home: Path) -> HsmSettings:
    with startup_errors():
        module = find_module()
    return HsmSettings(
        module=module,
        token_label=TOKEN_LABEL,
        pin_file=home / "pin",
        canary_key_label=CANARY_KEY_LABEL,
        environment={"SOFTHSM2_CONF": str(home / "softhsm" / "softhsm2.conf")},
    )


async def _token(home: Path, hsm: HsmSettings, tell: Tell) -> TokenKey:
    """The token with its keys, made if there is no PIN yet; returns the online key.

    SoftHSM does not write tokens and keys as a whole. The PIN gets its name last, and a token that was left without
    one is thrown away: nothing can depend on it.
    """
    pin_file = home / "pin"
    if pin_file.exists():
        return await _keys(home, hsm, tell)
    if (home / "ceremony").exists() or (home / "config.toml").exists():
        raise StartupError(
            f"{pin_file} is missing, and the token beside it is of no use without it. Put it back, or name another "
            "home.",
            reason=Reason.CONFIGURATION_INVALID,
        )
    tell("Token: SoftHSM")
    shutil.rmtree(home / "softhsm", ignore_errors=True)
    pin, so_pin = (str(secrets.randbelow(10**12)).zfill(12) for _ in range(2))
    unfinished = home / "pin.unfinished"
    for file, value in ((unfinished, pin), (home / "so-pin", so_pin)):
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(value, encoding="ascii")
    create_token(home / "softhsm", TOKEN_LABEL, pin, so_pin)
    online = await _keys(home, hsm.model_copy(update={"pin_file": unfinished}), tell)
    unfinished.rename(pin_file)
    return online


async def _keys(home: Path, hsm: HsmSettings, tell: Tell) -> TokenKey:
    async with open_token(hsm, home) as token:
        held = {key.label: key for key in await token.keys()}
        for label, algorithm in _ALGORITHMS.items():
            if label not in held:
                tell(f"Key: '{label}', {algorithm}, generated in the token")
                held[label] = await token.generate(algorithm, label)
    return held[ONLINE_KEY_LABEL]


async def _ceremony(home: Path, online: TokenKey, bins: HashBins, clock: Clock, tell: Tell) -> str:
    root = home / "metadata" / "1.root.json"
    if not root.exists():
        tell("Ceremony: root (2 of 3), targets and bins, with development keys in ceremony/")
        (home / "metadata").mkdir(exist_ok=True)
        await create_development_repository(
            ceremony_directory=home / "ceremony",
            online_public_key=online.public_key,
            bins=bins,
            clock=clock,
            store=MetadataDirectory(home / "metadata"),
        )
    return hashlib.sha256(root.read_bytes()).hexdigest()


def _write_configuration(home: Path, hsm: HsmSettings, root_sha256: str) -> None:
    template = Template((Path(__file__).parent / "config.toml").read_text(encoding="utf-8"))
    text = template.substitute(
        module=_toml(str(hsm.module)),
        token_label=_toml(TOKEN_LABEL),
        softhsm_configuration=_toml(hsm.environment["SOFTHSM2_CONF"]),
        root_sha256=_toml(root_sha256),
    )
    unfinished = home / "config.toml.unfinished"
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(home / "config.toml")


def _toml(value: str) -> str:
    # What JSON escapes in printable text, quotes and backslashes, TOML escapes in the same way.
    return json.dumps(value, ensure_ascii=False)


def require_usable(home: Path) -> None:
    """Refuses a folder that holds something else, or whose name cannot be written down.

    Raises:
        StartupError: it is not a folder, or has content and no sign of ours, or has a name that SoftHSM's configuration
            cannot hold.
    """
    if "#" in str(home) or not str(home).isprintable():
        raise StartupError(
            f"The path {str(home)!r} has a '#' or a character that is not printable, which SoftHSM's configuration "
            "cannot hold. Name another folder.",
            reason=Reason.CONFIGURATION_INVALID,
        )
    if not home.exists():
        return
    if not home.is_dir():
        raise StartupError(f"{home} is not a folder.", reason=Reason.CONFIGURATION_INVALID)
    names = {entry.name for entry in home.iterdir()}
    if names and not names & {"tls", "tls.unfinished", "targets", "config.toml"}:
        raise StartupError(
            f"{home} holds other things already. Name an empty folder, or one that does not exist.",
            reason=Reason.CONFIGURATION_INVALID,
        )
