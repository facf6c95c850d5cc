"""The light client of the wharfinger daemon: signs, publishes and scans over gRPC, blocking or with asyncio.

    from wharfinger_client import Client, ClientSettings, Subject, TlsIdentity

    settings = ClientSettings("localhost:50051", TlsIdentity(ca="ca.crt", certificate="me.crt", key="me.key"))
    with Client(settings) as client:
        reply = client.scan_file("example-1.0.tar.gz", subject=Subject.file(...))

Needs grpcio, protobuf and googleapis-common-protos, and nothing else. What is not listed in ``__all__`` may change.
"""

from wharfinger_client._artifact import ArtifactSource
from wharfinger_client.aio import AsyncClient
from wharfinger_client.audit import Checkpoint, InclusionProof
from wharfinger_client.client import Client
from wharfinger_client.errors import (
    DeadlineExceededError,
    Failure,
    InvalidRequestError,
    NotAuthenticatedError,
    NotFoundError,
    NotGrantedError,
    OverloadedError,
    RefusedError,
    ServerError,
    SettingsError,
    TooLargeError,
    UnavailableError,
    WharfingerError,
)
from wharfinger_client.health import ServingStatus
from wharfinger_client.metadata import MetadataFile, Publication, PublicationResult, PublishedTarget, Target
from wharfinger_client.scanning import (
    ArtifactPath,
    ArtifactUrl,
    Classification,
    Confidence,
    Finding,
    Scan,
    ScanReply,
    ScanState,
    Subject,
    SubjectKind,
)
from wharfinger_client.settings import ClientSettings, Deadlines, Pem, RetryPolicy, TlsIdentity
from wharfinger_client.signing import LintResult, Signature, SigningItem, SigningKey

__all__ = [
    "ArtifactPath",
    "ArtifactSource",
    "ArtifactUrl",
    "AsyncClient",
    "Checkpoint",
    "Classification",
    "Client",
    "ClientSettings",
    "Confidence",
    "DeadlineExceededError",
    "Deadlines",
    "Failure",
    "Finding",
    "InclusionProof",
    "InvalidRequestError",
    "LintResult",
    "MetadataFile",
    "NotAuthenticatedError",
    "NotFoundError",
    "NotGrantedError",
    "OverloadedError",
    "Pem",
    "Publication",
    "PublicationResult",
    "PublishedTarget",
    "RefusedError",
    "RetryPolicy",
    "Scan",
    "ScanReply",
    "ScanState",
    "ServerError",
    "ServingStatus",
    "SettingsError",
    "Signature",
    "SigningItem",
    "SigningKey",
    "Subject",
    "SubjectKind",
    "Target",
    "TlsIdentity",
    "TooLargeError",
    "UnavailableError",
    "WharfingerError",
]
