"""How both clients watch: where a watcher stands, what it asks for, and when it may ask again after a failure."""

from __future__ import annotations

import uuid

from wharfinger.metadata.v1 import metadata_pb2
from wharfinger_client import _wire, metadata
from wharfinger_client._steps import Chance
from wharfinger_client.errors import Failure, OverloadedError, UnavailableError, WharfingerError
from wharfinger_client.settings import RetryPolicy


class PublicationWatch:
    """One watcher of publications. Each publication that it takes counts as a success: the next failure is the first.

    Attributes:
        request_id: the same for all attempts.
    """

    def __init__(self, repository: str, after: int | None, retry: RetryPolicy, chance: Chance) -> None:
        self.request_id = str(uuid.uuid4())
        self._repository = repository
        self._after = after
        self._retry = retry
        self._chance = chance
        self._attempt = 0

    @property
    def call_metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with a request."""
        return (("x-request-id", self.request_id),)

    def request(self) -> metadata_pb2.WatchPublicationsRequest:
        """What to ask for now: all that came after what was taken."""
        self._attempt += 1
        return metadata_pb2.WatchPublicationsRequest(repository=self._repository, after=self._after)

    def taken(self, message: metadata_pb2.WatchPublicationsResponse) -> metadata.Publication:
        """The publication of a message, after which the watcher stands now."""
        publication = _wire.publication(message.publication)
        self._after = publication.timestamp_version
        self._attempt = 0
        return publication

    def ended(self) -> UnavailableError:
        """The error for a stream that just ended, which one without end never should."""
        return UnavailableError(
            "The daemon ended the stream of publications.", Failure("UNAVAILABLE", request_id=self.request_id)
        )

    def pause_after(self, error: WharfingerError) -> float:
        """How long to wait before the next attempt, in seconds.

        Raises:
            WharfingerError: this error; it does not pass, or it was tried often enough.
        """
        if not isinstance(error, OverloadedError | UnavailableError):
            raise error
        pause = self._retry.pause_before_next(
            max(self._attempt, 1), retry_after=error.retry_after, random=self._chance.random()
        )
        if pause is None:
            raise error
        return pause
