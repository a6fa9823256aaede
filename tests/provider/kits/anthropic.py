"""Anthropic's messages."""

import json

from kits._kit import KEY, Kit
from starling.provider.anthropic import Anthropic
from starling.testing import AnthropicServer


def event(kind, **fields):
    """An event as the vendor's page "Streaming messages" shows it: its type is its name as well."""
    body = json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {body}\n\n".encode()


def start(index, **block):
    return event("content_block_start", index=index, content_block=block)


def delta(index, kind, **fields):
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index):
    return event("content_block_stop", index=index)


USAGE = {"input_tokens": 81, "cache_creation_input_tokens": 16, "cache_read_input_tokens": 64, "output_tokens": 2}
MESSAGE = {"id": "msg_01A", "type": "message", "role": "assistant", "model": "c", "content": []}

RECORDED = {
    "thinking, text and a call": (
        event("message_start", message={**MESSAGE, "stop_reason": None, "usage": USAGE}),
        start(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Oslo."),
        delta(0, "signature_delta", signature="EqQBCgIYAg=="),
        stop(0),
        start(1, type="text", text=""),
        delta(1, "text_delta", text="Grüß dich."),
        stop(1),
        start(2, type="tool_use", id="toolu_01X", name="weather", input={}),
        delta(2, "input_json_delta", partial_json='{"city":"Oslo"}'),
        stop(2),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 20}),
        event("message_stop"),
    ),
}


def provider(server, **options):
    return Anthropic(**{"base_url": server.base_url, "api_key": KEY, **options})


KIT = Kit(
    vendor="anthropic",
    sdk=("anthropic", "httpx2"),
    variable="ANTHROPIC_API_KEY",
    server=AnthropicServer,
    provider=provider,
    keyless=Anthropic,
    recorded=RECORDED,
    carries_signatures=True,
    carries_redacted=True,
)
