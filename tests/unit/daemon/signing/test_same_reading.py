"""What python-tuf is not asked about, it would have read: the short cut and the long way agree."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import Snapshot, Targets, Timestamp

from wharfinger_daemon import canonical
from wharfinger_daemon.errors import InvalidRequestError
from wharfinger_daemon.signing import facts
from wharfinger_daemon.signing.model import SigningPolicy
from wharfinger_daemon.signing.same_reading import certainly_read_alike

POLICY = SigningPolicy(spec_versions=("*",))
CLASSES = {"targets": Targets, "snapshot": Snapshot, "timestamp": Timestamp}

texts = st.text(st.characters(codec="ascii", exclude_characters='"\\'), max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
hashes = st.dictionaries(st.sampled_from(["sha256", "md5"]), st.sampled_from(["ab" * 32, "ab", "AB", ""]), max_size=2)
measures = {"length": st.integers(-1, 3) | anything, "hashes": hashes | anything, "custom": anything}
target_files = st.fixed_dictionaries({}, optional=measures)
meta_files = st.fixed_dictionaries({"version": st.integers(0, 3)}, optional=measures)


def documents(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    contents: dict[str, st.SearchStrategy[Any]] = {
        "targets": st.dictionaries(texts, target_files, max_size=3),
        "snapshot": st.fixed_dictionaries({"targets.json": meta_files}, optional={"bins-0.json": meta_files}),
        "timestamp": st.fixed_dictionaries({"snapshot.json": meta_files}),
    }
    fields = {
        "_type": st.just(kind),
        "expires": st.sampled_from(["2030-01-31T00:00:00Z", "2030-02-29T00:00:00Z", "2030-01-31T23:59:60Z"]),
        "spec_version": st.sampled_from(["1.0.31", "1.0", "2.0.0", "10.0.0", "1"]),
        "version": st.integers(0, 3) | st.booleans(),
        "targets" if kind == "targets" else "meta": contents[kind],
    }
    return st.fixed_dictionaries(fields, optional={"delegations": anything, "x-more": anything})


@pytest.mark.parametrize("kind", CLASSES)
@given(data=st.data())
def test_what_is_accepted_python_tuf_reads_and_writes_as_the_same_bytes(kind: str, data: st.DataObject) -> None:
    """Whoever verifies with python-tuf verifies exactly the bytes that were signed."""
    signed = canonical.encode(data.draw(documents(kind)))
    document = facts.parse(signed)
    try:
        facts.read(document, kind, POLICY)
    except InvalidRequestError:
        return
    # Not strict, because canonical JSON has control characters as they are.
    read = CLASSES[kind].from_dict(json.loads(signed, strict=False))
    assert signed == canonical.encode(read.to_dict())


@pytest.mark.parametrize("kind", CLASSES)
def test_ordinary_metadata_takes_the_short_cut(kind: str) -> None:
    """Or it would shorten nothing."""
    file: dict[str, Any] = {"length": 1, "hashes": {"sha256": "ab" * 32}, "version": 1}
    contents: dict[str, dict[str, Any]] = {
        "targets": {"targets": {"packages/a": file}},
        "snapshot": {"meta": {"targets.json": file, "bins-0.json": {"version": 2}}},
        "timestamp": {"meta": {"snapshot.json": file}},
    }
    value = {"_type": kind, "expires": "2030-01-31T00:00:00Z", "spec_version": "1.0.31", "version": 1} | contents[kind]
    assert certainly_read_alike(kind, value, canonical.encode(value))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("delegations", {"delegations": {}}),
        ("an attribute that is null", {"x": None}),
        ("another specification", {"spec_version": "2.0.0"}),
        ("a target without a length", {"targets": {"a": {"hashes": {"sha256": "ab" * 32}}}}),
        ("a target without hashes", {"targets": {"a": {"length": 1}}}),
        ("a target with no hash in its hashes", {"targets": {"a": {"hashes": {}, "length": 1}}}),
    ],
)
def test_python_tuf_is_asked_about_the_rest(name: str, changed: dict[str, Any]) -> None:
    """It may read it otherwise, or refuse it."""
    value: dict[str, Any] = {"_type": "targets", "spec_version": "1.0.31", "targets": {}, "version": 1}
    value = copy.deepcopy(value) | changed
    assert not certainly_read_alike("targets", value, canonical.encode(value))
