"""Constant folding: what an expression over constants evaluates to, within bounds.

Only operations that are pure and cheap, and that obfuscators use: joining, slicing, character arithmetic and the
decoders of the standard library. Everything is bounded by ``MAX_CONSTANT``; what would be larger is not known.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import codecs
import lzma
import operator
import zlib
from collections.abc import Callable, Sequence

from wharfinger_daemon.checks.syntax.values import Constant

MAX_CONSTANT = 4 << 20
_MAX_INTEGER_BITS = 4096
_TEXT_CODECS = frozenset({"rot13", "rot_13", "hex", "hex_codec", "base64", "base64_codec", "unicode_escape"})

_INTEGER_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "BitXor": operator.xor,
    "BitAnd": operator.and_,
    "BitOr": operator.or_,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "RShift": operator.rshift,
}


def _inflate(content: bytes) -> bytes:
    return _bounded_stream(zlib.decompressobj(wbits=zlib.MAX_WBITS | 32), content)


def _bounded_stream(stream: object, content: bytes) -> bytes:
    result: bytes = stream.decompress(content, MAX_CONSTANT)  # type: ignore[attr-defined]
    return result


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "base64.b64decode": base64.b64decode,
    "base64.standard_b64decode": base64.standard_b64decode,
    "base64.urlsafe_b64decode": base64.urlsafe_b64decode,
    "base64.decodebytes": base64.decodebytes,
    "base64.b32decode": base64.b32decode,
    "base64.b16decode": base64.b16decode,
    "base64.a85decode": base64.a85decode,
    "base64.b85decode": base64.b85decode,
    "binascii.unhexlify": binascii.unhexlify,
    "binascii.a2b_hex": binascii.unhexlify,
    "binascii.a2b_base64": binascii.a2b_base64,
    "zlib.decompress": _inflate,
    "gzip.decompress": _inflate,
    "bz2.decompress": lambda content: _bounded_stream(bz2.BZ2Decompressor(), content),
    "lzma.decompress": lambda content: _bounded_stream(lzma.LZMADecompressor(), content),
    "builtins.bytes.fromhex": lambda content: bytes.fromhex(content.decode()),
    "builtins.bytearray.fromhex": lambda content: bytes.fromhex(content.decode()),
}

DECODERS = frozenset(_DECODERS)


def decode(path: str, content: Constant) -> bytes | None:
    """What a decoder of the standard library makes of a constant; None if it fails or is too much."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if isinstance(raw, int) or len(raw) > MAX_CONSTANT:
        return None
    try:
        return _DECODERS[path](raw)
    except (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError):
        return None


def codec_decode(content: Constant, codec: str) -> str | bytes | None:
    """``codecs.decode`` for the codecs that hide text."""
    if codec.lower().replace("-", "_") not in _TEXT_CODECS or isinstance(content, int):
        return None
    try:
        result: object = codecs.decode(content, codec)  # type: ignore[arg-type]
    except (ValueError, TypeError, AssertionError, LookupError):
        return None
    return result if isinstance(result, str | bytes) else None


def combine(operation: str, left: Constant, right: Constant) -> Constant | None:
    """A binary operation by the name of its node; None if Python would refuse it, or it is too much."""
    try:
        if isinstance(left, int) and isinstance(right, int):
            return _combine_integers(operation, left, right)
        if operation == "Add" and not isinstance(left, int) and type(left) is type(right):
            return _bounded(left + right)  # type: ignore[operator]
        if operation == "Mult":
            return _repeat(left, right)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return None


def _combine_integers(operation: str, left: int, right: int) -> int | None:
    function = _INTEGER_OPERATIONS.get(operation)
    if function is None or max(left.bit_length(), right.bit_length()) > _MAX_INTEGER_BITS:
        return None
    if operation == "RShift" and right > _MAX_INTEGER_BITS:
        return None
    return function(left, right)


def _repeat(left: Constant, right: Constant) -> Constant | None:
    if isinstance(left, int):
        left, right = right, left
    if isinstance(left, int) or not isinstance(right, int) or len(left) * max(right, 0) > MAX_CONSTANT:
        return None
    return left * right


def _bounded(value: Constant) -> Constant | None:
    return value if isinstance(value, int) or len(value) <= MAX_CONSTANT else None


def cut(value: Constant, key: int | slice) -> Constant | None:
    """An index or a slice of a text or bytes."""
    if isinstance(value, int):
        return None
    try:
        return value[key]
    except (IndexError, ValueError):
        return None


def method(value: str | bytes, name: str, arguments: Sequence[Constant]) -> Constant | None:
    """A method of a constant text or bytes, if it is one that obfuscators use."""
    try:
        return _METHODS[name](value, arguments)
    except (KeyError, ValueError, TypeError, IndexError, LookupError, OverflowError):
        return None


def _replaced(value: str | bytes, arguments: Sequence[Constant]) -> Constant | None:
    if len(arguments) == 2 and isinstance(value, str):
        old, new = arguments
        if isinstance(old, str) and isinstance(new, str) and len(value) * (len(new) + 1) <= MAX_CONSTANT:
            return value.replace(old, new)
    return None


def _recoded(value: str | bytes, arguments: Sequence[Constant]) -> Constant | None:
    codec = str(arguments[0]) if arguments else "utf-8"
    if codec.lower() not in ("utf-8", "utf8", "ascii", "latin-1", "latin1", "utf-16", "utf-16le"):
        return None if isinstance(value, str) else codec_decode(value, codec)
    return value.encode(codec) if isinstance(value, str) else value.decode(codec)


_METHODS: dict[str, Callable[[str | bytes, Sequence[Constant]], Constant | None]] = {
    "decode": _recoded,
    "encode": _recoded,
    "replace": _replaced,
    "strip": lambda value, arguments: value.strip() if not arguments else None,
    "lower": lambda value, arguments: value.lower(),
    "upper": lambda value, arguments: value.upper(),
    "swapcase": lambda value, arguments: value.swapcase(),
    "hex": lambda value, arguments: value.hex() if isinstance(value, bytes) else None,
}


def join(separator: str | bytes, parts: Sequence[Constant]) -> Constant | None:
    """``separator.join(parts)``."""
    if sum(len(part) for part in parts if not isinstance(part, int)) > MAX_CONSTANT:
        return None
    if len(separator) * len(parts) > MAX_CONSTANT:
        return None
    try:
        return separator.join(parts)  # type: ignore[arg-type]
    except TypeError:
        return None


def character(code: Constant) -> str | None:
    """``chr(code)``."""
    return chr(code) if isinstance(code, int) and 0 <= code <= 0x10FFFF else None


def byte_string(codes: Sequence[Constant]) -> bytes | None:
    """``bytes([...])``."""
    try:
        return bytes(codes)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
