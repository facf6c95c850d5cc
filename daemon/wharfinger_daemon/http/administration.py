"""What administrators and their monitoring read, on an address that shares no origin with the CDN's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route


class _Shown:
    """What a registry collects, without the ``_created`` samples, which double everything and which nobody reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def build_administration_app(registry: CollectorRegistry, review: Sequence[BaseRoute] = ()) -> Starlette:
    """The application for the administrative address: ``/metrics`` in Prometheus' text format, and the review pages.

    Args:
        review: the routes of the review pages.
    """

    shown = _Shown(registry)

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(shown), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = Starlette(routes=[Route("/metrics", metrics), *review])
    app.router.redirect_slashes = False
    return app
