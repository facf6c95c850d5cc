"""Targets as lines of text, for whoever has millions of them: JSON lines, or CSV with a header.

    {"path": "packages/ab/cd/name-1.0.tar.gz", "length": 4711, "hashes": {"sha256": "…"}}

    path,length,sha256
    packages/ab/cd/name-1.0.tar.gz,4711,…

Columns and hashes have TUF's names of the algorithms. A line is a row: no path can have a line break.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from enum import StrEnum

import orjson

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.metadata.targets import HASH_ALGORITHMS, Target

ReadLine = Callable[[bytes], Target]

_FIELDS = frozenset({"path", "length", "hashes"})


class LineFormat(StrEnum):
    """How a file writes targets."""

    JSON_LINES = "jsonl"
    CSV = "csv"


def read_json(line: bytes) -> Target:
    """One target from a line of JSON.

    Raises:
        InvalidRequestError: the line is no target; the message says why.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _invalid(f"it is no JSON: {error}") from error
    if not isinstance(row, dict) or row.keys() != _FIELDS:
        raise _invalid("it must be an object with path, length and hashes, and nothing else")
    path, hashes = row["path"], row["hashes"]
    if not isinstance(path, str):
        raise _invalid("its path is no text")
    if not isinstance(hashes, dict) or not all(isinstance(value, str) for value in hashes.values()):
        raise _invalid("its hashes must be an object of texts")
    return Target(path, row["length"], hashes)


def csv_reader(header: bytes) -> ReadLine:
    """Reads lines of CSV under a header.

    Raises:
        InvalidRequestError: the header does not name path, length and hashes, each once.
    """
    columns = _cells(header.removeprefix(b"\xef\xbb\xbf"))
    known = {"path", "length", *HASH_ALGORITHMS}
    if len(set(columns)) != len(columns) or not {"path", "length"} <= set(columns) <= known or len(columns) < 3:
        raise InvalidRequestError(
            "The first line must name the columns, each once: path, length, and one or more of "
            f"{', '.join(HASH_ALGORITHMS)}. It is {ascii(header.decode('utf-8', 'replace').strip())[:200]}.",
            reason=Reason.TARGET_INVALID,
        )

    def read(line: bytes) -> Target:
        cells = _cells(line)
        if len(cells) != len(columns):
            raise _invalid(f"it has {len(cells)} columns, and the header has {len(columns)}")
        row = dict(zip(columns, cells, strict=True))
        length = row.pop("length")
        if not (length.isascii() and length.isdecimal() and len(length) < 20):
            raise _invalid("its length is no number of bytes")
        return Target(row.pop("path"), int(length), {name: value for name, value in row.items() if value})

    return read


def _cells(line: bytes) -> Sequence[str]:
    try:
        rows = list(csv.reader([line.decode("utf-8")], strict=True))
    except UnicodeDecodeError as error:
        raise _invalid("it is no UTF-8") from error
    except csv.Error as error:
        raise _invalid(f"it is no CSV: {error}") from error
    return rows[0] if rows else []


def _invalid(why: str) -> InvalidRequestError:
    return InvalidRequestError(f"The line is no target: {why}.", reason=Reason.TARGET_INVALID)
