"""Remembers that a token refused its PIN, across restarts.

Tokens lock after a few wrong PINs, and service managers restart what fails: together they would lock the token. The
mark names the PIN file as it was, never its content; a changed file may be tried again.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from wharfinger_daemon.errors import FatalConfigurationError, Reason


class WrongPinMark:
    """The mark of one token in the state directory.

    Args:
        token_label: how the token is called in messages.
        name: the token's name in the configuration, if there are several; each has a mark of its own.
    """

    def __init__(self, state_directory: Path, pin_file: Path, token_label: str, name: str | None = None) -> None:
        self._mark = state_directory / ("wrong-pin.json" if name is None else f"wrong-pin-{name}.json")
        self._pin_file = pin_file
        self._token_label = token_label

    def require_unmarked(self) -> None:
        """Refuses to go on when the token has refused the PIN in this very file.

        Raises:
            FatalConfigurationError: it has.
        """
        try:
            remembered = json.loads(self._mark.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise self._error(f"the mark {self._mark} cannot be read ({error})") from error
        if remembered == self._identity():
            raise self._error(f"remembered in {self._mark}; it was not tried again, so that the token is not locked")

    def set(self) -> FatalConfigurationError:
        """Sets the mark; returns the error to raise, also if the mark cannot be written."""
        try:
            self._mark.write_text(json.dumps(self._identity()), encoding="utf-8")
        except OSError as error:
            # The status alone must stop the service manager now.
            return self._error(f"and that could not be remembered in {self._mark} ({error.strerror})")
        return self._error("so it will not be tried again until the file changes")

    def clear(self) -> None:
        """Removes the mark after a log-in that succeeded."""
        with contextlib.suppress(FileNotFoundError):
            self._mark.unlink()

    def _identity(self) -> dict[str, object]:
        try:
            state = self._pin_file.stat()
        except OSError:
            return {"pin_file": str(self._pin_file), "token": self._token_label}
        return {
            "pin_file": str(self._pin_file),
            "token": self._token_label,
            "inode": state.st_ino,
            "size": state.st_size,
            "modified_ns": state.st_mtime_ns,
        }

    def _error(self, why: str) -> FatalConfigurationError:
        return FatalConfigurationError(
            f"The token '{self._token_label}' refused the PIN in {self._pin_file}: {why}. Write the right PIN to that "
            "file, then start again. Some tokens lock after a few wrong PINs: do not guess.",
            reason=Reason.WRONG_PIN,
        )
