"""Bytes become facts, or are refused with a reason; nothing else comes out."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.signing.facts import MAX_VERSION, parse, read
from wharfinger_daemon.signing.model import MetadataFacts, SigningPolicy

POLICY = SigningPolicy()
COMMON = {"spec_version": "1.0.31", "version": 7, "expires": "2030-01-02T00:00:00Z"}
BIN = {"_type": "targets", "targets": {"a.whl": {"hashes": {"sha256": "0" * 64}, "length": 3}}, **COMMON}
SNAPSHOT = {"_type": "snapshot", "meta": {"targets.json": {"version": 3}, "bins-0.json": {"version": 4}}, **COMMON}
TIMESTAMP = {"_type": "timestamp", "meta": {"snapshot.json": {"version": 5}}, **COMMON}
ROOT_ROLES = {name: {"keyids": [], "threshold": 1} for name in ("root", "targets", "snapshot", "timestamp")}
ROOT = {"_type": "root", "keys": {}, "roles": ROOT_ROLES, "consistent_snapshot": True, **COMMON}


def encoded(value):
    return encode_canonical(value).encode()


def read_bytes(signed, role):
    document = parse(signed)
    return read(document, document.role(role), POLICY)


def reason_of(signed, role="bins-0"):
    with pytest.raises(InvalidRequestError) as caught:
        read_bytes(signed, role)
    return caught.value.reason


def changed(base, **changes):
    return encoded({key: value for key, value in {**base, **changes}.items() if value is not ...})


def test_facts_of_a_bin():
    metadata = read_bytes(encoded(BIN), "bins-0")
    assert MetadataFacts("bins-0", "targets", 7, datetime(2030, 1, 2, tzinfo=UTC), {}, "1.0.31") == metadata.facts
    assert ("a.whl",) == metadata.target_paths
    assert not metadata.delegates


@pytest.mark.parametrize(
    ("value", "meta"), [(SNAPSHOT, {"targets": 3, "bins-0": 4}), (TIMESTAMP, {"snapshot": 5}), (ROOT, {})]
)
def test_facts_of_top_level_roles_with_the_role_taken_from_the_type(value, meta):
    facts = read_bytes(encoded(value), "").facts
    assert (value["_type"], value["_type"], 7, meta) == (facts.role, facts.type, facts.version, facts.meta)


def test_pem_keys_with_raw_newlines_are_read():
    """Canonical JSON writes control characters as they are, which plain JSON parsers refuse."""
    pem = "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"
    key = {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}}
    assert 7 == read_bytes(changed(ROOT, keys={"k": key}), "root").facts.version


def test_delegations_are_noticed():
    delegations = {"keys": {}, "succinct_roles": {"keyids": [], "threshold": 1, "bit_length": 2, "name_prefix": "b"}}
    assert read_bytes(changed(BIN, delegations=delegations), "bins").delegates


def test_unknown_attributes_are_allowed():
    """TUF specification 4.1: implementations must ignore what they do not know."""
    assert 7 == read_bytes(changed(BIN, custom={"note": "x"}), "bins-0").facts.version


@pytest.mark.parametrize(
    "signed",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b'{"a":1',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'"\xed\xa0\x80"',
    ],
    ids=lambda signed: repr(signed[:16]),
)
def test_bytes_that_are_not_json_are_refused(signed):
    assert Reason.NOT_JSON == reason_of(signed)


@pytest.mark.parametrize(
    "signed",
    [
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\n"}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":"\n","a":"\n"}',
        b'{"a":18446744073709551616}',
        b'{"a":-9223372036854775809}',
        b'{"a":-99999999999999999999}',
        b'{"a":"\n","b":18446744073709551616}',
        b'{"a":"\n","b":-9223372036854775809}',
        b'{"a":' + b"9" * 309 + b"}",
        b'{"a":' + b"9" * 310 + b"}",
        b'{"a":' + b"9" * 4300 + b"}",
        b'{"version":' + b"9" * 5000 + b"}",
    ],
    ids=lambda signed: repr(signed[:16]),
)
def test_json_that_is_not_canonical_is_refused(signed):
    assert Reason.NOT_CANONICAL_JSON == reason_of(signed)


@pytest.mark.parametrize("text", ["x", "x\n"], ids=["fast parser", "slow parser"])
@pytest.mark.parametrize("number", [-(2**63), 2**64 - 1])
def test_integers_of_64_bits_are_read_by_both_parsers(text, number):
    assert 7 == read_bytes(changed(BIN, custom={"note": text, "number": number}), "bins-0").facts.version


@pytest.mark.parametrize("signed", [b"[]", b"1", b"null", b'"text"', b"{}"])
def test_json_that_is_no_metadata_is_refused(signed):
    assert reason_of(signed) in (Reason.NOT_TUF_METADATA, Reason.ROLE_TYPE_MISMATCH)


@pytest.mark.parametrize(
    ("value", "role"),
    [(SNAPSHOT, "timestamp"), (SNAPSHOT, "bins-0"), (BIN, "snapshot"), (ROOT, "targets"), (TIMESTAMP, "root")],
)
def test_type_that_does_not_fit_the_role_is_refused(value, role):
    assert Reason.ROLE_TYPE_MISMATCH == reason_of(encoded(value), role)


@pytest.mark.parametrize("kind", ["targets", "mirrors", None, 3, ["root"]])
def test_role_must_be_named_where_the_type_leaves_it_open(kind):
    """The bytes of a bin do not tell which bin it is."""
    assert Reason.ROLE_REQUIRED == reason_of(changed(BIN, _type=kind), "")


@pytest.mark.parametrize("spec_version", ["2.0.0", "0.9", "10.0.0"])
def test_other_specification_versions_are_refused(spec_version):
    assert Reason.SPEC_VERSION_UNSUPPORTED == reason_of(changed(BIN, spec_version=spec_version))


BROKEN_BINS = {
    "spec version missing": {"spec_version": ...},
    "spec version no version": {"spec_version": "1"},
    "spec version in other digits": {"spec_version": "1.\u0660"},
    "spec version with a leading zero": {"spec_version": "1.00.0"},
    "spec version of absurd length": {"spec_version": "1." + "9" * 100_000},
    "spec version of four parts": {"spec_version": "1.0.0.0"},
    "version 0": {"version": 0},
    "version negative": {"version": -1},
    "version true": {"version": True},
    "version text": {"version": "7"},
    "version missing": {"version": ...},
    "version beyond eight bytes": {"version": MAX_VERSION + 1},
    "expires missing": {"expires": ...},
    "expires with an offset": {"expires": "2030-01-02T00:00:00+00:00"},
    "expires with fractions": {"expires": "2030-01-02T00:00:00.5Z"},
    "expires in short form": {"expires": "2030-1-2T0:0:0Z"},
    "expires in a year that is written otherwise": {"expires": "0230-01-02T00:00:00Z"},
    "expires on no day": {"expires": "2030-02-30T00:00:00Z"},
    "expires in other digits": {"expires": "203\u0660-01-02T00:00:00Z"},
    "targets missing": {"targets": ...},
    "targets a list": {"targets": []},
    "target without length": {"targets": {"a": {"hashes": {"sha256": "0"}}}},
    "target without hashes": {"targets": {"a": {"hashes": {}, "length": 1}}},
    "target null": {"targets": {"a": None}},
    "target of true bytes": {"targets": {"a": {"hashes": {"sha256": "0" * 64}, "length": True}}},
    "target of more than eight bytes' length": {"targets": {"a": {"hashes": {"sha256": "0" * 64}, "length": 2**63}}},
    "hashes no object": {"targets": {"a": {"hashes": ["0" * 64], "length": 1}}},
    "hash no text": {"targets": {"a": {"hashes": {"sha256": 0}, "length": 1}}},
    "hash empty": {"targets": {"a": {"hashes": {"other": ""}, "length": 1}}},
    "hash not hexadecimal": {"targets": {"a": {"hashes": {"sha256": "g" * 64}, "length": 1}}},
    "hash in upper case": {"targets": {"a": {"hashes": {"sha256": "A" * 64}, "length": 1}}},
    "hash in other digits": {"targets": {"a": {"hashes": {"sha256": "\u0660" * 64}, "length": 1}}},
    "hash of half a byte": {"targets": {"a": {"hashes": {"other": "0" * 63}, "length": 1}}},
    "hash of another length": {"targets": {"a": {"hashes": {"sha256": "0" * 128}, "length": 1}}},
    "hash of absurd length": {"targets": {"a": {"hashes": {"other": "0" * 1000}, "length": 1}}},
    "delegations null": {"delegations": None},
    "delegations empty": {"delegations": {}},
}


@pytest.mark.parametrize("changes", BROKEN_BINS.values(), ids=BROKEN_BINS.keys())
def test_bin_that_is_broken_is_refused(changes):
    assert Reason.NOT_TUF_METADATA == reason_of(changed(BIN, **changes))


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        {},
        {"targets": {"version": 1}},
        {"bins.json": {"version": 1}},
        {"targets.json": 1},
        {"targets.json": {"version": True}},
        {"targets.json": {"version": 0}},
        {"targets.json": {"version": 2**63}},
        {"targets.json": {}},
        {"targets.json": {"version": 1}, "snapshot.json": {"version": 1}},
        {"targets.json": {"version": 1}, "timestamp.json": {"version": 1}},
        {"targets.json": {"version": 1, "length": -1}},
        {"targets.json": {"version": 1, "length": False}},
        {"targets.json": {"version": 1, "hashes": {"sha256": "nonsense"}}},
    ],
    ids=repr,
)
def test_snapshot_with_a_broken_meta_is_refused(meta):
    assert Reason.NOT_TUF_METADATA == reason_of(changed(SNAPSHOT, meta=meta), "snapshot")


@pytest.mark.parametrize(
    "meta", [{}, {"targets.json": {"version": 1}}, {"snapshot.json": {"version": 1}, "x.json": {"version": 1}}]
)
def test_timestamp_names_the_snapshot_and_nothing_else(meta):
    assert Reason.NOT_TUF_METADATA == reason_of(changed(TIMESTAMP, meta=meta), "timestamp")


def test_hashes_of_unknown_algorithms_are_allowed_if_they_are_hexadecimal():
    targets = {"a.whl": {"hashes": {"sha256": "0" * 64, "another": "ab" * 16}, "length": 0}}
    assert ("a.whl",) == read_bytes(changed(BIN, targets=targets), "bins-0").target_paths


def test_null_where_clients_see_nothing_is_refused():
    """They would verify bytes without it, and accept no signature of these."""
    assert Reason.NOT_TUF_METADATA == reason_of(changed(ROOT, consistent_snapshot=None), "root")


def test_message_shows_a_short_and_printable_part_of_what_was_sent():
    with pytest.raises(InvalidRequestError) as caught:
        read_bytes(changed(BIN, expires="\x1b[31m" + "x" * 100_000), "bins-0")
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
roles = st.sampled_from(
    ["", "root", "targets", "snapshot", "timestamp", "bins", "bins-0", "bins-\u0660", "b\n", "x" * 300]
)


def only_refusals(signed, role):
    try:
        read_bytes(signed, role)
    except InvalidRequestError as error:
        assert error.message.isprintable()


@given(st.binary(), roles)
def test_nothing_but_refusals_comes_out_of_random_bytes(signed, role):
    only_refusals(signed, role)


@given(json_values, roles)
def test_nothing_but_refusals_comes_out_of_random_json(value, role):
    only_refusals(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), role)


@given(st.sampled_from([ROOT, BIN, SNAPSHOT, TIMESTAMP]), st.data(), roles)
@example(ROOT, None, "root")
def test_nothing_but_refusals_comes_out_of_metadata_with_one_thing_changed(base, data, role):
    value = json.loads(json.dumps(base))
    if data is not None:
        at = value
        while True:
            key = data.draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or not at[key] or data.draw(st.booleans()):
                break
            at = at[key]
        at[key] = data.draw(json_values)
    only_refusals(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), role)
