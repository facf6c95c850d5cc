"""Stands before every RPC: each call makes its ``passage``, and each message must parse and not be too large."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from wharfinger_daemon.errors import InvalidRequestError, OverloadedError, Reason
from wharfinger_daemon.rpc.passage import Checkpoint, Passage

_REQUEST_ID_KEY = "x-request-id"


class Undecodable:
    """Stands for a message whose bytes are not of its type."""


class Gate(grpc.aio.ServerInterceptor):
    """Guards all RPCs of a server."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler of one call. None, for an unknown method, makes gRPC answer UNIMPLEMENTED."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        metadata = handler_call_details.invocation_metadata or ()
        wanted_id = next((str(value) for key, value in metadata if key == _REQUEST_ID_KEY), "")
        return self._guarded(handler, str(handler_call_details.method).removeprefix("/"), wanted_id)

    def _guarded(self, handler: Any, method: str, wanted_id: str) -> Any:
        make, behaviour = _shape(handler)
        check = self._checked_stream if handler.request_streaming else self._checked

        async def single(request: Any, context: Any) -> Any:
            async with Passage(self._checkpoint, method, wanted_id, context) as call:
                async with asyncio.timeout(call.timeout_seconds):
                    return await behaviour(check(request), context)

        async def writing(request: Any, context: Any) -> None:
            async with Passage(self._checkpoint, method, wanted_id, context):
                await behaviour(check(request), context)

        async def yielding(request: Any, context: Any) -> AsyncIterator[Any]:
            async with Passage(self._checkpoint, method, wanted_id, context):
                # Closed here and now: what is only dropped gives its places back when somebody collects it.
                async with aclosing(behaviour(check(request), context)) as responses:
                    async for response in responses:
                        yield response

        if not handler.response_streaming:
            guarded: Any = single
        else:
            # grpc.aio takes both kinds of streaming behaviour, and looks at the function to tell them apart.
            guarded = yielding if inspect.isasyncgenfunction(behaviour) else writing
        return make(guarded, _forgiving(handler.request_deserializer), handler.response_serializer)

    def _checked(self, request: Any) -> Any:
        most = self._checkpoint.limits.message_bytes
        if isinstance(request, Undecodable):
            raise InvalidRequestError(
                "The message's bytes are not a message of this RPC's type. Use the generated client.",
                reason=Reason.MALFORMED_REQUEST,
            )
        if isinstance(request, Message) and request.ByteSize() > most:
            raise OverloadedError(
                f"The message has {request.ByteSize()} bytes; at most {most} are taken. Split the request.",
                reason=Reason.MESSAGE_TOO_LARGE,
            )
        return request

    async def _checked_stream(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            yield self._checked(request)


def _shape(handler: Any) -> tuple[Any, Any]:
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler, handler.stream_stream
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler, handler.stream_unary
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler, handler.unary_stream
    return grpc.unary_unary_rpc_method_handler, handler.unary_unary


def _forgiving(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def attempt(content: bytes) -> Any:
        try:
            return deserialize(content)
        except DecodeError:
            # Raised later, inside the passage, so that the caller gets INVALID_ARGUMENT and not an internal error.
            return Undecodable()

    return attempt
