"""How the fake scans: at once, with the verdict that the test chose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from wharfinger.scan.v1 import scan_pb2
from wharfinger_client._wire import CLASSIFICATIONS
from wharfinger_client.scanning import Confidence, Finding
from wharfinger_client.testing._refusals import invalid, missing

if TYPE_CHECKING:
    from wharfinger_client.testing._daemon import Judgement

_RULE_SET = "fake"
_PAGE_SIZE = 100
_CONFIDENCES = {
    Confidence.LOW: scan_pb2.CONFIDENCE_LOW,
    Confidence.MEDIUM: scan_pb2.CONFIDENCE_MEDIUM,
    Confidence.HIGH: scan_pb2.CONFIDENCE_HIGH,
}


class KeptScans:
    """The scans, oldest first. Not safe for threads."""

    def __init__(self, judge: Callable[[bytes], Judgement], artifacts: Mapping[str, bytes]) -> None:
        self._judge = judge
        self._artifacts = artifacts
        self._scans: list[scan_pb2.Scan] = []

    def scan(self, messages: Sequence[scan_pb2.ScanRequest]) -> scan_pb2.ScanResponse:
        """Scans what was streamed."""
        header = messages[0].header
        content = b"".join(message.chunk for message in messages[1:])
        scan, replayed = self._kept(header.subject, header.sha256, content)
        return scan_pb2.ScanResponse(scan=scan, replayed=replayed)

    def create(self, request: scan_pb2.CreateScanRequest) -> scan_pb2.CreateScanResponse:
        """Scans what a reference names."""
        location = request.artifact.path or request.artifact.url
        if location not in self._artifacts:
            raise missing(f"There is no artifact '{location}'.", "ARTIFACT_NOT_FOUND")
        scan, replayed = self._kept(request.subject, request.sha256, self._artifacts[location])
        return scan_pb2.CreateScanResponse(scan=scan, replayed=replayed)

    def get(self, request: scan_pb2.GetScanRequest) -> scan_pb2.GetScanResponse:
        """One scan."""
        for scan in self._scans:
            if scan.scan_id == request.scan_id:
                return scan_pb2.GetScanResponse(scan=scan)
        raise missing(f"There is no scan '{request.scan_id}'.", "SCAN_NOT_FOUND")

    def page(self, request: scan_pb2.ListScansRequest) -> scan_pb2.ListScansResponse:
        """Scans without findings, newest first."""
        if request.page_token and not request.page_token.isdecimal():
            raise invalid("The page token was not given out here.", "PAGE_TOKEN_INVALID")
        matching = [scan for scan in reversed(self._scans) if _matches(request, scan)]
        begin = int(request.page_token or 0)
        end = begin + (request.page_size or _PAGE_SIZE)
        reply = scan_pb2.ListScansResponse(
            scans=matching[begin:end], next_page_token=str(end) if end < len(matching) else ""
        )
        for scan in reply.scans:
            del scan.findings[:]
        return reply

    def _kept(self, subject: scan_pb2.Subject, sha256: str, content: bytes) -> tuple[scan_pb2.Scan, bool]:
        if not subject.kind or not subject.project:
            raise invalid("The subject has no kind or no project.", "SUBJECT_INVALID")
        digest = hashlib.sha256(content).hexdigest()
        if sha256 and digest != sha256:
            raise invalid("The artifact does not have the sha256 that was given.", "DIGEST_MISMATCH")
        for scan in self._scans:
            if (scan.subject, scan.sha256, scan.error) == (subject, digest, ""):
                return scan, True
        scan = self._judged(subject, digest, self._judge(content))
        self._scans.append(scan)
        return scan, False

    def _judged(self, subject: scan_pb2.Subject, digest: str, judgement: Judgement) -> scan_pb2.Scan:
        scan = scan_pb2.Scan(
            scan_id=f"fake-{len(self._scans) + 1}",
            subject=subject,
            sha256=digest,
            rule_set=_RULE_SET,
            state=scan_pb2.SCAN_STATE_ERROR if judgement.error else scan_pb2.SCAN_STATE_FINISHED,
            error=judgement.error,
        )
        if not judgement.error:
            scan.classification = CLASSIFICATIONS[judgement.classification]
            scan.confidence = _CONFIDENCES[judgement.confidence]
            scan.score = judgement.score
            scan.findings.extend(_finding(finding) for finding in judgement.findings)
        scan.submitted_at.GetCurrentTime()
        scan.finished_at.GetCurrentTime()
        return scan


def _finding(finding: Finding) -> scan_pb2.Finding:
    return scan_pb2.Finding(**vars(finding))


def _matches(request: scan_pb2.ListScansRequest, scan: scan_pb2.Scan) -> bool:
    wanted = (
        (request.project, scan.subject.project),
        (request.sha256, scan.sha256),
        (request.classification, scan.classification),
        (request.state, scan.state),
    )
    return all(not asked or asked == found for asked, found in wanted)
