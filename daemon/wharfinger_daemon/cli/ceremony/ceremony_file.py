"""Reads a ceremony file: strict TOML, checked in full before anything else is read or written.

docs/reference/ceremony-file.md describes every key.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from wharfinger_daemon.bin_delegation import DelegationForm
from wharfinger_daemon.ceremony.keys import key_from_pem
from wharfinger_daemon.ceremony.plan import (
    BinsContent,
    Kind,
    NamedKey,
    Plan,
    RootContent,
    Signers,
    TargetsContent,
)
from wharfinger_daemon.ceremony.refusals import invalid
from wharfinger_daemon.metadata.bins import HashBins

_LONGEST_DAYS = 3660
_MOST_BYTES = 1_000_000

_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Names = Annotated[list[str], Field(min_length=1)]
_Threshold = Annotated[int, Field(ge=1)]
_Place = Annotated[Path, Field(strict=False)]


class _Table(BaseModel):
    """Nothing is converted and no unknown key is taken: a slip must not become a key list that nobody meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _KeyTable(_Table):
    name: str
    public_key: _Place
    scheme: str | None = None
    keyid: _Sha256 | None = None


class _RoleTable(_Table):
    keys: _Names
    threshold: _Threshold

    def signers(self) -> Signers:
        return Signers(tuple(self.keys), self.threshold)


class _OnlineTable(_RoleTable):
    threshold: _Threshold = 1


class _HashBinsTable(_OnlineTable):
    bit_length: int
    prefix: str = "bins"
    # A TOML file has strings only: strict as it is, the model would want a member of the enumeration itself.
    delegation: Annotated[DelegationForm, Field(strict=False)] = DelegationForm.SUCCINCT

    def bins(self) -> HashBins:
        return HashBins(self.bit_length, self.prefix, self.delegation)


class _RepositoryTable(_Table):
    metadata: _Place
    root_sha256: _Sha256
    previous_sha256: _Sha256 | None = None


class _Document(_Table):
    expires: AwareDatetime | None = None
    lifetime_days: Annotated[int, Field(ge=1, le=_LONGEST_DAYS)] | None = None
    keys: Annotated[list[_KeyTable], Field(min_length=1)]


class _RootDocument(_Document):
    kind: Literal["root"]
    repository: _RepositoryTable | None = None
    consistent_snapshot: bool = True
    root: _RoleTable
    targets: _RoleTable
    snapshot: _OnlineTable
    timestamp: _OnlineTable

    def content(self) -> RootContent:
        roles = {name: getattr(self, name).signers() for name in ("root", "targets", "snapshot", "timestamp")}
        return RootContent(roles, self.consistent_snapshot)


class _TargetsDocument(_Document):
    kind: Literal["targets"]
    repository: _RepositoryTable
    bins: _RoleTable

    def content(self) -> TargetsContent:
        return TargetsContent(self.bins.signers())


class _BinsDocument(_Document):
    kind: Literal["bins"]
    repository: _RepositoryTable
    hash_bins: _HashBinsTable

    def content(self) -> BinsContent:
        return BinsContent(self.hash_bins.signers(), self.hash_bins.bins())


_DOCUMENTS: dict[str, type[_RootDocument] | type[_TargetsDocument] | type[_BinsDocument]] = {
    Kind.ROOT: _RootDocument,
    Kind.TARGETS: _TargetsDocument,
    Kind.BINS: _BinsDocument,
}


@dataclass(frozen=True)
class CeremonyFile:
    """What a ceremony file says.

    Attributes:
        metadata: the folder with what the repository signed so far; None for the first root.
        root_sha256: of the trusted root 1; empty for the first root.
    """

    plan: Plan
    metadata: Path | None
    root_sha256: str


def read_ceremony_file(path: Path, now: datetime) -> CeremonyFile:
    """Reads and checks a ceremony file, then the public keys that it names.

    Args:
        now: from when a lifetime in days counts.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; it cannot be read, or says what it may not; lists every problem.
        StartupError: CONFIGURATION_INVALID; there cannot be such hash bins.
    """
    content = _read(path, "The ceremony file")
    document = _document(path, content)
    repository = document.repository
    plan = Plan(
        kind=Kind(document.kind),
        expires=_expires(path, document, now),
        keys=_keys(document.keys, path.parent),
        content=document.content(),
        previous_sha256=None if repository is None else repository.previous_sha256,
        file_sha256=hashlib.sha256(content).hexdigest(),
    )
    if repository is None:
        return CeremonyFile(plan, None, "")
    return CeremonyFile(plan, path.parent / repository.metadata, repository.root_sha256)


def _document(path: Path, content: bytes) -> _RootDocument | _TargetsDocument | _BinsDocument:
    try:
        parsed: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise invalid(f"The ceremony file {path} is not TOML: {error}.") from error
    model = _DOCUMENTS.get(str(parsed.get("kind")))
    if model is None:
        raise invalid(f"The ceremony file {path} needs a kind: one of {', '.join(map(repr, map(str, Kind)))}.")
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(detail)}" for detail in error.errors())
        raise invalid(f"The ceremony file {path} is not valid:\n{problems}") from error


def _problem(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    known = {
        "extra_forbidden": "there is no such key in a ceremony of this kind",
        "missing": "this key is required and missing",
        "timezone_aware": "write it with a time zone, as 2030-01-01T00:00:00Z",
    }
    return f"{ascii(where)[1:-1]}: {known.get(detail['type'], detail['msg'])}."


def _expires(path: Path, document: _Document, now: datetime) -> datetime:
    if (document.expires is None) == (document.lifetime_days is None):
        raise invalid(f"The ceremony file {path} needs either expires or lifetime_days.")
    if document.expires is not None:
        return document.expires.astimezone(UTC).replace(microsecond=0)
    return (now + timedelta(days=document.lifetime_days or 0)).replace(microsecond=0)


def _keys(tables: Sequence[_KeyTable], base: Path) -> tuple[NamedKey, ...]:
    named = []
    for table in tables:
        content = _read(base / table.public_key, f"The public key of {table.name!a},")
        try:
            key = key_from_pem(content, table.scheme)
        except ValueError as error:
            raise invalid(f"{base / table.public_key} cannot be the public key of {table.name!a}: {error}.") from error
        named.append(NamedKey(table.name, key, table.keyid))
    return tuple(named)


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise invalid(f"{what} {path} cannot be read: {error.strerror}.") from error
    if len(content) > _MOST_BYTES:
        raise invalid(f"{what} {path} is larger than {_MOST_BYTES} bytes.")
    return content
