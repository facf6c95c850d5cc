"""The program that runs in the sandbox: ``python -I -m wharfinger_daemon.sandbox.worker DESCRIPTOR``.

It loads the checks, confines itself, and only then says hello and receives the first artifact. One artifact after
another is read through its descriptor; nothing else is opened. What checks print goes nowhere.

Exit status: 0 when the daemon closed the channel, 3 when it could not start to work.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from wharfinger_daemon.sandbox import protocol, syscall_filter
from wharfinger_daemon.sandbox.confinement import Confinement, Layers, Terms, early_layers, late_layers
from wharfinger_daemon.sandbox.preparation import import_codecs, loaded_checks, settle_memory, try_out
from wharfinger_daemon.scanning.archives import ArtifactUnreadableError
from wharfinger_daemon.scanning.deadline import AlarmDeadline, Deadline
from wharfinger_daemon.scanning.engine import Engine
from wharfinger_daemon.scanning.registry import rule_set_version

COULD_NOT_START = 3


def prepared(
    channel: socket.socket, deadline: Deadline, early: Layers, late: Callable[[socket.socket, Terms], Layers]
) -> tuple[Engine, protocol.Hello]:
    """Receives the set-up, loads the checks, and confines the process."""
    setup = protocol.receive(channel, protocol.SETUP)
    syscall_filter.preload()
    loaded = loaded_checks(setup.checks)
    engine = Engine(loaded.checks, setup.limits, deadline)
    confinement = Confinement()
    for layer, establish in early:
        confinement.apply(layer, establish)
    import_codecs()
    try_out(engine)
    _discard_output()
    terms = Terms(parent=setup.parent, memory_bytes=setup.memory_bytes, cpu_seconds=setup.cpu_seconds)
    for layer, establish in late(channel, terms):
        confinement.apply(layer, establish)
    hello = protocol.Hello(
        rule_set=rule_set_version(loaded.checks),
        active=tuple(confinement.active),
        missing=confinement.missing,
        load_failures=loaded.failures,
    )
    return engine, hello


def _discard_output() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2(null, descriptor)
    os.close(null)


def serve(channel: socket.socket, engine: Engine) -> None:
    """Does one job after another until the daemon closes the channel.

    Raises:
        ProtocolViolationError: the daemon said something that it should not.
    """
    while True:
        try:
            job, descriptor = protocol.receive_job(channel)
        except EOFError:
            return
        protocol.send(channel, _answer(engine, job, descriptor))


def _answer(engine: Engine, job: protocol.Job, descriptor: int) -> protocol.Done | protocol.Failed:
    try:
        with open(descriptor, "rb", buffering=0) as artifact:
            return protocol.Done(examination=engine.examine(artifact, job.subject))
    except MemoryError:
        return protocol.Failed(why="out-of-memory", by_content=True)
    except ArtifactUnreadableError as error:
        return protocol.Failed(why=str(error), by_content=False)
    except Exception as error:  # noqa: BLE001 - the daemon judges; a second worker will show the same
        return protocol.Failed(why=f"crashed-with-{type(error).__name__}", by_content=True)


def main(arguments: list[str]) -> int:
    """Runs the worker on the channel whose descriptor is the only argument."""
    with socket.socket(fileno=int(arguments[0])) as channel:
        try:
            engine, hello = prepared(channel, AlarmDeadline(), early_layers(), late_layers)
            settle_memory()
        except Exception as error:  # noqa: BLE001 - said to the daemon, whatever it is
            protocol.send(channel, protocol.Refusal(why=f"{type(error).__name__}: {error}"))
            return COULD_NOT_START
        protocol.send(channel, hello)
        serve(channel, engine)
    return 0


if __name__ == "__main__":
    # Without the interpreter's clean-up, which would run code of checks, and has nothing to clean up.
    os._exit(main(sys.argv[1:]))  # pragma: no cover - runs in the executed program only
