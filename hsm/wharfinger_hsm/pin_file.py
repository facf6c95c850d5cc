"""Reading the PIN. Only a worker calls this."""

import stat
from pathlib import Path

from wharfinger_hsm.errors import PinFileError

MAX_PIN_BYTES = 255


def read_pin(path: Path) -> str:
    """The PIN in the file's one line, without its line ending.

    Raises `PinFileError` when the file is missing, unreadable, open to every user of the machine, empty, longer than
    255 bytes, of several lines or not UTF-8. Groups may read it: service managers and orchestrators hand out secrets
    that way.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(MAX_PIN_BYTES + 3)
    except OSError as error:
        raise PinFileError(f"The PIN file {path} cannot be read: {error.strerror}.") from error
    if mode & 0o007:
        raise PinFileError(f"The PIN file {path} is open to every user (mode {mode:04o}): chmod 600 {path}")
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if not line or len(line) > MAX_PIN_BYTES or b"\n" in line:
        raise PinFileError(
            f"The PIN file {path} must hold the PIN alone, on one line of at most {MAX_PIN_BYTES} bytes."
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: the error's text quotes the bytes.
        raise PinFileError(f"The PIN file {path} is not UTF-8.") from None
