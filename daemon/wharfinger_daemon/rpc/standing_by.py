"""Answers calls that only the daemon in the signer's place can answer, on one that stands by."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from wharfinger_daemon.errors import Reason, UnavailableError
from wharfinger_daemon.rpc.server import Service


def standing_by(descriptor: ServiceDescriptor) -> Service:
    """A service each of whose methods says that this daemon stands by."""

    async def refuse(request: Any, context: Any) -> NoReturn:
        raise UnavailableError(
            "This daemon stands by: it serves metadata and takes changes of targets, and another one signs. Call that "
            "one, or try again: this one takes its place when it ends.",
            reason=Reason.STANDING_BY,
        )

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        method.name: grpc.unary_unary_rpc_method_handler(
            refuse, request_deserializer=GetMessageClass(method.input_type).FromString
        )
        for method in descriptor.methods
        if not method.server_streaming
    }
    handler = grpc.method_handlers_generic_handler(descriptor.full_name, handlers)
    return Service(descriptor.full_name, lambda server: server.add_generic_rpc_handlers((handler,)))
