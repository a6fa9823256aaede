"""Our request to the arguments of the SDK's ``converse_stream``. Pure.

Strategy: what the request states goes to its named arguments, the vendor's own parameters are named arguments as well.
A name that the vendor does not have is refused before anything is sent, and so is one that would contradict the
request. What stands inside a parameter is checked by the SDK, but for ``additionalModelRequestFields``, which the model
checks. Messages that the vendor sees in one role become one of its messages, because roles have to alternate.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.provider._request_parts import STATED_ALREADY, arguments_object, given_params, refuse, schema_of

if TYPE_CHECKING:
    from starling.provider._types import Message, Reasoning, Request, ToolDefinition, ToolResult, ToolUse

__all__ = ["converse_arguments"]

_Block: TypeAlias = dict[str, Any]

_PASSED_THROUGH = frozenset(
    {
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "inferenceConfig",
        "outputConfig",
        "performanceConfig",
        "promptVariables",
        "requestMetadata",
        "serviceTier",
    }
)
"""The vendor's parameters, as its API reference names them (ConverseStream, request body)."""

_CACHE_POINTS = "cachePoints"
_CACHE_PLACES = {"messages": "messages", "system": "system_prompt", "tools": "tools"}
"""``cachePoints`` is our one parameter beside the vendor's: where to put its cache points, whose places in the request
are not the user's to write. By place, the request's field that is cached there."""

_REFUSED_PARAMS = {
    "modelId": "set Config.model instead",
    "messages": "the agent writes the messages",
    "system": "set Config.system_prompt instead",
    "toolConfig": "pass tools to the agent instead",
}
"""Parameters that the adapter decides, and what to do instead."""

_ROLES = {"user": "user", "tool": "user", "assistant": "assistant"}

_TOOL_CHOICES = frozenset({"auto", "any"})


def converse_arguments(request: Request, *, provider: str) -> dict[str, Any]:
    """The keyword arguments for ``converse_stream``.

    Args:
        request: what the agent asks.
        provider: the provider's id, for errors.

    Raises:
        ProviderError: ``request.params`` is not a mapping, or holds a parameter that cannot be passed through; the
            request holds what this wire cannot carry.
    """
    params = _params(request, provider)
    points = _cache_points(request, params.pop(_CACHE_POINTS, {}), provider)
    tools = _tool_config(request, points, provider)
    arguments = {
        "modelId": request.model,
        "messages": _messages(request, points, provider),
        "system": _system(request, points),
        "inferenceConfig": _inference_config(request, params.pop("inferenceConfig", {}), provider),
        "toolConfig": tools,
        "additionalModelRequestFields": _model_fields(
            request, params.pop("additionalModelRequestFields", {}), provider
        ),
    }
    return {name: value for name, value in arguments.items() if value} | params


# --- parameters


def _params(request: Request, provider: str) -> dict[str, Any]:
    """The vendor's parameters as a fresh dict, refused where they cannot be passed through."""
    given = given_params(request, provider)
    for name in given:
        if name in _REFUSED_PARAMS:
            refuse(provider, f"params.{name}", _REFUSED_PARAMS[name])
        if name not in _PASSED_THROUGH and name != _CACHE_POINTS:
            known = ", ".join(sorted({*_PASSED_THROUGH, _CACHE_POINTS}))
            refuse(
                provider,
                f"params.{name}",
                f"the vendor has no such parameter; a model's own go into additionalModelRequestFields. Known: {known}",
            )
    return given


def _inference_config(request: Request, given: object, provider: str) -> dict[str, Any]:
    stated = {"maxTokens": request.max_output_tokens or None, "stopSequences": list(request.stop_sequences or ())}
    return _with_stated(stated, given, "params.inferenceConfig", provider)


def _model_fields(request: Request, given: object, provider: str) -> dict[str, Any]:
    # The vendor has no top_k; it is a field of the models that know it.
    return _with_stated({"top_k": request.top_k}, given, "params.additionalModelRequestFields", provider)


def _with_stated(stated: Mapping[str, Any], given: object, field: str, provider: str) -> dict[str, Any]:
    """A parameter of the user's with what the request states; stating one thing twice is refused."""
    present = {name: value for name, value in stated.items() if value not in (None, [])}
    theirs = _mapping(given, field, provider)
    for name in theirs.keys() & present.keys():
        refuse(provider, f"{field}.{name}", STATED_ALREADY)
    return theirs | present


def _cache_points(request: Request, given: object, provider: str) -> dict[str, _Block]:
    """The cache points by place, each as the block that the vendor takes."""
    points = _mapping(given, f"params.{_CACHE_POINTS}", provider)
    blocks = {}
    for place, point in points.items():
        field = f"params.{_CACHE_POINTS}.{place}"
        if place not in _CACHE_PLACES:
            refuse(provider, field, f"places are {', '.join(_CACHE_PLACES)}")
        blocks[place] = _cache_point(point, field, provider)
        if not getattr(request, _CACHE_PLACES[place]):
            refuse(provider, field, f"there is nothing to cache: the request has no {_CACHE_PLACES[place]}")
    return blocks


def _cache_point(point: object, field: str, provider: str) -> _Block:
    return {"cachePoint": _mapping(point, field, provider)}


def _mapping(value: object, field: str, provider: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        refuse(provider, field, f"must be a mapping, not {type(value).__name__}")
    return dict(value)


# --- messages


def _system(request: Request, points: Mapping[str, _Block]) -> list[_Block]:
    if not request.system_prompt:
        return []
    return [{"text": request.system_prompt}, *_at("system", points)]


def _at(place: str, points: Mapping[str, _Block]) -> list[_Block]:
    return [points[place]] if place in points else []


def _messages(request: Request, points: Mapping[str, _Block], provider: str) -> list[dict[str, Any]]:
    ours = [(_role(message, provider), _blocks(message, provider)) for message in request.messages or ()]
    groups = groupby((pair for pair in ours if pair[1]), key=lambda pair: pair[0])
    messages = [{"role": role, "content": [block for _, blocks in group for block in blocks]} for role, group in groups]
    if messages:
        messages[-1]["content"] += _at("messages", points)
    return messages


def _role(message: Message, provider: str) -> str:
    if message.role not in _ROLES:
        refuse(provider, f'a message of role "{message.role}"', "this wire has user, assistant and tool")
    return _ROLES[message.role]


def _blocks(message: Message, provider: str) -> list[_Block]:
    # Unsigned reasoning is not given back: Claude and DeepSeek refuse it, and no model asks for it.
    blocks = [_reasoning(block, provider) for block in message.reasoning if block.redacted or block.signature]
    # The vendor refuses texts of nothing but white space, its model's own ones included.
    if message.content.strip():
        blocks.append({"text": message.content})
    blocks += [_tool_use(use) for use in message.tool_uses or ()]
    if message.tool_result is not None:
        blocks.append(_tool_result(message.tool_result))
    point = (message.annotations or {}).get("cachePoint")
    return blocks if point is None else [*blocks, _cache_point(point, "the annotation cachePoint", provider)]


def _reasoning(block: Reasoning, provider: str) -> _Block:
    """A block as the vendor gave it."""
    try:
        if block.redacted:
            return {"reasoningContent": {"redactedContent": b64decode(block.content, validate=True)}}
        text = {"text": block.content, "signature": block.signature.decode()}
    except ValueError:
        refuse(provider, "a reasoning block", "its signature or its encrypted content is not this vendor's")
    return {"reasoningContent": {"reasoningText": text}}


def _tool_use(use: ToolUse) -> _Block:
    return {"toolUse": {"toolUseId": use.call_id, "name": use.name, "input": arguments_object(use.args)}}


def _tool_result(result: ToolResult) -> _Block:
    content = [{"text": result.content}] if result.content.strip() else []
    # Not every model takes a status; an ordinary result needs none.
    status = {"status": "error"} if result.is_error else {}
    return {"toolResult": {"toolUseId": result.call_id, "content": content, **status}}


# --- tools


def _tool_config(request: Request, points: Mapping[str, _Block], provider: str) -> dict[str, Any]:
    choice = _tool_choice(request.tool_choice, provider)
    if not request.tools:
        if choice:
            refuse(provider, "tool_choice", "there are no tools to choose from")
        return {}
    tools = [*(_tool(tool, provider) for tool in request.tools), *_at("tools", points)]
    return {"tools": tools, **({"toolChoice": choice} if choice else {})}


def _tool_choice(choice: str, provider: str) -> dict[str, Any]:
    if choice == "none":
        refuse(provider, "tool_choice", "this wire has no way to forbid tools; leave them out of the request instead")
    if not choice:
        return {}
    return {choice: {}} if choice in _TOOL_CHOICES else {"tool": {"name": choice}}


def _tool(tool: ToolDefinition, provider: str) -> _Block:
    described = {"description": tool.description} if tool.description else {}
    schema = schema_of(tool, provider)
    taken = {"json": {"type": "object"} if schema is None else schema}
    return {"toolSpec": {"name": tool.name, **described, "inputSchema": taken}}
