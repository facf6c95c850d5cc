"""``wharfinger.audit.v1.AuditService``."""

from __future__ import annotations

from typing import Any, Protocol

from wharfinger.audit.v1 import audit_pb2 as wire
from wharfinger.audit.v1 import audit_pb2_grpc
from wharfinger_daemon.audit.checkpoint import SignedCheckpoint
from wharfinger_daemon.errors import InvalidRequestError, NotFoundError, Reason, UnavailableError

_USUAL_LEAVES = 100
_MOST_LEAVES = 1000


class AuditLog(Protocol):
    """What is needed of ``storage.audit_log.SqlAuditLog``."""

    async def size(self) -> int:
        """The number of leaves."""
        ...

    async def leaves(self, first: int, count: int) -> list[tuple[int, bytes, bytes]]:
        """Index, data and hash of some leaves."""
        ...

    async def checkpoint(self, size: int | None) -> SignedCheckpoint | None:
        """The newest checkpoint, or that of a size."""
        ...

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that a leaf is in the tree of a size."""
        ...

    async def consistency(self, first: int, second: int) -> list[bytes]:
        """The proof that one tree begins another."""
        ...


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Translates for the audit log."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def GetCheckpoint(  # noqa: N802  # gRPC's name
        self, request: wire.GetCheckpointRequest, context: Any
    ) -> wire.GetCheckpointResponse:
        signed = await self._checkpoint(request.size)
        return wire.GetCheckpointResponse(checkpoint=signed.note, size=signed.checkpoint.size)

    async def GetInclusionProof(  # noqa: N802
        self, request: wire.GetInclusionProofRequest, context: Any
    ) -> wire.GetInclusionProofResponse:
        index = request.leaf_index
        found = await self._log.leaves(index, 1) if index >= 0 else []
        if not found:
            raise NotFoundError(
                f"The log has no leaf {index}.", reason=Reason.LEAF_NOT_FOUND, size=str(await self._log.size())
            )
        signed = await self._covering(index, request.tree_size)
        size = signed.checkpoint.size
        return wire.GetInclusionProofResponse(
            leaf_index=index, leaf=found[0][1], hashes=await self._log.inclusion(index, size), checkpoint=signed.note
        )

    async def GetConsistencyProof(  # noqa: N802
        self, request: wire.GetConsistencyProofRequest, context: Any
    ) -> wire.GetConsistencyProofResponse:
        first, second = request.first_size, request.second_size
        if second == 0:
            second = (await self._checkpoint(0)).checkpoint.size
        size = await self._log.size()
        if not 1 <= first <= second <= size:
            raise InvalidRequestError(
                f"There is no proof from a tree of {first} leaves to one of {second}: sizes go from 1 to the log's "
                f"{size}, the smaller first.",
                reason=Reason.TREE_SIZE_INVALID,
            )
        hashes = await self._log.consistency(first, second)
        return wire.GetConsistencyProofResponse(hashes=hashes, second_size=second)

    async def ListLeaves(  # noqa: N802
        self, request: wire.ListLeavesRequest, context: Any
    ) -> wire.ListLeavesResponse:
        first, size = request.first_index, await self._log.size()
        if not 0 <= first <= size or request.page_size < 0:
            raise InvalidRequestError(
                f"Leaves go from 0 to {size - 1}, and {first} with a page of {request.page_size} was asked for.",
                reason=Reason.TREE_SIZE_INVALID,
            )
        found = await self._log.leaves(first, min(request.page_size or _USUAL_LEAVES, _MOST_LEAVES))
        return wire.ListLeavesResponse(
            leaves=(wire.LogLeaf(index=index, leaf=data, leaf_hash=value) for index, data, value in found),
            next_index=first + len(found),
        )

    async def _checkpoint(self, size: int) -> SignedCheckpoint:
        signed = await self._log.checkpoint(size or None) if size >= 0 else None
        if signed is None:
            raise NotFoundError(
                "No checkpoint was signed yet." if size == 0 else f"No checkpoint of {size} leaves was signed.",
                reason=Reason.CHECKPOINT_NOT_FOUND,
            )
        return signed

    async def _covering(self, index: int, size: int) -> SignedCheckpoint:
        if size:
            signed = await self._checkpoint(size)
            if index >= size:
                raise InvalidRequestError(
                    f"Leaf {index} is not in a tree of {size} leaves.", reason=Reason.TREE_SIZE_INVALID
                )
            return signed
        newest = await self._log.checkpoint(None)
        if newest is None or newest.checkpoint.size <= index:
            raise UnavailableError(
                f"No checkpoint covers leaf {index} yet. Ask again in a moment.", reason=Reason.CHECKPOINT_PENDING
            )
        return newest
