"""What exceptions carry, in plain data: values that the log holds as they are, and forms of those it does not.

A form is a map of one key that begins with ``starling/``. What a form cannot bring back whole is said by what comes
back: a stream whose rest was not read refuses to be read. Everything else is refused (`NotPlainError`).
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from starling._cbor import text_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NotPlainError", "Packer", "looks_like", "refuse", "unpack"]

_ERROR, _HEADERS, _LOOKS, _PAIRS, _STREAM, _TEXT, _TUPLE = (
    f"starling/{name}" for name in ("error", "headers", "looks", "pairs", "stream", "text", "tuple")
)
_MAX_DEPTH = 30
"""Levels of nesting that are looked at; the log holds no more."""


class NotPlainError(Exception):
    """A value has no plain form."""


def refuse(value: Any) -> NoReturn:
    """What `Packer.other` is where nothing but data is wanted."""
    raise NotPlainError(type(value).__name__)


def looks_like(value: Any) -> dict[str, Any]:
    """The name of an object's class and its ``repr``: enough for texts in which it is shown."""
    try:
        return {_LOOKS: [type(value).__qualname__, repr(value)]}
    except Exception:  # noqa: BLE001 - the class is the user's
        refuse(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packer:
    """Brings values into their plain form.

    Attributes:
        error: describes an exception among them, or raises `NotPlainError`.
        other: is given what has no form.
    """

    error: Callable[[BaseException], dict[str, Any]]
    other: Callable[[Any], Any] = refuse

    def pack(self, value: Any, room: int = _MAX_DEPTH) -> Any:  # noqa: PLR0911 - a table of cases
        """Return the plain form of a value.

        Raises:
            NotPlainError: it, or something inside it, has none; or it is nested too deeply.
        """
        if room < 0:
            raise NotPlainError("nested too deeply")
        match value:
            case None | bool() | int() | float() | bytes() | bytearray():
                return value
            case str():
                return _packed_text(value)
            case list():
                return self._items(value, room)
            case tuple():
                return {_TUPLE: self._items(value, room)}
            case dict():
                return self._map(value, room)
            case BaseException():
                return {_ERROR: self.error(value)}
            case io.IOBase():
                return {_STREAM: self.pack(_rest_of(value))}
            case _:
                headers = _header_lines(value)
                return self.other(value) if headers is None else {_HEADERS: headers}

    def _items(self, values: list[Any] | tuple[Any, ...], room: int) -> list[Any]:
        return [self.pack(value, room - 1) for value in values]

    def _map(self, value: dict[Any, Any], room: int) -> Any:
        """A map, or its pairs where the log would lose their order, does not take the keys, or would see a form."""
        packed = [[self.pack(key, room - 1), self.pack(item, room - 1)] for key, item in value.items()]
        keys = [key for key, _ in packed]
        as_it_is = all(isinstance(key, str) for key in keys) and keys == sorted(keys, key=text_item)
        return dict(packed) if as_it_is and not _is_form(value) else {_PAIRS: packed}


def _packed_text(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:  # the log would hold U+FFFD for a lone surrogate
        return {_TEXT: text.encode("utf-8", "surrogatepass")}
    return text


def _rest_of(stream: io.IOBase) -> bytes | str | None:
    """What can still be read of a stream in memory; None of others, since reading takes it away from the caller."""
    if type(stream) not in (io.BytesIO, io.StringIO) or stream.closed:
        return None
    held: bytes | str = stream.getvalue()  # type: ignore[attr-defined]
    return held[stream.tell() :]


def _header_lines(value: Any) -> list[list[str]] | None:
    message = sys.modules.get("email.message")  # not loaded: then this is none
    if message is None or not isinstance(value, message.Message) or value.get_payload():
        return None
    return [[name, str(text)] for name, text in value.items()]


# --- back again


def unpack(value: Any, error: Callable[[Mapping[str, Any]], BaseException]) -> Any:
    """The value whose plain form this is; ``error`` builds an exception from its description."""
    match value:
        case list():
            return [unpack(item, error) for item in value]
        case dict() if _is_form(value):
            ((form, content),) = value.items()
            return _FORMS[form](content, error)
        case dict():
            return {key: unpack(item, error) for key, item in value.items()}
        case _:
            return value


def _is_form(value: dict[Any, Any]) -> bool:
    return len(value) == 1 and _FORMS.keys() >= value.keys()


def _stream(rest: bytes | str | None) -> io.IOBase:
    if rest is None:
        return _NotRecorded()
    return io.BytesIO(rest) if isinstance(rest, bytes) else io.StringIO(rest)


class _NotRecorded(io.RawIOBase):
    """A stream that nobody had read when its exception was recorded."""

    def readinto(self, _: Any) -> NoReturn:
        """Refuse."""
        raise io.UnsupportedOperation(
            "what could be read here is not in the recording: read it inside of the side effect and return or raise "
            "what you need of it"
        )

    def readable(self) -> bool:
        """Whoever asks shall go on to `readinto`, which says more."""
        return True


def _headers(lines: Any) -> Any:
    from http.client import HTTPMessage

    headers = HTTPMessage()
    for name, text in lines:
        headers[name] = text
    return headers


def _look_alike(qualname: str, shown: str) -> Any:
    return type(qualname.rpartition(".")[2], (), {"__qualname__": qualname, "__repr__": lambda _: shown})()


_FORMS: dict[str, Callable[[Any, Callable[[Mapping[str, Any]], BaseException]], Any]] = {
    _ERROR: lambda content, error: error(content),
    _HEADERS: lambda content, _: _headers(content),
    _LOOKS: lambda content, _: _look_alike(*content),
    _PAIRS: lambda content, error: dict(unpack(content, error)),
    _STREAM: lambda content, error: _stream(unpack(content, error)),
    _TEXT: lambda content, _: content.decode("utf-8", "surrogatepass"),
    _TUPLE: lambda content, error: tuple(unpack(content, error)),
}
"""How a form becomes its value again."""
