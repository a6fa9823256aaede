"""Google's Gemini API."""

import json

from kits._kit import KEY, Kit
from starling.provider.gemini import Gemini
from starling.testing import GeminiServer


def event(*parts, finish=None, counts=None, **fields):
    """An event in the shape of the API reference ("GenerateContentResponse"), with the line ends that Google sends."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, **({"finishReason": finish} if finish else {})}
    body = {
        "candidates": [{**candidate, "index": 0}],
        "usageMetadata": counts or USAGE_AT_FIRST,
        "modelVersion": "g",
        "responseId": "tTCwacuE",
        **fields,
    }
    return f"data: {json.dumps(body, separators=(',', ':'), ensure_ascii=False)}\r\n\r\n".encode()


USAGE_AT_FIRST = {"promptTokenCount": 81, "totalTokenCount": 81}
USAGE = {
    "promptTokenCount": 81,
    "candidatesTokenCount": 20,
    "totalTokenCount": 131,
    "cachedContentTokenCount": 64,
    "thoughtsTokenCount": 30,
}

RECORDED = {
    "thoughts, text and a signed call": (
        event({"text": "**Looking**", "thought": True}, {"text": "Grüß "}),
        event(
            {"text": "dich."},
            {
                "functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "k2fz"},
                "thoughtSignature": "AY89a18iOc+/VwE=",
            },
        ),
        event({"text": ""}, finish="STOP", counts=USAGE),
    ),
}


def provider(server, **options):
    return Gemini(**{"base_url": server.base_url, "api_key": KEY, **options})


KIT = Kit(
    vendor="gemini",
    sdk=("google.genai", "httpx2"),
    variable="GEMINI_API_KEY",
    server=GeminiServer,
    provider=provider,
    keyless=Gemini,
    recorded=RECORDED,
    carries_signatures=True,
)
