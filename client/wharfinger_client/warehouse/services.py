"""The services: over gRPC, and those that do nothing, for development without a daemon.

All gRPC services of an application share one client. It connects at the first call in each process, so that an
application that is loaded before its server or its Celery worker forks is safe.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Self

from zope.interface import implementer

from wharfinger_client._artifact import ArtifactSource
from wharfinger_client.client import Client
from wharfinger_client.errors import NotFoundError
from wharfinger_client.metadata import Target
from wharfinger_client.scanning import Scan, Subject
from wharfinger_client.warehouse.interfaces import IScanService, ISigningService
from wharfinger_client.warehouse.settings import WarehouseSettings

CLIENT_KEY = "wharfinger.client"
SETTINGS_KEY = "wharfinger.settings"


class NothingIsSignedWarning(UserWarning):
    """The application runs without a daemon. Tests and development only."""


@implementer(ISigningService)
class GrpcSigningService:
    """Publishes through the daemon."""

    def __init__(self, client: Client, repository: str) -> None:
        self._client = client
        self._repository = repository

    @classmethod
    def create_service(cls, context: Any, request: Any) -> Self:
        """The service, with the client that the application shares."""
        settings: WarehouseSettings = request.registry[SETTINGS_KEY]
        return cls(request.registry[CLIENT_KEY], settings.repository)

    def publish(self, add: Iterable[Target], remove: Iterable[str]) -> None:
        """See ``ISigningService.publish``."""
        self._client.publish_targets(self._repository, add=add, remove=remove)

    def published(self, path: str) -> Target | None:
        """See ``ISigningService.published``."""
        try:
            return self._client.get_target(self._repository, path).target
        except NotFoundError as error:
            if error.reason != "TARGET_NOT_FOUND":
                raise
            return None


@implementer(IScanService)
class GrpcScanService:
    """Scans through the daemon."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    def create_service(cls, context: Any, request: Any) -> Self:
        """The service, with the client that the application shares."""
        return cls(request.registry[CLIENT_KEY])

    def scan(self, subject: Subject, sha256: str, source: ArtifactSource) -> Scan | None:
        """See ``IScanService.scan``."""
        return self._client.scan_file(source, subject=subject, sha256=sha256).scan


@implementer(ISigningService)
class NullSigningService:
    """Publishes nothing, and says so when it is made."""

    def __init__(self) -> None:
        warnings.warn(
            "NullSigningService publishes nothing: no client sees signed metadata. Use it in development only.",
            NothingIsSignedWarning,
            stacklevel=2,
        )

    @classmethod
    def create_service(cls, context: Any, request: Any) -> Self:
        """The service."""
        return cls()

    def publish(self, add: Iterable[Target], remove: Iterable[str]) -> None:
        """Does nothing."""

    def published(self, path: str) -> Target | None:
        """None: nothing is published."""
        return None


@implementer(IScanService)
class NullScanService:
    """Scans nothing."""

    @classmethod
    def create_service(cls, context: Any, request: Any) -> Self:
        """The service."""
        return cls()

    def scan(self, subject: Subject, sha256: str, source: ArtifactSource) -> Scan | None:
        """None: nothing is scanned, which is not a verdict."""
        return None
