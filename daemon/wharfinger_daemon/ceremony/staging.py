"""What is carried from signer to signer: a folder, as a mapping from paths to bytes.

    staged.canonical-json    exactly the bytes that are signed, so that ``sha256sum`` gives the digest to compare
    staging.json             what was staged, and what the keys are called
    trust/VERSION.ROLE.json  what the repository signed so far
    signatures/KEYID.json    one file for each signature

Whoever carries the folder can change all of it together. What a signer relies on is the pinned root, from which
everything in ``trust/`` is verified anew, and the digest, which is compared by voice or on paper.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from tuf.api.metadata import Root, Targets

from wharfinger_daemon import canonical
from wharfinger_daemon.ceremony.chain import KEYID, LARGEST, Chain, file_name, listed_keys, verify_chain
from wharfinger_daemon.ceremony.draft import Draft
from wharfinger_daemon.ceremony.plan import KEY_NAME, Kind
from wharfinger_daemon.ceremony.quorum import Quorum, quorums
from wharfinger_daemon.ceremony.refusals import invalid
from wharfinger_daemon.ceremony.rules import require_sound
from wharfinger_daemon.errors import InvalidRequestError

CONTENT = "staged.canonical-json"
RECORD = "staging.json"
TRUST = "trust/"
SIGNATURES = "signatures/"

FORMAT = 1


class StagingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was staged.

    Attributes:
        sha256, sha512: of the bytes that are signed, in hexadecimal.
        root_sha256: of the trusted ``1.root.json``; empty when this is going to be it.
        ceremony_file_sha256: of the ceremony file.
        names: of keys, by keyid.
    """

    format: int
    kind: Kind
    version: int
    sha256: str
    sha512: str
    root_sha256: str
    ceremony_file_sha256: str
    names: dict[str, str]


@dataclass(frozen=True)
class Staged:
    """A next version that waits for signatures.

    Attributes:
        content: the canonical JSON of ``signed``: exactly what is signed.
        chain: verified from the pinned root.
    """

    record: StagingRecord
    content: bytes
    signed: Root | Targets
    chain: Chain
    quorums: tuple[Quorum, ...]

    @property
    def kind(self) -> Kind:
        return self.record.kind

    @property
    def name(self) -> str:
        """The file that it becomes."""
        return file_name(self.kind, self.signed.version)


def stage(draft: Draft, root_sha256: str, ceremony_file_sha256: str) -> dict[str, bytes]:
    """The folder's files. The record comes last: a folder without it is not whole."""
    record = StagingRecord(
        format=FORMAT,
        kind=draft.kind,
        version=draft.signed.version,
        sha256=hashlib.sha256(draft.content).hexdigest(),
        sha512=hashlib.sha512(draft.content).hexdigest(),
        root_sha256=root_sha256,
        ceremony_file_sha256=ceremony_file_sha256,
        names=dict(draft.names),
    )
    trust = {TRUST + name: content for name, content in draft.chain.files().items()}
    written = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
    return {**trust, CONTENT: draft.content, RECORD: written}


def read_staged(files: Mapping[str, bytes], root_sha256: str | None = None) -> Staged:
    """Verifies a folder anew: the chain, that nothing changed since the staging, and that the metadata is sound.

    Args:
        files: by their paths in the folder; signatures are not looked at.
        root_sha256: the SHA-256 of root 1 that the signer trusts, if there is one to compare.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; the message names the file.
    """
    record = _record(_present(files, RECORD))
    if root_sha256 not in (None, record.root_sha256):
        trusted = record.root_sha256 or "none, because it holds the first root"
        raise invalid(f"The trusted root of this folder has the SHA-256 {trusted}, not {root_sha256}.")
    content = _present(files, CONTENT)
    if record.sha256 != hashlib.sha256(content).hexdigest() or record.sha512 != hashlib.sha512(content).hexdigest():
        raise invalid(f"{CONTENT} was changed since it was staged. Get the folder anew from who staged it.")
    chain = _chain(record, {name.removeprefix(TRUST): data for name, data in files.items() if name.startswith(TRUST)})
    signed = _parsed(record, content)
    former = chain.previous(record.kind)
    following = 1 if former is None else former.signed.version + 1
    if signed.version != record.version or signed.version != following:
        raise invalid(f"{CONTENT} is version {signed.version}, and version {following} would be the next.")
    require_sound(record.kind, signed, chain)
    return Staged(record, content, signed, chain, quorums(record.kind, signed, chain))


def _record(content: bytes) -> StagingRecord:
    try:
        record = msgspec.json.decode(content, type=StagingRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise invalid(f"{RECORD} is damaged: {error}. Get the folder anew from who staged it.") from error
    if record.format != FORMAT:
        raise invalid(f"{RECORD} has the format {record.format}, and this version of wharfinger knows {FORMAT}.")
    strange = [name for name in record.names.values() if re.fullmatch(KEY_NAME, name) is None]
    if strange or len(set(record.names.values())) != len(record.names):
        raise invalid(f"{RECORD} gives keys names that are not plain, or one name to two of them.")
    return record


def _chain(record: StagingRecord, files: Mapping[str, bytes]) -> Chain:
    if record.root_sha256:
        return verify_chain(files, record.root_sha256)
    if files or record.kind is not Kind.ROOT:
        raise invalid(f"{RECORD} names no trusted root, as only a folder for the first root does.")
    return Chain()


def _parsed(record: StagingRecord, content: bytes) -> Root | Targets:
    if len(content) > LARGEST[record.kind]:
        raise invalid(f"{CONTENT} has {len(content)} bytes, and clients read {LARGEST[record.kind]} at most.")
    expected: type[Root | Targets] = Root if record.kind is Kind.ROOT else Targets
    try:
        # Canonical JSON has the line breaks of PEM as they are, which JSON has not.
        document = json.loads(content, strict=False)
        if not isinstance(document, dict) or document.get("_type") != expected.type:
            raise invalid(f"{CONTENT} is no {expected.type} metadata.")
        signed = expected.from_dict(document)
        same = canonical.encode(signed.to_dict()) == content
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise invalid(f"{CONTENT} cannot be read as TUF metadata: {error}.") from error
    except InvalidRequestError as error:
        raise invalid(f"{CONTENT} cannot be read as TUF metadata: {error.message}") from error
    if not same or not all(KEYID.fullmatch(keyid) for keyid in listed_keys(signed)):
        raise invalid(f"{CONTENT} is not canonical JSON, says something twice, or has keyids that are none.")
    return signed


def _present(files: Mapping[str, bytes], name: str) -> bytes:
    try:
        return files[name]
    except KeyError:
        raise invalid(f"The folder has no {name}: it is not one that was staged, or not all of it.") from None
