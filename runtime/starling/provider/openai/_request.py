"""Our request to the arguments of the SDK's ``chat.completions.create``. Pure.

Strategy: what the request states goes to named arguments, the vendor's own parameters go into the body as they are.
Nothing is dropped silently: a parameter that would contradict the request, or ask for an answer that the chunk
contract cannot carry, is refused before anything is sent. Reasoning and annotations are not sent: this wire has no
place for them and the vendor refuses fields it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starling.provider._request_parts import STATED_ALREADY, given_params, refuse, schema_of

if TYPE_CHECKING:
    from starling.provider._types import Message, Request, ToolDefinition, ToolUse

__all__ = ["REFUSED_PARAMS", "create_arguments"]

_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}

REFUSED_PARAMS = {
    "model": "set Config.model instead",
    "messages": "the agent writes the messages",
    "tools": "pass tools to the agent instead",
    "functions": "pass tools to the agent instead",
    "function_call": "use tool_choice instead",
    "stream": "answers are always streamed",
    "audio": "answers are text here",
    "image_config": "answers are text here",  # OpenRouter's
    "modalities": "answers are text here",
    "extra_headers": "pass an http_client with these headers to the provider instead",
    "extra_query": "pass a base_url with this query, or an http_client, to the provider instead",
    "timeout": "pass timeout to the provider instead",
}
"""Parameters that the adapter decides, and what to do instead."""

_OWNED_BY_REQUEST = ("tool_choice", "stop", "top_k", "max_tokens", "max_completion_tokens")
"""Parameters that a request may state itself; stating one twice is refused."""

_SAME_CAP = frozenset({"max_tokens", "max_completion_tokens"})
"""Two names of one parameter; which of them a request states depends on the endpoint."""


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
    extra = _params(request, stated, provider)
    options = {"include_usage": True, **extra.pop("stream_options", {})}
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
    """The vendor's parameters as a fresh dict, those in ``extra_body`` included; refused where they cannot be sent."""
    params = given_params(request, provider)
    nested = params.pop("extra_body", {})
    if not isinstance(nested, Mapping):
        refuse(provider, "params.extra_body", "must be a mapping")
    for name in params.keys() & nested.keys():
        refuse(provider, f"params.extra_body.{name}", "stands in params as well; give it once")
    for place, given in (("params", params), ("params.extra_body", nested)):
        for name, value in given.items():
            problem = _problem(name, value, stated)
            if problem:
                refuse(provider, f"{place}.{name}", problem)
    return {**nested, **params}


def _problem(name: str, value: object, stated: Mapping[str, Any]) -> str:
    if name in REFUSED_PARAMS:
        return REFUSED_PARAMS[name]
    if (name in _OWNED_BY_REQUEST and name in stated) or (name in _SAME_CAP and _SAME_CAP & stated.keys()):
        return STATED_ALREADY
    if name == "stream_options" and not isinstance(value, Mapping):
        return "must be a mapping"
    if name == "n" and value not in (None, 1):
        return "must be 1: a turn has one answer"
    return ""


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
    schema = schema_of(tool, provider)
    if schema is not None:
        function["parameters"] = schema
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> str | dict[str, Any]:
    if not choice or choice in _TOOL_CHOICES:
        return _TOOL_CHOICES.get(choice, "")
    return {"type": "function", "function": {"name": choice}}
