"""A real Varnish, with the rules that we ship, between a real daemon and its clients.

What PEP 458 allows a client to see through a cache: a state that was published, whole, never one before a state that it
has seen, and not much older than the newest.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from tuf.ngclient import Updater

from tests.support.daemon_process import DaemonProcess, poll
from tests.support.varnish_process import VarnishProcess
from wharfinger_client import Target

REPOSITORY = "development"
CONTENT = b"one of many"


def configure(home: DaemonProcess, varnish: VarnishProcess, max_age_seconds: int, *, soft: bool = False) -> None:
    file = home.home / "config.toml"
    text = file.read_text()
    assert "[http]\n" in text
    text = text.replace("[http]\n", f"[http]\ntimestamp_max_age_seconds = {max_age_seconds}\n", 1)
    file.write_text(f'{text}\n[caches.varnish]\naddresses = ["{varnish.address}"]\nsoft_purge = {str(soft).lower()}\n')


@pytest.fixture
def varnish(home: DaemonProcess) -> Iterator[VarnishProcess]:
    """A Varnish for the daemon of ``home``; the test starts both."""
    with tempfile.TemporaryDirectory(prefix="v") as place:
        prepared = VarnishProcess(Path(place), home.ports["http"])
        try:
            yield prepared
        finally:
            prepared.kill()


def target(daemon: DaemonProcess, path: str) -> Target:
    file = daemon.home / "targets" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(CONTENT)
    return Target.from_file(path, str(file))


def publish(daemon: DaemonProcess, path: str) -> int:
    with daemon.client() as client:
        return client.publish_targets(REPOSITORY, add=[target(daemon, path)]).timestamp_version


def updater_through(varnish: VarnishProcess, daemon: DaemonProcess, place: Path) -> Updater:
    for folder in (place / "metadata", place / "targets"):
        folder.mkdir(parents=True, exist_ok=True)
    return Updater(
        str(place / "metadata"),
        f"{varnish.url}/metadata/",
        str(place / "targets"),
        f"{varnish.url}/targets/",
        bootstrap=(daemon.home / "metadata" / "1.root.json").read_bytes(),
    )


def ask(varnish: VarnishProcess, name: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", f"{varnish.url}/metadata/{name}", headers=headers, retries=False)


def seen_timestamp(varnish: VarnishProcess) -> int:
    reply = ask(varnish, "timestamp.json")
    assert 200 == reply.status, reply.data
    return int(json.loads(reply.data)["signed"]["version"])


class Crowd:
    """Threads that do something over and over until they are told to stop; what one raises is raised by ``close``."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def add(self, step: Callable[[], None]) -> None:
        def run() -> None:
            try:
                while not self._over.is_set():
                    step()
            except BaseException as error:  # noqa: BLE001  # Told to the test by ``close``.
                self._errors.append(error)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        if self._errors:
            raise self._errors[0]


class RawReader:
    """Walks timestamp, snapshot and every bin that it names, as bytes; and, as an attacker would, asks for the files of
    the next publication before there are any, so that caches might keep that they are missing."""

    def __init__(self, varnish: VarnishProcess) -> None:
        self._varnish = varnish
        self._pool = urllib3.PoolManager(retries=False)
        self._newest = 0
        self.walks = 0

    def step(self) -> None:
        timestamp = self._get("timestamp.json")["signed"]
        assert timestamp["version"] >= self._newest, "the timestamp went back"
        self._newest = timestamp["version"]
        version = timestamp["meta"]["snapshot.json"]["version"]
        for early in ("snapshot", "bins-0", "bins-1", "bins-2", "bins-3"):
            self._status(f"{version + 1}.{early}.json")
        snapshot = self._get(f"{version}.snapshot.json")["signed"]
        assert version == snapshot["version"]
        for name, described in snapshot["meta"].items():
            named = self._get(f"{described['version']}.{name}")["signed"]
            assert described["version"] == named["version"]
        self.walks += 1

    def close(self) -> None:
        self._pool.clear()

    def _get(self, name: str) -> dict[str, dict[str, object]] | dict[str, dict[str, dict[str, dict[str, int]]]]:
        reply = self._pool.request("GET", f"{self._varnish.url}/metadata/{name}")
        assert 200 == reply.status, f"{name}: {reply.status} {reply.data!r}"
        parsed: dict[str, dict[str, object]] = json.loads(reply.data)
        return parsed

    def _status(self, name: str) -> int:
        return self._pool.request("GET", f"{self._varnish.url}/metadata/{name}").status


def test_no_client_gets_an_inconsistent_or_older_view_while_others_publish(
    home: DaemonProcess, varnish: VarnishProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four of python-tuf's clients and two raw readers, while another publishes as fast as it can for some seconds."""
    configure(home, varnish, 2)
    home.start()
    varnish.start()
    first = publish(home, "packages/first.whl")
    poll(lambda: seen_timestamp(varnish) >= first, "the first publication is seen through the cache")
    published = ["packages/first.whl"]
    refreshes: list[float] = []
    crowd = Crowd()
    readers = [RawReader(varnish) for _ in range(2)]

    def follow(place: Path) -> None:
        path = published[-1]
        begun = time.monotonic()
        client = updater_through(varnish, home, place)
        client.refresh()  # It raises if a version goes back, or a file that is named is missing or another one.
        info = client.get_targetinfo(path)
        refreshes.append(time.monotonic() - begun)
        if info is not None:
            assert CONTENT == Path(client.download_target(info)).read_bytes()

    for number in range(4):
        crowd.add(lambda place=tmp_path / str(number): follow(place))  # type: ignore[misc]
    for reader in readers:
        crowd.add(reader.step)
    end = time.monotonic() + 10
    with home.client() as client:
        while time.monotonic() < end:
            path = f"packages/many-{len(published)}.whl"
            last = client.publish_targets(REPOSITORY, add=[target(home, path)]).timestamp_version
            published.append(path)
    crowd.close()
    for reader in readers:
        reader.close()
    poll(lambda: seen_timestamp(varnish) == last, "the last publication is seen through the cache", 10)
    counters = varnish.counters()
    hits, misses = counters["MAIN.cache_hit"], counters["MAIN.cache_miss"]
    with capsys.disabled():
        print(
            f"\n{len(published)} publications, {len(refreshes)} refreshes, {sum(it.walks for it in readers)} walks; "
            f"Varnish: {hits} hits, {misses} misses, hit ratio {hits / (hits + misses):.1%}"
        )
    assert refreshes and all(reader.walks for reader in readers)
    assert hits > misses


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_a_publication_is_seen_at_once_although_caches_may_keep_the_timestamp_for_long(
    home: DaemonProcess, varnish: VarnishProcess, tmp_path: Path, soft: bool
) -> None:
    """Only the purge can be why: what the cache has would be current for ten minutes more."""
    configure(home, varnish, 600, soft=soft)
    home.start()
    varnish.start()
    before = seen_timestamp(varnish)
    assert before == seen_timestamp(varnish)
    shown = publish(home, "packages/quick.whl")
    poll(lambda: seen_timestamp(varnish) == shown, "the cache was purged", 10)
    info = updater_through(varnish, home, tmp_path).get_targetinfo("packages/quick.whl")
    assert info is not None


def test_what_was_missing_is_found_as_soon_as_it_is_published(home: DaemonProcess, varnish: VarnishProcess) -> None:
    """Whoever asks for files before they are published must not keep others from them."""
    configure(home, varnish, 600)
    home.start()
    varnish.start()
    version = json.loads(ask(varnish, "timestamp.json").data)["signed"]["meta"]["snapshot.json"]["version"]
    for _ in range(2):
        assert 404 == ask(varnish, f"{version + 1}.snapshot.json").status
    publish(home, "packages/awaited.whl")
    assert 200 == ask(varnish, f"{version + 1}.snapshot.json").status


def test_a_cache_that_is_down_delays_no_publication_and_is_told_when_it_is_back(
    home: DaemonProcess, varnish: VarnishProcess
) -> None:
    configure(home, varnish, 600)
    home.start()
    publish(home, "packages/alone.whl")
    ready = f"http://127.0.0.1:{home.ports['http']}/readyz"
    poll(lambda: bool(urllib3.request("GET", ready).json()["notes"]), "readiness has a note of the cache")
    assert 200 == urllib3.request("GET", ready).status
    varnish.start()
    seen_timestamp(varnish)
    shown = publish(home, "packages/together.whl")
    poll(lambda: seen_timestamp(varnish) == shown, "the cache was told", 60)
    poll(lambda: urllib3.request("GET", ready).json()["notes"] == [], "the note is gone")


def test_a_cache_that_was_killed_begins_with_nothing_and_clients_go_on(
    home: DaemonProcess, varnish: VarnishProcess, tmp_path: Path
) -> None:
    configure(home, varnish, 2)
    home.start()
    varnish.start()
    publish(home, "packages/before.whl")
    updater_through(varnish, home, tmp_path).refresh()
    varnish.kill()
    shown = publish(home, "packages/while-away.whl")
    varnish.start()
    assert shown == seen_timestamp(varnish)
    assert updater_through(varnish, home, tmp_path).get_targetinfo("packages/while-away.whl") is not None


def test_without_the_daemon_the_cache_gives_out_what_it_may_and_no_longer(
    home: DaemonProcess, varnish: VarnishProcess
) -> None:
    """Versioned files stay; the timestamp is gone when its life is over: a frozen one would hide what is withdrawn."""
    configure(home, varnish, 4)
    home.start()
    varnish.start()
    assert 200 == ask(varnish, "1.root.json").status
    asked = time.monotonic()
    assert 200 == ask(varnish, "timestamp.json").status
    home.kill()
    statuses: list[tuple[float, int]] = []

    def over() -> bool:
        begun = time.monotonic()
        statuses.append((begun - asked, ask(varnish, "timestamp.json").status))
        return statuses[-1][1] != 200

    poll(over, "the timestamp is given out no longer", 30)
    assert 503 == statuses[-1][1]
    # Varnish counts in whole seconds from the answer's Date; two more are generous.
    assert [] == [age for age, status in statuses if status == 200 and age > 6]
    assert 200 == ask(varnish, "1.root.json").status
    home.start()
    poll(lambda: ask(varnish, "timestamp.json").status == 200, "the daemon is asked again")


def test_what_clients_may_choose_makes_no_other_copy(home: DaemonProcess, varnish: VarnishProcess) -> None:
    configure(home, varnish, 60)
    home.start()
    varnish.start()
    whole = ask(varnish, "1.root.json").data
    for headers in ({"Host": "elsewhere.example.com"}, {"Cookie": "a=b"}, {"Range": "bytes=0-9"}):
        reply = ask(varnish, "1.root.json?x=1", **headers)
        assert (200, whole, "none") == (reply.status, reply.data, reply.headers["accept-ranges"])
    fetched = varnish.counters()["MAIN.s_fetch"]
    assert fetched <= 2  # The health check of this test's start, and the file.


@pytest.mark.parametrize(("path", "status"), [("/readyz", 404), ("/metrics", 404), ("/", 404)])
def test_nothing_but_public_paths_passes(home: DaemonProcess, varnish: VarnishProcess, path: str, status: int) -> None:
    varnish.start()
    assert status == urllib3.request("GET", varnish.url + path, retries=False).status
    assert 405 == urllib3.request("POST", varnish.url + path, retries=False).status
    assert 400 == urllib3.request("PURGE", varnish.url + path, retries=False).status
