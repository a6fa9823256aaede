"""A turn as Bedrock's ConverseStream shows it. Pure: values in, bytes out.

Strategy: content blocks are opened and closed as the steps change from one kind to another; the reason to stop and the
token counts are the last two events. Events travel as binary messages (AWS event stream encoding): lengths, headers, a
JSON payload, and checksums over the lengths and over the whole.
"""

from __future__ import annotations

from binascii import crc32
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starling.provider import (
    EndChunk,
    ReasoningChunk,
    RedactedThinkingChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    UsageChunk,
)
from starling.testing._script import Do, Fail, Hang
from starling.testing._wire import Wire, json_bytes, last_usage, no_words, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from starling.testing._script import Step, Turn
    from starling.testing._wire import Part, ReceivedRequest, Reply

__all__ = ["BedrockWire", "bedrock_event", "event_message"]

_VENDOR = "Bedrock"

_ERROR_NAMES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
"""What the vendor calls an error of that status; others are internal ones."""

_STREAM_ERROR_STATUSES = frozenset({400, 429, 500, 503})
"""The statuses whose exceptions a stream may hold; any other failure is the model's."""

_STOP_REASONS = {"stop": "end_turn", "tool_calls": "tool_use"}
"""A script's own words in the vendor's."""

_TEXT_HEADER = 7
"""The type of a message's header whose value is text."""


class BedrockWire(Wire):
    """ConverseStream."""

    content_type = "application/vnd.amazon.eventstream"
    request_id_header = "x-amzn-requestid"

    def knows(self, path: str) -> bool:
        """The one operation."""
        return path.startswith("/model/") and path.endswith("/converse-stream")

    def stream(self, reply: Reply, request: ReceivedRequest, number: int) -> Sequence[Part]:
        """A streamed answer."""
        del request, number
        return list(_parts(reply.turn, reply.fragment, metadata=reply.done))

    def error_body(self, message: str, status: int) -> Any:
        """The message alone; its name is a header."""
        del status
        return {"message": message}

    def error_headers(self, status: int) -> Mapping[str, str]:
        """The exception's name."""
        return {"x-amzn-errortype": _error_name(status)}


def event_message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One binary message.

    Args:
        headers: by name; names and values are text.
        payload: what it holds.
    """
    head = b"".join(_header(name, value) for name, value in headers.items())
    lengths = _number(4 + 4 + 4 + len(head) + len(payload) + 4) + _number(len(head))
    message = lengths + _number(crc32(lengths)) + head + payload
    return message + _number(crc32(message))


def bedrock_event(kind: str, body: Any) -> bytes:
    """An event of the answer: its type and its JSON."""
    return _json_message({":event-type": kind}, "event", body)


def _exception(failure: Fail) -> bytes:
    name = _error_name(failure.status or 0) if failure.status in _STREAM_ERROR_STATUSES else "ModelStreamErrorException"
    return _json_message({":exception-type": name[0].lower() + name[1:]}, "exception", {"message": str(failure.error)})


def _json_message(headers: Mapping[str, str], kind: str, body: Any) -> bytes:
    return event_message({**headers, ":content-type": "application/json", ":message-type": kind}, json_bytes(body))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return bytes([len(key)]) + key + bytes([_TEXT_HEADER]) + len(text).to_bytes(2, "big") + text


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _error_name(status: int) -> str:
    return _ERROR_NAMES.get(status, "InternalServerException")


# --- the turn


@dataclass(slots=True)
class _Blocks:
    """Which content block is open. Blocks are numbered in the order in which they are opened."""

    count: int = 0
    open_kind: type[Step] | None = None
    by_call: dict[str, int] = field(default_factory=dict)

    def start(self, kind: type[Step]) -> Iterator[bytes]:
        """Go on with a block of that kind: the open one, or a new one behind it."""
        if self.open_kind is not kind:
            yield from self.stop()
            self.open_kind = kind
            self.count += 1

    def stop(self) -> Iterator[bytes]:
        """Close the open block, if one is."""
        if self.open_kind is not None:
            yield _stop(self.count - 1)
        self.open_kind = None

    def delta(self, body: Any, index: int | None = None) -> bytes:
        """A piece of the open block, or of the one with that index."""
        at = self.count - 1 if index is None else index
        return bedrock_event("contentBlockDelta", {"contentBlockIndex": at, "delta": body})


def _stop(index: int) -> bytes:
    return bedrock_event("contentBlockStop", {"contentBlockIndex": index})


def _parts(turn: Turn, fragment: int, *, metadata: bool) -> Iterator[Part]:
    blocks = _Blocks()
    yield bedrock_event("messageStart", {"role": "assistant"})
    for step in turn.steps:
        match step:
            case Hang() | Do():
                yield step
            case Fail():
                yield _exception(step)
            case EndChunk():
                yield from blocks.stop()
                reason = _STOP_REASONS.get(step.stop_reason, step.stop_reason)
                yield bedrock_event("messageStop", {"stopReason": reason})
                if metadata:
                    yield _metadata(last_usage(turn) or Usage())
            case UsageChunk():
                continue  # the vendor counts once, at the end
            case ToolUseStart() | ToolUseDelta() | ToolUseEnd():
                yield from _call(step, blocks, fragment)
            case _:
                yield from _content(step, blocks)


def _call(step: ToolUseStart | ToolUseDelta | ToolUseEnd, blocks: _Blocks, fragment: int) -> Iterator[bytes]:
    match step:
        case ToolUseStart():
            yield from blocks.stop()
            index = blocks.by_call[step.call_id] = blocks.count
            blocks.count += 1
            use = {"toolUseId": step.call_id, "name": step.name}
            yield bedrock_event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": use}})
        case ToolUseDelta():
            for piece in pieces(step.args, fragment):
                yield blocks.delta({"toolUse": {"input": piece}}, blocks.by_call[step.call_id])
        case ToolUseEnd():
            yield _stop(blocks.by_call[step.call_id])


def _content(step: Step, blocks: _Blocks) -> Iterator[bytes]:
    match step:
        case TextChunk():
            yield from blocks.start(TextChunk)
            yield blocks.delta({"text": step.text})
        case ReasoningChunk():
            yield from blocks.start(ReasoningChunk)
            if step.text:
                yield blocks.delta({"reasoningContent": {"text": step.text}})
            if step.signature:
                yield blocks.delta({"reasoningContent": {"signature": step.signature.decode()}})
                yield from blocks.stop()
        case RedactedThinkingChunk() if not step.signature:
            yield from blocks.stop()
            yield from blocks.start(RedactedThinkingChunk)
            yield blocks.delta({"reasoningContent": {"redactedContent": step.text}})
            yield from blocks.stop()
        case _:
            raise no_words(_VENDOR, "a signature on redacted reasoning")


def _metadata(usage: Usage) -> bytes:
    counts = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens,
        "cacheReadInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": usage.cache_create_tokens,
    }
    return bedrock_event("metadata", {"usage": counts, "metrics": {"latencyMs": 1}})
