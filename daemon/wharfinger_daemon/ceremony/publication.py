"""The end of a ceremony: the file for clients, put together and verified as clients will."""

from __future__ import annotations

import hashlib
from typing import Any

from securesystemslib.signer import Signature
from tuf.api.metadata import Metadata

from wharfinger_daemon.ceremony.chain import verify_chain
from wharfinger_daemon.ceremony.changes import called
from wharfinger_daemon.ceremony.refusals import invalid, refused
from wharfinger_daemon.ceremony.signatures import Collected, QuorumState, states
from wharfinger_daemon.ceremony.staging import Staged
from wharfinger_daemon.errors import Reason


def assemble(staged: Staged, collected: Collected) -> bytes:
    """The metadata with all signatures, in the order of their keyids.

    Raises:
        RefusedError: CEREMONY_INCOMPLETE; a threshold is not met.
        InvalidRequestError: CEREMONY_INVALID; a file in ``signatures/`` is no signature, or what comes out would be
            larger than clients read.
    """
    if collected.problems:
        told = "\n".join(f"  {problem}" for problem in collected.problems.values())
        raise invalid(f"Not every file in signatures/ is a signature. Find out why, and take these out:\n{told}")
    for state in states(staged, collected):
        if not state.met:
            raise refused(_lacking(staged, state), Reason.CEREMONY_INCOMPLETE)
    signatures: dict[str, Signature] = dict(sorted(collected.signatures.items()))
    metadata: Metadata[Any] = Metadata(staged.signed, signatures)
    content: bytes = metadata.to_bytes()
    files = {**staged.chain.files(), staged.name: content}
    first = staged.record.root_sha256 or hashlib.sha256(content).hexdigest()
    verified = verify_chain(files, first).previous(staged.kind)
    assert verified is not None
    assert verified.content == content
    return content


def _lacking(staged: Staged, state: QuorumState) -> str:
    missing = ", ".join(called(keyid, staged.record.names) for keyid in state.missing)
    return (
        f"{staged.name} is not signed by enough keys: {state.quorum.by} wants {state.quorum.threshold}, and "
        f"{len(state.signed)} of its keys have signed. Missing are {missing}."
    )
