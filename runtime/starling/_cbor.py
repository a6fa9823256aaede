"""Canonical CBOR (RFC 8949 §4.2.1): one value, one byte string.

Strategy: the encoder is ours, because cbor2's canonical mode sorts map keys length-first and takes types that the
format lacks. The decoder is cbor2's, fast and lenient, followed by one strict question: *does encoding the value
give the same bytes again?* Every leniency (duplicate or unsorted keys, long heads, indefinite lengths, trailing
bytes, foreign tags) answers no. That makes ``encode(decode(data)) == data`` true by construction.

`room` is everywhere how many levels of nesting may still be opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import cbor2

from starling._cbor_quick import PUTS, SCALARS
from starling._cbor_scalars import (
    FALSE,
    LONE_SURROGATES,
    NULL,
    SMALL_BYTES,
    SMALL_INTS,
    SMALL_TEXTS,
    TRUE,
    bytes_item,
    float_item,
    head,
    int_item,
    list_head,
    map_head,
    text_head,
    text_item,
    utf8,
    written,
)
from starling.errors import LogCorruptError, UnencodableValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "FALSE",
    "LONE_SURROGATES",
    "MAX_BYTES",
    "NULL",
    "READ_DEPTH",
    "SMALL_BYTES",
    "SMALL_INTS",
    "SMALL_TEXTS",
    "SPLICE_DEPTH",
    "TRUE",
    "WRITE_DEPTH",
    "Misfit",
    "Raw",
    "bytes_item",
    "check_canonical",
    "decode",
    "encode",
    "float_item",
    "head",
    "int_item",
    "item",
    "list_head",
    "load",
    "load_many",
    "map_head",
    "text_head",
    "text_item",
    "utf8",
    "written",
]

WRITE_DEPTH = 32
"""Levels of nesting that may be written. The original reads no more than these."""
READ_DEPTH = 64
"""Levels of nesting that are read."""
SPLICE_DEPTH = 29
"""Levels a free-form value may use: a planned tool call holds it three levels down in its payload."""
MAX_BYTES = 64 * 1024 * 1024
"""Size of the largest item that is written or read."""

# Tags for which cbor2 would build objects (dates, regular expressions, shared references, …). None is ever written
# by this format; refusing them before they are built keeps a hostile file from running their constructors.
_FOREIGN_TAGS = (0, 1, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)


@dataclass(frozen=True, slots=True)
class Raw:
    """A value that is canonical CBOR already; `encode` splices ``data`` in unchanged.

    Make it with `Raw.of`: what is spliced is not looked at again.
    """

    data: bytes

    @classmethod
    def of(cls, value: Any, *, max_depth: int = SPLICE_DEPTH) -> Raw:
        """Encode ``value`` once. Raises `UnencodableValueError` as `encode` does."""
        return value if isinstance(value, Raw) else cls(encode(value, max_depth=max_depth))

    def value(self) -> Any:
        """Return the plain value again."""
        return decode(self.data)


def encode(value: Any, *, max_depth: int = WRITE_DEPTH) -> bytes:
    """Return the canonical CBOR of ``value``.

    Args:
        value: None, bool, int, float, str, bytes, bytearray, list, tuple, dict (with keys of the scalar types), their
            subclasses, and `Raw`. A tuple is written as a list; a lone surrogate as U+FFFD; ints beyond 64 bits as
            bignums. A float stays a float (``1.0`` is not ``1``); infinities and NaN are allowed.
        max_depth: levels of nested lists and maps.

    Raises:
        UnencodableValueError: another type, too deep or cyclic, or larger than 64 MiB; ``field`` names the place.
    """
    try:
        data = item(value, max_depth)
    except Misfit as misfit:
        raise UnencodableValueError(
            f"{misfit} cannot be written into the log. Use None, bool, int, float, str, bytes, lists and dicts, nested "
            f"at most {max_depth} levels deep",
            field=misfit.field,
        ) from None
    if len(data) > MAX_BYTES:
        raise UnencodableValueError(f"a value of {len(data)} bytes is larger than an event may be ({MAX_BYTES} bytes)")
    return data


def decode(data: bytes, *, max_depth: int = READ_DEPTH) -> Any:
    """Return the value whose canonical CBOR is ``data``; the inverse of `encode`.

    Raises:
        LogCorruptError: ``data`` is not exactly one canonical item of the types that `encode` writes, is nested deeper
            than ``max_depth``, or is larger than 64 MiB.
    """
    value = load(data)
    check_canonical(value, data, max_depth=max_depth)
    return value


def load(data: bytes) -> Any:
    """Return the value of ``data``, leniently read: to be followed by `check_canonical`, or by an equal re-encoding.

    Raises:
        LogCorruptError: not CBOR at all, a foreign tag, text that is not UTF-8, or larger than 64 MiB.
    """
    if len(data) > MAX_BYTES:
        raise LogCorruptError(f"an item of {len(data)} bytes is larger than an event may be ({MAX_BYTES} bytes)")
    try:
        return cbor2.loads(data, semantic_decoders=_REFUSED, tag_hook=_refuse_tag)
    except LogCorruptError:
        raise
    except Exception as exc:  # cbor2 lets ValueError, TypeError and OverflowError of hostile input through
        raise LogCorruptError(f"not canonical CBOR: {exc}") from exc


def load_many(items: Sequence[bytes]) -> list[Any] | None:
    """Return the values of these, as `load` does but in one go: to be followed by an equal re-encoding of each.

    Returns:
        None if one of them is not CBOR, or what there is is not as many, or much; `load` tells of each.
    """
    data = b"".join((list_head(len(items)), *items))
    if len(data) > _MANY_BYTES:
        return None
    try:
        values: list[Any] = cbor2.loads(data, semantic_decoders=_REFUSED, tag_hook=_refuse_tag)
    except Exception:  # noqa: BLE001 - see `load`
        return None
    return values


_MANY_BYTES = 1024 * 1024


def check_canonical(value: Any, data: bytes, *, max_depth: int = READ_DEPTH) -> None:
    """Raise `LogCorruptError` unless ``data`` is the canonical CBOR of ``value``, saying where it first differs."""
    try:
        again = item(value, max_depth)
    except Misfit as misfit:
        raise LogCorruptError(f"CBOR that this format never holds: {misfit} (at most {max_depth} levels)") from None
    if again == data:
        return
    if data.startswith(again):
        raise LogCorruptError(f"{len(data) - len(again)} bytes follow the end of the CBOR item at byte {len(again)}")
    at = next((i for i, (a, b) in enumerate(zip(again, data, strict=False)) if a != b), min(len(again), len(data)))
    raise LogCorruptError(
        f"CBOR that is not canonical at byte {at}: duplicate or unsorted keys, a length or number that is not in its "
        "shortest form, or an indefinite length"
    )


# Items of any type.


class Misfit(Exception):  # noqa: N818 - mapped before it leaves the library
    """Something that has no place in the format; the containers on the way up put their steps before ``path``."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.path = ""

    @property
    def field(self) -> str:
        return self.path.removeprefix(".")

    def __str__(self) -> str:
        return f"{self.field}: {self.what}" if self.path else self.what


_TOO_DEEP = "nested too deeply, or containing itself"


def item(value: Any, room: int) -> bytes:
    """Return the item of ``value``, which may open ``room`` levels. Raises `Misfit`."""
    kind = type(value)
    if kind in SCALARS:
        return SCALARS[kind](value)
    try:
        chunks: list[bytes] = []
        PUTS[kind](value, room, chunks.append)
        return b"".join(chunks)
    except Exception:  # noqa: BLE001 - the careful way takes what is unusual, and names what is wrong
        return careful_item(value, room)


def careful_item(value: Any, room: int) -> bytes:
    """Return the same as `item`, of any type; what has no place in the format is named."""
    scalar = SCALARS.get(type(value))
    if scalar is not None:
        return scalar(value)
    container = _CONTAINERS.get(type(value))
    if container is None:
        return careful_item(_as_plain(value), room)
    if room < 1:
        raise Misfit(_TOO_DEEP)
    return container(value, room - 1)


def _list_item(items: list[Any] | tuple[Any, ...], room: int) -> bytes:
    chunks = [list_head(len(items))]
    try:
        for value in items:
            chunks.append(careful_item(value, room))  # noqa: PERF401 - how many there are says which one does not fit
    except Misfit as misfit:
        misfit.path = f"[{len(chunks) - 1}]{misfit.path}"
        raise
    return b"".join(chunks)


def _map_item(items: dict[Any, Any], room: int) -> bytes:
    keyed = {_key(key): value for key, value in items.items()}
    if len(keyed) != len(items):
        raise Misfit("a dict of which two keys become the same text")
    chunks = [map_head(len(keyed))]
    try:
        for encoded in sorted(keyed):
            chunks += (encoded, careful_item(keyed[encoded], room))
    except Misfit as misfit:
        key = list(items)[list(keyed).index(encoded)]
        misfit.path = f".{key}{misfit.path}" if isinstance(key, str) else f"[{key!r}]{misfit.path}"
        raise
    return b"".join(chunks)


def _key(key: Any) -> bytes:
    if key is None or isinstance(key, list | tuple | dict | Raw):
        raise Misfit(f"a {type(key).__name__} as a dict key")
    return careful_item(key, 0)


SCALARS[Raw] = lambda raw: raw.data
_CONTAINERS: dict[type, Callable[[Any, int], bytes]] = {dict: _map_item, list: _list_item, tuple: _list_item}

# Subclasses (IntEnum, StrEnum, named tuples, ordered dicts) are written as the plain type that they extend.
_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, bytes),
    (bytearray, bytes),
    (tuple, tuple),
    (list, list),
    (dict, dict),
)


def _as_plain(value: Any) -> Any:
    for base, convert in _PLAIN:
        if isinstance(value, base):
            return convert(value)
    raise Misfit(type(value).__qualname__)


def _refuse_tag(*_args: Any) -> NoReturn:
    raise LogCorruptError("CBOR with a tag that this format never holds")


_REFUSED = dict.fromkeys(_FOREIGN_TAGS, _refuse_tag)
