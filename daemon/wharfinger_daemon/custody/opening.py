"""Opens the token: starts its workers, and turns what can go wrong at the start into messages that say what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from wharfinger_daemon.config import HsmSettings
from wharfinger_daemon.custody.wrong_pin import WrongPinMark
from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_hsm.errors import HsmError, ModuleMissingError, PinFileError, TokenMissingError, WrongPinError
from wharfinger_hsm.model import TokenSettings
from wharfinger_hsm.supervisor import HsmSupervisor

_REASONS: dict[type[HsmError], Reason] = {
    ModuleMissingError: Reason.MODULE_MISSING,
    TokenMissingError: Reason.TOKEN_UNAVAILABLE,
    PinFileError: Reason.CONFIGURATION_INVALID,
}


@asynccontextmanager
async def open_token(hsm: HsmSettings, state_directory: Path) -> AsyncIterator[HsmSupervisor]:
    """The token, logged in, for as long as the context lasts.

    Raises:
        FatalConfigurationError: the token refused the PIN, now or before with this very file.
        StartupError: the module, the token or the PIN file is not there, or does not work.
    """
    mark = WrongPinMark(state_directory, hsm.pin_file, hsm.token_label)
    mark.require_unmarked()
    token = TokenSettings(
        module=hsm.module, token_label=hsm.token_label, pin_file=hsm.pin_file, environment=hsm.environment
    )
    supervisor = HsmSupervisor(token, workers=hsm.workers)
    with startup_errors():
        try:
            await supervisor.start()
        except WrongPinError as error:
            raise mark.set() from error
    try:
        mark.clear()
        yield supervisor
    finally:
        await supervisor.close()


@contextmanager
def startup_errors() -> Iterator[None]:
    """Around what asks the token while the daemon starts or a home is made.

    Raises:
        StartupError: what the token's side said, which names modules and files of this host.
    """
    try:
        yield
    except HsmError as error:
        raise StartupError(str(error), reason=_REASONS.get(type(error), Reason.TOKEN_UNAVAILABLE)) from error
