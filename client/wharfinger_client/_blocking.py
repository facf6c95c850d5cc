"""How the client that blocks carries operations out: its connection, one for each process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from wharfinger_client import _channel, _rpcs, metadata
from wharfinger_client._failures import wharfinger_error
from wharfinger_client._operations import Page
from wharfinger_client._steps import Operation, Pause, Send, Step, T
from wharfinger_client._watching import PublicationWatch
from wharfinger_client.errors import WharfingerError
from wharfinger_client.settings import ClientSettings


class BlockingConnection:
    """Carries operations out, one step after another."""

    def __init__(self, settings: ClientSettings, sleep: Callable[[float], None]) -> None:
        self._settings = settings
        self._sleep = sleep
        # By process: an inherited channel belongs to the parent. It is kept, because closing it would need its threads.
        self._channels: dict[int, grpc.Channel] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection of this process, if there is one. Calls under way fail."""
        self._closed = True
        channel = self._channels.pop(os.getpid(), None)
        if channel is not None:
            channel.close()

    def _each(self, page: Callable[[str], Operation[Page[T]]]) -> Iterator[T]:
        token = ""
        while True:
            got = self._run(page(token))
            yield from got.items
            token = got.next_token
            if not token:
                return

    def _watch(self, watch: PublicationWatch) -> Iterator[metadata.Publication]:
        rpc = _rpcs.WATCH_PUBLICATIONS
        coding = (rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        while True:
            call: Any = self._channel().unary_stream(*coding)(watch.request(), metadata=watch.call_metadata)
            failure: WharfingerError
            try:
                for message in call:
                    yield watch.taken(message)
                failure = watch.ended()
            except grpc.RpcError as error:
                failure = wharfinger_error(error, address=self._settings.address, request_id=watch.request_id)
                failure.__cause__ = error
            finally:
                call.cancel()
            self._sleep(watch.pause_after(failure))

    def _run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                try:
                    outcome = self._perform(step)
                except BaseException as error:  # noqa: BLE001 - the operation cleans up and raises it, or another one
                    step = operation.throw(error)
                else:
                    step = operation.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, step: Step) -> Any:
        match step:
            case Send():
                return self._send(step)
            case Pause():
                return self._sleep(step.seconds)
        return step.work()

    def _send(self, send: Send) -> Any:
        channel = self._channel()
        rpc = send.rpc
        coding = (rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        request: Any = send.request()
        call: Any = None
        try:
            if not rpc.streams:
                return channel.unary_unary(*coding)(request, timeout=send.timeout, metadata=send.metadata)
            call = channel.stream_unary(*coding).future(request, timeout=send.timeout, metadata=send.metadata)
            return call.result()
        except grpc.RpcError as error:
            raise wharfinger_error(error, address=self._settings.address, request_id=send.request_id) from error
        finally:
            # No effect on a call that ended; one that was interrupted must not go on reading the file.
            if call is not None:
                call.cancel()

    def _channel(self) -> grpc.Channel:
        if self._closed:
            raise RuntimeError("The client is closed; construct another one.")
        process = os.getpid()
        channel = self._channels.get(process)
        if channel is None:
            settings = self._settings
            made = grpc.secure_channel(settings.address, _channel.credentials(settings), _channel.options(settings))
            # No lock, which a fork could inherit held: of two threads that come first at once, one gives its own up.
            channel = self._channels.setdefault(process, made)
            if channel is not made:
                made.close()
        return channel
