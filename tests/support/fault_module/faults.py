"""Builds and drives `fault_module.c`, which forwards to a real PKCS#11 module and misbehaves when it is told to."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from wharfinger_hsm.model import TokenSettings

SOURCE = Path(__file__).with_name("fault_module.c")

_RECORD = struct.Struct("=32sQ")
_COMPILER = ("gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden")

# Return values of PKCS#11 3.0, section 5.1 and its header file; those that a token may give to what is called here.
CKR: dict[str, int] = {
    "CKR_CANCEL": 0x001,
    "CKR_HOST_MEMORY": 0x002,
    "CKR_SLOT_ID_INVALID": 0x003,
    "CKR_GENERAL_ERROR": 0x005,
    "CKR_FUNCTION_FAILED": 0x006,
    "CKR_ARGUMENTS_BAD": 0x007,
    "CKR_NEED_TO_CREATE_THREADS": 0x009,
    "CKR_CANT_LOCK": 0x00A,
    "CKR_ATTRIBUTE_READ_ONLY": 0x010,
    "CKR_ATTRIBUTE_SENSITIVE": 0x011,
    "CKR_ATTRIBUTE_TYPE_INVALID": 0x012,
    "CKR_ATTRIBUTE_VALUE_INVALID": 0x013,
    "CKR_ACTION_PROHIBITED": 0x01B,
    "CKR_DATA_INVALID": 0x020,
    "CKR_DATA_LEN_RANGE": 0x021,
    "CKR_DEVICE_ERROR": 0x030,
    "CKR_DEVICE_MEMORY": 0x031,
    "CKR_DEVICE_REMOVED": 0x032,
    "CKR_FUNCTION_CANCELED": 0x050,
    "CKR_FUNCTION_NOT_SUPPORTED": 0x054,
    "CKR_KEY_HANDLE_INVALID": 0x060,
    "CKR_KEY_SIZE_RANGE": 0x062,
    "CKR_KEY_TYPE_INCONSISTENT": 0x063,
    "CKR_KEY_FUNCTION_NOT_PERMITTED": 0x068,
    "CKR_MECHANISM_INVALID": 0x070,
    "CKR_MECHANISM_PARAM_INVALID": 0x071,
    "CKR_OBJECT_HANDLE_INVALID": 0x082,
    "CKR_OPERATION_ACTIVE": 0x090,
    "CKR_OPERATION_NOT_INITIALIZED": 0x091,
    "CKR_PIN_INCORRECT": 0x0A0,
    "CKR_PIN_INVALID": 0x0A1,
    "CKR_PIN_LEN_RANGE": 0x0A2,
    "CKR_PIN_EXPIRED": 0x0A3,
    "CKR_PIN_LOCKED": 0x0A4,
    "CKR_SESSION_CLOSED": 0x0B0,
    "CKR_SESSION_COUNT": 0x0B1,
    "CKR_SESSION_HANDLE_INVALID": 0x0B3,
    "CKR_SESSION_PARALLEL_NOT_SUPPORTED": 0x0B4,
    "CKR_SESSION_READ_ONLY": 0x0B5,
    "CKR_SESSION_READ_WRITE_SO_EXISTS": 0x0B8,
    "CKR_TEMPLATE_INCOMPLETE": 0x0D0,
    "CKR_TEMPLATE_INCONSISTENT": 0x0D1,
    "CKR_TOKEN_NOT_PRESENT": 0x0E0,
    "CKR_TOKEN_NOT_RECOGNIZED": 0x0E1,
    "CKR_TOKEN_WRITE_PROTECTED": 0x0E2,
    "CKR_USER_ALREADY_LOGGED_IN": 0x100,
    "CKR_USER_NOT_LOGGED_IN": 0x101,
    "CKR_USER_PIN_NOT_INITIALIZED": 0x102,
    "CKR_USER_TYPE_INVALID": 0x103,
    "CKR_USER_ANOTHER_ALREADY_LOGGED_IN": 0x104,
    "CKR_USER_TOO_MANY_TYPES": 0x105,
    "CKR_RANDOM_NO_RNG": 0x121,
    "CKR_DOMAIN_PARAMS_INVALID": 0x130,
    "CKR_CURVE_NOT_SUPPORTED": 0x140,
    "CKR_BUFFER_TOO_SMALL": 0x150,
    "CKR_CRYPTOKI_NOT_INITIALIZED": 0x190,
    "CKR_CRYPTOKI_ALREADY_INITIALIZED": 0x191,
    "CKR_FIPS_SELF_TEST_FAILED": 0x1B6,
    "CKR_LIBRARY_LOAD_FAILED": 0x1B7,
    "CKR_PIN_TOO_WEAK": 0x1B8,
    "CKR_FUNCTION_REJECTED": 0x200,
    "CKR_TOKEN_RESOURCE_EXCEEDED": 0x201,
    "CKR_KEY_EXHAUSTED": 0x203,
    "CKR_VENDOR_DEFINED": 0x80000000,
}


def build(directory: Path) -> Path:
    """Compiles the module into `directory`."""
    module = directory / "fault_module.so"
    subprocess.run([*_COMPILER, "-o", str(module), str(SOURCE), "-ldl"], check=True)
    return module


@dataclass(frozen=True)
class Fault:
    """What goes wrong with which call.

    The calls of one function are counted from the moment that the fault is planned, in all processes together: `first`
    is 1 for the next one. `times` None is for ever. python-pkcs11 calls C_Sign twice for each signature: for its
    length, then for the bytes.
    """

    call: str
    action: str
    argument: int = 0
    first: int = 1
    times: int | None = None

    @classmethod
    def returns(cls, call: str, code: str, *, first: int = 1, times: int | None = None) -> Fault:
        """The call does nothing and returns the code."""
        return cls(call, "return", CKR[code], first, times)

    def once(self) -> Fault:
        return replace(self, times=1)


class FaultModule:
    """The module in front of one token. Its plan can be changed at any time, also under running workers."""

    def __init__(self, module: Path, directory: Path, real: Path) -> None:
        self.module = module
        self._directory = directory
        self._real = real
        directory.mkdir(exist_ok=True)
        (directory / "calls").touch()

    @property
    def environment(self) -> dict[str, str]:
        return {"FAULT_MODULE_REAL": str(self._real), "FAULT_MODULE_DIRECTORY": str(self._directory)}

    def in_front_of(self, settings: TokenSettings) -> TokenSettings:
        """The same token, reached through this module."""
        return replace(settings, module=self.module, environment={**settings.environment, **self.environment})

    def plan(self, *faults: Fault) -> None:
        """Replaces the plan. Without faults, everything works again."""
        calls = self.all_calls()
        lines = []
        for fault in faults:
            first = calls.get(fault.call, 0) + fault.first
            last = 0 if fault.times is None else first + fault.times - 1
            lines.append(f"{fault.call} {first} {last} {fault.action} {fault.argument}\n")
        fresh = self._directory / "plan.new"
        fresh.write_text("".join(lines))
        fresh.replace(self._directory / "plan")

    def calls(self, name: str) -> int:
        """How often a function was called, in all processes since the beginning."""
        return self.all_calls().get(name, 0)

    def all_calls(self) -> dict[str, int]:
        content = (self._directory / "calls").read_bytes()
        whole = content[: len(content) - len(content) % _RECORD.size]
        return {name.rstrip(b"\0").decode(): number for name, number in _RECORD.iter_unpack(whole)}
