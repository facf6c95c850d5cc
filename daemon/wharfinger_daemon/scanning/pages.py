"""Pages of the list of scans: a token names the last scan of a page, and the filter that it was made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.scanning.model import Scan
from wharfinger_daemon.scanning.ports import ScanFilter, ScanPosition

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


@dataclass(frozen=True)
class ScanPage:
    """One page, newest first, without findings; ``next_page_token`` is empty at the end."""

    scans: tuple[Scan, ...]
    next_page_token: str


def bounded_page_size(page_size: int) -> int:
    """The size that is served: 0 is the default, more than the maximum is the maximum (AIP-158).

    Raises:
        InvalidRequestError: MALFORMED_REQUEST for a negative size.
    """
    if page_size < 0:
        raise InvalidRequestError("The page size must not be negative.", reason=Reason.MALFORMED_REQUEST)
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def token_after(scan: Scan, scan_filter: ScanFilter) -> str:
    """The token of the page that begins behind this scan."""
    document = [scan.submitted_at.isoformat(), scan.scan_id, _fingerprint(scan_filter)]
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def position_of(token: str, scan_filter: ScanFilter) -> ScanPosition | None:
    """The place that a token names; None for an empty token.

    Raises:
        InvalidRequestError: PAGE_TOKEN_INVALID; the token is not ours, or belongs to another filter.
    """
    if not token:
        return None
    try:
        document = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        submitted_at, scan_id, fingerprint = document
        instant = datetime.fromisoformat(submitted_at)
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise _invalid("The page token is not one of ours.") from error
    if instant.tzinfo is None or not isinstance(scan_id, str):
        raise _invalid("The page token is not one of ours.")
    if fingerprint != _fingerprint(scan_filter):
        raise _invalid("The page token belongs to a list with another filter; repeat the filter of the first page.")
    return ScanPosition(submitted_at=instant, scan_id=scan_id)


def _fingerprint(scan_filter: ScanFilter) -> str:
    return hashlib.sha256(repr(scan_filter).encode()).hexdigest()[:16]


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason=Reason.PAGE_TOKEN_INVALID)
