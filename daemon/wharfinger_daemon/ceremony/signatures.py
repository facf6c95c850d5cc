"""Signatures, collected one by one: each in a file of its own, so that folders are merged by copying files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature

from wharfinger_daemon.ceremony.changes import called
from wharfinger_daemon.ceremony.quorum import Quorum, signing_keys
from wharfinger_daemon.ceremony.refusals import invalid, refused
from wharfinger_daemon.ceremony.staging import Staged
from wharfinger_daemon.errors import InvalidRequestError, Reason

_HEXADECIMAL = re.compile(r"[0-9a-f]{1,8192}")


class SignatureFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature.

    Attributes:
        sig: in hexadecimal, as TUF metadata has it.
        staged_sha256: of the bytes that were signed: tells a signature of another ceremony from a wrong one.
    """

    keyid: str
    sig: str
    staged_sha256: str


@dataclass(frozen=True)
class Collected:
    """What lies in a folder.

    Attributes:
        signatures: those that hold, by keyid.
        problems: what is wrong with the others, by file name.
    """

    signatures: Mapping[str, Signature]
    problems: Mapping[str, str]


@dataclass(frozen=True)
class QuorumState:
    """How far one threshold is.

    Attributes:
        signed, missing: keyids, in the order of the metadata that lists them.
    """

    quorum: Quorum
    signed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def met(self) -> bool:
        return len(self.signed) >= self.quorum.threshold


def signature_name(keyid: str) -> str:
    """The file of a key's signature."""
    return f"{keyid}.json"


def require_may_sign(staged: Staged, keyid: str, collected: Collected) -> None:
    """Refuses a key whose signature would not count, or is there already.

    Raises:
        RefusedError: KEY_NOT_AUTHORISED, CEREMONY_REFUSED.
    """
    who = called(keyid, staged.record.names)
    if keyid not in signing_keys(staged.quorums):
        by = ", ".join(quorum.by for quorum in staged.quorums)
        raise refused(f"{who} may not sign {staged.name}: not in {by}.", Reason.KEY_NOT_AUTHORISED)
    if keyid in collected.signatures:
        raise refused(f"{who} has signed already. Another signature with the same key would not count.")


def encode_signature(staged: Staged, signature: Signature) -> bytes:
    """The file for a signature, after verifying it.

    Raises:
        RefusedError: SIGNATURE_INVALID; the signer returned something else than a signature of the staged bytes.
    """
    content = msgspec.json.format(
        msgspec.json.encode(SignatureFile(signature.keyid, signature.signature, staged.record.sha256)), indent=1
    )
    try:
        read_signature(staged, signature_name(signature.keyid), content)
    except InvalidRequestError as error:
        raise refused(
            f"The signer returned a wrong signature, and nothing was written: {error.message} Do not use it before it "
            "has been examined.",
            Reason.SIGNATURE_INVALID,
        ) from error
    return content + b"\n"


def read_signature(staged: Staged, name: str, content: bytes) -> Signature:
    """Verifies one file.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; it is damaged, of another ceremony, not by its key, or by one that may
            not sign.
    """
    try:
        file = msgspec.json.decode(content, type=SignatureFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise invalid(f"{name!a} is no whole signature file: {error}.", file=name) from error
    if file.staged_sha256 != staged.record.sha256:
        raise invalid(
            f"{name!a} is a signature of something else: it names the SHA-256 {file.staged_sha256!a}.",
            file=name,
        )
    key = signing_keys(staged.quorums).get(file.keyid)
    if key is None or name != signature_name(file.keyid):
        raise invalid(f"{name!a} is not of a key that may sign {staged.name}.", file=name)
    # bytes.fromhex, which verifies, also takes blanks and capitals: one signature must not have many spellings.
    if _HEXADECIMAL.fullmatch(file.sig) is None:
        raise invalid(f"{name!a} has a signature that is not in hexadecimal.", file=name)
    signature = Signature(file.keyid, file.sig)
    try:
        key.verify_signature(signature, staged.content)
    except UnverifiedSignatureError as error:
        who = called(file.keyid, staged.record.names)
        raise invalid(f"{name} is no signature of {staged.name} by {who}.", file=name) from error
    return signature


def collect(staged: Staged, files: Mapping[str, bytes]) -> Collected:
    """Verifies all files.

    Args:
        files: by their names in ``signatures/``.
    """
    signatures, problems = {}, {}
    for name, content in sorted(files.items()):
        try:
            signature = read_signature(staged, name, content)
        except InvalidRequestError as error:
            problems[name] = error.message
        else:
            signatures[signature.keyid] = signature
    return Collected(signatures, problems)


def states(staged: Staged, collected: Collected) -> list[QuorumState]:
    """How far each threshold is."""
    return [
        QuorumState(
            quorum,
            tuple(keyid for keyid in quorum.keys if keyid in collected.signatures),
            tuple(keyid for keyid in quorum.keys if keyid not in collected.signatures),
        )
        for quorum in staged.quorums
    ]
