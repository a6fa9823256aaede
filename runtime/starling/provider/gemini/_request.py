"""Our request to the arguments of the SDK's ``generate_content_stream``. Pure.

Strategy: what the request states and the vendor's own parameters both become fields of the SDK's
``GenerateContentConfig``, which takes no field that it does not know, at any depth. Nothing is dropped silently: a
parameter that would contradict the request, or ask for an answer that the chunk contract cannot carry, is refused
before anything is sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starling.provider._request_parts import STATED_ALREADY, arguments_object, given_params, refuse, schema_of
from starling.provider.gemini._marks import is_minted, marked_call, marked_text, next_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starling.provider._types import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse

__all__ = ["first_free_number", "generate_arguments"]

_MODES = {"auto": "AUTO", "any": "ANY", "none": "NONE"}

_ROLES = {"user": "user", "assistant": "model"}

_REFUSED_PARAMS = {
    "model": "set Config.model instead",
    "contents": "the agent writes the messages",
    "system_instruction": "set Config.system_prompt instead",
    "tools": "pass tools to the agent instead; what the vendor's own tools do cannot be recorded",
    "automatic_function_calling": "the agent runs the tools",
    "automatic_continuation": "answers are always continued, visibly",
    "continuation_token": "answers are always continued, visibly",
    "http_options": "pass base_url, timeout or an http_client to the provider instead",
    "should_return_http_response": "answers are always streamed",
}
"""Parameters that the adapter decides, and what to do instead."""

_OWNED_BY_REQUEST = frozenset({"tool_config", "stop_sequences", "top_k", "max_output_tokens"})
"""Parameters that a request may state itself; stating one twice is refused."""

_ALWAYS = {"automatic_function_calling": {"disable": True}, "automatic_continuation": False}
"""The SDK would run tools, send further requests and take up broken streams by itself, unseen by the log."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def generate_arguments(request: Request, *, provider: str) -> dict[str, Any]:
    """The keyword arguments for a streamed answer.

    Args:
        request: what the agent asks.
        provider: the provider's id, for errors.

    Raises:
        ProviderError: ``request.params`` is not a mapping, or holds a parameter that cannot be passed through; a
            tool's schema is not JSON; the conversation holds what this vendor cannot be told.
    """
    stated = _stated(request, provider)
    params = _params(request, stated, provider)
    return {
        "model": request.model,
        "contents": _contents(request, provider),
        "config": {**params, **stated, **_ALWAYS},
    }


def first_free_number(request: Request) -> int:
    """The number for the first call of the answer that the vendor gives no id; see `_marks.minted_id`."""
    return next_number(use.call_id for message in request.messages or () for use in message.tool_uses or ())


def _stated(request: Request, provider: str) -> dict[str, Any]:
    declared = [_declaration(tool, provider) for tool in request.tools or ()]
    candidates = {
        "system_instruction": request.system_prompt or None,
        "tools": [{"function_declarations": declared}] if declared else None,
        "tool_config": _tool_config(request.tool_choice),
        "stop_sequences": list(request.stop_sequences or ()) or None,
        "top_k": request.top_k,
        "max_output_tokens": request.max_output_tokens or None,
    }
    return {name: value for name, value in candidates.items() if value is not None}


def _tool_config(choice: str) -> dict[str, Any] | None:
    if not choice:
        return None
    named = {} if choice in _MODES else {"allowed_function_names": [choice]}
    return {"function_calling_config": {"mode": _MODES.get(choice, "ANY"), **named}}


def _declaration(tool: ToolDefinition, provider: str) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declaration["description"] = tool.description
    schema = schema_of(tool, provider)
    if schema is not None:
        declaration["parameters_json_schema"] = schema
    return declaration


# --- the vendor's own parameters


def _params(request: Request, stated: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """The vendor's parameters as a fresh dict under the SDK's names, refused where they cannot be passed through."""
    params: dict[str, Any] = {}
    for written, value in given_params(request, provider).items():
        name = _HUMP.sub("_", str(written)).lower()  # the wire's own spelling, maxOutputTokens, is good as well
        problem = _problem(name, value, stated)
        if name in params:
            problem = "is given twice, in two spellings"
        if problem:
            refuse(provider, f"params.{written}", problem)
        params[name] = value
    return params


def _problem(name: str, value: Any, stated: Mapping[str, Any]) -> str:
    if name in _REFUSED_PARAMS:
        return _REFUSED_PARAMS[name]
    if name in _OWNED_BY_REQUEST and name in stated:
        return STATED_ALREADY
    if name == "candidate_count" and value not in (None, 1):
        return "must be 1: a turn has one answer"
    if name == "response_modalities" and [str(one).upper() for one in value or ["text"]] != ["TEXT"]:
        return "must be TEXT: nothing else can be recorded"
    return ""


# --- the conversation


def _contents(request: Request, provider: str) -> list[dict[str, Any]]:
    """The messages. Results of parallel calls stand in one, in the order in which they come."""
    names = {use.call_id: use.name for message in request.messages or () for use in message.tool_uses or ()}
    contents: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for message in request.messages or ():
        if message.tool_result is None:
            results = None
            contents.append(_content(message, provider))
            continue
        if results is None:
            results = []
            contents.append({"role": "user", "parts": results})
        results.append(_result(message.tool_result, names, provider))
    return contents


def _content(message: Message, provider: str) -> dict[str, Any]:
    role = _ROLES.get(message.role)
    if role is None:
        refuse(provider, f'a message of role "{message.role}"', "Gemini knows user and assistant")
    parts = _answer_parts(message, provider) if role == "model" else [{"text": message.content}]
    return {"role": role, "parts": parts or [{"text": ""}]}


def _answer_parts(message: Message, provider: str) -> list[dict[str, Any]]:
    """An earlier answer's parts: thoughts, text, calls, with each signature in the part where it was."""
    signatures = [block for block in message.reasoning if block.redacted]
    on_calls = {call: block.signature for block in signatures if (call := marked_call(block.content)) is not None}
    on_text = [(*span, block.signature) for block in signatures if (span := marked_text(block.content)) is not None]
    if len(on_calls) + len(on_text) != len(signatures):
        refuse(provider, "a redacted reasoning block", "Gemini did not write it")
    return [
        *(_thought(block) for block in message.reasoning if not block.redacted),
        *_text_parts(message.content, on_text),
        *(_call(use, on_calls.get(use.call_id)) for use in message.tool_uses or ()),
    ]


def _thought(block: Reasoning) -> dict[str, Any]:
    return _signed({"text": block.content, "thought": True}, block.signature)


def _text_parts(text: str, signed: list[tuple[int, int, bytes]]) -> list[dict[str, Any]]:
    """The text, cut where signed pieces begin and end; the vendor asks not to join them with others."""
    parts: list[dict[str, Any]] = []
    done = 0
    for start, end, signature in signed:
        if text[done:start]:
            parts.append({"text": text[done:start]})
        parts.append(_signed({"text": text[start:end]}, signature))
        done = end
    return [*parts, {"text": text[done:]}] if text[done:] else parts


def _call(use: ToolUse, signature: bytes | None) -> dict[str, Any]:
    call = {"name": use.name, "args": arguments_object(use.args), **_id(use.call_id)}
    return _signed({"function_call": call}, signature)


def _result(result: ToolResult, names: Mapping[str, str], provider: str) -> dict[str, Any]:
    name = names.get(result.call_id)
    if name is None:
        refuse(provider, f'the result of call "{result.call_id}"', "no earlier message holds that call")
    # The content stays text: as JSON, the vendor would read its numbers as doubles.
    response = {"error" if result.is_error else "output": result.content}
    return {"function_response": {"name": name, "response": response, **_id(result.call_id)}}


def _id(call_id: str) -> dict[str, str]:
    return {} if is_minted(call_id) else {"id": call_id}


def _signed(part: dict[str, Any], signature: bytes | None) -> dict[str, Any]:
    return {**part, "thought_signature": signature} if signature else part
