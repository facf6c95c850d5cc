"""Settings of the tokens with the online keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from wharfinger_daemon.config.section import Name, Positive, Seconds, Section
from wharfinger_hsm.token_uri import TokenUri, parse_token_uri

Text = Annotated[str, StringConstraints(min_length=1)]
# What systemd takes for the name of a credential.
Credential = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$")]
Slot = Annotated[int, Field(ge=0, lt=2**64)]
Workers = Annotated[int, Field(ge=1, le=64)]

ONLY_TOKEN = "token"  # noqa: S105  # a name, no secret
"""How the token is called that the keys of [hsm] itself describe."""


class SignerSettings(Section):
    """A signer of securesystemslib: its private key URI, and the public key that it signs with, as PEM."""

    uri: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*:.+$")]
    public_key_file: Path
    label: Text | None = None
    secret_file: Path | None = None
    secret_credential: Credential | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> SignerSettings:
        if self.secret_file is not None and self.secret_credential is not None:
            raise ValueError("secret_file and secret_credential stand there both; keep one")
        return self


class TokenSettings(Section):
    """One of several tokens: a PKCS#11 token, or signers of securesystemslib that stand in for one."""

    name: Name
    kind: Literal["pkcs11", "signers"] = "pkcs11"
    module: Path | None = None
    label: Text | None = None
    serial: Text | None = None
    slot: Slot | None = None
    uri: str | None = None
    pin_file: Path | None = None
    pin_credential: Credential | None = None
    signers: tuple[SignerSettings, ...] = ()
    signer_modules: tuple[Text, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    workers: Workers | None = None

    @model_validator(mode="after")
    def _whole(self) -> TokenSettings:
        check_token(self)
        return self

    @property
    def token_uri(self) -> TokenUri:
        """What names the token, whether it was said by a URI or key by key."""
        if self.uri is not None:
            return parse_token_uri(self.uri)
        return TokenUri(label=self.label, serial=self.serial, slot=self.slot)

    def files(self) -> list[tuple[str, Path]]:
        """Each file that is named, with its key."""
        named = TokenUri() if self.kind == "signers" else self.token_uri
        files = [("module", self.module or named.module), ("pin_file", self.pin_file or named.pin_file)]
        for one in self.signers:
            files += [("public_key_file", one.public_key_file), ("secret_file", one.secret_file)]
        return [(key, file) for key, file in files if file is not None]


class HsmSettings(Section):
    """The token with the online keys, or several in ``tokens``."""

    module: Path | None = None
    token_label: Text | None = None
    token_serial: Text | None = None
    token_slot: Slot | None = None
    token_uri: str | None = None
    pin_file: Path | None = None
    pin_credential: Credential | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    tokens: tuple[TokenSettings, ...] = ()
    workers: Workers = 1
    waiting_requests: Positive = 1024
    call_timeout_seconds: Seconds = 10
    canary_key_label: str = "canary"
    canary_interval_seconds: Seconds = 5

    @model_validator(mode="after")
    def _whole(self) -> HsmSettings:
        if not self.tokens:
            check_token(self._own())
            return self
        own = self._own().model_dump(exclude_defaults=True, exclude={"name"})
        if own:
            raise ValueError("it describes a token itself and has [[hsm.tokens]] too: keep one of the two")
        names = [token.name for token in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError("two [[hsm.tokens]] have the same name")
        found = [one.model_copy(update={"name": ""}) for one in self.tokens if one.kind == "pkcs11"]
        if any(one in found[:index] for index, one in enumerate(found)):
            # A wrong PIN would be sent to it once for each name.
            raise ValueError("two [[hsm.tokens]] are one token: keep one of them")
        return self

    def all_tokens(self) -> tuple[TokenSettings, ...]:
        """The tokens, in the order in which they are used."""
        return self.tokens or (self._own(),)

    def files(self) -> list[tuple[str, Path]]:
        """Each file that is named, with its key. Credentials are not among them: systemd alone knows where they are."""
        return [
            (f"hsm.tokens '{token.name}' {key}" if self.tokens else f"hsm.{key}", file)
            for token in self.all_tokens()
            for key, file in token.files()
        ]

    def _own(self) -> TokenSettings:
        # Not validated again: every value was, under the name that its key has here.
        return TokenSettings.model_construct(
            name=ONLY_TOKEN,
            module=self.module,
            label=self.token_label,
            serial=self.token_serial,
            slot=self.token_slot,
            uri=self.token_uri,
            pin_file=self.pin_file,
            pin_credential=self.pin_credential,
            environment=self.environment,
        )


def check_token(token: TokenSettings) -> None:
    """Whether the keys of a token fit together.

    Raises:
        ValueError: they do not; says which.
    """
    if token.kind == "signers":
        _check_signers(token)
    else:
        _check_pkcs11(token)


def _check_signers(token: TokenSettings) -> None:
    if not token.signers:
        raise ValueError("signers is empty: give the uri and the public_key_file of each")
    others = (token.module, token.label, token.serial, token.slot, token.uri, token.pin_file, token.pin_credential)
    if any(value is not None for value in others):
        raise ValueError(
            'kind = "signers" takes signers, signer_modules and environment, and nothing of a PKCS#11 token'
        )


def _check_pkcs11(token: TokenSettings) -> None:
    if token.signers or token.signer_modules:
        raise ValueError('signers need kind = "signers"')
    if token.uri is not None and any(value is not None for value in (token.label, token.serial, token.slot)):
        raise ValueError("a URI names the token alone: take label, serial and slot away, or write them into it")
    named = token.token_uri
    if token.uri is None and named == TokenUri():
        raise ValueError("nothing names the token: give its label, its serial, its slot or a PKCS#11 URI")
    modules = [value for value in (token.module, named.module) if value is not None]
    if len(modules) != 1:
        raise ValueError("give the path of the PKCS#11 module once, as module or as module-path in the URI")
    pins = [value for value in (token.pin_file, token.pin_credential, named.pin_file) if value is not None]
    if len(pins) != 1:
        raise ValueError("say where the PIN is, once: pin_file, pin_credential, or pin-source in the URI")
