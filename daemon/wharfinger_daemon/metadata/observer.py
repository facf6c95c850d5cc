"""Who is told of publications, for metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from wharfinger_daemon.metadata.planning import Publication


class PublicationObserver(Protocol):
    """Told of what happened. It must not raise."""

    def published(self, publication: Publication) -> None:
        """Clients can see a publication."""
        ...

    def signed_bins(self, number: int, of: int) -> None:
        """So many bins of a publication that is being made are signed, and in the store."""
        ...

    def spliced_wrongly(self) -> None:
        """A bin that was made of its last file was not what the rows say; it was not published."""
        ...

    def expires(self, earliest: Mapping[str, datetime]) -> None:
        """When what clients see expires, by kind: ``root``, the offline roles by name, ``snapshot``, ``timestamp``, and
        as ``bin-n`` the hash bin that expires first. Kinds that are not named expire as was told before. Told at the
        start and after each publication; of a root at the start and when one was imported."""
        ...

    def renewals_due(self, number: int) -> None:
        """So many roles are due to be renewed. Told at each check, before they are."""
        ...

    def swept(self, files: int) -> None:
        """So many files that nobody uses any more were removed."""
        ...


class SilentObserver:
    """Does nothing."""

    def published(self, publication: Publication) -> None:
        """Nobody counts."""

    def signed_bins(self, number: int, of: int) -> None:
        """Nobody waits."""

    def spliced_wrongly(self) -> None:
        """Nobody is alarmed."""

    def expires(self, earliest: Mapping[str, datetime]) -> None:
        """Nobody watches."""

    def renewals_due(self, number: int) -> None:
        """Nobody worries."""

    def swept(self, files: int) -> None:
        """Nobody sees what is gone."""


class PublicationListener(Protocol):
    """Told of publications alone. It must not raise, and must return at once."""

    def published(self, publication: Publication) -> None:
        """Clients can see a publication."""
        ...


class Announcing:
    """An observer, and listeners that hear of publications too, after it.

    Args:
        observer: is told everything.
    """

    def __init__(self, observer: PublicationObserver, listeners: Sequence[PublicationListener]) -> None:
        self._listeners = (observer, *listeners)
        self.signed_bins = observer.signed_bins
        self.spliced_wrongly = observer.spliced_wrongly
        self.expires = observer.expires
        self.renewals_due = observer.renewals_due
        self.swept = observer.swept

    def published(self, publication: Publication) -> None:
        """Tells everybody."""
        for listener in self._listeners:
            listener.published(publication)
