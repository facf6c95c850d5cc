"""Opens the tokens: starts their workers, and turns what can go wrong into messages that say what to do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from wharfinger_daemon.config import HsmSettings
from wharfinger_daemon.config.hsm import TokenSettings
from wharfinger_daemon.custody.wrong_pin import WrongPinMark
from wharfinger_daemon.errors import FatalConfigurationError, Reason, StartupError
from wharfinger_hsm import model
from wharfinger_hsm.errors import HsmError, ModuleMissingError, PinFileError, TokenMissingError, WrongPinError
from wharfinger_hsm.group import TokenGroup
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.supervisor import HsmSupervisor

_REASONS: dict[type[HsmError], Reason] = {
    ModuleMissingError: Reason.MODULE_MISSING,
    TokenMissingError: Reason.TOKEN_UNAVAILABLE,
    PinFileError: Reason.CONFIGURATION_INVALID,
}


@asynccontextmanager
async def open_token(hsm: HsmSettings, state_directory: Path) -> AsyncIterator[TokenGroup]:
    """The tokens, logged in, for as long as the context lasts.

    Of several, one that cannot be opened is left out, with an error in the log, as long as another can; it is tried
    again, unless it refused its PIN. Whether the keys that are needed are there is checked elsewhere.

    Raises:
        FatalConfigurationError: the token refused the PIN, now or before with this very file.
        StartupError: the module, the token or the PIN is not there, or does not work.
    """
    opening = _Opening(hsm, state_directory)
    group = opening.group()
    with startup_errors():
        try:
            await group.start()
        except WrongPinError as error:
            raise opening.refused[0] from error
    try:
        opening.clear_marks()
        yield group
    finally:
        await group.close()


class _Opening:
    """The tokens of one start, and which of them refused their PINs, now or before."""

    def __init__(self, hsm: HsmSettings, state_directory: Path) -> None:
        self._hsm = hsm
        self._state_directory = state_directory
        self._marks: dict[str, WrongPinMark] = {}
        self._supervisors: dict[str, HsmSupervisor] = {}
        self.refused: list[FatalConfigurationError] = []

    def group(self) -> TokenGroup:
        """All tokens, but those whose PIN was refused before: these are not tried."""
        unusable: dict[str, WrongPinError] = {}
        for token in self._hsm.all_tokens():
            try:
                self._supervisors[token.name] = self._supervisor(token)
            except FatalConfigurationError as error:
                self.refused.append(error)
                unusable[token.name] = WrongPinError(str(error))
        if not self._supervisors:
            raise self.refused[0]
        return TokenGroup(self._supervisors, unusable)

    def clear_marks(self) -> None:
        """After a start: what logged in needs no mark."""
        for name, mark in self._marks.items():
            if self._supervisors[name].healthy_workers:
                mark.clear()

    def _supervisor(self, token: TokenSettings) -> HsmSupervisor:
        source = key_source(token)
        mark = self._mark(token, source.pin_file) if isinstance(source, model.TokenSettings) else None
        return HsmSupervisor(
            source,
            workers=token.workers or self._hsm.workers,
            limits=SupervisorLimits(
                ceiling=self._hsm.call_timeout_seconds, waiting_requests=self._hsm.waiting_requests
            ),
            on_pin_refused=None if mark is None else lambda error: self.refused.append(mark.set()),
        )

    def _mark(self, token: TokenSettings, pin_file: Path) -> WrongPinMark:
        mark = WrongPinMark(self._state_directory, pin_file, _called(token), token.name if self._hsm.tokens else None)
        mark.require_unmarked()
        self._marks[token.name] = mark
        return mark


def key_source(token: TokenSettings) -> model.KeySource:
    """What a worker is told.

    Raises:
        StartupError: a credential is named, and systemd gave none.
    """
    if token.kind == "signers":
        signers = tuple(
            model.SignerKey(
                uri=one.uri,
                public_key_file=one.public_key_file,
                label=one.label or one.public_key_file.stem,
                secret_file=one.secret_file or _credential(one.secret_credential),
            )
            for one in token.signers
        )
        return model.SignerSettings(signers, token.signer_modules, token.environment)
    named = token.token_uri
    module, pin_file = token.module or named.module, token.pin_file or named.pin_file
    pin_file = pin_file or _credential(token.pin_credential)
    assert module is not None  # The configuration demands both.
    assert pin_file is not None
    return model.TokenSettings(
        module=module,
        token_label=named.label,
        pin_file=pin_file,
        environment=token.environment,
        serial=named.serial,
        slot=named.slot,
        manufacturer=named.manufacturer,
        model=named.model,
    )


def _credential(name: str | None) -> Path | None:
    """Where systemd put a credential (systemd.exec(5), CREDENTIALS). Only a worker reads it."""
    if name is None:
        return None
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise StartupError(
            f"The credential '{name}' is configured, and CREDENTIALS_DIRECTORY is not set. Start the daemon as a "
            f"systemd service with LoadCredential={name}:PATH, or name a file instead.",
            reason=Reason.CONFIGURATION_INVALID,
        )
    return Path(directory) / name


def _called(token: TokenSettings) -> str:
    """The token in messages, by what names it."""
    return token.uri or token.label or f"{token.name}, serial {token.serial}, slot {token.slot}"


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
