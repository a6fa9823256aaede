"""The hash and the size of one request after another, where each mostly goes on from the one before.

Strategy: a list of messages is kept as the bytes that it is hashed as. The next request that begins with the same
messages adds its new ones to them. What stands around the messages in the map is short and is encoded every time. The
plain functions of `_request_hash` are the reference that this equals.
"""

from __future__ import annotations

from array import array
from operator import indexOf, is_, itemgetter
from typing import TYPE_CHECKING, Generic, TypeVar

from blake3 import blake3

from starling._cbor import MAX_BYTES, Raw, encode, list_head, map_head, text_item
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starling.provider._types import Request

T = TypeVar("T")

__all__ = ["PromptHasher"]

_CONVERSATIONS = 4
"""How many conversations may alternate without being encoded again."""
_MESSAGES = text_item("Messages")


class PromptHasher:
    """`prompt_hash` and `estimate_input_tokens`, at the cost of what is new in each request.

    Messages are told apart by identity; those that can change are looked at every time. Not thread-safe.
    """

    __slots__ = ("_messages", "_tools")

    def __init__(self) -> None:
        self._messages = _Recent(message_item, message_length, is_frozen)
        self._tools = _Recent(tool_item, tool_length, lambda _: True)

    def hash(self, request: Request) -> bytes:
        """The same as `prompt_hash`, its errors included."""
        try:
            chunks = self._chunks(request)
        except UnencodableValueError:
            return prompt_hash(request)  # which names the place in the whole request
        if sum(map(len, chunks)) > MAX_BYTES:
            return prompt_hash(request)  # which refuses it
        hasher = blake3()
        for chunk in chunks:
            hasher.update(chunk)  # joined first, the whole conversation would be copied once a turn
        return hasher.digest()

    def estimate(self, request: Request) -> int:
        """The same as `estimate_input_tokens`."""
        try:
            messages = self._messages.encoded(request.messages or ())
            tools = self._tools.encoded(request.tools or ())
        except UnencodableValueError:
            return estimate_input_tokens(request)
        return tokens(len(request.system_prompt) + messages.length + tools.length)

    def _chunks(self, request: Request) -> tuple[bytes | bytearray, ...]:
        """The canonical CBOR of the request's map: up to the messages, the messages, and what follows them."""
        fields = fields_of(request, None, self._tools.spliced(request.tools))
        if request.messages is None:
            return (encode(fields),)
        before = {key: value for key, value in fields.items() if text_item(key) < _MESSAGES}
        behind = {key: value for key, value in fields.items() if text_item(key) > _MESSAGES}
        said = self._messages.encoded(request.messages)
        head = map_head(len(fields)) + encode(before)[1:] + _MESSAGES + list_head(len(said.subjects))
        return head, said.data, encode(behind)[1:]  # a map of so few keys has a head of one byte


class _Encoded(Generic[T]):
    """A list as it was asked about last, and its items one behind the other.

    Attributes:
        subjects: the list. data: the items.
    """

    __slots__ = ("_changing", "_ends", "_item_of", "_lengths", "data", "subjects")

    def __init__(self, item_of: Callable[[T], bytes]) -> None:
        self._item_of = item_of
        self.subjects: tuple[T, ...] = ()
        self.data = bytearray()
        self._ends = array("Q", (0,))
        self._lengths = array("Q", (0,))
        self._changing: list[int] = []

    @property
    def length(self) -> int:
        """The lengths of the subjects, as the estimate counts them."""
        return self._lengths[-1]

    def shared(self, subjects: tuple[T, ...]) -> int:
        """How many of the subjects, from the first one on, need not be encoded again."""
        same = len(subjects) if subjects is self.subjects else _identical(self.subjects, subjects)
        return next((at for at in self._changing if at < same and self._has_changed(at)), same)

    def _has_changed(self, at: int) -> bool:
        return self._item_of(self.subjects[at]) != self.data[self._ends[at] : self._ends[at + 1]]

    def cut(self, size: int) -> None:
        """Keep the first subjects only."""
        if size < len(self.subjects):
            del self.data[self._ends[size] :], self._ends[size + 1 :], self._lengths[size + 1 :]
            self._changing = [at for at in self._changing if at < size]

    def extend(self, subjects: tuple[T, ...], length_of: Callable[[T], int], is_fixed: Callable[[T], bool]) -> None:
        """Go on to these subjects, which begin with all that is kept. Raises `UnencodableValueError`."""
        for at in range(len(self._ends) - 1, len(subjects)):
            self.data += self._item_of(subjects[at])
            self._ends.append(len(self.data))
            self._lengths.append(self._lengths[-1] + length_of(subjects[at]))
            if not is_fixed(subjects[at]):
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
        encoded = self._alike(subjects) or _Encoded(self._item_of)
        encoded.extend(subjects, self._length_of, self._is_fixed)
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
