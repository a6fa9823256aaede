"""A request as the format hashes and sizes it (wire-format page: "prompt_hash", "Input-token estimate").

Strategy: one pure function builds the map; the hash is taken over its canonical CBOR. The map's keys are the original
program's field names. None and an empty list differ, as they do there. What we added to the request appears only when
it is set, so that a request that does not use it keeps its hash.

A conversation is asked about once a turn and only grows. `PromptHasher` encodes each message once and splices the
items into the same map; the plain functions are the reference that it equals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starling._blake3 import digest
from starling._cbor import (
    MAX_BYTES,
    NULL,
    WRITE_DEPTH,
    Misfit,
    Raw,
    bytes_item,
    encode,
    item,
    list_head,
    map_head,
    text_item,
)
from starling.errors import UnencodableValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starling.provider._types import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse

T = TypeVar("T")

__all__ = ["PromptHasher", "estimate_input_tokens", "prompt_hash", "request_map"]

_SURROGATES = re.compile("[\ud800-\udfff]")


def prompt_hash(request: Request) -> bytes:
    """BLAKE3-256 of the request's canonical CBOR, as TurnStarted records it.

    Raises:
        UnencodableValueError: ``params`` or annotations hold something that CBOR cannot.
    """
    return digest(encode(request_map(request)))


def request_map(request: Request) -> dict[str, Any]:
    """The request as the map that is hashed."""
    return _map(request, _each(_message, request.messages), _each(_tool, request.tools))


def estimate_input_tokens(request: Request) -> int:
    """A rough token count of the prompt, for budgets that must decide before the call: a third of its length.

    Texts count in characters, tool-call arguments and tool schemas in bytes.
    """
    messages = sum(_message_length(message) for message in request.messages or ())
    return _tokens(len(request.system_prompt) + messages + sum(_tool_length(tool) for tool in request.tools or ()))


class PromptHasher:
    """`prompt_hash` and `estimate_input_tokens` for the requests of one run, at the cost of what is new in each.

    A message is known by its identity, so only one that cannot change is remembered. What has not been asked about for
    a while is forgotten: what is held stays within a few times the largest request. Not thread-safe.
    """

    __slots__ = ("_messages", "_tools")

    def __init__(self) -> None:
        self._messages = _Memo(_message_item, _message_length, _is_frozen)
        self._tools = _Memo(_tool_item, _tool_length, lambda _: True)

    def hash(self, request: Request) -> bytes:
        """The same as `prompt_hash`, its errors included."""
        try:
            messages, tools = self._messages.spliced(request.messages), self._tools.spliced(request.tools)
        except UnencodableValueError:
            return prompt_hash(request)  # which names the place in the whole request
        return digest(encode(_map(request, messages, tools)))

    def estimate(self, request: Request) -> int:
        """The same as `estimate_input_tokens`."""
        try:
            lengths = self._messages.length(request.messages or ()) + self._tools.length(request.tools or ())
        except UnencodableValueError:
            return estimate_input_tokens(request)
        return _tokens(len(request.system_prompt) + lengths)


_ITEM_DEPTH = WRITE_DEPTH - 2
"""Levels of nesting of one message or tool: it stands in a list in the map."""
_CONVERSATIONS = 4
"""How many conversations, each as large as the largest one, may alternate without being encoded again."""


@dataclass(frozen=True, slots=True)
class _Part(Generic[T]):
    """What is known of ``subject``, which is held so that no other object takes its identity."""

    subject: T
    item: bytes
    length: int


class _Memo(Generic[T]):
    """Parts by the identity of their subjects, in two generations: the older one goes when the recent one is full."""

    __slots__ = ("_is_fixed", "_item_of", "_largest", "_length_of", "_older", "_recent", "_size")

    def __init__(
        self, item_of: Callable[[T], bytes], length_of: Callable[[T], int], is_fixed: Callable[[T], bool]
    ) -> None:
        self._item_of = item_of
        self._length_of = length_of
        self._is_fixed = is_fixed
        self._recent: dict[int, _Part[T]] = {}
        self._older: dict[int, _Part[T]] = {}
        self._size = 0
        self._largest = 0

    def length(self, subjects: Sequence[T]) -> int:
        """The lengths of the subjects, as the estimate counts them. Raises `UnencodableValueError`."""
        return sum(part.length for part in self._parts(subjects))

    def spliced(self, subjects: Sequence[T] | None) -> Raw | None:
        """The list of the subjects' items. Raises `UnencodableValueError`."""
        if subjects is None:
            return None
        data = b"".join([list_head(len(subjects)), *(part.item for part in self._parts(subjects))])
        self._largest = max(self._largest, len(data))
        return Raw(data)

    def _parts(self, subjects: Sequence[T]) -> list[_Part[T]]:
        self._forget()
        known = map(self._recent.get, map(id, subjects))
        return [part or self._part(subject) for part, subject in zip(known, subjects, strict=True)]

    def _forget(self) -> None:
        """Let go of what was not used lately, once that is much."""
        if self._size > _CONVERSATIONS * self._largest:
            self._older, self._recent, self._size = self._recent, {}, 0

    def _part(self, subject: T) -> _Part[T]:
        part = self._older.get(id(subject)) or self._encoded(subject)
        if self._is_fixed(subject):
            self._recent[id(subject)] = part
            self._size += len(part.item)
        return part

    def _encoded(self, subject: T) -> _Part[T]:
        return _Part(subject, self._item_of(subject), self._length_of(subject))


def _is_frozen(message: Message) -> bool:
    """Whether a message cannot change: annotations are a dict, and a list may stand where a tuple belongs."""
    return (
        message.annotations is None
        and (message.tool_uses is None or isinstance(message.tool_uses, tuple))
        and isinstance(message.reasoning, tuple)
    )


# --- the fields


def _map(request: Request, messages: Any, tools: Any) -> dict[str, Any]:
    return {
        "Model": request.model,
        "SystemPrompt": request.system_prompt,
        "Messages": messages,
        "Tools": tools,
        "ToolChoice": request.tool_choice,
        "StopSequences": _each(str, request.stop_sequences),
        "TopK": request.top_k,
        "MaxOutputTokens": request.max_output_tokens,
        "Params": request.params,
    }


def _tokens(length: int) -> int:
    return (length + 2) // 3


def _message_length(message: Message) -> int:
    result = message.tool_result
    shown = len(message.content) + (len(result.content) if result is not None else 0)
    return shown + sum(len(_utf8(use.args)) for use in message.tool_uses or ())


def _tool_length(tool: ToolDefinition) -> int:
    return len(_utf8(tool.schema))


def _message(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "Role": message.role,
        "Content": message.content,
        "ToolUses": _each(_tool_use, message.tool_uses),
        "ToolResult": None if message.tool_result is None else _tool_result(message.tool_result),
        "Annotations": message.annotations,
    }
    if message.reasoning:
        fields["Reasoning"] = _each(_reasoning, message.reasoning)
    return fields


def _tool_use(use: ToolUse) -> dict[str, Any]:
    return {"CallID": use.call_id, "Name": use.name, "Args": _utf8(use.args) or None}


def _tool_result(result: ToolResult) -> dict[str, Any]:
    return {"CallID": result.call_id, "Content": result.content, "IsError": result.is_error}


def _reasoning(block: Reasoning) -> dict[str, Any]:
    return {"Content": block.content, "Signature": block.signature, "Redacted": block.redacted}


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    return {"Name": tool.name, "Description": tool.description, "Schema": _utf8(tool.schema) or None}


def _each(function: Callable[[T], Any], items: Iterable[T] | None) -> list[Any] | None:
    return None if items is None else [function(item) for item in items]


# --- the same fields as items, without maps in between


def _tool_item(tool: ToolDefinition) -> bytes:
    """The item of `_tool`. Raises `UnencodableValueError`."""
    return encode(_tool(tool), max_depth=_ITEM_DEPTH)


def _message_item(message: Message) -> bytes:
    """The item of `_message`. Raises `UnencodableValueError`."""
    try:
        data = _plain_message_item(message)
    except (AttributeError, TypeError, Misfit):
        data = b""  # something else than its type says
    return data if 0 < len(data) <= MAX_BYTES else encode(_message(message), max_depth=_ITEM_DEPTH)


def _plain_message_item(message: Message) -> bytes:
    """The same for a message without annotations: keys that are encoded once, in the order of canonical CBOR."""
    if message.annotations is not None:
        raise TypeError
    result, reasoning = message.tool_result, message.reasoning
    return b"".join(
        (
            map_head(6 if reasoning else 5),
            _ROLE,
            text_item(message.role),
            _CONTENT,
            text_item(message.content),
            _TOOL_USES,
            _list_item(_tool_use_item, message.tool_uses),
            _REASONING + _list_item(_reasoning_item, reasoning) if reasoning else b"",
            _TOOL_RESULT,
            NULL if result is None else _tool_result_item(result),
            _ANNOTATIONS,
            NULL,
        )
    )


_MAP_OF_3 = map_head(3)
_ROLE, _CONTENT, _TOOL_USES, _REASONING, _TOOL_RESULT, _ANNOTATIONS = map(
    text_item, ("Role", "Content", "ToolUses", "Reasoning", "ToolResult", "Annotations")
)
_ARGS, _NAME, _CALL_ID, _IS_ERROR, _REDACTED, _SIGNATURE = map(
    text_item, ("Args", "Name", "CallID", "IsError", "Redacted", "Signature")
)


def _tool_use_item(use: ToolUse) -> bytes:
    args = _utf8(use.args)
    chunks = (_ARGS, bytes_item(args) if args else NULL, _NAME, text_item(use.name), _CALL_ID, text_item(use.call_id))
    return b"".join((_MAP_OF_3, *chunks))


def _tool_result_item(result: ToolResult) -> bytes:
    chunks = (_CALL_ID, text_item(result.call_id), _CONTENT, text_item(result.content), _IS_ERROR)
    return b"".join((_MAP_OF_3, *chunks, item(result.is_error, 0)))


def _reasoning_item(block: Reasoning) -> bytes:
    chunks = (_CONTENT, text_item(block.content), _REDACTED, item(block.redacted, 0), _SIGNATURE)
    return b"".join((_MAP_OF_3, *chunks, item(block.signature, 0)))


def _list_item(item_of: Callable[[T], bytes], items: Sequence[T] | None) -> bytes:
    return NULL if items is None else list_head(len(items)) + b"".join(map(item_of, items))


def _utf8(text: str) -> bytes:
    """UTF-8 with U+FFFD for lone surrogates, as all text of the format."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()
