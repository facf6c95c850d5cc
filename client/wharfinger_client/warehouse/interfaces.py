"""The services that an application asks Pyramid for: ``request.find_service(ISigningService, context=None)``."""

from __future__ import annotations

from zope.interface import Interface


# zope's methods take no self. They are documentation that a program can check (zope.interface.verify).
class ISigningService(Interface):
    """Publishes targets, so that clients see them signed."""

    def create_service(context, request):  # type: ignore[no-untyped-def] # noqa: N805
        """The service for a request."""

    def publish(add, remove):  # type: ignore[no-untyped-def] # noqa: N805
        """Adds or replaces ``Target`` values and removes paths; returns when clients can see the change.

        Repeats safely. Raises ``WharfingerError``; nothing may be served as signed that was not published.
        """

    def published(path):  # type: ignore[no-untyped-def] # noqa: N805
        """The ``Target`` that is published at a path, or None."""


class IScanService(Interface):
    """Scans artifacts."""

    def create_service(context, request):  # type: ignore[no-untyped-def] # noqa: N805
        """The service for a request."""

    def scan(subject, sha256, source):  # type: ignore[no-untyped-def] # noqa: N805
        """Scans an artifact and returns the ``Scan``, or None if nothing is scanned here.

        Repeats safely. Raises ``WharfingerError``, and ``OSError`` if ``source`` cannot be read.
        """
