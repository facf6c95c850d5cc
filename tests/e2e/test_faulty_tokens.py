"""A daemon whose token returns errors, hangs, crashes, lies, or is a network away: callers may retry, and it heals."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.security.attacker import ONCE, REPOSITORY, canonical, doubled_versions, later, published, target
from tests.support.daemon_process import DaemonProcess, poll
from tests.support.fault_module.faults import Fault, FaultModule, build
from tests.support.fault_module.p11_kit_server import P11KitServer
from tests.support.repository import VersionWitness, targets_of
from wharfinger_client import Client, SigningItem, UnavailableError, WharfingerError
from wharfinger_hsm.softhsm import find_module


@pytest.fixture(scope="module")
def fault_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fault-module"))


def configure(home: DaemonProcess, module: Path, environment: dict[str, str]) -> None:
    """Puts another module before the home's token, and lets the daemon notice soon what is wrong with it."""
    file = home.home / "config.toml"
    text = re.sub(r"(?m)^module = .*$", f'module = "{module}"', file.read_text())
    text = text.replace("[hsm]\n", "[hsm]\ncall_timeout_seconds = 1\ncanary_interval_seconds = 0.5\n")
    for name, value in environment.items():
        text = text.replace("[hsm.environment]\n", f'[hsm.environment]\n{name} = "{value}"\n')
    file.write_text(text)


@pytest.fixture
def faults(home: DaemonProcess, fault_module: Path, tmp_path: Path) -> FaultModule:
    """The fault module before the token of `home`, whose daemon does not run yet."""
    prepared = FaultModule(fault_module, tmp_path / "faults", find_module())
    configure(home, prepared.module, prepared.environment)
    return prepared


def sign(client: Client, number: int) -> None:
    """A timestamp of a version that nothing was signed for yet. Raises `WharfingerError`."""
    signed = later(published(client, "timestamp"), by=number)
    client.sign([SigningItem(REPOSITORY, canonical(signed))])


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        (Fault("C_Sign", "hang"), "UNAVAILABLE", "TOKEN_UNAVAILABLE"),
        (Fault("C_Sign", "crash"), "UNAVAILABLE", "TOKEN_UNAVAILABLE"),
        (Fault("C_SignInit", "expire"), "UNAVAILABLE", "TOKEN_UNAVAILABLE"),
        (Fault.returns("C_SignInit", "CKR_DEVICE_REMOVED"), "UNAVAILABLE", "TOKEN_UNAVAILABLE"),
        (Fault.returns("C_SignInit", "CKR_OBJECT_HANDLE_INVALID"), "UNAVAILABLE", "TOKEN_UNAVAILABLE"),
        (Fault("C_Sign", "flip"), "UNAVAILABLE", "SIGNATURE_INVALID"),
        (Fault.returns("C_SignInit", "CKR_MECHANISM_INVALID"), "FAILED_PRECONDITION", "KEY_NOT_HELD"),
    ],
    ids=["hangs", "crashes", "session expired", "device removed", "key missing", "lies", "cannot sign"],
)
def test_a_token_that_fails_is_told_to_callers_and_heals(
    home: DaemonProcess, faults: FaultModule, fault: Fault, code: str, reason: str
) -> None:
    home.start()
    assert home.process is not None
    with home.client(retry=ONCE) as client:
        sign(client, 1)
        faults.plan(fault)

        with pytest.raises(WharfingerError) as raised:
            # A worker that the canary has lost just now may still be replaced: the fault itself is met soon.
            for _ in range(100):
                reached_the_fault(client, reason)

        assert (code, reason) == (raised.value.code, raised.value.reason)
        assert (code == "UNAVAILABLE") == (raised.value.retry_after is not None)
        faults.plan()
        poll(lambda: signs(client, 3), "the token heals")
    assert home.process.poll() is None
    assert 0 == home.stop()
    assert [] == doubled_versions(home)


def reached_the_fault(client: Client, reason: str) -> None:
    """Signs; an error of another reason than the one waited for is no answer yet, if it says: try again."""
    try:
        sign(client, 2)
    except UnavailableError as error:
        if error.reason == reason:
            raise


def signs(client: Client, number: int) -> bool:
    try:
        sign(client, number)
    except WharfingerError:
        return False
    return True


# ---- PINs ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", ["CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED", "CKR_VENDOR_DEFINED"])
def test_a_refused_pin_is_sent_once_whatever_the_service_manager_does(
    home: DaemonProcess, faults: FaultModule, code: str
) -> None:
    faults.plan(Fault.returns("C_Login", code))
    for _ in range(3):
        home.start(wait=False)
        assert 78 == home.ended()

    assert 1 == faults.calls("C_Login")
    assert "PIN" in home.log()
    faults.plan()
    (pin_file,) = pin_files(home)
    pin_file.write_text(pin_file.read_text())  # A person has looked at it.
    home.start()
    assert 2 == faults.calls("C_Login")


def test_a_token_that_is_about_to_lock_is_sent_no_pin(home: DaemonProcess, faults: FaultModule) -> None:
    faults.plan(Fault("C_GetTokenInfo", "flag", 0x00020000))  # CKF_USER_PIN_FINAL_TRY
    home.start(wait=False)

    assert (78, 0) == (home.ended(), faults.calls("C_Login"))


def test_a_pin_refused_while_the_daemon_runs_is_remembered_by_the_next(
    home: DaemonProcess, faults: FaultModule
) -> None:
    home.start()
    with home.client(retry=ONCE) as client:
        sign(client, 1)
        sent = faults.calls("C_Login")
        faults.plan(Fault("C_SignInit", "crash").once(), Fault.returns("C_Login", "CKR_PIN_LOCKED"))
        poll(lambda: faults.calls("C_Login") == sent + 1, "the PIN is refused to the next worker")
        poll(lambda: "No more HSM workers are started" in home.log(), "the daemon gives the PIN up")
        with pytest.raises(UnavailableError) as raised:
            sign(client, 2)
        assert "TOKEN_UNAVAILABLE" == raised.value.reason
    assert home.process is not None and home.process.poll() is None
    home.kill()  # Without a chance to write anything down now.

    home.start(wait=False)

    assert (78, sent + 1) == (home.ended(), faults.calls("C_Login"))


def pin_files(home: DaemonProcess) -> list[Path]:
    (named,) = re.findall(r'(?m)^pin_file = "(.*)"$', (home.home / "config.toml").read_text())
    return [home.home / named]


@pytest.mark.long
def test_a_module_that_hangs_in_c_initialize_ends_the_start(home: DaemonProcess, faults: FaultModule) -> None:
    faults.plan(Fault("C_Initialize", "hang"))
    home.start(wait=False)

    assert 2 == home.ended()
    assert "did not log in" in home.log()


# ---- A network away --------------------------------------------------------------------------------------------------
@pytest.fixture
def network_hsm(home: DaemonProcess) -> Iterator[P11KitServer]:
    """The home's token behind p11-kit server."""
    with TemporaryDirectory() as short:  # A socket's path has 107 bytes at most.
        softhsm = {"SOFTHSM2_CONF": str(home.home / "softhsm" / "softhsm2.conf")}
        server = P11KitServer(Path(short), find_module(), softhsm)
        server.start()
        configure(home, server.client_module, server.client_environment)
        yield server
        server.kill()


def test_a_network_hsm_that_goes_and_comes_while_targets_are_published(
    home: DaemonProcess, network_hsm: P11KitServer
) -> None:
    """No wrong signature, no version used twice, nothing lost that was acknowledged, and the daemon stays up."""
    home.start()
    assert home.process is not None
    witness = VersionWitness(home.home / "metadata")
    acknowledged: set[str] = set()
    refusals: set[str] = set()
    over = threading.Event()

    def publish(publisher: int) -> None:
        with home.client(retry=ONCE) as client:
            number = 0
            while not over.is_set():
                number += 1
                path = f"packages/{publisher}-{number}.tar.gz"
                try:
                    client.publish_targets(REPOSITORY, add=[target(path)])
                except WharfingerError as error:
                    refusals.add(error.code)
                    over.wait(0.05)
                else:
                    acknowledged.add(path)

    publishers = [threading.Thread(target=publish, args=(number,)) for number in range(3)]
    for publisher in publishers:
        publisher.start()
    for _ in range(3):
        published_before = len(acknowledged)
        poll(lambda least=published_before: len(acknowledged) > least, "targets are published")  # type: ignore[misc]
        network_hsm.kill()
        refusals.clear()
        poll(lambda: bool(refusals), "publishing is refused")
        assert {"UNAVAILABLE"} >= refusals
        network_hsm.start()
        witness.look()
    last = len(acknowledged)
    poll(lambda: len(acknowledged) > last, "publishing goes on by itself")
    over.set()
    for publisher in publishers:
        publisher.join()
    witness.look()

    assert home.process.poll() is None
    assert acknowledged <= set(targets_of(home.home / "metadata"))
    assert [] == doubled_versions(home)
    assert 0 == home.stop()
