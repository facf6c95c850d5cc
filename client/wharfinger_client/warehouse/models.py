"""What the integration needs to know of the application's own models, and the application answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from wharfinger_client._artifact import ArtifactSource
from wharfinger_client.scanning import Scan, Subject


@dataclass(frozen=True)
class SimplePages:
    """The rendered simple pages of a project.

    Attributes:
        pages: the content by target path, such as ``simple/example/index.html`` and ``simple/example/index.json``.
            All representations belong here, because a client resolves through any one of them.
    """

    pages: Mapping[str, bytes]


@dataclass(frozen=True)
class Upload:
    """A file to scan.

    Attributes:
        sha256: the digest that the application recorded, in lower-case hexadecimal.
        source: the content, or where it is. Not read while a transaction is open.
    """

    subject: Subject
    sha256: str
    source: ArtifactSource


class Models(Protocol):
    """The application's side. Methods with a session run in a short transaction that ends before any call is made."""

    def project_of(self, instance: Any) -> str | None:
        """The normalized name of the project whose simple pages a new, changed or deleted object affects, or None.

        Called during a flush: it must not query. For Projects, Releases and Files it is the project's name.
        """

    def upload_of(self, instance: Any) -> str | None:
        """The id of the file that a new object is, or None if it is nothing that is scanned."""

    def page_paths(self, project: str) -> tuple[str, ...]:
        """The target paths of a project's pages, whether it exists or not."""

    def render(self, session: Session, project: str) -> SimplePages | None:
        """The pages as they must be now, or None if there must be none: the project is gone.

        Quarantined and yanked files are left out or marked, as the application's index does.
        """

    def store(self, name: str, content: bytes) -> None:
        """Stores a page for good under a name that contains its digest, durably, before it is published.

        Storing the same name again is harmless: it has the same content.
        """

    def upload(self, session: Session, file_id: str) -> Upload | None:
        """What to scan, or None if the file is gone."""

    def record_scan(self, session: Session, file_id: str, scan: Scan) -> None:
        """Records what a scan said, such as an Observation of kind ``is_scanner_match`` for a threat.

        May be called again for the same ``scan.scan_id``, and must then record nothing new.
        """

    def projects_after(self, session: Session, project: str, limit: int) -> tuple[str, ...]:
        """The next normalized names in order of code points after a name; the empty name for the first."""
