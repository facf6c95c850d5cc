"""What a layer does when the kernel refuses; that it holds when the kernel does not is in tests/security."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from wharfinger_daemon.sandbox import Layer, kernel, landlock, process_isolation, syscall_filter
from wharfinger_daemon.sandbox.confinement import Confinement
from wharfinger_daemon.sandbox.syscall_filter import FilterMissingError


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Records the system calls of confinement instead of making them."""
    made: list[tuple[object, ...]] = []

    def record(name: str, result: int | None = None) -> Callable[..., int | None]:
        def recorded(*arguments: object) -> int | None:
            made.append((name, *arguments))
            return result

        return recorded

    monkeypatch.setattr(kernel, "prctl", record("prctl"))
    monkeypatch.setattr(kernel, "unshare", record("unshare"))
    monkeypatch.setattr(kernel, "landlock_abi", lambda: 7)
    monkeypatch.setattr(kernel, "landlock_create_ruleset", lambda attributes: os.open("/dev/null", os.O_RDONLY))
    monkeypatch.setattr(kernel, "landlock_restrict_self", lambda ruleset: made.append(("restrict",)))
    return made


def test_layers_that_fail_are_reported_with_their_reason() -> None:
    confinement = Confinement()

    def missing() -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    confinement.apply(Layer.LANDLOCK, missing)
    confinement.apply(Layer.LIMITS, lambda: None)
    assert [Layer.LIMITS] == confinement.active
    assert {Layer.LANDLOCK: "OSError: [Errno 38] Function not implemented"} == confinement.missing


@pytest.mark.parametrize(
    ("abi", "expected"),
    [
        (1, (0x1FFF,)),
        (2, (0x3FFF,)),
        (3, (0x7FFF,)),
        (4, (0x7FFF, 3)),
        (5, (0xFFFF, 3)),
        (6, (0xFFFF, 3, 3)),
        (9, (0xFFFF, 3, 3)),
    ],
)
def test_landlock_names_every_access_that_the_kernel_knows(abi: int, expected: tuple[int, ...]) -> None:
    attributes = landlock.ruleset_attributes(abi)
    assert expected == struct.unpack(f"={len(attributes) // 8}Q", attributes)


def test_landlock_that_does_not_hold_is_missing(calls: list[tuple[object, ...]]) -> None:
    """The layer is believed only when a directory really cannot be opened."""
    with pytest.raises(RuntimeError, match="can still be opened"):
        landlock.forbid_everything()
    assert [("restrict",)] == calls


def test_landlock_that_holds(calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str, flags: int) -> int:
        if path == "/":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags)

    opened = os.open
    monkeypatch.setattr(os, "open", refused)
    landlock.forbid_everything()


def test_failing_system_calls_raise_with_their_error_number() -> None:
    """Calls with arguments that no kernel accepts."""
    with pytest.raises(OSError, match="Invalid argument"):
        kernel.prctl(-1, 0)
    with pytest.raises(OSError, match="Invalid argument"):
        kernel.unshare(0x1)
    with pytest.raises(OSError, match=r"Bad file descriptor|Operation not permitted|Function not implemented"):
        kernel.landlock_restrict_self(-1)
    with pytest.raises(OSError, match=r"Invalid argument|No message|Function not implemented"):
        kernel.landlock_create_ruleset(b"\0")
    assert ctypes.get_errno() != 0


def test_landlock_version_is_a_number_or_an_error() -> None:
    try:
        assert kernel.landlock_abi() >= 1
    except OSError as error:
        assert error.errno in (errno.ENOSYS, errno.EOPNOTSUPP)


def test_a_worker_whose_daemon_is_gone_does_not_start(calls: list[tuple[object, ...]]) -> None:
    """Between its start and the signal's arrangement the daemon may have ended."""
    process_isolation.die_with(os.getppid())
    with pytest.raises(RuntimeError, match="ended"):
        process_isolation.die_with(os.getppid() + 1)


def test_privileges_and_namespaces_are_given_up(calls: list[tuple[object, ...]]) -> None:
    process_isolation.forbid_new_privileges()
    process_isolation.leave_namespaces()
    assert [("prctl", 38, 1), ("prctl", 4, 0), ("unshare", 0x58000000)] == calls


def test_limits_are_never_higher_than_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "getrlimit", lambda name: (0, 100 if name == resource.RLIMIT_CPU else -1))
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    process_isolation.limit_resources(memory_bytes=1 << 30, cpu_seconds=200)
    assert (100, 100) == limits[resource.RLIMIT_CPU]
    assert (0, 0) == limits[resource.RLIMIT_FSIZE] == limits[resource.RLIMIT_NPROC] == limits[resource.RLIMIT_CORE]
    assert limits[resource.RLIMIT_AS][0] > 1 << 30 < limits[resource.RLIMIT_DATA][0]


class _Rules:
    """libseccomp that accepts all and does nothing."""

    fails = False

    def __init__(self, default: object) -> None:
        self.allowed: list[object] = []

    def set_attr(self, name: object, value: int) -> None: ...

    def add_rule(self, action: object, name: str, *arguments: object) -> None:
        self.allowed.append(name)

    def load(self) -> None:
        if self.fails:
            raise OSError(errno.EINVAL, "Invalid argument")


def _pretended(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    names: dict[str, object] = {
        "SyscallFilter": _Rules,
        "ERRNO": int,
        "ALLOW": 0,
        "EQ": 0,
        "MASKED_EQ": 0,
        "Arg": lambda *arguments: arguments,
        "Attr": SimpleNamespace(CTL_TSYNC=0),
        "system_arch": lambda: 0,
        "resolve_syscall": lambda arch, name: -1 if name == "time" else 1,
    }
    library = SimpleNamespace(**{**names, **changes})
    monkeypatch.setattr("importlib.import_module", lambda name: library)


def test_a_filter_that_does_not_hold_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretended(monkeypatch)
    syscall_filter.preload()
    with pytest.raises(FilterMissingError, match="a socket can still be made"):
        syscall_filter.forbid_all_but_computing(3)

    def no_socket() -> None:
        raise PermissionError

    monkeypatch.setattr(syscall_filter.socket, "socket", no_socket)
    with pytest.raises(FilterMissingError, match="a descriptor can still be duplicated"):
        syscall_filter.forbid_all_but_computing(3)

    def no_duplicate(descriptor: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "dup", no_duplicate)
    syscall_filter.forbid_all_but_computing(3)


def test_a_kernel_that_refuses_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretended(monkeypatch, SyscallFilter=type("_Refusing", (_Rules,), {"fails": True}))
    with pytest.raises(FilterMissingError, match="refuses the filter"):
        syscall_filter.forbid_all_but_computing(3)


def test_libseccomp_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise RuntimeError("Unable to find libseccomp")

    monkeypatch.setattr("importlib.import_module", missing)
    syscall_filter.preload()
    with pytest.raises(FilterMissingError, match="Unable to find libseccomp"):
        syscall_filter.forbid_all_but_computing(3)
