"""A request as the format hashes and sizes it (wire-format page: "prompt_hash", "Input-token estimate").

Strategy: one pure function builds the map; the hash is taken over its canonical CBOR. The map's keys are the original
program's field names. None and an empty list differ, as they do there. What we added to the request appears only when
it is set, so that a request that does not use it keeps its hash.

A conversation is asked about once a turn and mostly grows. `_prompt_hasher` encodes what is new, from the same fields;
the plain functions here are the reference that it equals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from starling._blake3 import digest
from starling._cbor import (
    MAX_BYTES,
    NULL,
    WRITE_DEPTH,
    Misfit,
    bytes_item,
    encode,
    item,
    list_head,
    map_head,
    text_item,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starling.provider._types import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse

T = TypeVar("T")

__all__ = [
    "estimate_input_tokens",
    "fields_of",
    "is_frozen",
    "message_item",
    "message_length",
    "prompt_hash",
    "request_map",
    "tokens",
    "tool_item",
    "tool_length",
]

_SURROGATES = re.compile("[\ud800-\udfff]")


def prompt_hash(request: Request) -> bytes:
    """BLAKE3-256 of the request's canonical CBOR, as TurnStarted records it.

    Raises:
        UnencodableValueError: ``params`` or annotations hold something that CBOR cannot.
    """
    return digest(encode(request_map(request)))


def request_map(request: Request) -> dict[str, Any]:
    """The request as the map that is hashed."""
    return fields_of(request, _each(_message, request.messages), _each(_tool, request.tools))


def estimate_input_tokens(request: Request) -> int:
    """A rough token count of the prompt, for budgets that must decide before the call: a third of its length.

    Texts count in characters, tool-call arguments and tool schemas in bytes.
    """
    messages = sum(message_length(message) for message in request.messages or ())
    return tokens(len(request.system_prompt) + messages + sum(tool_length(tool) for tool in request.tools or ()))


_ITEM_DEPTH = WRITE_DEPTH - 2
"""Levels of nesting of one message or tool: it stands in a list in the map."""


def is_frozen(message: Message) -> bool:
    """Whether a message cannot change: annotations are a dict, and a list may stand where a tuple belongs."""
    return (
        message.annotations is None
        and (message.tool_uses is None or isinstance(message.tool_uses, tuple))
        and isinstance(message.reasoning, tuple)
    )


# --- the fields


def fields_of(request: Request, messages: Any, tools: Any) -> dict[str, Any]:
    """The map, with these in the place of its lists of messages and tools."""
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


def tokens(length: int) -> int:
    """The estimate for a prompt of this length."""
    return (length + 2) // 3


def message_length(message: Message) -> int:
    """A message's part of the length that the estimate is a third of."""
    length = len(message.content)
    if message.tool_result is not None:
        length += len(message.tool_result.content)
    for use in message.tool_uses or ():
        length += len(use.args) if use.args.isascii() else len(_utf8(use.args))
    return length


def tool_length(tool: ToolDefinition) -> int:
    """A tool's part of it."""
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


def tool_item(tool: ToolDefinition) -> bytes:
    """The item of `_tool`. Raises `UnencodableValueError`."""
    return encode(_tool(tool), max_depth=_ITEM_DEPTH)


def message_item(message: Message) -> bytes:
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
    uses, result, reasoning = message.tool_uses, message.tool_result, message.reasoning
    return b"".join(
        (
            _WITH_REASONING if reasoning else _WITHOUT_REASONING,
            text_item(message.role),
            _CONTENT,
            text_item(message.content),
            _NO_TOOL_USES if uses is None else _TOOL_USES + _list_item(_tool_use_item, uses),
            _REASONING + _list_item(_reasoning_item, reasoning) if reasoning else b"",
            _NO_TOOL_RESULT if result is None else _tool_result_item(result),
            _NO_ANNOTATIONS,
        )
    )


_ROLE, _CONTENT, _TOOL_USES, _REASONING, _TOOL_RESULT, _ANNOTATIONS = map(
    text_item, ("Role", "Content", "ToolUses", "Reasoning", "ToolResult", "Annotations")
)
_ARGS, _NAME, _CALL_ID, _IS_ERROR, _REDACTED, _SIGNATURE = map(
    text_item, ("Args", "Name", "CallID", "IsError", "Redacted", "Signature")
)
# What mostly stands side by side.
_WITHOUT_REASONING, _WITH_REASONING = map_head(5) + _ROLE, map_head(6) + _ROLE
_NO_TOOL_USES, _NO_TOOL_RESULT, _NO_ANNOTATIONS = _TOOL_USES + NULL, _TOOL_RESULT + NULL, _ANNOTATIONS + NULL
_MAP_OF_3 = map_head(3)
_USE_ARGS, _RESULT_CALL_ID, _BLOCK_CONTENT = (
    _MAP_OF_3 + _ARGS,
    _TOOL_RESULT + _MAP_OF_3 + _CALL_ID,
    _MAP_OF_3 + _CONTENT,
)


def _tool_use_item(use: ToolUse) -> bytes:
    args = _utf8(use.args)
    item_of_args = bytes_item(args) if args else NULL
    return b"".join((_USE_ARGS, item_of_args, _NAME, text_item(use.name), _CALL_ID, text_item(use.call_id)))


def _tool_result_item(result: ToolResult) -> bytes:
    """Behind its key."""
    is_error = item(result.is_error, 0)
    call_id, content = text_item(result.call_id), text_item(result.content)
    return b"".join((_RESULT_CALL_ID, call_id, _CONTENT, content, _IS_ERROR, is_error))


def _reasoning_item(block: Reasoning) -> bytes:
    chunks = (text_item(block.content), _REDACTED, item(block.redacted, 0), _SIGNATURE, item(block.signature, 0))
    return b"".join((_BLOCK_CONTENT, *chunks))


def _list_item(item_of: Callable[[T], bytes], items: Sequence[T]) -> bytes:
    return list_head(len(items)) + b"".join(map(item_of, items))


def _utf8(text: str) -> bytes:
    """UTF-8 with U+FFFD for lone surrogates, as all text of the format."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()
