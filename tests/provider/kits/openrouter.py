"""OpenRouter's chat completions."""

import json

from kits._kit import KEY, Kit
from starling.provider.openrouter import OpenRouter
from starling.testing import OpenRouterServer

HEAD = {"id": "gen-1", "model": "m", "object": "chat.completion.chunk"}
WAITING = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"


def event(delta, reason=None, **fields):
    """An event as the gateway sends it."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {**HEAD, "choices": [choice], **fields}
    return f"data: {json.dumps(body, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def thought(text, **fields):
    """Reasoning comes as plain text and as a detail, in one event."""
    detail = {"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0, **fields}
    return event({"reasoning": text, "reasoning_details": [detail]})


def call(arguments, **fields):
    name = {"name": "weather"} if fields else {}
    return event({"tool_calls": [{"index": 0, **fields, "function": {**name, "arguments": arguments}}]})


USAGE = {
    "prompt_tokens": 81,
    "completion_tokens": 20,
    "cost": 0.000363,
    "prompt_tokens_details": {"cached_tokens": 64},
}

RECORDED = {
    "reasoning, text and a call": (
        WAITING,
        thought("Oslo.", signature="EqQBCg=="),
        event({"content": "Grüß dich."}),
        call('{"city":', id="toolu_01X", type="function"),
        call('"Oslo"}'),
        event({"content": ""}, "tool_calls"),
        event({"content": ""}, usage=USAGE),
        DONE,
    ),
}


def provider(server, **options):
    return OpenRouter(**{"base_url": server.base_url, "api_key": KEY, **options})


KIT = Kit(
    vendor="openrouter",
    sdk=("openai", "httpx2"),
    variable="OPENROUTER_API_KEY",
    server=OpenRouterServer,
    provider=provider,
    keyless=OpenRouter,
    recorded=RECORDED,
    carries_signatures=True,
    carries_redacted=True,
)
