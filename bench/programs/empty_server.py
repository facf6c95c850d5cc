"""A bare grpc.aio server with mTLS and one RPC that takes nothing and answers nothing: the floor of an RPC.

    python empty_server.py TLS_FOLDER

Prints its address, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

tls = Path(sys.argv[1])


async def empty(request: bytes, context: Any) -> bytes:
    return b""


async def serve() -> None:
    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Empty": grpc.unary_unary_rpc_method_handler(empty)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Floor", handlers),))
    credentials = grpc.ssl_server_credentials(
        [((tls / "server.key").read_bytes(), (tls / "server.crt").read_bytes())],
        root_certificates=(tls / "ca.crt").read_bytes(),
        require_client_auth=True,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


asyncio.run(serve())
