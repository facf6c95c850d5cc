"""Opens the life of keys in a daemon that signs, and offers it to callers and administrators."""

from __future__ import annotations

from wharfinger.keys.v1 import keys_pb2_grpc
from wharfinger_daemon.bootstrap.signing import SigningJob
from wharfinger_daemon.clock import Clock
from wharfinger_daemon.config import KeyLineSettings, Settings
from wharfinger_daemon.custody.held_keys import TokenLabels
from wharfinger_daemon.custody.opening import startup_errors
from wharfinger_daemon.keys.administration import KeyAdministration
from wharfinger_daemon.keys.importing import MetadataImport
from wharfinger_daemon.keys.lines import KeyLine, KeyLines
from wharfinger_daemon.rpc.keys import KeyAdminServicer, KeyServicer
from wharfinger_daemon.rpc.server import Service
from wharfinger_daemon.signing.suspension import Suspensions
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.keys import SqlKeyRecords
from wharfinger_hsm.group import TokenGroup

KEYS = "wharfinger.keys.v1.KeyService"
KEY_ADMIN = "wharfinger.keys.v1.KeyAdminService"


def key_lines(settings: Settings) -> KeyLines:
    """The key lines of a configuration.

    Raises:
        StartupError: CONFIGURATION_INVALID; a name is taken.
    """
    return KeyLines([_line(one) for one in settings.keys], [one.name for one in settings.repositories])


async def open_keys(settings: Settings, database: Database, signing: SigningJob, clock: Clock) -> KeyAdministration:
    """The life of keys in a daemon that signs. When this returns, signing goes by their states.

    Raises:
        StartupError: key lines and verified metadata do not fit each other.
        UnavailableError: token or database do not answer.
    """
    assert settings.hsm is not None  # The configuration demands it of a process that signs.
    held = TokenLabels(signing.supervisor, signing.service.refresh_held_keys)
    administration = KeyAdministration(
        signing.standing,
        key_lines(settings),
        SqlKeyRecords(database, signing.journal),
        held,
        clock,
        await _reserved(settings, signing.supervisor),
    )
    await administration.start()
    return administration


def key_service(administration: KeyAdministration) -> Service:
    """``KeyService``, for either address: it only reads."""
    servicer = KeyServicer(administration)
    return Service(KEYS, lambda server: keys_pb2_grpc.add_KeyServiceServicer_to_server(servicer, server))


def key_admin_service(administration: KeyAdministration, imports: MetadataImport, suspensions: Suspensions) -> Service:
    """``KeyAdminService``, for the administrative address alone."""
    servicer = KeyAdminServicer(administration, imports, suspensions)
    return Service(KEY_ADMIN, lambda server: keys_pb2_grpc.add_KeyAdminServiceServicer_to_server(servicer, server))


async def _reserved(settings: Settings, tokens: TokenGroup) -> frozenset[bytes]:
    """The keys of the canary and of the log, which sign no metadata."""
    assert settings.hsm is not None  # As above.
    labels = {settings.hsm.canary_key_label, settings.audit.key_label}
    with startup_errors():
        return frozenset(key.public_key for key in await tokens.keys() if key.label in labels)


def _line(settings: KeyLineSettings) -> KeyLine:
    return KeyLine(settings.name, settings.repository, settings.roles, settings.algorithm)
