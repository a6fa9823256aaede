"""Our request to the arguments of the SDK's ``chat.completions.create``. Pure.

Strategy: what the request states goes to named arguments, the vendor's own parameters go into the body as they are.
Nothing is dropped silently: a parameter that would contradict the request, or ask for an answer that the chunk
contract cannot carry, is refused before anything is sent. Reasoning and annotations are not sent: this wire has no
place for them and the vendor refuses fields it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starling.errors import ProviderError
from starling.provider._errors import provider_error_text

if TYPE_CHECKING:
    from starling.provider._types import Message, Request, ToolDefinition, ToolUse

__all__ = ["create_arguments"]

_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}

_REFUSED_PARAMS = {
    "model": "set Config.model instead",
    "messages": "the agent writes the messages",
    "tools": "pass tools to the agent instead",
    "functions": "pass tools to the agent instead",
    "function_call": "use tool_choice instead",
    "stream": "answers are always streamed",
    "extra_headers": "pass an http_client with these headers to the provider instead",
    "extra_query": "pass a base_url with this query, or an http_client, to the provider instead",
    "timeout": "pass timeout to the provider instead",
}
"""Parameters that the adapter decides, and what to do instead."""

_OWNED_BY_REQUEST = ("tool_choice", "stop", "top_k", "max_tokens", "max_completion_tokens")
"""Parameters that a request may state itself; stating one twice is refused."""


def create_arguments(request: Request, *, provider: str, max_tokens_name: str) -> dict[str, Any]:
    """The keyword arguments for a streamed chat completion.

    Args:
        request: what the agent asks.
        provider: the provider's id, for errors.
        max_tokens_name: what this endpoint calls the cap on the answer (``max_tokens`` or ``max_completion_tokens``).

    Raises:
        ProviderError: ``request.params`` is not a mapping, or holds a parameter that cannot be passed through; a
            tool's schema is not JSON.
    """
    stated = _stated(request, max_tokens_name, provider)
    params = _params(request, stated, provider)
    options = {"include_usage": True, **params.pop("stream_options", {})}
    extra = {**params.pop("extra_body", {}), **params}
    if "top_k" in stated:
        extra["top_k"] = stated.pop("top_k")
    return {
        "model": request.model,
        "messages": _messages(request),
        "stream": True,
        "stream_options": options,
        **stated,
        **({"extra_body": extra} if extra else {}),
    }


def _stated(request: Request, max_tokens_name: str, provider: str) -> dict[str, Any]:
    candidates = {
        "tools": [_tool(tool, provider) for tool in request.tools or ()],
        "tool_choice": _tool_choice(request.tool_choice),
        "stop": list(request.stop_sequences or ()),
        "top_k": request.top_k,
        max_tokens_name: request.max_output_tokens or None,
    }
    return {name: value for name, value in candidates.items() if value not in (None, "", [])}


def _params(request: Request, stated: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """The vendor's parameters as a fresh dict, refused where they cannot be passed through."""
    given = {} if request.params is None else request.params
    if not isinstance(given, Mapping):
        raise _refused(provider, "params", f"must be a mapping of parameter names, not {type(given).__name__}")
    for name, value in given.items():
        if name in _REFUSED_PARAMS:
            raise _refused(provider, f"params.{name}", _REFUSED_PARAMS[name])
        if name in _OWNED_BY_REQUEST and name in stated:
            raise _refused(provider, f"params.{name}", "is stated by the request already; give it once")
        if name in {"stream_options", "extra_body"} and not isinstance(value, Mapping):
            raise _refused(provider, f"params.{name}", "must be a mapping")
    if given.get("n") not in (None, 1):
        raise _refused(provider, "params.n", "must be 1: a turn has one answer")
    return dict(given)


def _refused(provider: str, field: str, why: str) -> ProviderError:
    return ProviderError(
        provider_error_text(provider, f"{field} cannot be sent: {why}"), provider=provider, field=field
    )


def _messages(request: Request) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": request.system_prompt}] if request.system_prompt else []
    return [*system, *(_message(message) for message in request.messages or ())]


def _message(message: Message) -> dict[str, Any]:
    result = message.tool_result
    if result is not None:
        # The wire has no error flag; the content says that it is one.
        return {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
    if message.tool_uses:
        return {
            "role": message.role,
            "content": message.content or None,
            "tool_calls": [_tool_call(use) for use in message.tool_uses],
        }
    return {"role": message.role, "content": message.content}


def _tool_call(use: ToolUse) -> dict[str, Any]:
    return {"id": use.call_id, "type": "function", "function": {"name": use.name, "arguments": use.args}}


def _tool(tool: ToolDefinition, provider: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.schema:
        try:
            function["parameters"] = json.loads(tool.schema)
        except ValueError as error:
            raise _refused(provider, f'the schema of tool "{tool.name}"', f"is not JSON ({error})") from error
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> str | dict[str, Any]:
    if not choice or choice in _TOOL_CHOICES:
        return _TOOL_CHOICES.get(choice, "")
    return {"type": "function", "function": {"name": choice}}
