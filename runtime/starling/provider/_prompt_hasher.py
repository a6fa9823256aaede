"""The hash and the size of one request after another, where each mostly goes on from the one before.

Strategy: a list of messages is kept as the bytes that it is hashed as. The next request that begins with the same
messages adds its new ones to them. What stands around the messages in the map is short and is encoded every time. The
plain functions of `_request_hash` are the reference that this equals.
"""

from __future__ import annotations

from array import array
from operator import attrgetter, indexOf, is_, itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from blake3 import blake3

from starling._cbor import MAX_BYTES, WRITE_DEPTH, Raw, encode, list_head, map_head, text_item
from starling.errors import UnencodableValueError
from starling.provider._request_hash import (
    estimate_input_tokens,
    fields_of,
    is_frozen,
    message_item,
    message_length,
    prompt_hash,
    tokens,
    tool_item,
    tool_length,
)
from starling.provider._types import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

__all__ = ["PromptHasher"]

_CONVERSATIONS = 4
"""How many conversations may alternate without being encoded again."""
_KEYS = sorted((text_item(key), key) for key in fields_of(Request(model=""), None, None))
"""The keys of the map in the order of the wire, with their items."""
_HEAD, _PARAMS, _MESSAGES = map_head(len(_KEYS)), text_item("Params"), text_item("Messages")
_BEFORE = [(item, key) for item, key in _KEYS if item < _PARAMS]
_BEHIND = [(item, key) for item, key in _KEYS if item > _MESSAGES]
_FIXED, _FIXED_LISTS = frozenset({str, int, type(None)}), (tuple, type(None))


class PromptHasher:
    """`prompt_hash` and `estimate_input_tokens`, at the cost of what is new in each request.

    Messages are told apart by identity; those that can change are looked at every time. Not thread-safe.
    """

    __slots__ = ("_around", "_messages", "_tools")

    def __init__(self) -> None:
        self._messages = _Recent(message_item, message_length, is_frozen)
        self._tools = _Recent(tool_item, tool_length, lambda _: True)
        self._around: _Around | None = None

    def hash(self, request: Request) -> bytes:
        """The same as `prompt_hash`, its errors included."""
        if request.messages is None:
            return prompt_hash(request)
        try:
            said = self._messages.encoded(request.messages)
            front, behind = self._surroundings(request)
        except UnencodableValueError:
            return prompt_hash(request)  # which names the place in the whole request
        front += _MESSAGES + list_head(len(said.subjects))
        if len(front) + len(said.data) + len(behind) > MAX_BYTES:
            return prompt_hash(request)  # which refuses it
        hasher = blake3(front)
        hasher.update(said.data)  # joined first, the whole conversation would be copied once a turn
        hasher.update(behind)
        return hasher.digest()

    def estimate(self, request: Request) -> int:
        """The same as `estimate_input_tokens`."""
        try:
            messages = self._messages.encoded(request.messages or ())
            tools = self._tools.encoded(request.tools or ())
        except UnencodableValueError:
            return estimate_input_tokens(request)
        return tokens(len(request.system_prompt) + messages.length + tools.length)

    def _surroundings(self, request: Request) -> tuple[bytes, bytes]:
        """The canonical CBOR of the request's map up to the key of the messages, and behind them."""
        around = self._around
        if around is None or not around.is_of(request):
            around = self._around = _Around(request, self._tools.spliced(request.tools))
        return around.front + _encoded(request.params), around.behind


def _encoded(value: Any) -> bytes:
    """A field of the map. Raises `UnencodableValueError`."""
    return encode(value, max_depth=WRITE_DEPTH - 1)


class _Around:
    """The fields of a request but for its messages, encoded.

    Attributes:
        front: up to the key of the params, and with it. behind: what follows the messages.
    """

    __slots__ = ("_parts", "behind", "front")

    def __init__(self, request: Request, tools: Raw | None) -> None:
        fields = fields_of(request, None, tools)
        self.front = b"".join([_HEAD, *[item + _encoded(fields[key]) for item, key in _BEFORE], _PARAMS])
        self.behind = b"".join([item + _encoded(fields[key]) for item, key in _BEHIND])
        parts = _parts(request)
        is_fixed = _FIXED.issuperset(map(type, parts[1:])) and type(parts[0]) in _FIXED_LISTS
        self._parts: tuple[Any, ...] = parts if is_fixed else ()

    def is_of(self, request: Request) -> bool:
        """Whether a request has the very same fields, and ones that cannot have changed."""
        return bool(self._parts) and all(map(is_, _parts(request), self._parts))


_parts = attrgetter("tools", "model", "system_prompt", "tool_choice", "top_k", "max_output_tokens", "stop_sequences")
"""The fields of a request that `_Around` is made of."""


class _Encoded(Generic[T]):
    """A list as it was asked about last, and its items one behind the other.

    Attributes:
        subjects: the list. data: the items. length: their lengths, as the estimate counts them.
    """

    __slots__ = ("_changing", "_ends", "_item_of", "_length_of", "data", "length", "subjects")

    def __init__(self, item_of: Callable[[T], bytes], length_of: Callable[[T], int]) -> None:
        self._item_of = item_of
        self._length_of = length_of
        self.subjects: tuple[T, ...] = ()
        self.data = bytearray()
        self.length = 0
        self._ends = array("I", (0,))  # up to 4 GiB: far more than may be encoded
        self._changing: list[int] = []

    def is_of(self, subjects: tuple[T, ...]) -> bool:
        """Whether this is that very list, and one that cannot have changed."""
        return subjects is self.subjects and not self._changing

    def shared(self, subjects: tuple[T, ...]) -> int:
        """How many of the subjects, from the first one on, need not be encoded again."""
        same = len(subjects) if subjects is self.subjects else _identical(self.subjects, subjects)
        return next((at for at in self._changing if at < same and self._has_changed(at)), same)

    def _has_changed(self, at: int) -> bool:
        return self._item_of(self.subjects[at]) != self.data[self._ends[at] : self._ends[at + 1]]

    def cut(self, size: int) -> None:
        """Keep the first subjects only."""
        if size < len(self.subjects):
            del self.data[self._ends[size] :], self._ends[size + 1 :]
            self._changing = [at for at in self._changing if at < size]
            self.length = sum(map(self._length_of, self.subjects[:size]))

    def extend(self, subjects: tuple[T, ...], is_fixed: Callable[[T], bool]) -> None:
        """Go on to these subjects, which begin with all that is kept. Raises `UnencodableValueError`."""
        data, ends = self.data, self._ends
        for at in range(len(ends) - 1, len(subjects)):
            subject = subjects[at]
            data += self._item_of(subject)
            ends.append(len(data))
            self.length += self._length_of(subject)
            if not is_fixed(subject):
                self._changing.append(at)
        self.subjects = subjects


def _identical(one: tuple[T, ...], other: tuple[T, ...]) -> int:
    """How many elements of the two are the same objects, from the first one on."""
    if all(map(is_, one, other)):  # a loop would take three times as long
        return min(len(one), len(other))
    return indexOf(map(is_, one, other), False)


class _Recent(Generic[T]):
    """The last few lists that were encoded."""

    __slots__ = ("_is_fixed", "_item_of", "_known", "_length_of")

    def __init__(
        self, item_of: Callable[[T], bytes], length_of: Callable[[T], int], is_fixed: Callable[[T], bool]
    ) -> None:
        self._item_of = item_of
        self._length_of = length_of
        self._is_fixed = is_fixed
        self._known: list[_Encoded[T]] = []

    def encoded(self, subjects: Iterable[T]) -> _Encoded[T]:
        """These subjects, encoded as far as they are new. Raises `UnencodableValueError`."""
        subjects = tuple(subjects)
        if self._known and self._known[0].is_of(subjects):
            return self._known[0]
        encoded = self._alike(subjects) or _Encoded(self._item_of, self._length_of)
        encoded.extend(subjects, self._is_fixed)
        self._known = [encoded, *self._known][:_CONVERSATIONS]
        return encoded

    def _alike(self, subjects: tuple[T, ...]) -> _Encoded[T] | None:
        """What goes on to these subjects, at most half of it cut off; taken out, in case that they are refused."""
        shares = ((known.shared(subjects), known) for known in self._known)
        shared, known = max(shares, key=itemgetter(0), default=(0, None))
        if known is None or 2 * shared < len(known.subjects):
            return None
        self._known.remove(known)
        known.cut(shared)
        return known

    def spliced(self, subjects: Iterable[T] | None) -> Raw | None:
        """The list of the subjects' items. Raises `UnencodableValueError`."""
        if subjects is None:
            return None
        encoded = self.encoded(subjects)
        return Raw(list_head(len(encoded.subjects)) + encoded.data)
