"""How the fake refuses: as gRPC does, so that the client's one table of errors makes the errors."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2


class Refusal(grpc.RpcError):
    """A call that failed; has what either kind of channel raises."""

    def __init__(self, code: grpc.StatusCode, words: str, reason: str = "") -> None:
        super().__init__(words)
        self._code = code
        self._words = words
        self._reason = reason

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str:
        """The words."""
        return self._words

    def trailing_metadata(self) -> Any:
        """The reason as ``google.rpc.ErrorInfo``, if there is one."""
        if not self._reason:
            return ()
        status = status_pb2.Status(code=self._code.value[0], message=self._words)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=self._reason, domain="wharfinger"))
        return (("grpc-status-details-bin", status.SerializeToString()),)


def invalid(words: str, reason: str) -> Refusal:
    """The request can never succeed as it is."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, words, reason)


def missing(words: str, reason: str) -> Refusal:
    """The thing named does not exist."""
    return Refusal(grpc.StatusCode.NOT_FOUND, words, reason)


def away() -> Refusal:
    """Nobody answers."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, "the fake daemon is stopped")


def unimplemented(path: str) -> Refusal:
    """The fake does not do this."""
    return Refusal(grpc.StatusCode.UNIMPLEMENTED, f"the fake daemon does not answer {path}")
