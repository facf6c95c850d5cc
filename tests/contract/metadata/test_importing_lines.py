"""A file of targets is taken in line by line: what is none is told, what was interrupted goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from wharfinger_daemon.errors import InvalidRequestError, Reason, UnavailableError
from wharfinger_daemon.metadata import target_import
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.target_import import (
    LONGEST_LINE,
    ChunkOutcome,
    ImportProgress,
    RefusedLine,
    import_targets,
)
from wharfinger_daemon.metadata.target_lines import LineFormat, csv_reader, read_json
from wharfinger_daemon.metadata.targets import MAX_LENGTH, MAX_PATH_LENGTH, Target
from wharfinger_daemon.storage import bin_sizes, migrate, schema, target_rows
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.listed_targets import hashes_text
from wharfinger_daemon.storage.target_rows import SqlTargetRows

REPOSITORY = "r" * 64
BINS = HashBins(2)
HASH = "0123456789abcdef" * 4


def line(path: str, length: object = 1, **more: object) -> bytes:
    row = {"path": path, "length": length, "hashes": {"sha256": HASH}, **more}
    return json.dumps(row).encode() + b"\n"


def lines(*paths: str) -> bytes:
    return b"".join(map(line, paths))


@dataclass
class Heard:
    """Implements ``ImportListener``; is killed after some chunks."""

    killed_after: int = 10**9
    lines: list[RefusedLine] = field(default_factory=list)
    chunks: list[ImportProgress] = field(default_factory=list)
    resumed_at: int = 0

    def resumed(self, progress: ImportProgress) -> None:
        self.resumed_at = progress.lines

    def refused(self, lines: Sequence[RefusedLine]) -> None:
        self.lines += lines

    def advanced(self, progress: ImportProgress) -> None:
        self.chunks.append(progress)
        if len(self.chunks) == self.killed_after:
            raise KeyboardInterrupt


@pytest.fixture
def rows(database: Database) -> SqlTargetRows:
    return SqlTargetRows(database, Journal(database), REPOSITORY, BINS.role_for)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_import, "CHUNK_LINES", 3)


def take(content: bytes, rows: SqlTargetRows, heard: Heard, line_format: LineFormat = LineFormat.JSON_LINES) -> Any:
    return import_targets(io.BytesIO(content), line_format, rows, heard)


def listed(database: Database) -> Mapping[str, int]:
    query = select(schema.targets.c.path, schema.targets.c.length).order_by(schema.targets.c.path)
    return database.run_blocking(lambda connection: {row.path: row.length for row in connection.execute(query)})


# ---- One line --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff{}", "no JSON"),
        (b"[" * 9000, "no JSON"),
        (b"[]", "must be an object"),
        (b"{}", "must be an object"),
        (line("a", more=1), "and nothing else"),
        (line("a")[:-2] + b',"length":1,"extra":2}', "and nothing else"),
        (b'{"path":5,"length":1,"hashes":{}}', "its path is no text"),
        (b'{"path":"a","length":1,"hashes":[]}', "must be an object of texts"),
        (b'{"path":"a","length":1,"hashes":{"sha256":5}}', "must be an object of texts"),
        (b'{"path":"a","length":1,"hashes":{}}', "needs a sha256 or a sha512"),
        (line("a", True), "its length must be a number"),
        (line("a", "1"), "its length must be a number"),
        (line("a", 1.0), "its length must be a number"),
        (line("a", -1), "its length must be a number"),
        (line("a", 2**63), "its length must be a number"),
        (line("a", 2**70), "its length must be a number"),
        (line(""), "it is empty"),
        (line("../a"), "'.' or '..'"),
        (line("a\u00e9"), "only printable ASCII"),
        (line("a\nb"), "only printable ASCII"),
        (line("/a"), "it must be relative"),
        (line("a" * (MAX_PATH_LENGTH + 1)), "longer than"),
        (line("a", hashes={"sha256": HASH.upper()}), "lower-case"),
        (line("a", hashes={"sha256": HASH, "md5": HASH}), "is none of them"),
    ],
    ids=str,
)
def test_line_of_json_that_is_no_target_is_told_why(text: bytes, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why.replace(".", r"\.")):
        read_json(text)


def test_line_of_json_is_a_target() -> None:
    assert Target("a b/c+d!.whl", MAX_LENGTH, {"sha256": HASH}) == read_json(line("a b/c+d!.whl", MAX_LENGTH))


@pytest.mark.parametrize(
    "header",
    [b"", b"path\n", b"path,length\n", b"path,length,sha256,sha256\n", b"path,length,sha256,x\n", b"\xff,length\n"],
    ids=str,
)
def test_header_that_names_other_columns_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        csv_reader(header)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a,1\n", "has 2 columns"),
        (b"a,1,%s,x\n" % HASH.encode(), "has 4 columns"),
        (b'"a,1,x\n', "no CSV"),
        (b"\xff,1,x\n", "no UTF-8"),
        (b"a,one,x\n", "no number of bytes"),
        (b"a,-1,x\n", "no number of bytes"),
        (b"a,1_0,x\n", "no number of bytes"),
        ("a,\u0661,x\n".encode(), "no number of bytes"),
        (b"a,99999999999999999999,x\n", "no number of bytes"),
        (b"a,1,\n", "needs a sha256 or a sha512"),
    ],
    ids=str,
)
def test_line_of_csv_that_is_no_target_is_told_why(text: bytes, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        csv_reader(b"path,length,sha256\n")(text)


def test_columns_of_csv_come_in_any_order_and_empty_hashes_are_none() -> None:
    read = csv_reader(b"\xef\xbb\xbfsha256,sha512,path,length\r\n")
    assert Target("a,b", 7, {"sha256": HASH}) == read(b'%s,,"a,b",7\r\n' % HASH.encode())


@given(st.binary(max_size=200))
def test_no_line_does_worse_than_be_refused(text: bytes) -> None:
    for read in (read_json, csv_reader(b"path,length,sha256\n")):
        try:
            read(text)
        except InvalidRequestError:
            continue


# ---- Many lines ------------------------------------------------------------------------------------------------------
def test_bad_lines_are_named_by_number_and_the_rest_goes_on(rows: SqlTargetRows, database: Database) -> None:
    heard = Heard()
    content = lines("a") + b"nonsense\n" + b"\n" + lines("b") + line("../c") + lines("d").rstrip(b"\n")
    progress = take(content, rows, heard)
    assert (6, 3, 0, 0, 2) == (
        progress.lines,
        progress.added,
        progress.replaced,
        progress.unchanged,
        progress.refused,
    )
    assert [(2, b"nonsense\n"), (5, line("../c"))] == [(one.number, one.text) for one in heard.lines]
    assert ["a", "b", "d"] == list(listed(database))


def test_the_later_of_two_lines_decides(rows: SqlTargetRows, database: Database) -> None:
    content = line("a", 1) + line("a", 2) + line("b", 1) + line("b", 3) + line("b", 3)
    progress = take(content, rows, Heard())
    assert {"a": 2, "b": 3} == listed(database)
    assert (2, 1, 0) == (progress.added, progress.replaced, progress.unchanged)


def test_what_is_so_already_marks_no_bin(rows: SqlTargetRows, database: Database) -> None:
    take(lines("a", "b"), rows, Heard())
    marked = rows.unpublished()
    assert len({BINS.role_for("a"), BINS.role_for("b")}) == marked
    rows.finish()
    database.run_blocking(lambda connection: connection.execute(schema.unpublished_bins.delete()))
    assert 2 == take(lines("b", "a"), rows, Heard()).unchanged
    assert 0 == rows.unpublished()


def test_line_without_end_is_refused_without_being_held(rows: SqlTargetRows) -> None:
    heard = Heard()
    progress = take(line("x" * 5 * LONGEST_LINE) + lines("a"), rows, heard)
    assert (1, 1, 2) == (progress.added, progress.refused, progress.lines)
    assert [LONGEST_LINE] == [len(one.text) for one in heard.lines]


def test_full_bin_takes_no_more_and_says_so(
    rows: SqlTargetRows, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_rows, "LARGEST_LISTING", bin_sizes.entry_size("a00", hashes_text({"sha256": HASH})))
    paths = [f"a{number:02}" for number in range(12)]
    heard = Heard()
    progress = take(lines(*paths), rows, heard)
    first = {BINS.role_for(path): path for path in reversed(paths)}
    assert sorted(first.values()) == list(listed(database))
    assert len(paths) - len(first) == progress.refused == len(heard.lines)
    assert all("Remove targets" in one.why for one in heard.lines)
    # What is there already needs no room.
    rows.finish()
    assert len(first) == take(lines(*paths), rows, Heard()).unchanged


@pytest.mark.parametrize("header", [b"", b"path,length,sha256\n"], ids=["json", "csv"])
@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_interrupted_import_goes_on_where_it_was(
    rows: SqlTargetRows, database: Database, header: bytes, chunks: int
) -> None:
    line_format = LineFormat.CSV if header else LineFormat.JSON_LINES
    numbers = range(11)
    content = header + b"".join(
        f"p{n},{n},{HASH}\n".encode() if header else line(f"p{n}", n) if n != 1 else b"bad\n" for n in numbers
    )
    with pytest.raises(KeyboardInterrupt):
        take(content, rows, Heard(killed_after=chunks), line_format)
    again = Heard()
    progress = take(content, SqlTargetRows(database, Journal(database), REPOSITORY, BINS.role_for), again, line_format)
    assert 3 * chunks + bool(header) == again.resumed_at
    refused = 0 if header else 1
    assert (11 - refused, refused, len(content)) == (progress.added, progress.refused, progress.offset)
    assert 11 - refused == len(listed(database))


def test_other_file_is_read_from_its_start(rows: SqlTargetRows, database: Database) -> None:
    with pytest.raises(KeyboardInterrupt):
        take(lines(*"abcdef"), rows, Heard(killed_after=1))
    again = Heard()
    progress = take(lines(*"axcdef"), rows, again)
    assert (0, 4, 2) == (again.resumed_at, progress.added, progress.unchanged)
    assert sorted("abcdefx") == list(listed(database))


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_stream_that_cannot_be_sought_in_is_read_from_its_start(rows: SqlTargetRows, database: Database) -> None:
    with pytest.raises(KeyboardInterrupt):
        take(lines(*"abcdef"), rows, Heard(killed_after=1))
    again = Heard()
    progress = import_targets(_Pipe(lines(*"abcdef")), LineFormat.JSON_LINES, rows, again)
    assert (0, 3, 3) == (again.resumed_at, progress.added, progress.unchanged)


class _FailingRows:
    """Rows that cannot be written."""

    def progress(self) -> ImportProgress | None:
        return None

    def put(self, chunk: Mapping[str, Target], before: ImportProgress) -> ChunkOutcome:
        raise UnavailableError("the disk is full", reason=Reason.DATABASE_UNAVAILABLE)


def test_failure_to_write_ends_the_import() -> None:
    heard = Heard()
    with pytest.raises(UnavailableError, match="disk is full"):
        import_targets(io.BytesIO(lines("a")), LineFormat.JSON_LINES, _FailingRows(), heard)
    assert [] == heard.chunks


@settings(deadline=None, max_examples=40)  # Each makes a database.
@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 3)), max_size=30), st.integers(1, 9))
def test_any_interruption_leads_to_the_same_rows(entries: list[tuple[str, int]], chunks: int) -> None:
    content = b"".join(line(path, length) for path, length in entries)
    with closing(Database("sqlite://")) as database:
        migrate.upgrade(database)
        try:
            take(
                content,
                SqlTargetRows(database, Journal(database), REPOSITORY, BINS.role_for),
                Heard(killed_after=chunks),
            )
        except KeyboardInterrupt:
            take(content, SqlTargetRows(database, Journal(database), REPOSITORY, BINS.role_for), Heard())
        assert dict(entries) == listed(database)
