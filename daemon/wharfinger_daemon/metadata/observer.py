"""Who is told of publications, for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from wharfinger_daemon.metadata.planning import Publication


class PublicationObserver(Protocol):
    """Told of what happened. It must not raise."""

    def published(self, publication: Publication) -> None:
        """Clients can see a publication."""
        ...

    def spliced_wrongly(self) -> None:
        """A bin that was made of its last file was not what the rows say; it was not published."""
        ...

    def expires(self, earliest: Mapping[str, datetime]) -> None:
        """When ``timestamp``, ``snapshot`` and the first of the ``bins`` that clients see expire. Told at the start and
        after each publication."""
        ...


class SilentObserver:
    """Does nothing."""

    def published(self, publication: Publication) -> None:
        """Nobody counts."""

    def spliced_wrongly(self) -> None:
        """Nobody is alarmed."""

    def expires(self, earliest: Mapping[str, datetime]) -> None:
        """Nobody watches."""
