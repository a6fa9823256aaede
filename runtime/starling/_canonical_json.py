"""Canonical JSON: the text that a model is shown and that hashes are taken over; and strict reading of foreign JSON.

Strategy: the standard library does the work on the way through; faults are found again by `_locate`, a scanner of our
own. Error texts may be recorded in a log, so they must not change with the version of Python.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from base64 import b64encode
from typing import Any, NoReturn

from starling._json_quick import quick_text
from starling.errors import UnencodableValueError

__all__ = ["dumps", "is_json", "loads"]

MAX_DEPTH = 32

_SURROGATES = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def dumps(value: Any) -> str:
    """Return the canonical JSON of plain data: keys sorted by code point, no spaces, nothing escaped that need not be.

    Floats are Python's ``repr``, ints exact. Bytes (which only a side effect's value can hold) become base64 text, keys
    that are not text become it, and a lone surrogate becomes U+FFFD.

    Raises:
        UnencodableValueError: an infinity, NaN, a type that is not plain data, two keys that become the same text, or
            nesting without end; ``field`` names the place.
    """
    return quick_text(value) or _carefully(value)


def _carefully(value: Any) -> str:
    try:
        return (_dumped(value) if is_json(value) else "") or _encode(_plain(value))
    except _Unfit as unfit:
        place = unfit.path.removeprefix(".")
        raise UnencodableValueError(f"{place}: {unfit}" if place else str(unfit), field=place) from None
    except RecursionError:
        raise UnencodableValueError("the value is nested too deeply for JSON, or contains itself") from None
    except ValueError:  # an integer beyond the limit of sys.set_int_max_str_digits
        raise UnencodableValueError("the value holds an integer with too many digits for JSON") from None


def loads(text: str | bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Return the value of JSON ``text`` (RFC 8259, to the letter).

    An int stays exact; what is written with ``.`` or an exponent is a float; the last of duplicate keys wins. Bytes
    that are not UTF-8, and lone surrogates, become U+FFFD.

    Raises:
        UnencodableValueError: not JSON, anything but space after the value, a number beyond float's range, NaN or
            Infinity, or nested deeper than ``max_depth``. The message names the character position, from 0.
    """
    source = _text(text)
    mended = _ESCAPED_SURROGATE.search(source) is not None
    try:
        value = (_decode_mended if mended else _decode)(source)
    except (ValueError, RecursionError):
        raise UnencodableValueError(_locate(source, max_depth) or "not JSON that can be read") from None
    # It cannot be nested deeper than it has brackets, so that most texts need no second look.
    if source.count("[") + source.count("{") > max_depth and (fault := _locate(source, max_depth)):
        raise UnencodableValueError(fault)
    return _clean(value) if mended else value


# Writing


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode

_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, bool, type(None)})


def is_json(value: Any, room: int = MAX_DEPTH) -> bool:
    """Whether a value is JSON as it stands: exactly the built-in types, every key a text, every float finite.

    One that is nested deeper than ``room`` levels does not count, nor does one that contains itself.
    """
    kind = type(value)
    if kind is dict and _TEXT.issuperset(map(type, value)):
        items = value.values()
    elif kind is list:
        items = value
    else:
        return kind in _SCALARS or (kind is float and math.isfinite(value))
    for item in items if room > 0 else ():  # a generator would take twice as long
        if type(item) not in _SCALARS and not is_json(item, room - 1):
            return False
    return room > 0


def _dumped(value: Any) -> str:
    """The short way for what `is_json` passes: `_plain` would return an equal value. Empty if a text is not clean."""
    text = _encode(value)
    return text if text.isascii() or not _SURROGATES.search(text) else ""


class _Unfit(Exception):  # noqa: N818 - never leaves this module
    """Something that JSON lacks; the containers on the way up put their steps before ``path``."""

    path = ""


def _plain(value: Any) -> Any:
    match value:
        case str():
            return _clean(str.__str__(value))  # a class of its own may sort, or equal, as it likes
        case None | bool() | int():
            return value
        case float():
            if math.isfinite(value):
                return value
            raise _Unfit(f"{value!r} has no JSON form")
        case bytes() | bytearray():
            return b64encode(value).decode()
        case list() | tuple():
            return [_step(f"[{at}]", item) for at, item in enumerate(value)]
        case dict():
            return _plain_dict(value)
    raise _Unfit(f"{type(value).__qualname__} has no JSON form; use None, bool, int, float, str, lists and dicts")


def _plain_dict(items: dict[Any, Any]) -> dict[str, Any]:
    plain = {_key(key): _step(f".{key}", item) for key, item in items.items()}
    if len(plain) != len(items):
        raise _Unfit("two keys become the same text")
    return plain


def _step(step: str, item: Any) -> Any:
    try:
        return _plain(item)
    except _Unfit as unfit:
        unfit.path = f"{step}{unfit.path}"
        raise


def _key(key: Any) -> str:
    plain = _plain(key)
    if isinstance(plain, list | dict):
        raise _Unfit(f"{type(key).__qualname__} as a key")
    return plain if isinstance(plain, str) else json.dumps(plain)


# Reading


def _text(text: str | bytes) -> str:
    source = text if isinstance(text, str) else text.decode(errors=_PER_BYTE)
    return _clean(source)  # type: ignore[no-any-return]


def _replace_bytes(error: UnicodeError) -> tuple[str, int]:
    """One U+FFFD a byte that is not UTF-8, as the original has it (Python's own handler merges some)."""
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


_PER_BYTE = "starling.replace_bytes"
codecs.register_error(_PER_BYTE, _replace_bytes)


def _clean(value: Any) -> Any:
    """Replace lone surrogates in a text, or in the texts of a list (dicts have been through `_clean_pairs`)."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _clean_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {_clean(key): _clean(value) for key, value in pairs}


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise ValueError(literal)
    return number


def _refuse(literal: str) -> NoReturn:
    raise ValueError(literal)


_decode = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse).decode
_decode_mended = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse, object_pairs_hook=_clean_pairs).decode


_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?P<fraction>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))"
    r"|(?P<word>true|false|null)"
    r"|(?P<mark>[\[\]{}:,])"
)
_MAX_DIGITS = 4300

# What may come next → token → what may come then. "value" stands for a string, a number or a word; "done" asks the
# stack of open brackets. A string is a key where a key may stand.
_GRAMMAR: dict[str, dict[str, str]] = {
    "a value": {"value": "done", "[": "a value or ]", "{": "a key or }"},
    "a value or ]": {"value": "done", "[": "a value or ]", "{": "a key or }", "]": "done"},
    "a key or }": {"key": "a colon", "}": "done"},
    "a key": {"key": "a colon"},
    "a colon": {":": "a value"},
    "a comma or ]": {",": "a value", "]": "done"},
    "a comma or }": {",": "a key", "}": "done"},
    "the end": {},
}
_AFTER = {"": "the end", "[": "a comma or ]", "{": "a comma or }"}


def _locate(source: str, max_depth: int) -> str:
    """Return what is wrong with ``source`` and where, or "" if nothing is."""
    expected, opened, at = "a value", "", 0
    while True:
        at = _end_of_space(source, at)
        if at == len(source):
            ends = f"not JSON: the text ends at character {at}, where {expected} belongs"
            return "" if expected == "the end" else ends
        token = _TOKEN.match(source, at)
        if token is None:
            return f"not JSON: {_unreadable(source[at])} at character {at}, where {expected} belongs"
        name = _token_name(token, expected)
        if name not in _GRAMMAR[expected]:
            return f"not JSON: unexpected {token[0][:20]!r} at character {at}, where {expected} belongs"
        opened = opened + name if name in "[{" else opened[:-1] if name in "]}" else opened
        if fault := _limit(token, len(opened) > max_depth):
            return f"{fault} at character {at}"
        expected = _GRAMMAR[expected][name]
        if expected == "done":
            expected = _AFTER[opened[-1:]]
        at = token.end()


def _end_of_space(source: str, at: int) -> int:
    space = _SPACE.match(source, at)
    return space.end() if space else at


def _token_name(token: re.Match[str], expected: str) -> str:
    if token["mark"]:
        return token["mark"]
    return "key" if token["string"] and "key" in _GRAMMAR[expected] else "value"


def _unreadable(char: str) -> str:
    return "a string that is not closed, or holds a control character or a bad escape," if char == '"' else repr(char)


def _limit(token: re.Match[str], too_deep: bool) -> str:
    if too_deep:
        return "JSON nested too deeply"
    if not token["number"]:
        return ""
    if not token["fraction"]:
        return "an integer with too many digits" if len(token["number"]) > _MAX_DIGITS else ""
    return "a number beyond the range of floats" if math.isinf(float(token["number"])) else ""
