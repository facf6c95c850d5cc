"""Our canonical JSON is that of securesystemslib, byte for byte."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

from wharfinger_daemon import canonical
from wharfinger_daemon.errors import InvalidRequestError, Reason

scalars = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(values)
@example({"\uff01": 1, "\U0001f600": 2, 'quote"': "back\\slash", "control": "\x00\n\x1f\x7f\u2028"})
@example([2**63, -(2**63), 2**64 - 1, 2**64, -(2**70)])
@example({"pem": "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"})
def test_encoding_is_that_of_securesystemslib_for_any_json(value):
    assert encode_canonical(value).encode() == canonical.encode(value)


@given(values)
def test_encoding_can_be_read_back(value):
    assert value == json.loads(canonical.encode(value), strict=False)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        float("inf"),
        {"a": [1.5]},
        "\ud800",
        {"\udfff": 1},
        {1: "a"},
        {"a": b"bytes"},
        pytest.param(object(), id="an object"),
    ],
    ids=repr,
)
def test_values_without_a_canonical_form_are_refused(value):
    with pytest.raises(InvalidRequestError) as caught:
        canonical.encode(value)
    assert Reason.NOT_CANONICAL_JSON == caught.value.reason


def test_nesting_that_would_exhaust_the_stack_is_refused():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        canonical.encode(value)
