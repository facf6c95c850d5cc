"""What a supervisor and a worker say to each other: frames of msgpack over two pipes.

A frame is its length in four bytes, big-endian, then the message. The supervisor sends one `Start`; the worker answers
`Ready` or `Failed`; after that each request gets one reply with the same number, in order.
"""

import struct
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from wharfinger_hsm.model import (
    MAX_MESSAGE_BYTES,
    Digest,
    KeyAlgorithm,
    KeyAttributes,
    KeySource,
    Message,
    SignerKey,
    SignerSettings,
    SigningItem,
    TokenKey,
    TokenSettings,
)

MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + 1024 * 1024
"""One message of the greatest size, and room around it."""

T = TypeVar("T")

LENGTH = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side does not speak this protocol. Nothing it says afterwards can be trusted."""


class Pkcs11Start(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What `TokenSettings` say, with absolute paths."""

    module: str
    pin_file: str
    label: str | None = None
    serial: str | None = None
    slot: int | None = None
    manufacturer: str | None = None
    model: str | None = None


class SignersStart(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What `SignerSettings` say: of each signer the URI, the public key's file, the label, and the secret's file."""

    signers: list[tuple[str, str, str, str | None]]
    modules: list[str]


class Start(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The first frame. `parent` is the supervisor's process id: the worker does not outlive it."""

    source: Pkcs11Start | SignersStart
    parent: int

    @classmethod
    def of(cls, source: KeySource, parent: int) -> "Start":
        if isinstance(source, TokenSettings):
            named = (source.token_label, source.serial, source.slot, source.manufacturer, source.model)
            return cls(Pkcs11Start(str(source.module.absolute()), str(source.pin_file.absolute()), *named), parent)
        signers = [
            (
                one.uri,
                str(one.public_key_file.absolute()),
                one.label,
                None if one.secret_file is None else str(one.secret_file.absolute()),
            )
            for one in source.signers
        ]
        return cls(SignersStart(signers, list(source.modules)), parent)

    def settings(self) -> KeySource:
        """The same settings in the worker; it has its environment already."""
        said = self.source
        if isinstance(said, Pkcs11Start):
            return TokenSettings(
                module=Path(said.module),
                token_label=said.label,
                pin_file=Path(said.pin_file),
                serial=said.serial,
                slot=said.slot,
                manufacturer=said.manufacturer,
                model=said.model,
            )
        signers = (
            SignerKey(uri, Path(public_key), label, None if secret is None else Path(secret))
            for uri, public_key, label, secret in said.signers
        )
        return SignerSettings(tuple(signers), tuple(said.modules))


class ListKeys(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int


class Generate(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int
    algorithm: KeyAlgorithm
    label: str


class ReadAttributes(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int
    public_key: bytes


class Destroy(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int
    public_key: bytes


class WireItem(msgspec.Struct, frozen=True, array_like=True):
    public_key: bytes
    payload: bytes
    whole: bool
    """The payload is a whole message, not a digest."""

    @classmethod
    def of(cls, item: SigningItem) -> "WireItem":
        return cls(item.public_key, item.payload.value, isinstance(item.payload, Message))

    def item(self) -> SigningItem:
        return SigningItem(self.public_key, Message(self.payload) if self.whole else Digest(self.payload))


class Sign(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int
    items: list[WireItem]


class Ready(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Logged in."""


class Keys(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Answers `ListKeys`, and `Generate` with the one new key."""

    number: int
    keys: list[TokenKey]


class Signed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int
    signatures: list[bytes]


class Attributes(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Answers `ReadAttributes`."""

    number: int
    attributes: KeyAttributes


class Destroyed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Answers `Destroy`: the key is gone."""

    number: int


class Failed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The error by its `HsmError.wire_name`. `number` is 0 when the worker could not start."""

    number: int
    error: str
    message: str


Request = ListKeys | Generate | Sign | ReadAttributes | Destroy
Reply = Ready | Keys | Signed | Attributes | Destroyed | Failed

_start_decoder = msgspec.msgpack.Decoder(Start)
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_encoder = msgspec.msgpack.Encoder()


def frame(message: Start | Request | Reply) -> bytes:
    """The message as a frame. Raises `ProtocolError` when it is longer than a frame may be."""
    body = _encoder.encode(message)
    return LENGTH.pack(checked_length(len(body))) + body


def checked_length(length: int) -> int:
    """Raises `ProtocolError` for a length that no message has, before anything is allocated for it."""
    if not 0 < length <= MAX_FRAME_BYTES:
        raise ProtocolError(f"A frame of {length} bytes is not part of this protocol.")
    return length


def read_start(body: bytes) -> Start:
    return _decoded(_start_decoder, body)


def read_request(body: bytes) -> Request:
    return _decoded(_request_decoder, body)


def read_reply(body: bytes) -> Reply:
    return _decoded(_reply_decoder, body)


def read_frame(pipe: BinaryIO) -> bytes | None:
    """The next frame's body, or None at the end, even in the middle of a frame: the other side is gone then."""
    prefix = pipe.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    length = checked_length(LENGTH.unpack(prefix)[0])
    body = pipe.read(length)
    return body if len(body) == length else None


def _decoded(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:  # ValidationError included
        # Not quoted: the body could be anything.
        raise ProtocolError("A frame does not hold a message of this protocol.") from error
