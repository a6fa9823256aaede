"""OpenAI's chat completions."""

import json

from kits._kit import KEY, Kit
from starling.provider.openai import OpenAI
from starling.testing import OpenAIServer


def chunk(*choices, **fields):
    """An event as the API reference shows it ("The chat completion chunk object")."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body = {**head, "choices": list(choices), **fields}
    return f"data: {json.dumps(body, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def choice(delta, reason=None):
    return {"index": 0, "delta": delta, "finish_reason": reason}


def call(index, arguments, name=None, **fields):
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return choice({"tool_calls": [{"index": index, **fields, "function": function}]})


USAGE = {
    "prompt_tokens": 81,
    "completion_tokens": 20,
    "total_tokens": 101,
    "prompt_tokens_details": {"cached_tokens": 64},
}
DONE = b"data: [DONE]\n\n"

RECORDED = {
    # Reasoning is what compatible servers add.
    "reasoning, text and a call": (
        chunk(choice({"role": "assistant", "reasoning_content": "Oslo.", "content": "Grüß "})),
        chunk(choice({"content": "dich."})),
        chunk(call(0, '{"city":', "weather", id="call_Xy", type="function")),
        chunk(call(0, '"Oslo"}')),
        chunk(choice({}, "tool_calls")),
        chunk(usage=USAGE),
        DONE,
    ),
}


def provider(server, **options):
    return OpenAI(**{"base_url": server.base_url, "api_key": KEY, **options})


KIT = Kit(
    vendor="openai",
    sdk=("openai", "httpx2"),
    variable="OPENAI_API_KEY",
    server=OpenAIServer,
    provider=provider,
    keyless=OpenAI,
    recorded=RECORDED,
)
