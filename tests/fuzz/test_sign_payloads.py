"""Whatever is sent to be signed: only refusals that were foreseen, and never a signature for bytes that clients would
read otherwise than the daemon did.

The oracle is python-tuf: what was signed is put into a file as repositories do, read as clients do, and its signature
is verified over what the client has then.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata

from tests.fuzz.conftest import CALLER, Quarry
from tests.fuzz.payloads import ROLES, payloads
from wharfinger_daemon.errors import CorruptStateError, Reason, StartupError, WharfingerError
from wharfinger_daemon.signing.model import Signature, SigningItem
from wharfinger_daemon.signing.service import SigningService

FAST = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))

TYPES = {"root": "root", "snapshot": "snapshot", "timestamp": "timestamp"}


def right_role(signed: bytes) -> str:
    """The role that the bytes are meant for: most mutations are to be judged by what they say, not by a wrong name."""
    for kind in TYPES:
        if f'"_type":"{kind}"'.encode() in signed:
            return kind
    if b'"succinct_roles"' in signed:
        return "bins"
    return "targets" if b'"delegations"' in signed else "bins-0"


def attempt(service: SigningService, signed: bytes, role: str) -> Signature | None:
    item = SigningItem("pypi", role, signed)
    [linted] = asyncio.run(service.lint([item], caller=CALLER))
    try:
        [signature] = asyncio.run(service.sign([item], caller=CALLER, request_id="fuzz", timeout_seconds=60))
    except WharfingerError as error:
        assert not isinstance(error, CorruptStateError | StartupError)
        assert error.reason is not Reason.INTERNAL
        assert error.message.isprintable()
        assert (error.reason, error.message) == (linted.reason, linted.message)
        return None
    assert not linted.reason
    return signature


def require_same_reading(quarry: Quarry, signed: bytes, signature: Signature) -> None:
    value = json.loads(signed, strict=False)
    entry = {"keyid": signature.keyid, "sig": signature.signature.hex()}
    file = json.dumps({"signatures": [entry], "signed": value}).encode()
    metadata: Metadata[Any] = Metadata.from_bytes(file)
    assert metadata.signed_bytes == signed, "clients verify other bytes"
    quarry.public_key.verify_signature(metadata.signatures[signature.keyid], metadata.signed_bytes)
    assert metadata.signed.version == signature.version
    assert metadata.signed.type == TYPES.get(signature.role, "targets")
    assert metadata.signed.expires.isoformat()[:19] + "Z" == value["expires"]


def check(quarry: Quarry, data: st.DataObject) -> None:
    signed = data.draw(payloads(quarry.bases), label="signed")
    role = data.draw(st.just(right_role(signed)) | st.just(right_role(signed)) | ROLES)
    signature = attempt(quarry.service(), signed, role)
    event("refused" if signature is None else f"signed {signature.role}")
    if signature is not None:
        require_same_reading(quarry, signed, signature)


@FAST
@given(st.data())
def test_changed_metadata_is_refused_or_signed_as_clients_read_it(quarry: Quarry, data: st.DataObject) -> None:
    check(quarry, data)


@pytest.mark.long
@LONG
@given(st.data())
def test_changed_metadata_is_refused_or_signed_as_clients_read_it_at_length(
    quarry: Quarry, data: st.DataObject
) -> None:
    check(quarry, data)


@FAST
@given(st.binary(max_size=200), ROLES)
def test_random_bytes_are_refused(quarry: Quarry, signed: bytes, role: str) -> None:
    assert attempt(quarry.service(), signed, role) is None


def test_the_documents_that_are_changed_are_valid_themselves(quarry: Quarry) -> None:
    """Else every mutation of them would be refused, and nothing learned."""
    for base in quarry.bases:
        signed = json.dumps(base, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        if b"\\n" in signed:
            signed = signed.replace(b"\\n", b"\n")
        signature = attempt(quarry.service(), signed, right_role(signed))
        assert signature is not None
        require_same_reading(quarry, signed, signature)


@pytest.mark.parametrize("number", [10**309, 10**400, 10**4299, 2**64, -(2**63) - 1])
@pytest.mark.parametrize("text", ["plain", "with a raw\nnewline"])
def test_integers_that_readers_do_not_share_are_never_signed(quarry: Quarry, number: int, text: str) -> None:
    signed = json.dumps(
        {**quarry.bases[4], "number": number, "text": text}, separators=(",", ":"), sort_keys=True
    ).replace("\\n", "\n")
    assert attempt(quarry.service(), signed.encode(), "bins-0") is None
