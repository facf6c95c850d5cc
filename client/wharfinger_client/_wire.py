"""Values to protobuf messages and back."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from wharfinger.audit.v1 import audit_pb2
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2
from wharfinger_client import audit, health, metadata, scanning, signing

_KINDS = {
    scanning.SubjectKind.UNKNOWN: scan_pb2.SUBJECT_KIND_UNSPECIFIED,
    scanning.SubjectKind.PROJECT: scan_pb2.SUBJECT_KIND_PROJECT,
    scanning.SubjectKind.RELEASE: scan_pb2.SUBJECT_KIND_RELEASE,
    scanning.SubjectKind.FILE: scan_pb2.SUBJECT_KIND_FILE,
}
STATES = {
    scanning.ScanState.UNKNOWN: scan_pb2.SCAN_STATE_UNSPECIFIED,
    scanning.ScanState.SUBMITTED: scan_pb2.SCAN_STATE_SUBMITTED,
    scanning.ScanState.CLAIMED: scan_pb2.SCAN_STATE_CLAIMED,
    scanning.ScanState.FINISHED: scan_pb2.SCAN_STATE_FINISHED,
    scanning.ScanState.ERROR: scan_pb2.SCAN_STATE_ERROR,
}
CLASSIFICATIONS = {
    None: scan_pb2.CLASSIFICATION_UNSPECIFIED,
    scanning.Classification.BENIGN: scan_pb2.CLASSIFICATION_BENIGN,
    scanning.Classification.INDETERMINATE: scan_pb2.CLASSIFICATION_INDETERMINATE,
    scanning.Classification.THREAT: scan_pb2.CLASSIFICATION_THREAT,
}
_CONFIDENCES = {
    None: scan_pb2.CONFIDENCE_UNSPECIFIED,
    scanning.Confidence.LOW: scan_pb2.CONFIDENCE_LOW,
    scanning.Confidence.MEDIUM: scan_pb2.CONFIDENCE_MEDIUM,
    scanning.Confidence.HIGH: scan_pb2.CONFIDENCE_HIGH,
}
# What a newer daemon may send and this client does not know falls to the first entry of its table.
_KIND_OF = {number: kind for kind, number in _KINDS.items()}
_STATE_OF = {number: state for state, number in STATES.items()}
_CLASSIFICATION_OF = {number: classification for classification, number in CLASSIFICATIONS.items()}
_CONFIDENCE_OF = {number: confidence for confidence, number in _CONFIDENCES.items()}
_SERVING = {1: health.ServingStatus.SERVING, 2: health.ServingStatus.NOT_SERVING}


def signing_item_message(item: signing.SigningItem) -> signing_pb2.SigningItem:
    """The item as a message."""
    content = signing_pb2.TufMetadata(repository=item.repository, role=item.role, signed=item.signed)
    return signing_pb2.SigningItem(tuf_metadata=content, keyid=item.keyid)


def signature(message: signing_pb2.Signature) -> signing.Signature:
    """The signature."""
    return signing.Signature(
        keyid=message.keyid,
        signature=message.signature,
        role=message.role,
        version=message.version,
        replayed=message.replayed,
        leaf_index=message.leaf_index,
        leaf_hash=message.leaf_hash,
    )


def inclusion_proof(message: audit_pb2.GetInclusionProofResponse) -> audit.InclusionProof:
    checkpoint = audit.Checkpoint.read(message.checkpoint)
    return audit.InclusionProof(message.leaf_index, message.leaf, tuple(message.hashes), checkpoint)


def lint_result(message: signing_pb2.LintResult) -> signing.LintResult:
    """The result."""
    return signing.LintResult(
        reason=message.reason,
        message=message.message,
        keyid=message.keyid,
        role=message.role,
        version=message.version,
        already_signed=message.already_signed,
    )


def signing_key(message: signing_pb2.SigningKey) -> signing.SigningKey:
    """The key."""
    return signing.SigningKey(
        keyid=message.keyid,
        keytype=message.keytype,
        scheme=message.scheme,
        public_key_pem=message.public_key_pem,
        roles=tuple(message.roles),
        verified_at=_instant(message, "verified_at"),
    )


def metadata_file(message: metadata_pb2.GetMetadataResponse) -> metadata.MetadataFile:
    """The file."""
    return metadata.MetadataFile(
        content=message.content, version=message.version, etag=message.etag, not_modified=message.not_modified
    )


def target_message(target: metadata.Target) -> metadata_pb2.Target:
    """The target as a message."""
    return metadata_pb2.Target(path=target.path, length=target.length, hashes=target.hashes)


def published_target(message: metadata_pb2.GetTargetResponse) -> metadata.PublishedTarget:
    """What the metadata says of the target."""
    target = message.target
    return metadata.PublishedTarget(
        target=metadata.Target(path=target.path, length=target.length, hashes=dict(target.hashes)),
        role=message.role,
        role_version=message.role_version,
        expires=_instant(message, "expires"),
    )


def publication_result(message: metadata_pb2.PublishTargetsResponse) -> metadata.PublicationResult:
    """Where the change became visible."""
    return metadata.PublicationResult(
        timestamp_version=message.timestamp_version,
        snapshot_version=message.snapshot_version,
        bin_versions=dict(message.bin_versions),
        request_id=message.request_id,
    )


def publication(message: metadata_pb2.Publication) -> metadata.Publication:
    """The publication."""
    return metadata.Publication(
        timestamp_version=message.timestamp_version,
        snapshot_version=message.snapshot_version,
        bin_versions=dict(message.bin_versions),
        published_at=_instant(message, "published_at"),
    )


def subject_message(subject: scanning.Subject) -> scan_pb2.Subject:
    """The subject as a message."""
    return scan_pb2.Subject(
        kind=_KINDS[subject.kind],
        project=subject.project,
        version=subject.version,
        filename=subject.filename,
    )


def artifact_message(artifact: scanning.ArtifactPath | scanning.ArtifactUrl) -> scan_pb2.ArtifactReference:
    """The reference as a message."""
    if isinstance(artifact, scanning.ArtifactPath):
        return scan_pb2.ArtifactReference(path=artifact.path)
    return scan_pb2.ArtifactReference(url=artifact.url)


def scan(message: scan_pb2.Scan) -> scanning.Scan:
    """The scan."""
    subject = message.subject
    return scanning.Scan(
        scan_id=message.scan_id,
        subject=scanning.Subject(
            kind=_KIND_OF.get(subject.kind, scanning.SubjectKind.UNKNOWN),
            project=subject.project,
            version=subject.version,
            filename=subject.filename,
        ),
        sha256=message.sha256,
        rule_set=message.rule_set,
        state=_STATE_OF.get(message.state, scanning.ScanState.UNKNOWN),
        classification=_CLASSIFICATION_OF.get(message.classification),
        confidence=_CONFIDENCE_OF.get(message.confidence),
        score=message.score,
        findings=tuple(_finding(finding) for finding in message.findings),
        error=message.error,
        seconds=message.seconds,
        submitted_at=_instant(message, "submitted_at"),
        finished_at=_instant(message, "finished_at"),
    )


def serving_status(number: int) -> health.ServingStatus:
    """The status of ``grpc.health.v1`` that has the number."""
    return _SERVING.get(number, health.ServingStatus.UNKNOWN)


def _finding(message: scan_pb2.Finding) -> scanning.Finding:
    return scanning.Finding(
        check=message.check,
        check_version=message.check_version,
        rule=message.rule,
        member=message.member,
        line=message.line,
        excerpt=message.excerpt,
        message=message.message,
        weight=message.weight,
    )


def _instant(message: Message, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    instant: Timestamp = getattr(message, field)
    return instant.ToDatetime(tzinfo=UTC)
