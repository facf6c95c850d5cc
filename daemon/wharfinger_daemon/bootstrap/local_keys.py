"""Opens the life of keys for a command on the signing host, without a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass

from wharfinger_daemon.bootstrap.keys import key_lines
from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import HsmSettings, Settings
from wharfinger_daemon.custody.held_keys import TokenLabels
from wharfinger_daemon.custody.opening import open_token
from wharfinger_daemon.custody.token_keys import HsmKeys
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.keys.administration import HeldKeys, KeyAdministration
from wharfinger_daemon.keys.lines import KeyLines
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.ports import MetadataStore
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.trust import load_trusted_repository
from wharfinger_daemon.storage.audit_log import begin_log
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.keys import SqlKeyRecords
from wharfinger_daemon.storage.revision import require_current
from wharfinger_daemon.storage.sole_signer import sole_signer
from wharfinger_hsm.group import TokenGroup

_ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class LocalKeys:
    """The life of keys without a daemon.

    Attributes:
        token: None where it was not wanted.
    """

    settings: Settings
    database: Database
    standing: Standing
    journal: Journal
    records: SqlKeyRecords
    lines: KeyLines
    administration: KeyAdministration
    token: TokenGroup | None

    def the_token(self) -> TokenGroup:
        """The token, which was wanted."""
        assert self.token is not None
        return self.token


@asynccontextmanager
async def open_local_keys(
    settings: Settings, clock: Clock, *, token: bool, alone: bool, metadata: bool = True
) -> AsyncIterator[LocalKeys]:
    """The life of keys for a command on the signing host: database and metadata are opened directly.

    Args:
        token: whether to log in to the token, too.
        metadata: whether to verify and trust the repositories; the first key is generated before there is any.
        alone: whether to refuse beside a running daemon, and to keep others out as long as the context lasts.

    Raises:
        StartupError: something cannot be opened, or does not verify; or a daemon runs (PUBLISHER_RUNNING).
    """
    async with AsyncExitStack() as stack:
        stores = {one.name: open_store(one) for one in settings.repositories}
        if alone:
            await require_no_daemon(settings.administration.grpc_address)
            for store in stores.values():
                await store.lock()
                stack.push_async_callback(store.unlock)
        database = stack.enter_context(closing(Database.of(settings.database)))
        require_current(database)
        if alone:
            stack.enter_context(sole_signer(database))
        standing = Standing()
        if metadata:
            await _trust(settings, standing, stores, clock)
        journal, lines = Journal(database), key_lines(settings)
        await asyncio.to_thread(begin_log, journal, settings.audit.origin, clock)
        records = SqlKeyRecords(database, journal)
        group, held = None, None
        if token:
            hsm = require_hsm(settings)
            group = await stack.enter_async_context(open_token(hsm, settings.state_directory))
            held = _held_in(group, standing, hsm)
        administration = KeyAdministration(standing, lines, records, held, clock)
        if alone and token:
            await administration.start()
        yield LocalKeys(settings, database, standing, journal, records, lines, administration, group)


async def look_again(local: LocalKeys, clock: Clock) -> None:
    """Verifies and trusts the repositories as they are now: a running daemon may have taken new metadata in.

    Raises:
        StartupError: something does not verify.
    """
    stores = {one.name: open_store(one) for one in local.settings.repositories}
    await _trust(local.settings, local.standing, stores, clock)


async def _trust(settings: Settings, standing: Standing, stores: Mapping[str, MetadataStore], clock: Clock) -> None:
    for one in settings.repositories:
        files = await including_staged(stores[one.name])
        standing.trust(await load_trusted_repository(one.name, one.root_sha256, files, clock))


def require_hsm(settings: Settings) -> HsmSettings:
    """The token's settings.

    Raises:
        StartupError: CONFIGURATION_INVALID; the configuration has none.
    """
    if settings.hsm is None:
        raise StartupError(
            "This needs the token, and the configuration has no [hsm]. Run it on the signing host.",
            reason=Reason.CONFIGURATION_INVALID,
        )
    return settings.hsm


def _held_in(group: TokenGroup, standing: Standing, hsm: HsmSettings) -> HeldKeys:
    keys = HsmKeys(group, hsm.call_timeout_seconds)

    async def refresh() -> None:
        standing.hold(await keys.public_keys())

    return TokenLabels(group, refresh)


async def require_no_daemon(address: str) -> None:
    """Refuses to go on while a daemon answers at its administrative address.

    Raises:
        StartupError: PUBLISHER_RUNNING.
    """
    # A daemon that only signs locks no store, but it listens. It would not learn of what is changed behind its back.
    host, _, port = address.rpartition(":")
    writer = None
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    if writer is not None:
        writer.close()
        await writer.wait_closed()
        raise StartupError(
            f"A daemon runs and answers at {address}. Stop it first. (A command that has --local asks it without.)",
            reason=Reason.PUBLISHER_RUNNING,
        )
