"""Watching publications over the wire, with both clients, through restarts of the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.support.daemon_process import DaemonProcess
from wharfinger_client import (
    AsyncClient,
    ClientSettings,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    Publication,
    RetryPolicy,
    Target,
    TlsIdentity,
    UnavailableError,
)

REPOSITORY = "development"
PATIENT = RetryPolicy(max_attempts=60, initial_seconds=0.1, max_seconds=0.5)
HASTY = RetryPolicy(max_attempts=1)


def publish(daemon: DaemonProcess, path: str) -> Publication:
    with daemon.client() as client:
        done = client.publish_targets(REPOSITORY, add=[Target(path, 1, {"sha256": "0" * 64})])
    return Publication(done.timestamp_version, done.snapshot_version, done.bin_versions, None)


def without_time(publication: Publication) -> Publication:
    assert publication.published_at is not None
    return Publication(publication.timestamp_version, publication.snapshot_version, publication.bin_versions, None)


def test_a_watcher_hears_of_each_publication_with_its_bins(shared_daemon: DaemonProcess) -> None:
    before = publish(shared_daemon, "packages/before.whl")
    with shared_daemon.client() as client:
        with contextlib.closing(client.watch_publications(REPOSITORY)) as watched:
            assert before.timestamp_version == next(watched).timestamp_version
            for number in range(3):
                assert publish(shared_daemon, f"packages/heard-{number}.whl") == without_time(next(watched))


def test_from_the_beginning_every_version_comes_once_and_in_order(shared_daemon: DaemonProcess) -> None:
    last = publish(shared_daemon, "packages/last.whl").timestamp_version
    with shared_daemon.client() as client:
        seen = []
        for publication in client.watch_publications(REPOSITORY, after=0):
            seen.append(publication)
            if publication.timestamp_version == last:
                break
    assert list(range(1, last + 1)) == [publication.timestamp_version for publication in seen]
    assert 4 == len(seen[0].bin_versions)  # The first one has all bins.


def test_watchers_in_asyncio_hear_the_same_and_stop_when_cancelled(shared_daemon: DaemonProcess) -> None:
    tls = shared_daemon.home / "tls"
    identity = TlsIdentity(ca=tls / "ca.crt", certificate=tls / "warehouse.crt", key=tls / "warehouse.key")

    async def watch() -> list[Publication]:
        async with AsyncClient(ClientSettings(f"127.0.0.1:{shared_daemon.ports['grpc']}", identity)) as client:
            seen: list[Publication] = []
            begun = asyncio.Event()

            async def follow() -> None:
                async for publication in client.watch_publications(REPOSITORY):
                    begun.set()
                    seen.append(publication)

            following = asyncio.create_task(follow())
            async with asyncio.timeout(60):
                await begun.wait()
                done = await client.publish_targets(
                    REPOSITORY, add=[Target("packages/asyncio.whl", 1, {"sha256": "0" * 64})]
                )
                while seen[-1].timestamp_version < done.timestamp_version:
                    await asyncio.sleep(0.01)
            following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await following
            return seen

    seen = asyncio.run(watch())
    versions = [publication.timestamp_version for publication in seen]
    assert list(range(versions[0], versions[0] + len(versions))) == versions


def test_a_watcher_goes_on_through_stops_and_kills_of_the_daemon(home: DaemonProcess) -> None:
    home.start()
    last = publish(home, "packages/first.whl").timestamp_version
    seen: list[int] = []
    with home.client(retry=PATIENT) as client:

        def follow(watched: Iterator[Publication]) -> None:
            for publication in watched:
                seen.append(publication.timestamp_version)
                if publication.timestamp_version >= end:
                    return

        end = last + 4
        following = threading.Thread(target=follow, args=(client.watch_publications(REPOSITORY, after=0),))
        following.start()
        publish(home, "packages/second.whl")
        home.stop()
        home.start()
        publish(home, "packages/third.whl")
        home.kill()
        home.start()
        while publish(home, f"packages/more-{len(seen)}.whl").timestamp_version < end:
            pass
        following.join(60)
    assert list(range(1, seen[-1] + 1)) == seen


def test_a_daemon_that_stops_tells_its_watchers_at_once(home: DaemonProcess) -> None:
    home.start()
    with home.client(retry=HASTY) as client:
        watched = client.watch_publications(REPOSITORY)
        next(watched)
        stopping = threading.Thread(target=home.stop)
        stopping.start()
        with pytest.raises(UnavailableError) as ended:
            next(watched)
        stopping.join(60)
    assert "DRAINING" == ended.value.reason


def test_what_cannot_be_watched_is_refused_with_its_reason(shared_daemon: DaemonProcess) -> None:
    with shared_daemon.client() as client:
        with pytest.raises(NotFoundError):
            next(client.watch_publications("elsewhere"))
        with pytest.raises(InvalidRequestError):
            next(client.watch_publications(REPOSITORY, after=10**9))
    with shared_daemon.client("moderator") as client, pytest.raises(Exception, match="has no grant"):
        next(client.watch_publications(REPOSITORY))


def test_watchers_take_no_place_from_other_calls_and_there_is_a_bound(shared_daemon: DaemonProcess) -> None:
    """As many watchers as there are places for calls: publishing goes on, and one more watcher is refused."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(shared_daemon.client(retry=HASTY))
        for _ in range(64):
            watched = client.watch_publications(REPOSITORY)
            stack.callback(watched.close)
            next(watched)
        with pytest.raises(OverloadedError):
            next(client.watch_publications(REPOSITORY))
        assert publish(shared_daemon, "packages/beside.whl").timestamp_version
