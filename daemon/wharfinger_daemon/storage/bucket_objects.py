"""The objects of a bucket: read, written under conditions, listed and removed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from wharfinger_daemon.errors import Reason, UnavailableError

CALLS_AT_ONCE = 16
_TRIES = 3
_BROKEN_OFF = (HTTPError, IncompleteReadError, ResponseStreamingError)
_KEYS_AT_ONCE = 1_000  # What one DeleteObjects takes.
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED_CONDITION = frozenset({"412", "PreconditionFailed"})
# Another write of the same object was under way: what came of it, nobody knows yet.
_CONFLICT = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_CONFLICT_SECONDS = (0.05, 0.2, 0.8)


@dataclass(frozen=True)
class Bucket:
    """Where the objects are, and who asks.

    Attributes:
        prefix: of all keys; empty, or with a slash at its end.
        timeout_seconds: of one call, of which botocore makes up to three.
        beat_seconds: how often the holder of the lock shows that it lives. If it does not for four times as long, the
            lock is free.
    """

    name: str
    endpoint_url: str | None
    region: str
    access_key: str
    secret_key: str
    prefix: str = ""
    path_style: bool = True
    ca_file: str | None = None
    timeout_seconds: float = 10.0
    beat_seconds: float = 2.0


class ConditionError(Exception):
    """The object is not as the condition of a write has it."""


class BucketObjects:
    """The objects of a bucket, by their names without its prefix. Each call blocks.

    Raises:
        UnavailableError: STORE_UNAVAILABLE; from every method, when the server does not answer or refuses.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._client = client_of(bucket)

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def content(self, name: str) -> bytes | None:
        """An object; None if there is none."""
        return self.found(name)[0]

    def found(self, name: str) -> tuple[bytes | None, str | None]:
        """An object and its entity tag; None and None if there is none."""
        with self._errors_told():
            for _ in range(_TRIES - 1):
                # The library repeats requests, but not those whose answer breaks off.
                with contextlib.suppress(*_BROKEN_OFF):
                    return self._found(name)
            return self._found(name)

    def _found(self, name: str) -> tuple[bytes | None, str | None]:
        try:
            found = self._client.get_object(Bucket=self._bucket.name, Key=self._key(name))
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None, None
            raise
        with found["Body"] as body:
            return body.read(), found["ETag"]

    def size(self, name: str) -> int:
        """Bytes of an object; 0 if there is none."""
        with self._errors_told():
            try:
                return int(self._client.head_object(Bucket=self._bucket.name, Key=self._key(name))["ContentLength"])
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return 0
                raise

    def sizes(self) -> dict[str, int]:
        """Bytes of all objects, by name."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix=self._bucket.prefix
        )
        begin = len(self._bucket.prefix)
        with self._errors_told():
            return {one["Key"][begin:]: one["Size"] for page in pages for one in page.get("Contents", ())}

    def put(self, name: str, content: bytes, *, cache_control: str = "no-cache", **condition: str) -> str:
        """Writes an object; returns its entity tag.

        Args:
            condition: ``IfNoneMatch="*"`` or ``IfMatch=TAG``.

        Raises:
            ConditionError: it is not so.
        """
        with self._errors_told():
            for seconds in _CONFLICT_SECONDS:
                try:
                    return self._put(name, content, cache_control, condition)
                except ClientError as error:
                    if _code(error) not in _CONFLICT:
                        raise
                time.sleep(seconds)
            return self._put(name, content, cache_control, condition)

    def _put(self, name: str, content: bytes, cache_control: str, condition: Mapping[str, str]) -> str:
        try:
            done = self._client.put_object(
                Bucket=self._bucket.name,
                Key=self._key(name),
                Body=content,
                ContentType="application/json",
                CacheControl=cache_control,
                **condition,
            )
        except ClientError as error:
            if _code(error) in _REFUSED_CONDITION:
                raise ConditionError from error
            raise
        return str(done["ETag"])

    def remove(self, names: Sequence[str]) -> None:
        """Removes objects. One that is not there is none to remove."""
        remaining = iter(names)
        while some := list(islice(remaining, _KEYS_AT_ONCE)):
            keys = [{"Key": self._key(name)} for name in some]
            with self._errors_told():
                done = self._client.delete_objects(Bucket=self._bucket.name, Delete={"Objects": keys, "Quiet": True})
            if done.get("Errors"):
                raise self.unavailable(done["Errors"][0].get("Message", "it refused to delete"))

    def _key(self, name: str) -> str:
        return self._bucket.prefix + name

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, HTTPError) as error:
            raise self.unavailable(str(error)) from error

    def unavailable(self, why: str) -> UnavailableError:
        """The error for a server that does not do its work."""
        return UnavailableError(
            f"The bucket '{self._bucket.name}' cannot be used: {why}. Look at the server and at the permissions of the "
            "access key, then retry.",
            reason=Reason.STORE_UNAVAILABLE,
        )


def client_of(bucket: Bucket) -> Any:
    """A client of its server; close it at the end."""
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint_url,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
        verify=bucket.ca_file,
        config=Config(
            connect_timeout=bucket.timeout_seconds,
            read_timeout=bucket.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            max_pool_connections=CALLS_AT_ONCE,
            s3={"addressing_style": "path" if bucket.path_style else "auto"},
            # Older servers do not know the checksums that newer clients add by themselves.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
