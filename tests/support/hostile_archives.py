"""One hostile archive for each trick that hides a payload from a reader; the payload itself is harmless.

Nothing here is stored: each archive is made when it is asked for.
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAYLOAD = b"print('the payload of this test')  # " + bytes(range(33, 127)) + b"\n"
_BLOCK = tarfile.BLOCKSIZE
_END_OF_TAR = bytes(2 * _BLOCK)


@dataclass(frozen=True)
class Trick:
    """An archive.

    Attributes:
        make: its bytes.
        rules: the anomalies that tell of the trick; none where all is in order, and the payload merely well placed.
        shown: whether the payload is examined; otherwise the scan must say that it is incomplete.
    """

    make: Callable[[], bytes]
    rules: frozenset[str] = frozenset()
    shown: bool = True


# ---- Tar, header by header


def header(name: bytes, size: int = 0, kind: bytes = b"0", target: bytes = b"") -> bytes:
    """A header that says whatever it is told to."""
    fields = struct.pack(
        "100s8s8s8s12s12s8s1s100s8s247s",
        name, b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0", b" " * 8, kind, target,
        b"ustar\x0000", b"",
    )  # fmt: skip
    checksum = sum(fields)
    return fields[:148] + b"%06o\0 " % checksum + fields[156:]


def block(content: bytes) -> bytes:
    """Content as it stands behind its header."""
    return content + bytes(-len(content) % _BLOCK)


def member(name: bytes, content: bytes = PAYLOAD, kind: bytes = b"0") -> bytes:
    """A header and what belongs to it."""
    return header(name, len(content), kind) + block(content)


def records(kind: bytes = b"x", **values: str) -> bytes:
    """A pax header for the member behind it, or for all with kind ``g``; ``__`` stands for a dot."""
    content = b""
    for key, value in values.items():
        line = b" %s=%s\n" % (key.replace("__", ".").encode(), value.encode())
        length = len(line) + 1
        while len(b"%d" % length) + len(line) != length:
            length += 1
        content += b"%d" % length + line
    return member(b"records", content, kind)


def tar(*parts: bytes) -> bytes:
    """An archive that is not compressed."""
    return b"".join(parts) + _END_OF_TAR


def _tar_gz(*parts: bytes) -> Callable[[], bytes]:
    return lambda: gzip.compress(tar(*parts), mtime=0)


# ---- Zip, byte by byte


def local(name: bytes, packed: bytes, size: int, crc: int, method: int = 0, extra: bytes = b"") -> bytes:
    """A local header and the data behind it."""
    numbers = (20, 0, method, 0, 0, crc, len(packed), size, len(name), len(extra))
    return struct.pack("<4s5H3L2H", b"PK\3\4", *numbers) + name + extra + packed


def central(
    name: bytes, packed: int, size: int, crc: int, at: int, *, method: int = 0, extra: bytes = b"", comment: bytes = b""
) -> bytes:
    """An entry of the directory."""
    numbers = (20, 20, 0, method, 0, 0, crc, packed, size, len(name), len(extra), len(comment), 0, 0, 0, at)
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", *numbers) + name + extra + comment


def ended(body: bytes, directory: bytes, count: int, comment: bytes = b"") -> bytes:
    """The archive, with its end record."""
    record = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), len(comment))
    return body + directory + record + comment


def zipped(
    name: bytes = b"p/data",
    content: bytes = b"plain",
    *,
    packed: bytes | None = None,
    method: int = 0,
    local_extra: bytes = b"",
    extra: bytes = b"",
    comment: bytes = b"",
    archive_comment: bytes = b"",
) -> bytes:
    """An archive of one member."""
    stored = content if packed is None else packed
    crc = zlib.crc32(content)
    entry = central(name, len(stored), len(content), crc, 0, method=method, extra=extra, comment=comment)
    body = local(name, stored, len(content), crc, method, local_extra)
    return ended(body, entry, 1, archive_comment)


def _two(first: bytes, second: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(first.decode()), b"plain")
        archive.writestr(zipfile.ZipInfo(second.decode()), PAYLOAD)
    return buffer.getvalue()


def _deflated(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-15)


def _unlisted_member() -> bytes:
    hidden = local(b"p/hidden.py", PAYLOAD, len(PAYLOAD), zlib.crc32(PAYLOAD))
    shown = local(b"p/a.py", b"plain", 5, zlib.crc32(b"plain"))
    return ended(shown + hidden, central(b"p/a.py", 5, 5, zlib.crc32(b"plain"), 0), 1)


def _field(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _compressed_twice() -> bytes:
    return gzip.compress(tar(member(b"p-1/a.gz", gzip.compress(gzip.compress(PAYLOAD, mtime=0), mtime=0))), mtime=0)


def _skippable(content: bytes) -> bytes:
    return struct.pack("<LL", 0x184D2A55, 3) + b"abc" + zstd.compress(content)


def _rules(*names: str) -> frozenset[str]:
    return frozenset(names)


TRICKS: Mapping[str, Trick] = {
    # Where readers of tar differ.
    "pax path over the header's": Trick(_tar_gz(records(path="p-1/setup.py"), member(b"p-1/README"))),
    "pax size over the header's": Trick(
        _tar_gz(records(size="0"), header(b"p-1/a", 2 * _BLOCK), member(b"p-1/setup.py")), _rules("tar-size-mismatch")
    ),
    "pax size that hides a member": Trick(
        _tar_gz(records(size=str(3 * _BLOCK)), header(b"p-1/a"), member(b"p-1/setup.py"), bytes(_BLOCK)),
        _rules("tar-size-mismatch"),
    ),
    "payload in a pax record": Trick(_tar_gz(records(VENDOR__note=PAYLOAD.decode()), member(b"p-1/a", b"plain"))),
    "payload in a long user name": Trick(_tar_gz(records(uname=PAYLOAD.decode()), member(b"p-1/a", b"plain"))),
    "payload in a global pax record": Trick(
        _tar_gz(records(b"g", comment=PAYLOAD.decode()), member(b"p-1/a", b"plain"))
    ),
    "NUL in a pax path": Trick(_tar_gz(records(path="p-1/setup.py\0.txt"), member(b"p-1/a")), _rules("ambiguous-name")),
    "GNU long name over the header's": Trick(
        _tar_gz(member(b"././@LongLink", b"p-1/setup.py\0", b"L"), member(b"p-1/README"))
    ),
    "GNU long name that leads outside": Trick(
        _tar_gz(member(b"././@LongLink", b"../" * 50 + b"x\0", b"L"), member(b"p-1/a")), _rules("path-traversal")
    ),
    "pax path that is absolute": Trick(_tar_gz(records(path="/etc/x.pth"), member(b"a")), _rules("absolute-path")),
    "folder with content": Trick(_tar_gz(member(b"p-1/folder/", PAYLOAD, b"5")), _rules("corrupt-header")),
    "hard link with content": Trick(_tar_gz(member(b"p-1/link", PAYLOAD, b"1")), _rules("corrupt-header")),
    "unknown kind of member": Trick(_tar_gz(member(b"p-1/a", PAYLOAD, b"Z"))),
    "contiguous file": Trick(_tar_gz(member(b"p-1/a", PAYLOAD, b"7"))),
    "link chain to data": Trick(
        _tar_gz(member(b"p-1/a.dat"), header(b"p-1/setup.py", 0, b"2", b"a.dat")), _rules("link-disguise")
    ),
    "member through a link": Trick(
        _tar_gz(header(b"p-1/d", 0, b"2", b"../.."), member(b"p-1/d/x.py")), _rules("link-escape")
    ),
    "behind the end": Trick(_tar_gz(member(b"p-1/a", b"plain"), _END_OF_TAR, PAYLOAD), _rules("trailing-data")),
    "member behind the end": Trick(
        _tar_gz(member(b"p-1/a", b"plain"), _END_OF_TAR, member(b"p-1/setup.py")), _rules("trailing-data")
    ),
    "behind the compression": Trick(
        lambda: gzip.compress(tar(member(b"p-1/a", b"plain")), mtime=0) + PAYLOAD, _rules("trailing-data")
    ),
    "in a second compressed stream": Trick(
        lambda: (
            gzip.compress(member(b"p-1/a", b"plain"), mtime=0) + gzip.compress(tar(member(b"p-1/setup.py")), mtime=0)
        )
    ),
    "sparse member of no size": Trick(
        _tar_gz(member(b"p-1/a", PAYLOAD, b"S")), _rules("tar-size-mismatch"), shown=False
    ),
    "same name twice": Trick(
        _tar_gz(member(b"p-1/setup.py"), member(b"p-1/./setup.py", b"plain")), _rules("duplicate-member")
    ),
    "name in another case": Trick(
        _tar_gz(member(b"p-1/setup.py", b"plain"), member(b"p-1/Setup.PY")), _rules("colliding-names")
    ),
    "name with a dot at its end": Trick(
        _tar_gz(member(b"p-1/setup.py", b"plain"), member(b"p-1/setup.py. .")), _rules("colliding-names")
    ),
    "name of a stream": Trick(
        _tar_gz(member(b"p-1/setup.py", b"plain"), member(b"p-1/setup.py::$DATA")), _rules("colliding-names")
    ),
    "composed and decomposed letters": Trick(
        _tar_gz(member("p-1/caf\u00e9.py".encode(), b"plain"), member("p-1/cafe\u0301.py".encode())),
        _rules("colliding-names"),
    ),
    # Where readers of zip differ.
    "behind the end of compressed data": Trick(
        lambda: zipped(packed=_deflated(b"plain") + PAYLOAD, method=8), _rules("zip-unlisted-data")
    ),
    "member in no directory": Trick(_unlisted_member, _rules("zip-unlisted-data")),
    "archive's comment": Trick(lambda: zipped(archive_comment=PAYLOAD)),
    "member's comment": Trick(lambda: zipped(comment=PAYLOAD)),
    "extra field of an unknown kind": Trick(lambda: zipped(extra=_field(0xBEEF, PAYLOAD))),
    "extra field of a known kind": Trick(lambda: zipped(extra=_field(0x5455, PAYLOAD))),
    "extra field in the local header": Trick(lambda: zipped(local_extra=_field(0xBEEF, PAYLOAD))),
    "in front": Trick(lambda: PAYLOAD + zipped(), _rules("prepended-data")),
    "behind": Trick(lambda: zipped() + PAYLOAD, _rules("trailing-data")),
    "backslashes in another case": Trick(lambda: _two(b"p/a.py", b"P\\A.py"), _rules("colliding-names")),
    "Zstandard in zip": Trick(lambda: zipped(b"p/a.py", PAYLOAD, packed=zstd.compress(PAYLOAD), method=93)),
    "unknown method in zip": Trick(
        lambda: zipped(b"p/a.py", PAYLOAD, packed=PAYLOAD, method=98), _rules("unsupported-compression"), shown=False
    ),
    # In something else.
    "image with an archive behind it": Trick(
        lambda: gzip.compress(tar(member(b"p-1/a.png", b"\x89PNG\r\n\x1a\n" + zipped(b"x.py", PAYLOAD))), mtime=0),
        _rules("prepended-data"),
    ),
    "compressed twice": Trick(_compressed_twice),
    "egg": Trick(lambda: gzip.compress(tar(member(b"p-1/p.egg", _two(b"a.py", b"b.py"))), mtime=0)),
    "Zstandard": Trick(lambda: zstd.compress(tar(member(b"p-1/setup.py")))),
    "Zstandard behind a frame to be skipped": Trick(lambda: _skippable(tar(member(b"p-1/setup.py")))),
    "Zstandard in two frames": Trick(
        lambda: zstd.compress(member(b"p-1/a", b"plain")) + zstd.compress(tar(member(b"p-1/setup.py")))
    ),
    "Zstandard that ends early": Trick(
        lambda: zstd.compress(tar(member(b"p-1/setup.py", PAYLOAD * 100)))[:-20], _rules("truncated-archive")
    ),
}
"""By what each does."""
