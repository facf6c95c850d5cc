"""Proofs against the definitions of RFC 6962, section 2.1, written down as they stand there: recursively."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wharfinger_daemon.audit.merkle import EMPTY_ROOT, Frontier, combine, leaf_hash, node_hash
from wharfinger_daemon.audit.proofs import (
    ProofError,
    consistency_proof,
    inclusion_proof,
    root_hash,
    verify_consistency,
    verify_inclusion,
)

SIZES = range(1, 71)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % index) for index in range(size)]


def hashes_of(values: Sequence[bytes]) -> Callable[[int, int], bytes]:
    """The source of complete subtrees; an incomplete one is an error, as it has no hash yet."""

    def subtree(level: int, position: int) -> bytes:
        part = values[position << level : (position + 1) << level]
        assert 1 << level == len(part), f"({level}, {position}) is no complete subtree"
        return combine(part)

    return subtree


def split(count: int) -> int:
    """The largest power of two below ``count``."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(values: Sequence[bytes]) -> bytes:
    if not values:
        return hashlib.sha256(b"").digest()
    if len(values) == 1:
        return values[0]
    k = split(len(values))
    return node_hash(mth(values[:k]), mth(values[k:]))


def path(index: int, values: Sequence[bytes]) -> list[bytes]:
    if len(values) == 1:
        return []
    k = split(len(values))
    if index < k:
        return [*path(index, values[:k]), mth(values[k:])]
    return [*path(index - k, values[k:]), mth(values[:k])]


def subproof(first: int, values: Sequence[bytes], known: bool) -> list[bytes]:
    if first == len(values):
        return [] if known else [mth(values)]
    k = split(len(values))
    if first <= k:
        return [*subproof(first, values[:k], known), mth(values[k:])]
    return [*subproof(first - k, values[k:], False), mth(values[:k])]


@pytest.mark.parametrize("size", [0, *SIZES])
def test_roots_are_those_of_the_definition(size: int) -> None:
    values = leaves(size)
    assert mth(values) == root_hash(size, hashes_of(values))
    assert (EMPTY_ROOT if size == 0 else mth(values)) == root_hash(size, hashes_of(values))


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_proofs_are_those_of_the_definition_and_pass(size: int) -> None:
    values = leaves(size)
    root = mth(values)
    for index, value in enumerate(values):
        proof = inclusion_proof(index, size, hashes_of(values))
        assert path(index, values) == proof
        verify_inclusion(value, index, size, proof, root)


@pytest.mark.parametrize("second", SIZES)
def test_consistency_proofs_are_those_of_the_definition_and_pass(second: int) -> None:
    values = leaves(second)
    for first in range(1, second + 1):
        proof = consistency_proof(first, second, hashes_of(values))
        assert subproof(first, values, True) == proof
        verify_consistency(first, second, proof, mth(values[:first]), mth(values))


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_proofs_hold_in_large_trees(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 3000))
    index = data.draw(st.integers(0, size - 1))
    values = leaves(size)
    subtrees, root = hashes_of(values), mth(values)
    verify_inclusion(values[index], index, size, inclusion_proof(index, size, subtrees), root)
    proof = consistency_proof(index + 1, size, subtrees)
    verify_consistency(index + 1, size, proof, mth(values[: index + 1]), root)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_proof_that_was_tampered_with_proves_nothing(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    values = leaves(size)
    root = mth(values)
    proof = inclusion_proof(index, size, hashes_of(values))
    with pytest.raises(ProofError):
        verify_inclusion(values[index], index, size, tampered(data, proof), root)
    if index + 1 < size:
        proof = consistency_proof(index + 1, size, hashes_of(values))
        with pytest.raises(ProofError):
            verify_consistency(index + 1, size, tampered(data, proof), mth(values[: index + 1]), root)


def tampered(data: st.DataObject, proof: list[bytes]) -> list[bytes]:
    place = data.draw(st.integers(0, len(proof)))
    other = leaf_hash(b"other")
    kinds = [[*proof[:place], other, *proof[place:]]]
    if place < len(proof):
        kinds += [[*proof[:place], other, *proof[place + 1 :]], [*proof[:place], *proof[place + 1 :]]]
    return data.draw(st.sampled_from(kinds))


def test_a_proof_of_one_leaf_does_not_prove_another_place() -> None:
    values = leaves(20)
    proof = inclusion_proof(7, 20, hashes_of(values))
    for index in {*range(20)} - {7}:
        with pytest.raises(ProofError):
            verify_inclusion(values[7], index, 20, proof, mth(values))


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_a_leaf_that_the_tree_does_not_have_is_in_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(index, size, hashes_of(leaves(size)))
    with pytest.raises(ProofError, match="no leaf"):
        verify_inclusion(leaf_hash(b""), index, size, [], b"")


@pytest.mark.parametrize(("first", "second"), [(0, 5), (6, 5), (-1, 5)])
def test_trees_that_do_not_grow_out_of_one_another_have_no_proof(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="does not grow"):
        consistency_proof(first, second, hashes_of(leaves(max(second, 0))))
    with pytest.raises(ProofError, match="does not grow"):
        verify_consistency(first, second, [], b"", b"")


def test_two_trees_of_one_size_are_consistent_only_if_they_are_one() -> None:
    root = mth(leaves(5))
    verify_consistency(5, 5, [], root, root)
    for proof, other in (([], leaf_hash(b"")), ([root], root)):
        with pytest.raises(ProofError):
            verify_consistency(5, 5, proof, root, other)


def test_an_empty_proof_between_two_sizes_proves_nothing() -> None:
    values = leaves(6)
    with pytest.raises(ProofError):
        verify_consistency(5, 6, [], mth(values[:5]), mth(values))


def test_a_frontier_grows_to_the_roots_of_the_definition_from_any_size() -> None:
    values = leaves(70)
    frontier = Frontier()
    for size, value in enumerate(values, 1):
        again = Frontier(size - 1, [*frontier.copy()._hashes])
        for grown in (frontier, again):
            nodes = list(grown.append(value))
            assert [combine(values[node.position << node.level :][: 1 << node.level]) for node in nodes] == [
                node.hash for node in nodes
            ]
            assert (size, mth(values[:size])) == (grown.size, grown.root())


def test_a_frontier_with_too_few_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 complete subtrees, not 1"):
        Frontier(5, [b""])
