"""``wharfinger.metadata.v1.MetadataService``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from wharfinger.metadata.v1 import metadata_pb2 as wire
from wharfinger.metadata.v1 import metadata_pb2_grpc
from wharfinger_daemon.errors import NotFoundError, Reason
from wharfinger_daemon.metadata.feed import PublicationFeed, ShownPublication
from wharfinger_daemon.metadata.reading import MetadataReader
from wharfinger_daemon.metadata.targets import Target
from wharfinger_daemon.metadata.waiting import TargetPublisher
from wharfinger_daemon.rpc.callers import require_repository
from wharfinger_daemon.rpc.passage import current_call


class MetadataServicer(metadata_pb2_grpc.MetadataServiceServicer):
    """Translates for the metadata domain. ``repository`` is the one that this daemon publishes."""

    def __init__(
        self, repository: str, publisher: TargetPublisher, reader: MetadataReader, feed: PublicationFeed
    ) -> None:
        self._repository = repository
        self._publisher = publisher
        self._reader = reader
        self._feed = feed

    async def GetMetadata(  # noqa: N802  # gRPC's name
        self, request: wire.GetMetadataRequest, context: Any
    ) -> wire.GetMetadataResponse:
        self._require_ours(request.repository)
        file = await self._reader.get(request.role, request.version, if_none_match=request.if_none_match)
        return wire.GetMetadataResponse(
            content=file.content or b"",
            version=file.version,
            etag=file.etag,
            not_modified=file.content is None,
        )

    async def PublishTargets(  # noqa: N802
        self, request: wire.PublishTargetsRequest, context: Any
    ) -> wire.PublishTargetsResponse:
        call = current_call.get()
        request_id = call.named(request.request_id)
        self._require_ours(request.repository)
        require_repository(call.grants, request.repository)
        result = await self._publisher.publish(
            [Target(target.path, target.length, dict(target.hashes)) for target in request.add],
            list(request.remove),
            timeout_seconds=call.timeout_seconds,
        )
        return wire.PublishTargetsResponse(
            timestamp_version=result.timestamp_version,
            snapshot_version=result.snapshot_version,
            bin_versions=result.bin_versions,
            request_id=request_id,
        )

    async def GetTarget(self, request: wire.GetTargetRequest, context: Any) -> wire.GetTargetResponse:  # noqa: N802
        self._require_ours(request.repository)
        published = await self._reader.target(request.path)
        expires = Timestamp()
        expires.FromDatetime(published.expires)
        target = published.target
        return wire.GetTargetResponse(
            target=wire.Target(path=target.path, length=target.length, hashes=target.hashes),
            role=published.role,
            role_version=published.role_version,
            expires=expires,
        )

    async def WatchPublications(  # noqa: N802
        self, request: wire.WatchPublicationsRequest, context: Any
    ) -> AsyncIterator[wire.WatchPublicationsResponse]:
        self._require_ours(request.repository)
        after = request.after if request.HasField("after") else None
        async with aclosing(self._feed.subscribe(after)) as publications:
            async for publication in publications:
                yield wire.WatchPublicationsResponse(publication=_publication(publication))

    def _require_ours(self, repository: str) -> None:
        if repository != self._repository:
            raise NotFoundError(
                f"This daemon publishes no repository '{repository}'; it publishes '{self._repository}'.",
                reason=Reason.UNKNOWN_REPOSITORY,
                repository=repository,
            )


def _publication(publication: ShownPublication) -> wire.Publication:
    published_at = Timestamp()
    published_at.FromDatetime(publication.published_at)
    return wire.Publication(
        timestamp_version=publication.timestamp_version,
        snapshot_version=publication.snapshot_version,
        bin_versions=publication.bins,
        published_at=published_at,
    )
