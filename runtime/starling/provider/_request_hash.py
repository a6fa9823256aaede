"""A request as the format hashes and sizes it (wire-format page: "prompt_hash", "Input-token estimate").

Strategy: one pure function builds the map; the hash is taken over its canonical CBOR. The map's keys are the original
program's field names. None and an empty list differ, as they do there. What we added to the request appears only when
it is set, so that a request that does not use it keeps its hash.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starling._blake3 import digest
from starling._cbor import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from starling.provider._types import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse

    T = TypeVar("T")

__all__ = ["estimate_input_tokens", "prompt_hash", "request_map"]

_SURROGATES = re.compile("[\ud800-\udfff]")


def prompt_hash(request: Request) -> bytes:
    """BLAKE3-256 of the request's canonical CBOR, as TurnStarted records it.

    Raises:
        UnencodableValueError: ``params`` or annotations hold something that CBOR cannot.
    """
    return digest(encode(request_map(request)))


def request_map(request: Request) -> dict[str, Any]:
    """The request as the map that is hashed."""
    return {
        "Model": request.model,
        "SystemPrompt": request.system_prompt,
        "Messages": _each(_message, request.messages),
        "Tools": _each(_tool, request.tools),
        "ToolChoice": request.tool_choice,
        "StopSequences": _each(str, request.stop_sequences),
        "TopK": request.top_k,
        "MaxOutputTokens": request.max_output_tokens,
        "Params": request.params,
    }


def estimate_input_tokens(request: Request) -> int:
    """A rough token count of the prompt, for budgets that must decide before the call: a third of its length.

    Texts count in characters, tool-call arguments and tool schemas in bytes.
    """
    messages = request.messages or ()
    characters = len(request.system_prompt) + sum(_characters(message) for message in messages)
    uses = sum(len(_utf8(use.args)) for message in messages for use in message.tool_uses or ())
    schemas = sum(len(_utf8(tool.schema)) for tool in request.tools or ())
    return (characters + uses + schemas + 2) // 3


def _characters(message: Message) -> int:
    result = message.tool_result
    return len(message.content) + (len(result.content) if result is not None else 0)


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


def _utf8(text: str) -> bytes:
    """UTF-8 with U+FFFD for lone surrogates, as all text of the format."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()
