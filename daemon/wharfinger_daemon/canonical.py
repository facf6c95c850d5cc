"""Canonical JSON as TUF signs it (OLPC canonical JSON; TUF specification 1.0.34, section 4.2).

``securesystemslib`` defines the format; ``orjson`` writes the same bytes about ten times faster wherever its output
contains no backslash: the formats differ only in how control characters are escaped (so a PEM key, with its newlines,
takes the slow path). ``tests/unit/daemon/test_canonical.py`` holds the property.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import orjson
from securesystemslib.formats import encode_canonical

from wharfinger_daemon.errors import InvalidRequestError, Reason

_MAX_DEPTH = 64
_PLAIN = frozenset({str, int, bool, type(None)})


def encode(value: Any) -> bytes:
    """The canonical bytes of a JSON value.

    Raises:
        InvalidRequestError: the value has no canonical form (a float, a lone surrogate, a type that is not JSON).
    """
    _refuse_floats(value)
    try:
        fast = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        if b"\\" not in fast:
            return fast
    except TypeError:
        # An integer beyond 64 bits, or something that is not JSON: the reference encoder decides which.
        pass
    try:
        return _reference(value)
    except Exception as error:
        raise _no_canonical_form(error) from error


def _reference(value: Any) -> bytes:
    encoded = encode_canonical(value)
    assert isinstance(encoded, str)  # With no output function it returns the text.
    return encoded.encode("utf-8")


def _refuse_floats(value: Any) -> None:
    # orjson would write a float, and the reference encoder refuses it: so do we, before either sees it. A level of
    # nesting at a time: member by member would take longer than encoding.
    level = [value]
    for _ in range(_MAX_DEPTH):
        types = {*map(type, level)}
        if any(issubclass(one, float) for one in types):
            raise _no_canonical_form("it contains a floating-point number")
        if types <= _PLAIN:
            return
        objects = [one for one in level if isinstance(one, dict)]
        arrays = [one for one in level if isinstance(one, list | tuple)]
        level = [*chain.from_iterable(map(dict.values, objects)), *chain.from_iterable(arrays)]
    raise _no_canonical_form("it is nested too deeply")


def _no_canonical_form(why: object) -> InvalidRequestError:
    return InvalidRequestError(f"The value has no canonical JSON form: {why}.", reason=Reason.NOT_CANONICAL_JSON)
