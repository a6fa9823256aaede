"""Our request to the arguments of the SDK's ``chat.completions.create``, in OpenRouter's words. Pure.

Strategy: OpenAI's translation, and what this gateway has beyond it: reasoning given back, cache markers, and its own
parameters. OpenRouter ignores names that it does not know, so they are refused here by a table; ``extra_body`` takes a
parameter that the table lacks (a vendor's own, which the gateway hands on) as meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starling.provider._request_parts import refuse
from starling.provider.openai._request import REFUSED_PARAMS
from starling.provider.openai._request import create_arguments as openai_arguments
from starling.provider.openrouter._details import detail_of

if TYPE_CHECKING:
    from starling.provider._types import Message, Reasoning, Request

__all__ = ["create_arguments"]

_PARAMS = frozenset[str]().union(
    {"temperature", "top_p", "top_k", "top_a", "min_p", "seed", "n", "stop", "prediction"},
    {"frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs"},
    {"max_tokens", "max_completion_tokens", "verbosity", "response_format", "structured_outputs"},
    {"reasoning", "reasoning_effort", "include_reasoning", "tool_choice", "parallel_tool_calls"},
    {"provider", "models", "route", "service_tier", "preset", "plugins", "web_search_options", "transforms"},
    {"cache_control", "prompt_cache_key", "prompt_cache_options", "session_id"},
    {"user", "metadata", "trace", "debug", "usage", "stream_options", "extra_body"},
)
"""Parameters of a chat completion (API reference, "Parameters" and the chat request's schema)."""

_FIELDS = {
    "provider": frozenset[str]().union(
        {"order", "only", "ignore", "sort", "allow_fallbacks", "require_parameters", "quantizations"},
        {"max_price", "preferred_max_latency", "preferred_min_throughput"},
        {"data_collection", "zdr", "enforce_distillable_text"},
    ),
    "reasoning": frozenset({"effort", "enabled", "exclude", "max_tokens", "summary"}),
}
"""The fields of parameters that are objects, where a misspelled one would change who answers or how."""


def create_arguments(request: Request, *, provider: str) -> dict[str, Any]:
    """The keyword arguments for a streamed chat completion.

    Args:
        request: what the agent asks.
        provider: the provider's id, for errors.

    Raises:
        ProviderError: a parameter is not known or cannot be passed through; a message cannot be sent.
    """
    _check_params(request.params, provider)
    arguments = openai_arguments(request, provider=provider, max_tokens_name="max_tokens")
    ours = request.messages or ()
    theirs = arguments["messages"]
    first = len(theirs) - len(ours)  # the system prompt stands before them
    theirs[first:] = [_completed(sent, message, provider) for sent, message in zip(theirs[first:], ours, strict=True)]
    return arguments


def _check_params(params: Any, provider: str) -> None:
    if not isinstance(params, Mapping):
        return  # None, or refused by OpenAI's translation
    for name, value in params.items():
        if name not in _PARAMS | REFUSED_PARAMS.keys():  # those are refused by OpenAI's translation
            why = "OpenRouter does not know it and would ignore it; give it in extra_body if it is meant"
            refuse(provider, f"params.{name}", why)
        if name in _FIELDS:
            _check_fields(name, value, provider)


def _check_fields(name: str, value: Any, provider: str) -> None:
    if not isinstance(value, Mapping):
        refuse(provider, f"params.{name}", "must be a mapping")
    for field in value:
        if field not in _FIELDS[name]:
            known = ", ".join(sorted(_FIELDS[name]))
            refuse(provider, f"params.{name}.{field}", f"OpenRouter would ignore it; it knows {known}")


# --- messages


def _completed(sent: dict[str, Any], message: Message, provider: str) -> dict[str, Any]:
    """OpenAI's form of a message, with its reasoning and its cache marker."""
    reasoning = _reasoning(message.reasoning, provider) if message.role == "assistant" else {}
    marker = (message.annotations or {}).get("cache_control")
    marked = {} if marker is None else {"content": [_marked(sent.get("content"), marker, provider)]}
    return {**sent, **reasoning, **marked}


def _reasoning(blocks: tuple[Reasoning, ...], provider: str) -> dict[str, Any]:
    """The blocks as they came: as details, or as plain text if there was nothing but text."""
    if not any(block.signature or block.redacted for block in blocks):
        text = "".join(block.content for block in blocks)
        return {"reasoning": text} if text else {}
    try:
        return {"reasoning_details": [detail_of(block) for block in blocks]}
    except UnicodeDecodeError:
        refuse(provider, "a reasoning block", "its signature is not this vendor's")


def _marked(text: Any, marker: Any, provider: str) -> dict[str, Any]:
    if not isinstance(marker, Mapping) or not text:
        refuse(provider, "the annotation cache_control", "it must be an object, on a message that holds text")
    return {"type": "text", "text": text, "cache_control": dict(marker)}
