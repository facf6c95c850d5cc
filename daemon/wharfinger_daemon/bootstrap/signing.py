"""Opens the signing job: token, ledger, trusted repositories, and the checks that come before any signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from wharfinger_daemon.bootstrap.stores import open_store
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import HsmSettings, Settings, SigningSettings
from wharfinger_daemon.config.signing import VersionJumps as VersionJumpSettings
from wharfinger_daemon.custody.canary import TokenCanary
from wharfinger_daemon.custody.observing import MetricsObserver
from wharfinger_daemon.custody.opening import open_token, startup_errors
from wharfinger_daemon.custody.token_keys import HsmKeys
from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.metadata.intake import including_staged
from wharfinger_daemon.metadata.published import published_versions
from wharfinger_daemon.signing.model import ExpiryCeilings, RoleType, SigningPolicy, VersionJumps
from wharfinger_daemon.signing.service import SigningService
from wharfinger_daemon.signing.standing import Standing
from wharfinger_daemon.signing.suspension import Suspensions
from wharfinger_daemon.signing.trust import TrustedRepository, load_trusted_repository
from wharfinger_daemon.storage.audit_log import begin_log
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger
from wharfinger_daemon.storage.recovery import newest_epoch
from wharfinger_daemon.storage.revision import require_current
from wharfinger_daemon.storage.sole_signer import sole_signer
from wharfinger_daemon.storage.suspensions import SqlSuspensions
from wharfinger_daemon.telemetry import Metrics
from wharfinger_hsm.group import TokenGroup

log = structlog.get_logger()

_STANDBY_SECONDS = 1.0


@dataclass(frozen=True)
class SigningJob:
    """What the rest of the daemon uses of signing.

    Attributes:
        fenced: set when another process has taken the place of this one.
    """

    service: SigningService
    standing: Standing
    journal: Journal
    suspensions: Suspensions
    keys: HsmKeys
    supervisor: TokenGroup
    canary: TokenCanary
    fenced: asyncio.Event


async def open_signing(
    settings: Settings,
    database: Database,
    clock: Clock,
    metrics: Metrics,
    stack: AsyncExitStack,
    following: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> SigningJob:
    """Starts the HSM workers, verifies the repositories, and compares keys and ledger with what is published.

    Args:
        following: what to do while another signs, where this process may stand by.

    Raises:
        StartupError: something does not fit; nothing was signed.
    """
    assert settings.hsm is not None  # The configuration demands it of a process that signs.
    fenced = await take_place(database, stack, following if settings.database.standby else None)
    supervisor = await stack.enter_async_context(open_token(settings.hsm, settings.state_directory))
    keys = HsmKeys(supervisor, settings.hsm.call_timeout_seconds)
    stores = {one.name: open_store(one) for one in settings.repositories}
    trusted: list[TrustedRepository] = [
        await load_trusted_repository(
            one.name,
            one.root_sha256,
            await including_staged(stores[one.name]),
            clock,
            epoch_number=await epoch_number(database, one.root_sha256),
        )
        for one in settings.repositories
    ]
    for one in trusted:
        for role in one.expired_at(clock.now()):
            log.error("expired", repository=one.name, role=role, message="Clients refuse it. Sign a new one offline.")
    standing, journal = Standing(trusted), Journal(database)
    await asyncio.to_thread(begin_log, journal, settings.audit.origin, clock)
    suspensions = Suspensions(SqlSuspensions(journal), standing, clock)
    await suspensions.load()
    policy = replace(_policy(settings.signing), min_seconds=settings.grpc.min_deadline_seconds)
    service = SigningService(standing, SqlLedger(journal), keys, policy, clock, MetricsObserver(metrics))
    await service.verify_keys_held()
    for name, store in stores.items():
        await service.verify_ledger(name, await published_versions(store))
    canary = await _canary(settings.hsm, supervisor, keys)
    return SigningJob(service, standing, journal, suspensions, keys, supervisor, canary, fenced)


async def take_place(
    database: Database, stack: AsyncExitStack, following: Callable[[], AbstractAsyncContextManager[None]] | None
) -> asyncio.Event:
    """Becomes the sole signer.

    Args:
        following: what to do while another has the place, if this process is to wait for it. The database may be away
            meanwhile.

    Returns:
        What is set when another has taken the place.

    Raises:
        StartupError: another has the place; or the database was upgraded while this one waited.
    """
    loop, fenced = asyncio.get_running_loop(), asyncio.Event()
    waits = False
    async with AsyncExitStack() as meanwhile:
        while True:
            try:
                stack.enter_context(sole_signer(database, lambda: _tell(loop, fenced)))
                break
            except (StartupError, UnavailableError) as error:
                if following is None:
                    raise
                if not waits:
                    log.info("standing by", message=error.message)
                    await meanwhile.enter_async_context(following())
                waits = True
            await asyncio.sleep(_STANDBY_SECONDS)
    if waits:
        log.info("took the place of the signer")
        require_current(database)
    return fenced


def _tell(loop: asyncio.AbstractEventLoop, fenced: asyncio.Event) -> None:
    # The event loop may have ended meanwhile.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(fenced.set)


async def epoch_number(database: Database, repository: str) -> int:
    """The epoch that counts for a repository, by its identity."""
    epoch, _ = await database.read(lambda connection: newest_epoch(connection, repository))
    return epoch.number


async def _canary(hsm: HsmSettings, supervisor: TokenGroup, keys: HsmKeys) -> TokenCanary:
    with startup_errors():
        named = [key for key in await supervisor.keys() if key.label == hsm.canary_key_label]
    if len(named) != 1:
        raise StartupError(
            f"The token has {len(named)} keys with the label '{hsm.canary_key_label}', and health checks need exactly "
            "one. Generate one, or name another in hsm.canary_key_label.",
            reason=Reason.KEY_MISMATCH,
        )
    return TokenCanary(keys, named[0].public_key, hsm.call_timeout_seconds)


def _policy(signing: SigningSettings) -> SigningPolicy:
    ceilings = signing.expiry_ceilings
    return SigningPolicy(
        expiry_ceilings=ExpiryCeilings(
            root=timedelta(days=ceilings.root_days),
            targets=timedelta(days=ceilings.targets_days),
            bins=timedelta(hours=ceilings.bins_hours),
            snapshot=timedelta(hours=ceilings.snapshot_hours),
            timestamp=timedelta(hours=ceilings.timestamp_hours),
            by_role=tuple((role, timedelta(hours=hours)) for role, hours in ceilings.roles_hours.items()),
        ),
        max_version_jump=signing.max_version_jump,
        version_jumps=_version_jumps(signing.version_jumps),
        max_batch=signing.max_batch,
    )


def _version_jumps(jumps: VersionJumpSettings) -> VersionJumps:
    by_type = ((kind, getattr(jumps, kind.value)) for kind in RoleType)
    return VersionJumps(
        by_type=tuple((kind, bound) for kind, bound in by_type if bound is not None),
        by_role=tuple(jumps.roles.items()),
    )
