"""A worker that misbehaves: `scripted_worker.py MODE MARKER`. It adds a line to MARKER each time that it starts."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.messages import (
    Failed,
    Keys,
    Pkcs11Start,
    Ready,
    Reply,
    Signed,
    Start,
    read_frame,
    read_request,
    read_start,
)
from wharfinger_hsm.model import SigningItem
from wharfinger_hsm.worker import claim_pipes, open_token, send, serve

Behaviour = Callable[[BinaryIO, BinaryIO], None]


def wrong_pin(requests: BinaryIO, replies: BinaryIO) -> None:
    send(replies, Failed(0, "wrong-pin", "The token refused the PIN."))


def crash_at_start(requests: BinaryIO, replies: BinaryIO) -> None:
    pass


def crash_on_request(requests: BinaryIO, replies: BinaryIO) -> None:
    send(replies, Ready())
    read_frame(requests)


def silent(requests: BinaryIO, replies: BinaryIO) -> None:
    time.sleep(60)


def garbage_at_start(requests: BinaryIO, replies: BinaryIO) -> None:
    replies.write(b"\x00\x00\x00\x07garbage")
    replies.flush()
    time.sleep(60)


def keys_at_start(requests: BinaryIO, replies: BinaryIO) -> None:
    send(replies, Keys(1, []))


def later(behave: Behaviour, good: int = 1) -> Behaviour:
    """The first workers log in, and die on their first request; those after them do as they are told."""

    def behave_later(requests: BinaryIO, replies: BinaryIO) -> None:
        early = starts() <= good
        (crash_on_request if early else behave)(requests, replies)

    return behave_later


def answering(reply: Callable[[int], bytes | Reply]) -> Behaviour:
    def behave(requests: BinaryIO, replies: BinaryIO) -> None:
        send(replies, Ready())
        while (body := read_frame(requests)) is not None:
            said = reply(read_request(body).number)
            if isinstance(said, bytes):
                replies.write(said)
                replies.flush()
            else:
                send(replies, said)

    return behave


def leave_a_child(requests: BinaryIO, replies: BinaryIO) -> None:
    """A module that forks, and whose child keeps the pipes open after the worker's end."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    Path(sys.argv[2]).with_suffix(".child").write_text(str(child))
    crash_on_request(requests, replies)


def report(requests: BinaryIO, replies: BinaryIO) -> None:
    """Says what the process was given."""
    descriptors = {}
    for path in Path("/proc/self/fd").iterdir():
        try:
            descriptors[path.name] = str(path.readlink())
        except FileNotFoundError:
            continue  # The directory's own descriptor.
    given = {"environment": dict(os.environ), "descriptors": descriptors}
    Path(sys.argv[2]).with_suffix(".json").write_text(json.dumps(given))
    send(replies, Ready())
    read_frame(requests)


def printing(requests: BinaryIO, replies: BinaryIO) -> None:
    """A token whose module prints to descriptor 1 and reads from descriptor 0, as vendors' do."""

    def open_noisily(start: Start) -> MemoryToken:
        os.write(1, b"Welcome to the vendor's module!\n")
        assert os.read(0, 10) == b""
        return MemoryToken()

    serve(Start(Pkcs11Start("", ""), 0), open_noisily, requests, replies)


class RecordingToken(MemoryToken):
    """Writes down how many items each request has; signs what begins with "lie" wrongly."""

    def sign(self, items: Sequence[SigningItem]) -> list[bytes]:
        with Path(sys.argv[2]).with_suffix(".sizes").open("a") as sizes:
            sizes.write(f"{len(items)}\n")
        signatures = super().sign(items)
        return [
            signature[::-1] if item.payload.value.startswith(b"lie") else signature
            for item, signature in zip(items, signatures, strict=True)
        ]


def recording(requests: BinaryIO, replies: BinaryIO) -> None:
    serve(Start(Pkcs11Start("", ""), 0), lambda start: RecordingToken(), requests, replies)


def hanging_signer(requests: BinaryIO, replies: BinaryIO) -> None:
    """A signer of securesystemslib that never answers when it is to sign "hang"."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signature

    class HangingSigner(CryptoSigner):
        @classmethod
        def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> CryptoSigner:
            content = Path(priv_key_uri.removeprefix("hanging:")).read_bytes()
            return cls(load_pem_private_key(content, None), public_key)  # type: ignore[arg-type]

        def sign(self, payload: bytes) -> Signature:
            if payload == b"hang":
                time.sleep(60)
            return super().sign(payload)

    SIGNER_FOR_URI_SCHEME["hanging"] = HangingSigner
    body = read_frame(requests)
    assert body is not None
    serve(read_start(body), open_token, requests, replies)


MODES: dict[str, Behaviour] = {
    "wrong-pin": wrong_pin,
    "wrong-pin-later": later(wrong_pin),
    "wrong-pin-third": later(wrong_pin, good=2),
    "crash-at-start": crash_at_start,
    "crash-at-start-later": later(crash_at_start),
    "crash-on-request": crash_on_request,
    "silent": silent,
    "silent-later": later(silent),
    "garbage-at-start": garbage_at_start,
    "keys-at-start": keys_at_start,
    "garbage": answering(lambda number: b"\x00\x00\x00\x07garbage"),
    "huge-frame": answering(lambda number: b"\xff\xff\xff\xff"),
    "endless": answering(lambda number: b"\xff" * 1_000_000),
    "empty-frame": answering(lambda number: b"\x00\x00\x00\x00"),
    "ready-again": answering(lambda number: Ready()),
    "wrong-number": answering(lambda number: Signed(number + 1, [b"signature"])),
    "wrong-count": answering(lambda number: Signed(number, [b"one", b"two"])),
    "wrong-kind": answering(lambda number: Keys(number, [])),
    "unknown-error": answering(lambda number: Failed(number, "from-the-future", "A worker of the future failed.")),
    "bad-signature": answering(lambda number: Failed(number, "signature-invalid", "The signature is invalid.")),
    "leave-a-child": leave_a_child,
    "report": report,
    "printing": printing,
    "recording": recording,
    "hanging-signer": hanging_signer,
}


def starts() -> int:
    return len(Path(sys.argv[2]).read_text().splitlines())


def main() -> None:
    requests, replies = claim_pipes()
    with requests, replies, Path(sys.argv[2]).open("a") as marker:
        marker.write(f"{os.getpid()}\n")
        marker.flush()
        if sys.argv[1] != "hanging-signer":  # It reads what it is told.
            read_frame(requests)
        MODES[sys.argv[1]](requests, replies)


if __name__ == "__main__":
    main()
