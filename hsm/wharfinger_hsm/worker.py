"""`python -m wharfinger_hsm.worker`: one process, one thread, one module, one session that is logged in for good.

Requests come on standard input and replies go to standard output, as `messages` describes. Standard error passes
through to the daemon's. The worker ends when its standard input does, and the kernel kills it when the daemon dies
while a call hangs.

It ends itself after every failure that was not the caller's fault: its session cannot be trusted any more.
"""

import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO

from wharfinger_hsm.errors import CALLERS_FAULT, HsmError
from wharfinger_hsm.messages import (
    Attributes,
    Destroy,
    Destroyed,
    Failed,
    Generate,
    Keys,
    ListKeys,
    ReadAttributes,
    Ready,
    Reply,
    Request,
    Signed,
    Start,
    frame,
    read_frame,
    read_request,
    read_start,
)
from wharfinger_hsm.model import SignerSettings
from wharfinger_hsm.pin_file import read_pin
from wharfinger_hsm.token import Token

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

EXIT_DONE = 0
EXIT_FAILED = 1


def claim_pipes() -> tuple[
    BinaryIO, BinaryIO
]:  # pragma: no cover - takes a whole process over, as every worker in the tests does
    """Moves the two pipes to descriptors of their own.

    Vendor modules print. What they print goes to standard error afterwards, and what they read is empty, so that
    neither can get between the frames.
    """
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def seclude(
    parent: int,
) -> bool:  # pragma: no cover - cannot be undone in a process, and every worker in the tests does it
    """Makes this process die with its parent, and hard to look into. False when the parent is gone already.

    Call it before the PIN is read: a process that is not dumpable leaves no core file, and no other process of the same
    user can read its memory or trace it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, int(signal.SIGKILL)), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A service manager signals the whole group; the daemon still needs its workers while it drains.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    return os.getppid() == parent


def open_token(start: Start) -> Token:
    """Reads the secrets and opens the token. Raises `HsmError`."""
    # Imported here, so that what serves a token can be used without python-pkcs11, or without securesystemslib.
    settings = start.settings()
    if isinstance(settings, SignerSettings):
        from wharfinger_hsm.signer_token import SignerToken

        return SignerToken.open(settings)
    pin = read_pin(settings.pin_file)
    from wharfinger_hsm.pkcs11_token import Pkcs11Token

    return Pkcs11Token.open(settings, pin)


def serve(start: Start, open_: Callable[[Start], Token], requests: BinaryIO, replies: BinaryIO) -> int:
    """Opens the token, says so, and answers until the requests end or the token fails. Returns the exit status."""
    try:
        token = open_(start)
    except HsmError as error:
        send(replies, _failed(0, error))
        return EXIT_FAILED
    try:
        send(replies, Ready())
        while (body := read_frame(requests)) is not None:
            request = read_request(body)
            try:
                reply = answer(token, request)
            except CALLERS_FAULT as error:
                reply = _failed(request.number, error)
            except HsmError as error:
                send(replies, _failed(request.number, error))
                return EXIT_FAILED
            send(replies, reply)
        return EXIT_DONE
    finally:
        token.close()


def answer(token: Token, request: Request) -> Reply:
    """Does what one request asks. Raises `HsmError`."""
    match request:
        case ListKeys(number):
            return Keys(number, token.keys())
        case Generate(number, algorithm, label):
            return Keys(number, [token.generate(algorithm, label)])
        case ReadAttributes(number, public_key):
            return Attributes(number, token.attributes(public_key))
        case Destroy(number, public_key):
            token.destroy(public_key)
            return Destroyed(number)
        case _:
            return Signed(request.number, token.sign([wire.item() for wire in request.items]))


def send(replies: BinaryIO, reply: Reply) -> None:
    replies.write(frame(reply))
    replies.flush()


def _failed(number: int, error: HsmError) -> Failed:
    return Failed(number, error.wire_name, str(error))


def main() -> int:  # pragma: no cover - what it calls takes the process over
    requests, replies = claim_pipes()
    logging.basicConfig(stream=sys.stderr, format="wharfinger-hsm-worker: %(levelname)s: %(message)s")
    with requests, replies:
        body = read_frame(requests)
        if body is None:
            return EXIT_DONE
        start = read_start(body)
        if not seclude(start.parent):
            return EXIT_DONE
        try:
            return serve(start, open_token, requests, replies)
        except BrokenPipeError:
            return EXIT_DONE  # The daemon is gone.


if __name__ == "__main__":  # pragma: no cover - runs in workers only
    sys.exit(main())
