"""How the publisher works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublisherSettings:
    """How the publisher works.

    Attributes:
        max_waiting: how many changes may wait.
        max_renewed_at_once: how many roles one publication renews, so that changes need not wait for all of them.
        max_renewed_with_changes: the same of a publication that changes wait for.
        store_patience_seconds: how long to wait at the start for another publisher to let go of the store.
        renewal_check_seconds: how often to look for what runs out.
        files_read_at_start: of how many bins the published file is compared with the records.
        first_retry_seconds, longest_retry_seconds: how long to wait after a failure; doubled each time, up to a bound.
    """

    max_waiting: int = 1000
    max_renewed_at_once: int = 256
    max_renewed_with_changes: int = 64
    store_patience_seconds: float = 0
    renewal_check_seconds: float = 60
    files_read_at_start: int = 16
    first_retry_seconds: float = 0.1
    longest_retry_seconds: float = 5
