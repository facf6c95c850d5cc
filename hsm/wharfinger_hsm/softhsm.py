"""Creating SoftHSM tokens, for development and tests.

SoftHSM keeps keys in files that its PIN encrypts: it behaves as an HSM does, and protects like a file.
"""

import os
import pty
import shutil
import subprocess
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wharfinger_hsm.errors import ModuleMissingError, PinFileError, TokenMissingError, UnsupportedItemError
from wharfinger_hsm.labels import check_label
from wharfinger_hsm.model import TokenSettings

MODULE_PATHS = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),  # Debian, Ubuntu
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),  # Fedora, RHEL
    Path("/usr/lib/pkcs11/libsofthsm2.so"),  # Arch
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),  # built from source
    Path("/opt/homebrew/lib/softhsm/libsofthsm2.so"),
)
MAX_LABEL_BYTES = 32
"""CK_TOKEN_INFO has no room for more."""

# In softhsm2.conf '#' begins a comment and '=' ends a name, wherever they stand, and nothing escapes them.
_NOT_IN_CONFIGURATION = frozenset("#=\n\r")

_CONFIGURATION = """\
# SoftHSM 2, for development and tests: see softhsm2.conf(5).
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
slots.mechanisms = ALL
library.reset_on_fork = false
"""


@dataclass(frozen=True, slots=True)
class SoftHsmToken:
    """A token that exists. `configuration` is the file that SOFTHSM2_CONF must name."""

    module: Path
    label: str
    configuration: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.configuration)}

    def settings(self, pin_file: Path) -> TokenSettings:
        """What `HsmSupervisor` wants, with the path of a file that holds this token's user PIN."""
        return TokenSettings(self.module, self.label, pin_file, self.environment)


def find_module() -> Path:
    """SoftHSM's PKCS#11 module in the usual places. Raises `ModuleMissingError` when it is in none of them."""
    for path in MODULE_PATHS:
        if path.is_file():
            return path
    raise ModuleMissingError("SoftHSM is not installed: apt-get install softhsm2, or your system's package of it.")


def create_token(directory: Path, label: str, pin: str, so_pin: str) -> SoftHsmToken:
    """Creates `directory` with `softhsm2.conf` and a token in it, readable by this user alone.

    A token of this label that is there already is left as it is, PIN and keys included, so that repeating is harmless;
    but one whose user PIN was never set, because softhsm2-util was interrupted, is made anew: nobody could use it.
    The PINs (4 to 255 printable characters) reach softhsm2-util through a pseudo-terminal and never its command line.

    Raises `ModuleMissingError` without SoftHSM, `UnsupportedItemError` for a label that is not 1 to 32 plain
    characters or a path that softhsm2.conf cannot hold, `PinFileError` for a PIN that SoftHSM would refuse,
    `TokenMissingError` when softhsm2-util fails.
    """
    check_label(label, MAX_LABEL_BYTES)
    if set(str(directory.absolute())) & _NOT_IN_CONFIGURATION:
        raise UnsupportedItemError(
            f"softhsm2.conf cannot hold the path {directory}: use one without '#', '=' and line break."
        )
    for name, value in (("user PIN", pin), ("security officer's PIN", so_pin)):
        if not 4 <= len(value.encode()) <= 255 or not value.isprintable():
            raise PinFileError(f"The {name} must have 4 to 255 bytes, all printable.")
    token = SoftHsmToken(find_module(), label, directory.absolute() / "softhsm2.conf")
    program = shutil.which("softhsm2-util")
    if program is None:
        raise ModuleMissingError("softhsm2-util is not installed: apt-get install softhsm2.")
    tokens = token.configuration.parent / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    tokens.parent.chmod(0o700)
    token.configuration.write_text(_CONFIGURATION.format(tokens=tokens), encoding="utf-8")
    shown = [one for one in _shown(program, token.environment) if one.label == label]
    for one in shown:
        if not one.has_user_pin:
            _run(program, token.environment, "--delete-token", "--serial", one.serial)
    if not any(one.has_user_pin for one in shown):
        _initialise(program, token, answers=iter((so_pin, so_pin, pin, pin)))
    return token


@dataclass(frozen=True, slots=True)
class _Shown:
    label: str
    serial: str
    has_user_pin: bool


def _shown(program: str, environment: dict[str, str]) -> list[_Shown]:
    """The tokens that were initialised."""
    shown = []
    for slot in _run(program, environment, "--show-slots").split("\nSlot ")[1:]:
        lines = (line.strip().partition(":") for line in slot.splitlines())
        said = {name: value.strip() for name, _, value in lines}
        if said.get("Initialized") == "yes":
            shown.append(_Shown(said["Label"], said["Serial number"], said["User PIN init."] == "yes"))
    return shown


def _run(program: str, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - a fixed program; what it is given are options and what it showed itself
        [program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise TokenMissingError(f"softhsm2-util {arguments[0]} failed: {said}")
    return done.stdout


def _initialise(program: str, token: SoftHsmToken, answers: Iterator[str]) -> None:
    """Runs softhsm2-util on a pseudo-terminal, because it takes PINs from a terminal or from its command line only."""
    ours, theirs = pty.openpty()
    try:
        _silence(theirs)
        process = subprocess.Popen(  # noqa: S603 - a fixed program, and a label that was checked
            [program, "--init-token", "--free", "--label", token.label],
            env=token.environment,
            umask=0o077,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
    with process, os.fdopen(ours, "rb+", buffering=0) as terminal:
        said = _answer(terminal.fileno(), answers)
        if process.wait():
            raise TokenMissingError(f"softhsm2-util could not create token {token.label!r}: {_reason(said)}")


def _silence(terminal: int) -> None:
    """Turns the echo off, so that no PIN can come back in what the program says."""
    attributes = termios.tcgetattr(terminal)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def _answer(terminal: int, answers: Iterator[str]) -> str:
    """Answers each prompt with the next PIN until the program ends; what it said, all told."""
    said = b""
    answered = 0
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # EIO: the program closed its side.
            return said.decode(errors="replace")
        if said[answered:].rstrip().endswith(b"PIN:"):
            answered = len(said)
            os.write(terminal, next(answers, "").encode() + b"\n")


def _reason(said: str) -> str:
    errors = [line.strip() for line in said.splitlines() if line.startswith("ERROR")]
    return " ".join(errors) or "it gave no reason"
