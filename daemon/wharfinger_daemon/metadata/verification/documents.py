"""Reads one metadata file, as untrusting as a client: size, JSON, signatures, version and expiry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson
from securesystemslib.signer import Signature
from tuf.api.metadata import Delegations, Root, Targets

from wharfinger_daemon import canonical
from wharfinger_daemon.errors import InvalidRequestError
from wharfinger_daemon.metadata.verification.findings import Report, Rule

# What python-tuf's client reads at most, unless it is told otherwise (``tuf.ngclient.UpdaterConfig``).
SIZE_LIMITS = {"root": 512_000, "timestamp": 16_384, "snapshot": 2_000_000, "targets": 5_000_000}

_ENVELOPE = {"signatures", "signed"}


class FileTooLargeError(Exception):
    """A file has more bytes than were asked for."""


class FileUnreadableError(Exception):
    """A file is there and cannot be read; the message says why."""


class RepositoryFiles(Protocol):
    """The metadata files of a repository."""

    def read(self, name: str, limit: int) -> bytes | None:
        """A file; None if there is none of that name.

        Raises:
            FileTooLargeError: it has more than ``limit`` bytes.
            FileUnreadableError: it cannot be read.
        """
        ...


Delegator = Root | Targets
"""Who says which keys sign a role."""


@dataclass(frozen=True)
class Document:
    """A file that is metadata.

    Attributes:
        signed: the parsed object.
        payload: its canonical bytes, which signatures are of.
        digest: the SHA-256 of the file, hexadecimal.
    """

    file: str
    content: bytes
    signed: Mapping[str, Any]
    payload: bytes
    signatures: Mapping[str, Signature]

    @property
    def version(self) -> int:
        """Its version."""
        return int(self.signed["version"])

    @property
    def digest(self) -> str:
        """The SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class DocumentReader:
    """Reads documents and reports what is wrong with them.

    Attributes:
        now: what expiry is measured by.
        headroom: with less than that left, a file expires soon.
    """

    files: RepositoryFiles
    report: Report
    now: datetime
    headroom: timedelta

    def read(self, file: str, kind: str) -> Document | None:
        """A file of a kind (``_type``); None if it is not fit to be looked at further. That is reported."""
        content = self._content(file, SIZE_LIMITS[kind])
        if content is None:
            self.report.error(file, Rule.FILE_MISSING, "the repository needs this file, and it is not there")
            return None
        return self.parse(file, kind, content) if content else None

    def read_if_there(self, file: str, kind: str) -> Document | None:
        """The same for a file that need not be there."""
        content = self._content(file, SIZE_LIMITS[kind])
        return self.parse(file, kind, content) if content else None

    def parse(self, file: str, kind: str, content: bytes) -> Document | None:
        """The content of a file, likewise."""
        try:
            envelope = orjson.loads(content)
            if not isinstance(envelope, dict) or not envelope.keys() >= _ENVELOPE:
                raise ValueError("it has no signatures or nothing that is signed")
            signed = envelope["signed"]
            _require_form(signed, kind)
            payload = canonical.encode(signed)
            signatures = _signatures(envelope["signatures"])
        except (ValueError, InvalidRequestError) as error:
            self.report.error(file, Rule.NOT_METADATA, f"it is no {kind} metadata: {error}")
            return None
        if not self._written_as_signed(file, content, signed, payload):
            return None
        return Document(file, content, signed, payload, signatures)

    def verify(self, document: Document, delegator: Delegator, role: str, by: str) -> bool:
        """Whether enough keys signed it; reported if not.

        Args:
            by: which file says so, for the message.
        """
        result = delegator.get_verification_result(role, document.payload, dict(document.signatures))
        if not result.verified:
            self.report.error(
                document.file,
                Rule.THRESHOLD_NOT_MET,
                f"{by} wants signatures of {result.threshold} keys of '{role}', and {len(result.signed)} verify",
            )
        return bool(result.verified)

    def require_version(self, document: Document, version: int, by: str) -> bool:
        """Whether it is that version; reported if not."""
        if document.version != version:
            self.report.error(
                document.file,
                Rule.WRONG_VERSION,
                f"it says that it is version {document.version}, and {by} says {version}",
            )
        return document.version == version

    def require_unexpired(self, document: Document) -> None:
        """Reports what has expired, or will soon."""
        remaining = expiry_of(document.signed) - self.now
        if remaining <= timedelta(0):
            self.report.error(document.file, Rule.EXPIRED, f"it expired at {document.signed['expires']}")
        elif remaining < self.headroom:
            hours = remaining / timedelta(hours=1)
            self.report.warning(
                document.file, Rule.EXPIRES_SOON, f"it expires in {hours:.1f} hours, at {document.signed['expires']}"
            )

    def _content(self, file: str, limit: int) -> bytes | None:
        try:
            content = self.files.read(file, limit)
        except FileTooLargeError:
            self.report.error(file, Rule.FILE_TOO_LARGE, f"it has more than the {limit:,} bytes that clients read")
            return b""
        except FileUnreadableError as error:
            self.report.error(file, Rule.FILE_UNREADABLE, str(error))
            return b""
        if content == b"":
            self.report.error(file, Rule.NOT_METADATA, "it is empty")
        return content

    def _written_as_signed(self, file: str, content: bytes, signed: Any, payload: bytes) -> bool:
        # Bytes that are canonical name no key twice. So only what is around them is read again, unless they are not. In
        # a file, line breaks of a PEM key are escaped, and in what is signed they are not.
        forms = (payload, orjson.dumps(signed, option=orjson.OPT_SORT_KEYS)) if b"\n" in payload else (payload,)
        written = next((form for form in forms if content.endswith(form + b"}")), None)
        rest = content if written is None else content[: -len(written) - 1] + b"{}}"
        try:
            json.loads(rest, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            self.report.error(file, Rule.DUPLICATE_KEY, f"readers of JSON may understand it differently: {error}")
            return False
        if written is None:
            self.report.warning(
                file, Rule.NOT_CANONICAL, "what is signed is not written in canonical JSON, as its signatures are of it"
            )
        return True


def expiry_of(signed: Mapping[str, Any]) -> datetime:
    """When metadata expires."""
    return _instant(signed["expires"])


def parse_root(document: Document) -> Root:
    """python-tuf's reading of a root.

    Raises:
        ValueError: it has none.
    """
    try:
        return Root.from_dict(orjson.loads(orjson.dumps(document.signed)))
    except Exception as error:  # on garbage, python-tuf raises whatever its code runs into
        raise ValueError(f"{type(error).__name__}: {str(error)[:200]}") from error


def parse_delegations(delegations: bytes) -> Targets:
    """python-tuf's reading of the ``delegations`` of targets metadata, without what it lists.

    Raises:
        ValueError: it has none.
    """
    try:
        return Targets(delegations=Delegations.from_dict(orjson.loads(delegations)))
    except Exception as error:  # on garbage, python-tuf raises whatever its code runs into
        raise ValueError(f"{type(error).__name__}: {str(error)[:200]}") from error


def _require_form(signed: Any, kind: str) -> None:
    if not isinstance(signed, dict) or signed.get("_type") != kind:
        raise ValueError("its _type is another, or none")
    version, expires, specification = signed.get("version"), signed.get("expires"), signed.get("spec_version")
    if type(version) is not int or version < 1:
        raise ValueError("its version is no number from 1")
    if not isinstance(specification, str) or not specification.startswith("1."):
        raise ValueError("its spec_version is not 1")
    if not isinstance(expires, str):
        raise ValueError("it has no expiry")
    _instant(expires)


def _instant(text: str) -> datetime:
    return datetime.strptime(text + "+0000", "%Y-%m-%dT%H:%M:%SZ%z")


def _signatures(listed: Any) -> dict[str, Signature]:
    signatures: dict[str, Signature] = {}
    if not isinstance(listed, list):
        raise ValueError("its signatures are no list")
    for one in listed:
        if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in ("keyid", "sig")):
            raise ValueError("a signature has no keyid or no sig")
        if one["keyid"] in signatures:
            raise ValueError("two signatures are by one key")
        signatures[one["keyid"]] = Signature(one["keyid"], one["sig"])
    return signatures


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it names a key twice")
    return found
