"""A listing that is changed in place has the bytes of one that is written from the targets."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

from wharfinger_daemon.metadata.listing import LARGEST_ENTRY, changed, entry_of, listing_of
from wharfinger_daemon.metadata.role_versions import RoleVersions
from wharfinger_daemon.metadata.targets import MAX_LENGTH, MAX_PATH_LENGTH, Target

# Short, so that paths begin one another; and with everything that the format itself is made of, but for what no path
# may have.
PATHS = st.text("ab:5},{[h!~ ", min_size=1, max_size=6).filter(lambda path: path.strip("."))
HASHES = st.sampled_from(
    [
        {"sha256": "0" * 64},
        {"sha512": "f" * 128},
        {"sha512": "1" * 128, "sha256": "2" * 64},
        {"sha256": "3" * 64, "blake2b-256": "4" * 64},
    ]
)
LENGTHS = st.integers(0, 2**63 - 1) | st.integers(0, 12)
TARGETS = st.dictionaries(PATHS, st.tuples(LENGTHS, HASHES), max_size=12).map(
    lambda listed: {path: Target(path, *rest) for path, rest in listed.items()}
)


def canonical(targets: dict[str, Target]) -> bytes:
    """As the reference encoder writes it."""
    listed = {path: {"hashes": dict(one.hashes), "length": one.length} for path, one in targets.items()}
    return str(encode_canonical(listed)).encode()[1:-1]


@given(TARGETS)
def test_listing_is_canonical_json(targets: dict[str, Target]) -> None:
    assert canonical(targets) == listing_of(targets.values())


@given(TARGETS, TARGETS, st.sets(PATHS, max_size=6))
@example({":5},": Target(":5},", 5, {"sha256": "0" * 64})}, {}, {":5},"})
def test_changed_listing_is_the_listing_of_what_was_changed(
    before: dict[str, Target], add: dict[str, Target], some: set[str]
) -> None:
    remove = some - add.keys()
    after = {path: one for path, one in {**before, **add}.items() if path not in remove}
    assert canonical(after) == changed(canonical(before), add, remove)


@given(TARGETS, st.data())
def test_everything_that_is_listed_can_be_removed(before: dict[str, Target], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.sampled_from(sorted(before)))) if before else set()
    after = {path: one for path, one in before.items() if path not in gone}
    assert canonical(after) == changed(canonical(before), {}, gone)


def test_no_entry_is_larger_than_the_largest() -> None:
    hashes = {"sha256": "0" * 64, "sha512": "0" * 128, "blake2b-256": "0" * 64}
    assert len(entry_of(Target("p" * MAX_PATH_LENGTH, MAX_LENGTH, hashes)) + b",") <= LARGEST_ENTRY


@pytest.mark.parametrize("place", [0, 1, 600, 1219, 1220])
def test_big_bin_is_changed_at_either_end_and_in_the_middle(place: int) -> None:
    paths = [f"packages/{number:04x}/name-{number}.whl" for number in range(0, 2 * 1221, 2)]
    before = {path: Target(path, number, {"sha256": hashed(path)}) for number, path in enumerate(paths)}
    new = Target(paths[place] + "0", 7, {"sha256": hashed("new")})
    other = Target(paths[place], 8, {"sha256": hashed("other")})
    after = {**before, new.path: new, other.path: other}
    assert canonical(after) == changed(canonical(before), {new.path: new, other.path: other}, ())


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


ROLES = st.from_regex(r"[a-c]{1,2}(-[0-9]{1,2})?", fullmatch=True)


@given(st.dictionaries(ROLES, st.integers(1, 2**62)), st.lists(st.tuples(ROLES, st.integers(1, 2**62))))
def test_versions_that_were_set_one_by_one_are_encoded_as_all_at_once(
    before: dict[str, int], changes: list[tuple[str, int]]
) -> None:
    named = RoleVersions(before)
    for role, version in changes:
        named.set(role, version)
    after = {**before, **dict(changes)}
    meta = {f"{role}.json": {"version": version} for role, version in after.items()}
    assert (after, str(encode_canonical(meta)).encode()[1:-1]) == (named.versions, named.encoded())
