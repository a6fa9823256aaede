"""Anthropic's messages as chunks: the events of a stream, and a whole message cut into them. Pure.

Read as plain JSON, after the vendor's page "Streaming messages": blocks come one after another, each with a start, its
deltas and an end; the counts of tokens are cumulative. An answer is whole only once its ``message_stop`` was read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starling._blake3 import digest
from starling.errors import InvalidStreamError, NetworkError
from starling.provider._chunks import (
    Chunk,
    EndChunk,
    ReasoningChunk,
    RedactedThinkingChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    UsageChunk,
)
from starling.provider._errors import provider_error_text
from starling.provider._types import Usage
from starling.provider.openai._errors import error_from_body
from starling.provider.openai._sse import SSEDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MessageReader", "as_events"]

_DONE = b"[DONE]"
_COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_create_tokens": "cache_creation_input_tokens",
}
"""Our counts and the vendor's, who does not count what was read from the cache, or written to it, as input."""


@dataclass(slots=True, kw_only=True)
class MessageReader:
    """Reads one streamed message.

    Attributes:
        provider: the provider's id, for errors.
        request_id: the vendor's id of the request, from the response's headers.
    """

    provider: str
    request_id: str = ""
    _decoder: SSEDecoder = field(default_factory=SSEDecoder)
    _payloads: list[bytes] = field(default_factory=list)
    _calls: dict[Any, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _stop_reason: str = ""
    _stopped: bool = False

    def feed(self, block: bytes) -> Iterator[Chunk]:
        """The chunks that the next bytes complete.

        Raises:
            ProviderError: an event is the vendor's error report; classed by its type.
            InvalidStreamError: an event is not what the wire says.
        """
        for data in self._decoder.feed(block):
            yield from self._event(data)

    def finish(self) -> Iterator[Chunk]:
        """The chunks that end the answer. Raises `NetworkError` if the stream broke off."""
        for data in self._decoder.finish():
            yield from self._event(data)
        if not self._stopped:
            text = provider_error_text(self.provider, "the stream broke off before the answer was complete; try again")
            raise NetworkError(text, provider=self.provider, request_id=self.request_id)
        yield EndChunk(
            stop_reason=self._stop_reason,
            raw_response_hash=digest(b"\n".join(self._payloads)),
            request_id=self.request_id,
        )

    def _event(self, data: bytes) -> Iterator[Chunk]:
        if data.strip() == _DONE:  # some gateways end every stream as OpenAI does
            return
        self._payloads.append(data)
        try:
            event = json.loads(data)
            chunks = list(self._content(event))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._invalid(f"event {len(self._payloads)} is not what the vendor documents") from error
        yield from chunks

    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        match event["type"]:
            case "message_start":
                yield from self._usage(event["message"].get("usage"))
            case "content_block_start":
                yield from self._start(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._delta(event["index"], event["delta"])
            case "content_block_stop" if event["index"] in self._calls:
                yield ToolUseEnd(call_id=self._calls.pop(event["index"]))
            case "message_delta":
                self._stop_reason = event["delta"].get("stop_reason") or self._stop_reason
                yield from self._usage(event.get("usage"))
            case "message_stop":
                self._stopped = True
            case "error":
                raise error_from_body(event, provider=self.provider, request_id=self.request_id, secret="")

    def _start(self, index: int, block: dict[str, Any]) -> Iterator[Chunk]:
        match block["type"]:
            case "tool_use":
                self._calls[index] = block["id"]
                yield ToolUseStart(call_id=block["id"], name=block["name"])
            case "redacted_thinking":
                yield RedactedThinkingChunk(text=block["data"])
            case "text" | "thinking" as kind:
                yield from self._delta(index, {"type": f"{kind}_delta", kind: block[kind]})
            case other:
                raise self._invalid(f"a block of type {other!r} has no place in a turn")

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[Chunk]:
        match delta["type"]:
            case "text_delta" if delta["text"]:
                yield TextChunk(text=delta["text"])
            case "thinking_delta" if delta["thinking"]:
                yield ReasoningChunk(text=delta["thinking"])
            case "signature_delta":
                yield ReasoningChunk(signature=delta["signature"].encode())
            case "input_json_delta" if delta["partial_json"]:
                yield ToolUseDelta(call_id=self._calls[index], args=delta["partial_json"])

    def _usage(self, counts: dict[str, Any] | None) -> Iterator[Chunk]:
        if counts:
            self._counts |= {name: count for name, count in counts.items() if isinstance(count, int)}
            yield UsageChunk(usage=Usage(**{ours: self._counts.get(theirs, 0) for ours, theirs in _COUNTS.items()}))

    def _invalid(self, problem: str) -> InvalidStreamError:
        return InvalidStreamError(
            provider_error_text(self.provider, f"invalid stream: {problem}"),
            provider=self.provider,
            request_id=self.request_id,
        )


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
