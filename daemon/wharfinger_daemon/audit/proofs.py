"""Proofs on the tree of RFC 6962: that a leaf is in it (section 2.1.1), and that it grew out of a smaller one (2.1.2).

They are made from the hashes of complete subtrees, which never change, and checked by the algorithms of RFC 9162
(sections 2.1.3.2 and 2.1.4.2), which need the proof alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wharfinger_daemon.audit.merkle import complete_subtrees, fold, node_hash

Hashes = Callable[[int, int], bytes]
"""The hash of the complete subtree at a level and position."""


class ProofError(ValueError):
    """The proof does not prove it."""


def root_hash(size: int, hashes: Hashes) -> bytes:
    """The root hash of the tree of the first leaves."""
    return fold([hashes(level, position) for level, position in complete_subtrees(size)])


def inclusion_proof(index: int, size: int, hashes: Hashes) -> list[bytes]:
    """The siblings of a leaf's way to the root of a tree, from the leaf up.

    Raises:
        ValueError: the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"A tree of {size} leaves has no leaf {index}.")
    begin, end, proof = 0, size, []
    while end - begin > 1:
        middle = begin + _largest_power_below(end - begin)
        if index < middle:
            proof.append(_range_hash(middle, end, hashes))
            end = middle
        else:
            proof.append(_range_hash(begin, middle, hashes))
            begin = middle
    return proof[::-1]


def consistency_proof(first: int, second: int, hashes: Hashes) -> list[bytes]:
    """What leads from the root of a tree to that of a larger one; empty for trees of one size.

    Raises:
        ValueError: the first is empty, or larger than the second.
    """
    if not 0 < first <= second:
        raise ValueError(f"A tree of {second} leaves does not grow out of one of {first}.")
    begin, end, proof = 0, second, []
    while first != end:
        middle = begin + _largest_power_below(end - begin)
        if first <= middle:
            proof.append(_range_hash(middle, end, hashes))
            end = middle
        else:
            proof.append(_range_hash(begin, middle, hashes))
            begin = middle
    if begin > 0:
        proof.append(_range_hash(begin, end, hashes))  # Otherwise it is the first tree itself, whose root is known.
    return proof[::-1]


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Checks that the leaf at an index of a tree has this hash.

    Raises:
        ProofError: the proof does not show it.
    """
    if not 0 <= index < size:
        raise ProofError(f"A tree of {size} leaves has no leaf {index}.")
    place, last, value = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise ProofError("The proof has more hashes than the tree has levels.")
        if place & 1 or place == last:
            value = node_hash(sibling, value)
            place, last = _to_right_node(place, last)
        else:
            value = node_hash(value, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or value != root:
        raise ProofError(f"The proof does not lead from leaf {index} to the root of the tree of {size} leaves.")


def verify_consistency(first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes) -> None:
    """Checks that a tree is the beginning of a larger one, or the same.

    Raises:
        ProofError: the proof does not show it.
    """
    if not 0 < first <= second:
        raise ProofError(f"A tree of {second} leaves does not grow out of one of {first}.")
    if first == second:
        proven = not proof and first_root == second_root
    else:
        # A tree that is complete is a node of the larger one: the proof leaves its hash out.
        path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
        proven = _roots(first, second, path) == (first_root, second_root)
    if not proven:
        raise ProofError(f"The proof does not show that the tree of {second} leaves begins with that of {first}.")


def _roots(first: int, second: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The roots of both trees that a path leads to; None if it has too many hashes or too few."""
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not path:
        return None
    before = after = path[0]
    for value in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            before, after = node_hash(value, before), node_hash(value, after)
            place, last = _to_right_node(place, last)
        else:
            after = node_hash(after, value)
        place, last = place >> 1, last >> 1
    return (before, after) if last == 0 else None


def _to_right_node(place: int, last: int) -> tuple[int, int]:
    """Up the right edge to where a node is a right one: on the levels between, it has no sibling."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _range_hash(begin: int, end: int, hashes: Hashes) -> bytes:
    """The hash over leaves that begin at a multiple of the smallest power of two not below their number."""
    # Below such a beginning, the leaves fall into the same subtrees as those of a tree of their own.
    return fold([hashes(level, (begin >> level) + position) for level, position in complete_subtrees(end - begin)])


def _largest_power_below(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1
