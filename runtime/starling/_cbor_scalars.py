"""Heads and scalars of canonical CBOR (RFC 8949 §4.2.1): what every encoder here is built from."""

from __future__ import annotations

import codecs
import struct

__all__ = [
    "FALSE",
    "LONE_SURROGATES",
    "NULL",
    "SMALL_BYTES",
    "SMALL_INTS",
    "SMALL_LISTS",
    "SMALL_TEXTS",
    "TRUE",
    "bytes_item",
    "float_item",
    "head",
    "int_item",
    "list_head",
    "map_head",
    "text_head",
    "text_item",
    "utf8",
    "written",
]

_UINT, _NINT, _BYTES, _TEXT, _LIST, _MAP, _TAG = range(7)
NULL, FALSE, TRUE = b"\xf6", b"\xf4", b"\xf5"
_NAN = b"\xf9\x7e\x00"
_POSITIVE_BIGNUM, _NEGATIVE_BIGNUM = 2, 3

_half, _single, _double = struct.Struct(">e"), struct.Struct(">f"), struct.Struct(">d")
_pack_single, _unpack_single, _pack_double = _single.pack, _single.unpack, _double.pack
_pack_u16, _pack_u32, _pack_u64 = (struct.Struct(form).pack for form in (">BH", ">BI", ">BQ"))


def head(major: int, n: int) -> bytes:
    """Return the head of an item: three bits of major type, then ``n`` in its shortest form (0 ≤ n < 2⁶⁴)."""
    if n < _U16_END:
        return _HEADS[major][n] if n < _SMALL else _pack_u16(major << 5 | 25, n)
    return _pack_u32(major << 5 | 26, n) if n < _U32_END else _pack_u64(major << 5 | 27, n)


_SMALL, _U16_END, _U32_END, _U64_END = 1 << 8, 1 << 16, 1 << 32, 1 << 64
_HEADS = [[bytes((major << 5 | n,) if n < 24 else (major << 5 | 24, n)) for n in range(_SMALL)] for major in range(7)]
SMALL_INTS, SMALL_BYTES, SMALL_TEXTS, SMALL_LISTS = (_HEADS[major] for major in (_UINT, _BYTES, _TEXT, _LIST))
"""The heads of items below 256; for an integer, the item."""


def list_head(size: int) -> bytes:
    """Return the head of a list of ``size`` items."""
    return SMALL_LISTS[size] if size < _SMALL else head(_LIST, size)


def text_head(size: int) -> bytes:
    """Return the head of a text of ``size`` bytes."""
    return SMALL_TEXTS[size] if size < _SMALL else head(_TEXT, size)


def map_head(size: int) -> bytes:
    """Return the head of a map of ``size`` entries."""
    return head(_MAP, size)


def _replace_surrogates(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)  # registered for encoding only
    return "\ufffd".encode() * (error.end - error.start), error.end


LONE_SURROGATES = "starling.lone_surrogates"
"""Error handler of ``str.encode``: each lone surrogate becomes U+FFFD."""
codecs.register_error(LONE_SURROGATES, _replace_surrogates)


def utf8(text: str) -> bytes:
    """Return the UTF-8 of ``text``; each lone surrogate becomes U+FFFD."""
    return text.encode("utf-8", LONE_SURROGATES)


def written(text: str) -> str:
    """Return ``text`` as it is read again once it was written: each lone surrogate is then U+FFFD."""
    return text if text.isascii() else utf8(text).decode()


def text_item(text: str) -> bytes:
    """Return the item of a text; each lone surrogate becomes U+FFFD."""
    data = text.encode("utf-8", LONE_SURROGATES)
    size = len(data)
    return (SMALL_TEXTS[size] if size < _SMALL else head(_TEXT, size)) + data


def bytes_item(data: bytes) -> bytes:
    """Return the item of a byte string."""
    size = len(data)
    return (SMALL_BYTES[size] if size < _SMALL else head(_BYTES, size)) + data


def int_item(number: int) -> bytes:
    """Return the item of an integer: the shortest head, or a bignum beyond 64 bits (RFC 8949 §3.4.3)."""
    if number >= 0:
        if number < _SMALL:
            return SMALL_INTS[number]
        if number < _U16_END:  # as `head` would, but for the call
            return _pack_u16(0x19, number)
        if number < _U64_END:
            return _pack_u32(0x1A, number) if number < _U32_END else _pack_u64(0x1B, number)
    major, n = (_UINT, number) if number >= 0 else (_NINT, -1 - number)
    if n < _U64_END:
        return head(major, n)
    tag = _POSITIVE_BIGNUM if major == _UINT else _NEGATIVE_BIGNUM
    return head(_TAG, tag) + bytes_item(n.to_bytes((n.bit_length() + 7) // 8, "big"))


def float_item(number: float) -> bytes:
    """Return the shortest of the half, single and double forms that keeps the value (RFC 8949 §4.2.2)."""
    if number != number:  # noqa: PLR0124 - NaN, the only value unequal to itself
        return _NAN
    double = _pack_double(number)
    if double[5:] != b"\0\0\0":  # a single has not that many bits: that is most floats
        return b"\xfb" + double
    try:
        single = _pack_single(number)
    except OverflowError:
        return b"\xfb" + double
    if _unpack_single(single)[0] != number:
        return b"\xfb" + double
    try:
        half = _half.pack(number)
    except OverflowError:
        return b"\xfa" + single
    return b"\xf9" + half if _half.unpack(half)[0] == number else b"\xfa" + single
