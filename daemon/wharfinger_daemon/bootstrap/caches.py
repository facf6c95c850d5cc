"""Opens what tells caches of publications."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

from wharfinger_daemon.caches.fastly import FastlyPurger, FastlyService
from wharfinger_daemon.caches.varnish import VarnishPurger
from wharfinger_daemon.config.caches import CachesSettings
from wharfinger_daemon.custody.observing import MetricsObserver
from wharfinger_daemon.metadata.invalidation import CacheInvalidation, CachePurger, PurgeSettings
from wharfinger_daemon.telemetry import Metrics


class Caches:
    """The caches that are told."""

    def __init__(self, invalidations: tuple[CacheInvalidation, ...] = ()) -> None:
        self.invalidations = invalidations

    def notes(self) -> tuple[str, ...]:
        """Which caches cannot be told, and why; whole sentences."""
        return tuple(one.problem for one in self.invalidations if one.problem is not None)


async def open_caches(settings: CachesSettings, metrics: Metrics, stack: AsyncExitStack) -> Caches:
    """Starts to tell the configured caches. To be opened before the publisher, so that it is closed after it."""
    observer = MetricsObserver(metrics)
    invalidations = []
    for purger, when in _purgers(settings):
        invalidation = CacheInvalidation(purger, when, observer)
        await invalidation.start()
        stack.push_async_callback(invalidation.close)
        invalidations.append(invalidation)
    return Caches(tuple(invalidations))


def _purgers(settings: CachesSettings) -> Iterator[tuple[CachePurger, PurgeSettings]]:
    fastly = settings.fastly
    if fastly is not None:
        service = FastlyService(
            fastly.service_id, fastly.token_file, fastly.soft_purge, fastly.api_url, fastly.timeout_seconds
        )
        yield FastlyPurger(service), PurgeSettings(again_after_seconds=fastly.again_after_seconds)
    varnish = settings.varnish
    if varnish is not None:
        for address in varnish.addresses:
            yield (
                VarnishPurger(address, soft=varnish.soft_purge, timeout_seconds=varnish.timeout_seconds),
                PurgeSettings(),
            )
