"""The audit log through both clients, and the arithmetic of its proofs."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.conftest import Caller
from tests.unit.client.fake_daemon import FakeDaemon
from wharfinger.audit.v1 import audit_pb2
from wharfinger_client import Checkpoint, InclusionProof, ServerError


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(count: int) -> int:
    return int(1 << (count - 1).bit_length() - 1)


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    at = split(len(leaves))
    return node_hash(root_of(leaves[:at]), root_of(leaves[at:]))


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    at = split(len(leaves))
    if index < at:
        return [*path_of(index, leaves[:at]), root_of(leaves[at:])]
    return [*path_of(index - at, leaves[at:]), root_of(leaves[:at])]


def note_of(leaves: list[bytes]) -> bytes:
    root = base64.b64encode(root_of(leaves)).decode()
    return f"example.com/log\n{len(leaves)}\n{root}\n\n— example.com/log AAAA\n".encode()


def proof_of(index: int, leaves: list[bytes]) -> InclusionProof:
    return InclusionProof(index, leaves[index], tuple(path_of(index, leaves)), Checkpoint.read(note_of(leaves)))


LEAVES = [f"leaf {number}".encode() for number in range(11)]


def test_checkpoint_is_read_and_its_note_kept(call: Caller, daemon: FakeDaemon) -> None:
    daemon.script.set("GetCheckpoint", audit_pb2.GetCheckpointResponse(checkpoint=note_of(LEAVES), size=11))
    checkpoint = call("checkpoint", 11)
    assert Checkpoint("example.com/log", 11, root_of(LEAVES), note_of(LEAVES)) == checkpoint
    assert 11 == daemon.received[0].messages[0].size


def test_inclusion_proof_is_read_and_holds(call: Caller, daemon: FakeDaemon) -> None:
    reply = audit_pb2.GetInclusionProofResponse(
        leaf_index=4, leaf=LEAVES[4], hashes=path_of(4, LEAVES), checkpoint=note_of(LEAVES)
    )
    daemon.script.set("GetInclusionProof", reply)
    proof = call("inclusion_proof", 4)
    proof.verify(leaf_hash(LEAVES[4]))
    assert proof_of(4, LEAVES) == proof


@pytest.mark.parametrize("note", [b"", b"origin\nmany\nAAAA\n", b"origin\n3\n?\n", b"\xff\n1\nAAAA\n", b"origin\n3"])
def test_checkpoint_that_is_none_is_the_servers_error(call: Caller, daemon: FakeDaemon, note: bytes) -> None:
    daemon.script.set("GetCheckpoint", audit_pb2.GetCheckpointResponse(checkpoint=note))
    with pytest.raises(ServerError, match="a checkpoint that is none"):
        call("checkpoint")


@given(st.integers(1, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_every_leaf_of_every_tree_is_proven(size_and_index: tuple[int, int]) -> None:
    size, index = size_and_index
    leaves = [f"leaf {number}".encode() for number in range(size)]
    proof_of(index, leaves).verify(leaf_hash(leaves[index]))


@given(st.data())
def test_no_other_proof_holds(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 40))
    leaves = [f"leaf {number}".encode() for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    good = proof_of(index, leaves)
    at = data.draw(st.integers(0, len(good.hashes) - 1))
    changed = bytes([good.hashes[at][0] ^ 1]) + good.hashes[at][1:]
    wrong = [
        replace(good, hashes=(*good.hashes[:at], changed, *good.hashes[at + 1 :])),
        replace(good, hashes=good.hashes[:-1]),
        replace(good, hashes=(*good.hashes, b"\0" * 32)),
        replace(good, leaf_index=-1),
        replace(good, leaf_index=size),
        replace(good, checkpoint=replace(good.checkpoint, root=b"\0" * 32)),
    ]
    for proof in wrong:
        with pytest.raises(ServerError, match="does not lead from leaf"):
            proof.verify(leaf_hash(leaves[index]))
    with pytest.raises(ServerError, match="not the one that was promised"):
        good.verify(leaf_hash(b"another"))
