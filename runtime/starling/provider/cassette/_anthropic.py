"""Anthropic's message that was given as a whole, cut into the events in which it would have been streamed. Pure."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["as_events"]


def as_events(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The events in which a message would have been streamed. Raises what a dict raises if it is none."""
    if message.get("type") == "error":
        return [message]
    blocks = [event for at, block in enumerate(message["content"]) for event in _block_events(at, block)]
    ending = {"type": "message_delta", "delta": {"stop_reason": message.get("stop_reason")}}
    start = {"type": "message_start", "message": {"usage": message.get("usage")}}
    return [start, *blocks, ending, {"type": "message_stop"}]


def _block_events(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    deltas = []
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": block["text"]}]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
            deltas += [{"type": "signature_delta", "signature": block["signature"]}] if block.get("signature") else []
        case "tool_use":
            deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"], ensure_ascii=False)}]
    bare = {**block, "text": "", "thinking": ""}
    return [
        {"type": "content_block_start", "index": index, "content_block": bare},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]
