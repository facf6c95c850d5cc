"""The RPCs of the contract: where each one is and what goes in and out. A test compares them with the contract.

They are written out, instead of taken from the generated stubs, because a description serves a channel of either kind,
and because it is the place to keep the one RPC that is not ours: the health check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from wharfinger.audit.v1 import audit_pb2
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True)
class Rpc(Generic[RequestT, ResponseT]):
    """One RPC. ``streams`` is true if the request is a stream of messages, ``watches`` if the response is."""

    path: str
    request: type[RequestT]
    response: type[ResponseT]
    streams: bool = False
    watches: bool = False


_SIGNING = "/wharfinger.signing.v1.SigningService"
_METADATA = "/wharfinger.metadata.v1.MetadataService"
_AUDIT = "/wharfinger.audit.v1.AuditService"
_SCAN = "/wharfinger.scan.v1.ScanService"

SIGN = Rpc(f"{_SIGNING}/Sign", signing_pb2.SignRequest, signing_pb2.SignResponse)
LINT = Rpc(f"{_SIGNING}/Lint", signing_pb2.LintRequest, signing_pb2.LintResponse)
LIST_SIGNING_KEYS = Rpc(
    f"{_SIGNING}/ListSigningKeys", signing_pb2.ListSigningKeysRequest, signing_pb2.ListSigningKeysResponse
)
GET_METADATA = Rpc(f"{_METADATA}/GetMetadata", metadata_pb2.GetMetadataRequest, metadata_pb2.GetMetadataResponse)
PUBLISH_TARGETS = Rpc(
    f"{_METADATA}/PublishTargets", metadata_pb2.PublishTargetsRequest, metadata_pb2.PublishTargetsResponse
)
GET_TARGET = Rpc(f"{_METADATA}/GetTarget", metadata_pb2.GetTargetRequest, metadata_pb2.GetTargetResponse)
WATCH_PUBLICATIONS = Rpc(
    f"{_METADATA}/WatchPublications",
    metadata_pb2.WatchPublicationsRequest,
    metadata_pb2.WatchPublicationsResponse,
    watches=True,
)
SCAN = Rpc(f"{_SCAN}/Scan", scan_pb2.ScanRequest, scan_pb2.ScanResponse, streams=True)
CREATE_SCAN = Rpc(f"{_SCAN}/CreateScan", scan_pb2.CreateScanRequest, scan_pb2.CreateScanResponse)
GET_SCAN = Rpc(f"{_SCAN}/GetScan", scan_pb2.GetScanRequest, scan_pb2.GetScanResponse)
LIST_SCANS = Rpc(f"{_SCAN}/ListScans", scan_pb2.ListScansRequest, scan_pb2.ListScansResponse)
GET_CHECKPOINT = Rpc(f"{_AUDIT}/GetCheckpoint", audit_pb2.GetCheckpointRequest, audit_pb2.GetCheckpointResponse)
GET_INCLUSION_PROOF = Rpc(
    f"{_AUDIT}/GetInclusionProof", audit_pb2.GetInclusionProofRequest, audit_pb2.GetInclusionProofResponse
)

# HealthCheckRequest is one string, numbered 1, and HealthCheckResponse one enum, numbered 1: on the wire the same as
# these two well-known messages, which spares the client the package grpcio-health-checking.
CHECK_HEALTH = Rpc("/grpc.health.v1.Health/Check", StringValue, Int32Value)

CONTRACT = (
    SIGN,
    LINT,
    LIST_SIGNING_KEYS,
    GET_METADATA,
    PUBLISH_TARGETS,
    GET_TARGET,
    WATCH_PUBLICATIONS,
    SCAN,
    CREATE_SCAN,
    GET_SCAN,
    LIST_SCANS,
    GET_CHECKPOINT,
    GET_INCLUSION_PROOF,
)
