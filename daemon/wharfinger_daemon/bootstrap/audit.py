"""Opens the audit log of a daemon that signs: its beginning, its key, the check of what was signed, the checkpoints."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from wharfinger.audit.v1 import audit_pb2_grpc
from wharfinger_daemon.audit.checkpoint import CheckpointError, LogKey, parse_vkey
from wharfinger_daemon.audit.checkpointer import KEPT_CHECKPOINT, Checkpointer, KeptCheckpoint, require_consistent
from wharfinger_daemon.bootstrap.signing import SigningJob
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import Settings
from wharfinger_daemon.custody.log_key import LogSigner
from wharfinger_daemon.custody.observing import MetricsObserver
from wharfinger_daemon.custody.opening import startup_errors
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.rpc.audit import AuditServicer
from wharfinger_daemon.rpc.server import Service
from wharfinger_daemon.storage.audit_log import SqlAuditLog
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.telemetry import Metrics
from wharfinger_hsm.group import TokenGroup

AUDIT = "wharfinger.audit.v1.AuditService"


@dataclass(frozen=True)
class AuditJob:
    """What the rest of the daemon uses of the log."""

    log: SqlAuditLog
    checkpointer: Checkpointer


async def open_audit(
    settings: Settings, database: Database, signing: SigningJob, clock: Clock, metrics: Metrics, stack: AsyncExitStack
) -> AuditJob:
    """Checks the log against what was signed of it, and goes on signing checkpoints.

    Raises:
        StartupError: LOG_INVALID, or KEY_MISMATCH when the token lacks the log's key.
    """
    assert settings.hsm is not None  # The configuration demands it of a process that signs.
    log, kept = SqlAuditLog(database), KeptCheckpoint(settings.state_directory / KEPT_CHECKPOINT)
    key = _log_key(await log.origin(), await _public_key(settings, signing.supervisor))
    last = await require_consistent(log, [key, *_previous(settings)], kept)
    checkpointer = Checkpointer(
        log,
        key,
        LogSigner(signing.keys, key.public_key, settings.hsm.call_timeout_seconds),
        kept,
        clock,
        settings.audit.checkpoint_seconds,
        MetricsObserver(metrics),
    )
    checkpointer.start(last)
    stack.push_async_callback(checkpointer.close)
    return AuditJob(log, checkpointer)


def audit_service(job: AuditJob) -> Service:
    """``AuditService``, for either address: it only reads."""
    servicer = AuditServicer(job.log)
    return Service(AUDIT, lambda server: audit_pb2_grpc.add_AuditServiceServicer_to_server(servicer, server))


async def _public_key(settings: Settings, token: TokenGroup) -> bytes:
    label = settings.audit.key_label
    with startup_errors():
        named = {key.public_key for key in await token.keys() if key.label == label}
    if len(named) != 1:
        raise StartupError(
            f"The token has {len(named)} keys with the label '{label}', and the audit log needs exactly one to sign "
            "its checkpoints. Generate one with 'wharfinger keys generate log', or name another in audit.key_label.",
            reason=Reason.KEY_MISMATCH,
        )
    return named.pop()


def _log_key(origin: str, public_key: bytes) -> LogKey:
    try:
        return LogKey(origin, public_key)
    except ValueError as error:
        raise StartupError(
            f"The audit log's key cannot sign checkpoints: {error}. Name another in audit.key_label.",
            reason=Reason.KEY_MISMATCH,
        ) from error


def _previous(settings: Settings) -> list[LogKey]:
    try:
        return [parse_vkey(vkey) for vkey in settings.audit.previous_vkeys]
    except CheckpointError as error:
        raise StartupError(f"audit.previous_vkeys: {error}", reason=Reason.CONFIGURATION_INVALID) from error
