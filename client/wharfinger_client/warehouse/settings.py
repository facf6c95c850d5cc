"""The settings ``wharfinger.*`` of a Pyramid application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from wharfinger_client.errors import SettingsError
from wharfinger_client.settings import ClientSettings, Deadlines, RetryPolicy, TlsIdentity

_PREFIX = "wharfinger."
_OPTIONAL: dict[str, str] = {
    "backend": "null",
    "repository": "pypi",
    "address": "",
    "tls.ca": "",
    "tls.certificate": "",
    "tls.key": "",
    "tls.server_name": "",
    "deadline.read": "10",
    "deadline.publish": "60",
    "deadline.scan": "150",
}


@dataclass(frozen=True)
class WarehouseSettings:
    """What the application was told.

    Attributes:
        backend: ``grpc``, or ``null`` for no daemon at all.
        repository: the name of the repository in the daemon's configuration.
        client: how to reach the daemon; None if ``backend`` is ``null``.
        deadlines: in seconds.
    """

    backend: str
    repository: str
    client: ClientSettings | None
    deadlines: Deadlines

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Self:
        """Reads the settings that begin with ``wharfinger.``; files are read when the first call is made.

        Raises:
            SettingsError: a setting is unknown, missing or not usable.
        """
        given = {name.removeprefix(_PREFIX): value for name, value in settings.items() if name.startswith(_PREFIX)}
        unknown = sorted(given.keys() - _OPTIONAL.keys())
        if unknown:
            raise SettingsError(f"The setting {_PREFIX}{unknown[0]} is not known; see {', '.join(_OPTIONAL)}.")
        told = _OPTIONAL | {name: str(value) for name, value in given.items()}
        if told["backend"] not in ("grpc", "null"):
            raise SettingsError(f"{_PREFIX}backend is '{told['backend']}'; it must be grpc or null.")
        deadlines = Deadlines(**{name: _seconds(told, f"deadline.{name}") for name in ("read", "publish", "scan")})
        client = _client_settings(told, deadlines) if told["backend"] == "grpc" else None
        return cls(told["backend"], told["repository"], client, deadlines)


def _client_settings(told: Mapping[str, str], deadlines: Deadlines) -> ClientSettings:
    for name in ("address", "tls.ca", "tls.certificate", "tls.key"):
        if not told[name]:
            raise SettingsError(f"{_PREFIX}{name} is missing; the backend grpc needs it.")
    identity = TlsIdentity(told["tls.ca"], told["tls.certificate"], told["tls.key"], told["tls.server_name"])
    # Celery tries again after longer pauses, without keeping a worker busy: two attempts here bridge a reconnection.
    return ClientSettings(told["address"], identity, deadlines, RetryPolicy(max_attempts=2))


def _seconds(told: Mapping[str, str], name: str) -> float:
    try:
        seconds = float(told[name])
    except ValueError:
        raise SettingsError(f"{_PREFIX}{name} is '{told[name]}'; it must be a number of seconds.") from None
    if not 0 < seconds < 3600:
        raise SettingsError(f"{_PREFIX}{name} must be more than 0 and less than 3600 seconds.")
    return seconds
