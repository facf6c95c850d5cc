"""The worker's side of the pipe, in this process with a token in memory."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from wharfinger_hsm.errors import (
    KeyNotFoundError,
    ModuleMissingError,
    TokenMissingError,
    TokenUnavailableError,
    WrongPinError,
)
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.messages import (
    MAX_FRAME_BYTES,
    Attributes,
    Destroy,
    Destroyed,
    Failed,
    Generate,
    Keys,
    ListKeys,
    Pkcs11Start,
    ProtocolError,
    ReadAttributes,
    Ready,
    Reply,
    Request,
    Sign,
    Signed,
    SignersStart,
    Start,
    WireItem,
    checked_length,
    frame,
    read_frame,
    read_reply,
    read_request,
    read_start,
)
from wharfinger_hsm.model import (
    Digest,
    KeyAlgorithm,
    KeyAttributes,
    KeySource,
    Message,
    SignerKey,
    SignerSettings,
    SigningItem,
    TokenSettings,
)
from wharfinger_hsm.verification import verify
from wharfinger_hsm.worker import EXIT_DONE, EXIT_FAILED, open_token, serve

START = Start(Pkcs11Start("/module.so", "/pin", "label"), 1)


class RecordingToken(MemoryToken):
    closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


def served(token: MemoryToken, *requests: Request) -> tuple[int, list[Reply]]:
    """The exit status and the replies of a worker that was asked this."""
    replies = io.BytesIO()
    status = serve(START, lambda start: token, io.BytesIO(b"".join(map(frame, requests))), replies)
    replies.seek(0)
    read = []
    while (body := read_frame(replies)) is not None:
        read.append(read_reply(body))
    return status, read


def test_a_worker_says_ready_and_ends_with_its_requests() -> None:
    token = RecordingToken()

    assert (EXIT_DONE, [Ready()]) == served(token)
    assert token.closed


def test_a_worker_answers_each_request_in_order() -> None:
    token = MemoryToken()
    key = token.generate(KeyAlgorithm.ED25519, "one")
    item = SigningItem(key.public_key, Message(b"message"))

    status, (ready, listed, made, signed) = served(
        token, ListKeys(1), Generate(2, KeyAlgorithm.ECDSA_P256, "two"), Sign(3, [WireItem.of(item)])
    )

    assert (EXIT_DONE, Ready(), Keys(1, [key])) == (status, ready, listed)
    assert isinstance(made, Keys)
    assert (2, ["two"]) == (made.number, [new.label for new in made.keys])
    assert isinstance(signed, Signed)
    verify(item, signed.signatures[0])


def test_a_callers_mistake_is_told_and_the_worker_goes_on() -> None:
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere").public_key
    unknown = WireItem(stranger, bytes(32), whole=False)
    wrong_kind = WireItem(stranger, bytes(32), whole=True)
    wrong_length = WireItem(stranger, bytes(31), whole=False)

    status, replies = served(
        MemoryToken(), Sign(1, [unknown]), Sign(2, [wrong_kind]), Sign(3, [wrong_length]), ListKeys(4)
    )

    errors = [reply.error for reply in replies if isinstance(reply, Failed)]
    assert ["key-not-found", "unsupported-item", "unsupported-item"] == errors
    assert (EXIT_DONE, Keys(4, [])) == (status, replies[-1])


def test_a_worker_tells_attributes_and_destroys() -> None:
    token = MemoryToken()
    key = token.generate(KeyAlgorithm.ED25519, "one")
    attributes = token.attributes(key.public_key)

    _, replies = served(
        token, ReadAttributes(1, key.public_key), Destroy(2, key.public_key), ReadAttributes(3, key.public_key)
    )

    assert [Attributes(1, attributes), Destroyed(2)] == replies[1:3]
    assert isinstance(replies[3], Failed) and replies[3].error == "key-not-found"


class FailingToken(RecordingToken):
    def sign(self, items: object) -> list[bytes]:
        raise TokenUnavailableError("The token failed while signing (DeviceError).")


def test_a_failure_of_the_token_is_told_and_ends_the_worker() -> None:
    """Its session cannot be trusted any more."""
    token = FailingToken()

    status, replies = served(token, Sign(1, []), ListKeys(2))

    failed = Failed(1, "token-unavailable", "The token failed while signing (DeviceError).")
    assert (EXIT_FAILED, [Ready(), failed]) == (status, replies)
    assert token.closed


def test_a_token_that_cannot_be_opened_is_told() -> None:
    def refuse(start: Start) -> MemoryToken:
        raise WrongPinError("The token refused the PIN.")

    replies = io.BytesIO()

    assert EXIT_FAILED == serve(START, refuse, io.BytesIO(), replies)
    assert frame(Failed(0, "wrong-pin", "The token refused the PIN.")) == replies.getvalue()


def test_the_pin_is_read_where_the_token_is_opened(tmp_path: Path) -> None:
    """A missing PIN file is told before a module is loaded."""
    with pytest.raises(Exception, match="PIN file"):
        open_token(Start(Pkcs11Start(str(tmp_path / "none.so"), str(tmp_path / "none"), "label"), 1))


def test_signers_are_opened_from_their_files(tmp_path: Path) -> None:
    with pytest.raises(TokenMissingError, match="cannot be read as PEM"):
        open_token(Start(SignersStart([("file2:/none", str(tmp_path / "none.pem"), "label", None)], []), 1))


def test_a_module_is_opened_after_the_pin_was_read(tmp_path: Path) -> None:
    pin_file = tmp_path / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text("1234")
    with pytest.raises(ModuleMissingError):
        open_token(Start(Pkcs11Start(str(tmp_path / "none.so"), str(pin_file), "label"), 1))


@pytest.mark.parametrize(
    "settings",
    [
        TokenSettings(Path("/module.so"), "label", Path("/pin")),
        TokenSettings(Path("/m.so"), None, Path("/pin"), serial="12ab", slot=3, manufacturer="maker", model="model"),
        SignerSettings(
            (
                SignerKey("awskms:1", Path("/one.pem"), "one"),
                SignerKey("own:2", Path("/two.pem"), "two", Path("/secret")),
            ),
            ("own_module",),
        ),
    ],
)
def test_settings_survive_the_pipe(settings: KeySource) -> None:
    """All but the environment, which the process has."""
    body = read_frame(io.BytesIO(frame(Start.of(replace(settings, environment={"A": "b"}), 1))))
    assert body is not None

    assert settings == read_start(body).settings()


@pytest.mark.parametrize(
    "message",
    [
        START,
        Start(SignersStart([("uri:", "/pem", "label", None), ("uri:", "/pem", "label", "/secret")], ["module"]), 1),
        ReadAttributes(7, b"key"),
        Destroy(8, b"key"),
        Attributes(9, KeyAttributes(b"key", KeyAlgorithm.ED25519, "label", b"id", local=True, allowed_mechanisms=())),
        Destroyed(10),
        ListKeys(1),
        Generate(2, KeyAlgorithm.RSA_PSS_2048, "label"),
        Sign(3, [WireItem(b"key", b"digest", whole=False)]),
        Ready(),
        Keys(4, [MemoryToken().generate(KeyAlgorithm.ED25519, "label")]),
        Signed(5, [b"signature"]),
        Failed(6, "wrong-pin", "why"),
    ],
)
def test_every_message_survives_the_pipe(message: Start | Request | Reply) -> None:
    body = read_frame(io.BytesIO(frame(message)))
    assert body is not None

    requests = dict.fromkeys((ListKeys, Generate, Sign, ReadAttributes, Destroy), read_request)
    readers: dict[type, Callable[[bytes], object]] = {Start: read_start} | requests
    assert message == readers.get(type(message), read_reply)(body)


@pytest.mark.parametrize("payload", [Digest(bytes(32)), Message(b"")])
def test_an_item_survives_the_pipe(payload: Digest | Message) -> None:
    item = SigningItem(b"key", payload)

    assert item == WireItem.of(item).item()


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_length_that_no_message_has_is_refused_before_memory_is_taken(length: int) -> None:
    with pytest.raises(ProtocolError):
        checked_length(length)


@pytest.mark.parametrize("body", [b"\xc1", b"\x00", b"", msgspec.msgpack.encode(["Signed", "one", []])])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    for read in (read_start, read_request, read_reply):
        with pytest.raises(ProtocolError):
            read(body)


@pytest.mark.parametrize("stream", [b"", b"\x00\x00", b"\x00\x00\x00\x05abc"])
def test_a_pipe_that_ends_early_is_at_its_end(stream: bytes) -> None:
    assert read_frame(io.BytesIO(stream)) is None


def worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "wharfinger_hsm.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_worker_without_a_supervisor_ends_at_once() -> None:
    with worker() as process:
        output, _ = process.communicate(b"", timeout=30)

    assert (EXIT_DONE, b"") == (process.returncode, output)


def test_a_worker_whose_supervisor_is_not_its_parent_ends_before_it_reads_the_pin() -> None:
    """The supervisor died between starting the worker and the worker's asking to die with it."""
    with worker() as process:
        output, _ = process.communicate(
            frame(Start(Pkcs11Start("/none.so", "/none", "label"), os.getppid())), timeout=30
        )

    assert (EXIT_DONE, b"") == (process.returncode, output)


def test_a_worker_outlives_the_signals_that_stop_a_service(tmp_path: Path) -> None:
    """The daemon drains after SIGTERM, and needs its workers for that; they end with their pipe."""
    program = (
        "import os, sys\n"
        "from wharfinger_hsm.worker import claim_pipes, seclude, serve\n"
        "from wharfinger_hsm.memory_token import MemoryToken\n"
        "requests, replies = claim_pipes()\n"
        "assert seclude(os.getppid())\n"
        "sys.exit(serve(None, lambda start: MemoryToken(), requests, replies))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert len(frame(Ready())) == len(process.stdout.read(len(frame(Ready()))))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        output, _ = process.communicate(frame(ListKeys(1)), timeout=30)

    assert (EXIT_DONE, frame(Keys(1, []))) == (process.returncode, output)


def test_key_not_found_is_a_callers_mistake() -> None:
    with pytest.raises(KeyNotFoundError):
        MemoryToken().find(b"unknown")
