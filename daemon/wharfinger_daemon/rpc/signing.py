"""``wharfinger.signing.v1.SigningService``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from wharfinger.signing.v1 import signing_pb2 as wire
from wharfinger.signing.v1 import signing_pb2_grpc
from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.rpc.callers import require_repository
from wharfinger_daemon.rpc.paging import page_of
from wharfinger_daemon.rpc.passage import current_call
from wharfinger_daemon.signing.model import RepositoryKey, Signature, SigningItem
from wharfinger_daemon.signing.service import SigningService


class SigningServicer(signing_pb2_grpc.SigningServiceServicer):
    """Translates for the signing domain."""

    def __init__(self, service: SigningService) -> None:
        self._service = service

    async def Sign(self, request: wire.SignRequest, context: Any) -> wire.SignResponse:  # noqa: N802  # gRPC's name
        call = current_call.get()
        request_id = call.named(request.request_id)
        signatures = await self._service.sign(
            _items(request.items),
            caller=call.grants.for_signing(),
            request_id=request_id,
            timeout_seconds=call.timeout_seconds,
        )
        return wire.SignResponse(signatures=map(_signature, signatures), request_id=request_id)

    async def Lint(self, request: wire.LintRequest, context: Any) -> wire.LintResponse:  # noqa: N802
        results = await self._service.lint(_items(request.items), caller=current_call.get().grants.for_signing())
        return wire.LintResponse(
            results=(
                wire.LintResult(
                    reason=result.reason,
                    message=result.message,
                    keyid=result.keyid,
                    role=result.role,
                    version=result.version,
                    already_signed=result.already_signed,
                )
                for result in results
            )
        )

    async def ListSigningKeys(  # noqa: N802
        self, request: wire.ListSigningKeysRequest, context: Any
    ) -> wire.ListSigningKeysResponse:
        require_repository(current_call.get().grants, request.repository)
        keys = await self._service.signing_keys(request.repository)
        page, next_token = page_of(keys, request.page_size, request.page_token)
        return wire.ListSigningKeysResponse(keys=map(_key, page), next_page_token=next_token)


def _items(items: Iterable[wire.SigningItem]) -> list[SigningItem]:
    return [_item(index, item) for index, item in enumerate(items)]


def _item(index: int, item: wire.SigningItem) -> SigningItem:
    if item.WhichOneof("content") != "tuf_metadata":
        raise InvalidRequestError(
            f"Item {index} has no content that this server can sign. Set tuf_metadata.",
            reason=Reason.MALFORMED_REQUEST,
            item=str(index),
        )
    content = item.tuf_metadata
    return SigningItem(repository=content.repository, role=content.role, signed=content.signed, keyid=item.keyid)


def _signature(signature: Signature) -> wire.Signature:
    return wire.Signature(
        keyid=signature.keyid,
        signature=signature.signature,
        role=signature.role,
        version=signature.version,
        replayed=signature.replayed,
        leaf_index=signature.leaf.index,
        leaf_hash=signature.leaf.hash,
    )


def _key(key: RepositoryKey) -> wire.SigningKey:
    verified_at = Timestamp()
    verified_at.FromDatetime(key.verified_at)
    return wire.SigningKey(
        keyid=key.keyid,
        keytype=key.keytype,
        scheme=key.scheme,
        public_key_pem=key.public_key_pem,
        roles=key.roles,
        verified_at=verified_at,
    )
