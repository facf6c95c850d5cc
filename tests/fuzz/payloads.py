"""Strategies: valid metadata, made wrong in the ways that attackers and broken programs make it wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

Json = Any

# What readers are known to differ on.
NUMBERS = (
    st.sampled_from([0, -1, 1, 2, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
    | st.sampled_from([10**309, 10**400, 10**4000])
    | st.integers()
)
ODD_TEXTS = ("", "\x00", "\n", '"', "\\", "\\u0041", "\ufeff", "\u202e", "é", "e\u0301", "\U0001f511", "\u2028", "\x7f")
TELLING_TEXTS = ("../../1.root", "a" * 10_000, "bins-0", "bins-00", "bins-\u0660", "__proto__", "sha256", "0" * 64)
DATES = ("2030-01-02T00:00:00Z", "0230-01-02T00:00:00Z", "9999-12-31T23:59:60Z", "1.0.31", "1.999")
TEXTS = st.sampled_from([*ODD_TEXTS, *TELLING_TEXTS, *DATES]) | st.text(max_size=20)


def _nested(depth: int, opening: Callable[[Json], Json]) -> Json:
    value: Json = 0
    for _ in range(depth):
        value = opening(value)
    return value


DEEP = st.builds(
    _nested, st.sampled_from([1, 5, 60, 63, 64, 65, 200]), st.sampled_from([lambda x: [x], lambda x: {"a": x}])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ANYTHING = VALUES | DEEP


@st.composite
def changed_documents(draw: st.DrawFn, bases: tuple[Json, ...]) -> Json:
    """A document with up to three places of its tree replaced, removed, added, doubled or retyped."""
    document = copy.deepcopy(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(0, 3))):
        _change(draw, document)
    return document


def _change(draw: st.DrawFn, document: Json) -> None:
    at: Json = document
    while True:
        keys: list[Any] = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        below = at[key]
        if not isinstance(below, dict | list) or not below or draw(st.integers(0, 3)) == 0:
            break
        at = below
    how = draw(st.sampled_from(["replace", "remove", "add", "double", "retype"]))
    if how == "replace":
        at[key] = draw(ANYTHING)
    elif how == "remove":
        del at[key]
    elif isinstance(at, dict):
        if how == "add":
            at[draw(TEXTS)] = draw(ANYTHING)
        elif how == "double":
            at[draw(st.sampled_from([f"{key} ", key.upper(), f"{key}\u0000", f"\ufeff{key}"]))] = copy.deepcopy(at[key])
    if how == "retype" and key in (at if isinstance(at, dict) else range(len(at))):
        at[key] = draw(st.sampled_from([_truth, str, float_of, lambda x: [x], lambda x: {"a": x}]))(at[key])


def _truth(value: Json) -> bool:
    return bool(value)


def float_of(value: Json) -> Json:
    return float(value) if isinstance(value, int) and abs(value) < 2**64 else value


def canonical(document: Json) -> bytes:
    """The canonical form, if there is one; else JSON that is none."""
    try:
        encoded: str = encode_canonical(document)
        return encoded.encode("utf-8")
    except Exception:  # noqa: BLE001  # on what is no JSON it raises whatever its code runs into
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("utf-8", "surrogatepass")


def spellings(document: Json) -> list[bytes]:
    """Other ways to write the same document, all of which some reader would take for it."""
    try:
        plain = json.dumps(document, separators=(",", ":"), sort_keys=True)
    except ValueError:
        return [canonical(document)]
    exact = canonical(document)
    return [
        plain.encode(),
        json.dumps(document).encode(),
        json.dumps(document, indent=1).encode(),
        json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"),
        plain.encode("utf-16"),
        b"\xef\xbb\xbf" + exact,
        exact + b"\n",
        exact + exact,
        exact + b"\x00",
        b"[" + exact + b"]",
        b'{"signatures":[],"signed":' + exact + b"}",
        exact[:-1] + b',"version":1}',
        b'{"_type":"root",' + exact[1:],
        exact.replace(b'"version":', b'"version":0'),
        exact.replace(b'"version":', b'"version":+'),
        exact.replace(b'"version":', b'"version":' + b"9" * 5000),
        exact.replace(b'"version"', b'"\\u0076ersion"'),
        exact.replace(b"Z", b"z"),
        exact.replace(b"/", b"\\/"),
    ]


@st.composite
def payloads(draw: st.DrawFn, bases: tuple[Json, ...]) -> bytes:
    """Bytes to sign: a changed document, in some spelling, with some bytes changed now and then."""
    document = draw(changed_documents(bases))
    how = draw(st.sampled_from(["canonical", "canonical", "spelt otherwise", "damaged"]))
    if how == "spelt otherwise":
        return draw(st.sampled_from(spellings(document)))
    return draw(damaged(canonical(document))) if how == "damaged" else canonical(document)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some removed, inserted, doubled or changed."""
    mutable = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(mutable)))
        length = draw(st.integers(0, 8))
        replacement = draw(st.binary(max_size=8) | st.just(bytes(mutable[start : start + 32])))
        mutable[start : start + length] = replacement
    return bytes(mutable)


ROLES = st.sampled_from(["", "root", "targets", "snapshot", "timestamp", "bins", "bins-0", "bins-1"]) | st.sampled_from(
    [
        "bins-00",
        "BINS-0",
        "bins-\u0660",
        "x" * 1000,
        "bins-+0",
        "bins-0x0",
        "bins--1",
        "bins-4",
        "bins-0\n",
        "b\x00",
        "*",
    ]
)
