"""``wharfinger.keys.v1.KeyService`` and ``KeyAdminService``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger.keys.v1 import keys_pb2_grpc
from wharfinger_daemon.errors import InvalidRequestError, NotGrantedError, Reason
from wharfinger_daemon.keys.administration import KeyAdministration
from wharfinger_daemon.keys.importing import ImportedFile, MetadataImport
from wharfinger_daemon.keys.reporting import KeyReport
from wharfinger_daemon.rpc.callers import Grants, require_repository
from wharfinger_daemon.rpc.paging import page_of
from wharfinger_daemon.rpc.passage import current_call
from wharfinger_daemon.signing.standing import KeyState
from wharfinger_daemon.signing.suspension import Suspension, Suspensions

_STATES = {
    KeyState.GENERATED: wire.KEY_STATE_GENERATED,
    KeyState.PUBLISHED: wire.KEY_STATE_PUBLISHED,
    KeyState.ACTIVE: wire.KEY_STATE_ACTIVE,
    KeyState.RETIRING: wire.KEY_STATE_RETIRING,
    KeyState.DESTROYED: wire.KEY_STATE_DESTROYED,
}


class KeyServicer(keys_pb2_grpc.KeyServiceServicer):
    """Tells of keys, to callers whose grants name the repository."""

    def __init__(self, administration: KeyAdministration) -> None:
        self._administration = administration

    async def ListKeys(  # noqa: N802  # gRPC's name
        self, request: wire.ListKeysRequest, context: Any
    ) -> wire.ListKeysResponse:
        grants = current_call.get().grants
        if request.repository:
            require_repository(grants, request.repository)
        reports = await self._administration.list_keys(request.repository or None)
        mine = [report for report in reports if _may_see(grants, report.repository)]
        page, next_token = page_of(mine, request.page_size, request.page_token)
        return wire.ListKeysResponse(keys=map(line_key, page), next_page_token=next_token)

    async def GetKey(self, request: wire.GetKeyRequest, context: Any) -> wire.GetKeyResponse:  # noqa: N802
        return wire.GetKeyResponse(key=line_key(await _granted(self._administration, request.keyid)))


class KeyAdminServicer(keys_pb2_grpc.KeyAdminServiceServicer):
    """Translates for the life of keys, imports and suspensions.

    Args:
        imports: what takes ceremonies' metadata in.
    """

    def __init__(self, administration: KeyAdministration, imports: MetadataImport, suspensions: Suspensions) -> None:
        self._administration = administration
        self._imports = imports
        self._suspensions = suspensions

    async def PublishKey(self, request: wire.PublishKeyRequest, context: Any) -> wire.PublishKeyResponse:  # noqa: N802
        await _granted(self._administration, request.keyid)
        report = await self._administration.publish(request.keyid, caller=_caller())
        return wire.PublishKeyResponse(key=line_key(report))

    async def ActivateKey(  # noqa: N802
        self, request: wire.ActivateKeyRequest, context: Any
    ) -> wire.ActivateKeyResponse:
        await _granted(self._administration, request.keyid)
        report = await self._administration.activate(request.keyid, caller=_caller())
        return wire.ActivateKeyResponse(key=line_key(report))

    async def RetireKey(self, request: wire.RetireKeyRequest, context: Any) -> wire.RetireKeyResponse:  # noqa: N802
        await _granted(self._administration, request.keyid)
        report = await self._administration.retire(request.keyid, caller=_caller())
        return wire.RetireKeyResponse(key=line_key(report))

    async def ImportMetadata(  # noqa: N802
        self, request: wire.ImportMetadataRequest, context: Any
    ) -> wire.ImportMetadataResponse:
        require_repository(current_call.get().grants, request.repository)
        outcome = await self._imports.take(
            request.repository,
            [ImportedFile(file.name, file.content) for file in request.files],
            caller=_caller(),
            revoke=request.revoke,
            dry_run=request.dry_run,
        )
        return wire.ImportMetadataResponse(
            taken=outcome.taken, versions=outcome.versions, timestamp_version=outcome.timestamp_version
        )

    async def SuspendSigning(  # noqa: N802
        self, request: wire.SuspendSigningRequest, context: Any
    ) -> wire.SuspendSigningResponse:
        require_repository(current_call.get().grants, request.repository)
        suspension = await self._suspensions.suspend(request.repository, request.reason, caller=_caller())
        return wire.SuspendSigningResponse(suspension=_suspension(suspension))

    async def ResumeSigning(  # noqa: N802
        self, request: wire.ResumeSigningRequest, context: Any
    ) -> wire.ResumeSigningResponse:
        require_repository(current_call.get().grants, request.repository)
        await self._suspensions.resume(request.repository, caller=_caller())
        return wire.ResumeSigningResponse()

    async def ListSuspensions(  # noqa: N802
        self, request: wire.ListSuspensionsRequest, context: Any
    ) -> wire.ListSuspensionsResponse:
        grants = current_call.get().grants
        mine = [one for one in await self._suspensions.all() if _may_see(grants, one.repository)]
        return wire.ListSuspensionsResponse(suspensions=map(_suspension, mine))


def line_key(report: KeyReport) -> wire.LineKey:
    """A key, as it goes over the wire."""
    key = report.key
    gone = key.state is KeyState.DESTROYED
    return wire.LineKey(
        keyid=key.keyid,
        repository=report.repository,
        line=key.line,
        state=_STATES[key.state],
        keytype=key.keytype,
        scheme=key.scheme,
        public_key_pem=key.pem,
        label=key.label,
        held=bool(report.held),
        roles=report.roles,
        needed_by=report.needed_by,
        generated_at=_instant(key.generated_at),
        published_at=_instant(key.published_at),
        activated_at=_instant(key.activated_at),
        retired_at=_instant(key.retired_at),
        # A destruction that was begun is no destruction yet.
        destroyed_at=_instant(key.destroyed_at) if gone else None,
    )


def _instant(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    told = Timestamp()
    told.FromDatetime(instant)
    return told


def _suspension(suspension: Suspension) -> wire.Suspension:
    return wire.Suspension(
        repository=suspension.repository,
        reason=suspension.reason,
        caller=suspension.caller,
        since=_instant(suspension.since),
    )


def _caller() -> str:
    return current_call.get().grants.name


def _may_see(grants: Grants, repository: str) -> bool:
    try:
        require_repository(grants, repository)
    except NotGrantedError:
        return False
    return True


async def _granted(administration: KeyAdministration, keyid: str) -> KeyReport:
    """The key, if the caller's grants name its repository.

    Raises:
        InvalidRequestError: MALFORMED_REQUEST; no key is named.
        NotFoundError: KEY_NOT_FOUND.
        NotGrantedError: REPOSITORY_NOT_GRANTED.
    """
    if not keyid:
        raise InvalidRequestError("keyid is empty. Name a key.", reason=Reason.MALFORMED_REQUEST)
    report = await administration.get(keyid)
    require_repository(current_call.get().grants, report.repository)
    return report
