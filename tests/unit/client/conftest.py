"""One set of tests for both clients: a real server, and a way to call it that hides which client calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.client.fake_daemon import Authority, FakeDaemon
from wharfinger_client import AsyncClient, Client, ClientSettings


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def daemon(authority: Authority) -> Iterator[FakeDaemon]:
    running = FakeDaemon(authority)
    yield running
    running.stop()


@pytest.fixture
def settings(daemon: FakeDaemon, authority: Authority) -> ClientSettings:
    return ClientSettings(daemon.address, authority.caller())


@dataclass
class FakeTime:
    """Time that passes only when somebody sleeps, and dice that always show ``luck``."""

    now: float = 0.0
    luck: float = 1.0
    pauses: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def random(self) -> float:
        return self.luck

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@dataclass(frozen=True)
class Caller:
    """Calls a method of one kind of client by name, and returns its result, or the list that it iterates over."""

    kind: str
    settings: ClientSettings
    time: FakeTime

    def __call__(self, method: str, *arguments: Any, settings: ClientSettings | None = None, **named: Any) -> Any:
        chosen = settings or self.settings
        if self.kind == "blocking":
            return self._block(chosen, lambda client: getattr(client, method)(*arguments, **named))
        return asyncio.run(self._await(chosen, lambda client: getattr(client, method)(*arguments, **named)))

    def each(self, method: str, take: Callable[[Any], None], *arguments: Any, **named: Any) -> None:
        """Calls a method that iterates, and gives each item to ``take``, also those before an error."""

        def block(client: Client) -> None:
            for item in getattr(client, method)(*arguments, **named):
                take(item)

        async def wait(client: AsyncClient) -> None:
            async with contextlib.aclosing(getattr(client, method)(*arguments, **named)) as items:
                async for item in items:
                    take(item)

        if self.kind == "blocking":
            self._block(self.settings, block)
        else:
            asyncio.run(self._await(self.settings, wait))

    def _block(self, settings: ClientSettings, call: Callable[[Client], Any]) -> Any:
        time = self.time
        with Client(settings, sleep=time.sleep, monotonic=time.monotonic, chance=time.random) as client:
            result = call(client)
            return list(result) if isinstance(result, Iterator) else result

    async def _await(self, settings: ClientSettings, call: Callable[[AsyncClient], Any]) -> Any:
        time = self.time
        async with AsyncClient(
            settings, sleep=time.sleep_async, monotonic=time.monotonic, chance=time.random
        ) as client:
            result = call(client)
            if hasattr(result, "__aiter__"):
                async with contextlib.aclosing(result):
                    return [item async for item in result]
            return await result


@pytest.fixture(params=["blocking", "asyncio"])
def call(request: pytest.FixtureRequest, settings: ClientSettings, fake_time: FakeTime) -> Caller:
    return Caller(request.param, settings, fake_time)
