"""Our request to the arguments of the SDK's ``messages.create``. Pure.

Strategy: what the request states goes to named arguments, the vendor's own parameters go into the body as they are (the
vendor answers 400 to one that it does not know, so a misspelled one is never ignored). Nothing is dropped silently: a
parameter that would contradict the request, or ask for an answer that the chunk contract cannot carry, is refused
before anything is sent. Two of our messages that the vendor sees in one role become one of its messages, because the
results of parallel calls have to stand in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.provider._request_parts import STATED_ALREADY, arguments_object, given_params, refuse, schema_of

if TYPE_CHECKING:
    from starling.provider._types import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse

__all__ = ["DEFAULT_MAX_TOKENS", "create_arguments"]

DEFAULT_MAX_TOKENS = 16_384
"""Longest answer, in tokens and with its thinking, where nobody says: this vendor wants to be told. Every model that it
sells allows more."""

_Block: TypeAlias = dict[str, Any]

_ROLES = {"user": "user", "tool": "user", "assistant": "assistant"}

_TOOL_CHOICES = frozenset({"auto", "any", "none"})

_THINKING = frozenset({"thinking", "redacted_thinking"})

_REFUSED_PARAMS = {
    "model": "set Config.model instead",
    "messages": "the agent writes the messages",
    "system": "set Config.system_prompt instead; params.cache_control caches it",
    "tools": "pass tools to the agent instead",
    "stream": "answers are always streamed",
    "mcp_servers": "what the vendor's own tools do cannot be recorded; pass tools to the agent instead",
    "container": "what the vendor's own tools do cannot be recorded; pass tools to the agent instead",
    "extra_body": "give its fields as params of their own",
    "extra_headers": "pass an http_client with these headers to the provider instead",
    "extra_query": "pass a base_url with this query, or an http_client, to the provider instead",
    "timeout": "pass timeout to the provider instead",
}
"""Parameters that the adapter decides, and what to do instead."""

_OWNED_BY_REQUEST = frozenset({"max_tokens", "stop_sequences", "tool_choice", "top_k"})
"""Parameters that a request may state itself; stating one twice is refused."""

_HEADERS = {
    "betas": "anthropic-beta",
    "user_profile_id": "anthropic-user-profile-id",
    "workspace_id": "anthropic-workspace-id",
}
"""Parameters that the SDK knows and that travel as headers."""


def create_arguments(request: Request, *, provider: str) -> dict[str, Any]:
    """The keyword arguments for a streamed message.

    Args:
        request: what the agent asks.
        provider: the provider's id, for errors.

    Raises:
        ProviderError: ``request.params`` is not a mapping, or holds a parameter that cannot be passed through; a
            message or a tool's schema is none.
    """
    stated = _stated(request, provider)
    params = _params(request, stated, provider)
    headers = {header: _header(params.pop(name), name, provider) for name, header in _HEADERS.items() if name in params}
    body = params | ({"top_k": stated.pop("top_k")} if "top_k" in stated else {})
    return {
        "model": request.model,
        "messages": _messages(request, provider),
        "stream": True,
        "max_tokens": body.pop("max_tokens", DEFAULT_MAX_TOKENS),
        **stated,
        **({"extra_body": body} if body else {}),
        **({"extra_headers": headers} if headers else {}),
    }


def _stated(request: Request, provider: str) -> dict[str, Any]:
    candidates = {
        "max_tokens": request.max_output_tokens or None,
        "system": request.system_prompt,
        "tools": [_tool(tool, provider) for tool in request.tools or ()],
        "tool_choice": _tool_choice(request.tool_choice),
        "stop_sequences": list(request.stop_sequences or ()),
        "top_k": request.top_k,  # of API version 2023-06-01; later ones refuse it
    }
    return {name: value for name, value in candidates.items() if value not in (None, "", [], {})}


def _params(request: Request, stated: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """The vendor's parameters as a fresh dict, refused where they cannot be passed through."""
    given = given_params(request, provider)
    for name in given:
        if name in _REFUSED_PARAMS:
            refuse(provider, f"params.{name}", _REFUSED_PARAMS[name])
        if name in _OWNED_BY_REQUEST and name in stated:
            refuse(provider, f"params.{name}", STATED_ALREADY)
    return given


def _header(value: object, name: str, provider: str) -> str:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        refuse(provider, f"params.{name}", "must be text, or a list of texts")
    return ",".join(words)


# --- messages


def _messages(request: Request, provider: str) -> list[dict[str, Any]]:
    ours = [(_role(message, provider), _blocks(message, provider)) for message in request.messages or ()]
    groups = groupby((pair for pair in ours if pair[1]), key=lambda pair: pair[0])
    merged = [(role, [block for _, blocks in group for block in blocks]) for role, group in groups]
    return [{"role": role, "content": _content(blocks)} for role, blocks in merged]


def _role(message: Message, provider: str) -> str:
    if message.role not in _ROLES:
        refuse(provider, f'a message of role "{message.role}"', "this wire has user, assistant and tool")
    return _ROLES[message.role]


def _content(blocks: list[_Block]) -> str | list[_Block]:
    """The vendor takes one plain text as a string, too."""
    only = blocks[0] if len(blocks) == 1 else {}
    return only["text"] if only.keys() == {"type", "text"} else blocks


def _blocks(message: Message, provider: str) -> list[_Block]:
    blocks = [_thinking(block, provider) for block in message.reasoning if block.redacted or block.signature]
    # The vendor refuses texts of nothing but white space, its model's own ones included.
    if message.content.strip():
        blocks.append({"type": "text", "text": message.content})
    blocks += [_tool_use(use) for use in message.tool_uses or ()]
    if message.tool_result is not None:
        blocks.append(_tool_result(message.tool_result))
    return _marked(blocks, message, provider)


def _thinking(block: Reasoning, provider: str) -> _Block:
    """A block as the vendor gave it. Unsigned ones never get here: they are another vendor's, and would be refused."""
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.content}
    try:
        signature = block.signature.decode()
    except UnicodeDecodeError:
        refuse(provider, "a reasoning block", "its signature is not this vendor's")
    return {"type": "thinking", "thinking": block.content, "signature": signature}


def _tool_use(use: ToolUse) -> _Block:
    return {"type": "tool_use", "id": use.call_id, "name": use.name, "input": arguments_object(use.args)}


def _tool_result(result: ToolResult) -> _Block:
    block: _Block = {"type": "tool_result", "tool_use_id": result.call_id}
    if result.content:
        block["content"] = result.content
    if result.is_error:
        block["is_error"] = True
    return block


def _marked(blocks: list[_Block], message: Message, provider: str) -> list[_Block]:
    """The blocks with the message's cache marker, on the last one that can carry it."""
    marker = (message.annotations or {}).get("cache_control")
    if marker is None:
        return blocks
    last = next((block for block in reversed(blocks) if block["type"] not in _THINKING), None)
    if last is None or not isinstance(marker, Mapping):
        refuse(
            provider, "the annotation cache_control", "it must be an object, on a message that holds more than thinking"
        )
    last["cache_control"] = dict(marker)
    return blocks


# --- tools


def _tool(tool: ToolDefinition, provider: str) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    schema = schema_of(tool, provider)
    return {"name": tool.name, **described, "input_schema": {"type": "object"} if schema is None else schema}


def _tool_choice(choice: str) -> dict[str, Any]:
    if not choice:
        return {}
    return {"type": choice} if choice in _TOOL_CHOICES else {"type": "tool", "name": choice}
