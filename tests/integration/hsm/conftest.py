"""A SoftHSM token, supervisors that are closed after each test, and workers that misbehave."""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.model import Digest, KeyAlgorithm, SigningItem, TokenSettings
from wharfinger_hsm.softhsm import SoftHsmToken, create_token
from wharfinger_hsm.supervisor import HsmSupervisor

PIN = "integration-1234"

# Quick to notice and quick to recover, and generous enough for a busy machine.
LIMITS = SupervisorLimits(allowance=0.3, allowance_per_item=0.0, first_backoff=0.02, longest_backoff=0.2, keys=20.0)


@dataclass(frozen=True)
class SoftHsm:
    created: SoftHsmToken
    settings: TokenSettings

    @property
    def tokens(self) -> Path:
        """The directory that holds the token's objects."""
        return self.created.configuration.parent / "tokens"

    @property
    def pin_file(self) -> Path:
        return self.settings.pin_file


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token made once; each test gets a copy."""
    directory = tmp_path_factory.mktemp("pristine")
    create_token(directory, "integration", PIN, "officer-5678")
    return directory


@pytest.fixture
def softhsm(pristine: Path, tmp_path: Path) -> SoftHsm:
    directory = tmp_path / "softhsm"
    shutil.copytree(pristine, directory)
    # The token is there already, so this only writes a configuration that names the copy.
    created = create_token(directory, "integration", PIN, "officer-5678")
    pin_file = tmp_path / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(f"{PIN}\n")
    return SoftHsm(created, created.settings(pin_file))


StartSupervisor = Callable[..., Awaitable[HsmSupervisor]]


@pytest.fixture
async def start_supervisor() -> AsyncIterator[StartSupervisor]:
    started: list[HsmSupervisor] = []

    async def start(settings: TokenSettings, **options: object) -> HsmSupervisor:
        supervisor = HsmSupervisor(settings, **({"limits": LIMITS} | options))  # type: ignore[arg-type]
        started.append(supervisor)
        await supervisor.start()
        return supervisor

    yield start
    for supervisor in started:
        await supervisor.close()


@dataclass(frozen=True)
class Script:
    """A scripted worker's command, and how often it was started."""

    command: tuple[str, ...]
    marker: Path

    @property
    def starts(self) -> int:
        return len(self.marker.read_text().splitlines()) if self.marker.exists() else 0


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Script]:
    def scripted(mode: str) -> Script:
        marker = tmp_path / f"{mode}.marker"
        program = Path(__file__).with_name("scripted_worker.py")
        return Script((sys.executable, "-I", str(program), mode, str(marker)), marker)

    return scripted


@pytest.fixture
def no_token(tmp_path: Path) -> TokenSettings:
    """Settings for scripted workers, which open nothing."""
    return TokenSettings(tmp_path / "module.so", "none", tmp_path / "pin")


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    async def poll(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "It did not come true within 20 seconds."
            await asyncio.sleep(0.01)

    return poll


@pytest.fixture
def item() -> SigningItem:
    """Something to sign with a key that no token needs to hold."""
    from wharfinger_hsm.memory_token import MemoryToken

    key = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere")
    return SigningItem(key.public_key, Digest(b"d" * 32))


@pytest.fixture
def worker_pids() -> Callable[[HsmSupervisor], list[int]]:
    """The process ids of a supervisor's workers. There is no public way to them, because nobody else should want it."""

    def process_ids(supervisor: HsmSupervisor) -> list[int]:
        workers = [slot._worker for slot in supervisor._crew.slots]
        return [worker.process_id for worker in workers if worker is not None]

    return process_ids
