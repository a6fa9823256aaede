"""A turn as Anthropic's Messages wire shows it. Pure: values in, bytes out.

Strategy: the vendor sends a message as a row of blocks. Neighbouring pieces of text, and of reasoning, are one block; a
call is a block from its start to its end. Counts of the input stand in the first event, the others in the last but one.
"""

from __future__ import annotations

import json
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
    assemble,
)
from starling.testing._script import Do, Fail, Hang
from starling.testing._wire import Wire, last_usage, pieces, sse_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.testing._script import Step, Turn
    from starling.testing._wire import Part, ReceivedRequest, Reply

__all__ = ["AnthropicWire", "error_body", "message", "stream_parts"]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
"""What the vendor calls an error of that status; others are its own failures."""

_STOP_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
"""The vendor's words for what a script says by default."""


class AnthropicWire(Wire):
    """Messages."""

    request_id_header = "request-id"

    def knows(self, path: str) -> bool:
        """The one endpoint."""
        return path.endswith("/v1/messages")

    def wants_stream(self, request: ReceivedRequest) -> bool:
        """As the body says."""
        return bool(request.body.get("stream"))

    def stream(self, reply: Reply, request: ReceivedRequest, number: int) -> list[Part]:
        """A streamed answer."""
        head = _head(request, number)
        return stream_parts(reply.turn, head=head, fragment=reply.fragment, done=reply.done)

    def whole(self, reply: Reply, request: ReceivedRequest, number: int) -> Any:
        """An answer in one piece."""
        return message(reply.turn, head=_head(request, number))

    def error_body(self, message: str, status: int) -> Any:
        """As the vendor words it."""
        return error_body(message, status)


def error_body(message: str, status: int | None) -> dict[str, Any]:
    """An error as the vendor words it, in an HTTP answer and within a stream alike."""
    return {"type": "error", "error": {"type": _ERROR_TYPES.get(status or 500, "api_error"), "message": message}}


def stream_parts(turn: Turn, *, head: dict[str, Any], fragment: int, done: bool) -> list[Part]:
    """A streamed answer.

    Args:
        turn: what the model says; an exact turn without an `EndChunk` makes an answer without its end.
        head: the message's id and model.
        fragment: characters of tool arguments that one event carries.
        done: whether the last event is sent.
    """
    usage = last_usage(turn) or Usage()
    begun = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": _counts_at_start(usage)}
    parts: list[Part] = [_event({"type": "message_start", "message": begun}), _event({"type": "ping"})]
    blocks = _Blocks(fragment)
    for step in turn.steps:
        match step:
            case Hang() | Do():
                parts.append(step)
            case Fail():
                parts.append(_event(error_body(str(step.error), step.status)))
            case EndChunk():
                ending = [*blocks.close(), *_ending(step.stop_reason, usage, done=done)]
                parts += [_event(body) for body in ending]
            case _:
                parts += [_event(body) for body in blocks.take(step)]
    return parts


def message(turn: Turn, *, head: dict[str, Any]) -> dict[str, Any]:
    """The answer as one JSON object, for requests that do not stream.

    Raises:
        InvalidStreamError: the turn is not a whole answer.
    """
    response = assemble([step for step in turn.steps if not isinstance(step, Fail | Hang | Do)])
    content = [
        {"type": "redacted_thinking", "data": block.content}
        if block.redacted
        else {"type": "thinking", "thinking": block.content, "signature": block.signature.decode()}
        for block in response.reasoning
    ]
    content += [{"type": "text", "text": response.text}] if response.text else []
    content += [
        {"type": "tool_use", "id": use.call_id, "name": use.name, "input": json.loads(use.raw_args or "{}")}
        for use in response.tool_uses
    ]
    usage = {**_counts_at_start(response.usage), "output_tokens": response.usage.output_tokens}
    stop_reason = _STOP_REASONS.get(response.stop_reason, response.stop_reason)
    return {**head, "content": content, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage}


class _Blocks:
    """The blocks of one message: which are open, and what each step makes of them."""

    def __init__(self, fragment: int) -> None:
        self._fragment = fragment
        self._begun = 0
        self._open: dict[str, int] = {}
        """Where the open blocks stand, under their call's id or, for text and thinking, their type."""

    def take(self, step: Step) -> Iterator[dict[str, Any]]:
        """The events of a step."""
        match step:
            case TextChunk():
                yield from self._piece("text", {"type": "text", "text": ""}, text=step.text)
            case ReasoningChunk():
                yield from self._reasoning(step)
            case RedactedThinkingChunk():
                yield from self._start("", {"type": "redacted_thinking", "data": step.text})
                yield from self._stop("")
            case ToolUseStart():
                yield from self._start(
                    step.call_id, {"type": "tool_use", "id": step.call_id, "name": step.name, "input": {}}
                )
            case ToolUseDelta():
                for piece in pieces(step.args, self._fragment):
                    yield self._delta(step.call_id, "input_json_delta", partial_json=piece)
            case ToolUseEnd():
                yield from self._stop(step.call_id)
            case UsageChunk():
                return

    def close(self) -> Iterator[dict[str, Any]]:
        """The ends of what is still open."""
        for key in list(self._open):
            yield from self._stop(key)

    def _reasoning(self, step: ReasoningChunk) -> Iterator[dict[str, Any]]:
        yield from self._piece("thinking", {"type": "thinking", "thinking": "", "signature": ""}, thinking=step.text)
        if step.signature:
            yield self._delta("thinking", "signature_delta", signature=step.signature.decode())
            yield from self._stop("thinking")

    def _piece(self, kind: str, empty: dict[str, Any], **text: str) -> Iterator[dict[str, Any]]:
        if kind not in self._open:
            yield from self._start(kind, empty)
        if all(text.values()):
            yield self._delta(kind, f"{kind}_delta", **text)

    def _start(self, key: str, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for other in {"text", "thinking"} & self._open.keys():
            yield from self._stop(other)
        self._open[key] = self._begun
        self._begun += 1
        yield {"type": "content_block_start", "index": self._open[key], "content_block": block}

    def _delta(self, key: str, kind: str, **fields: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._open[key], "delta": {"type": kind, **fields}}

    def _stop(self, key: str) -> Iterator[dict[str, Any]]:
        yield {"type": "content_block_stop", "index": self._open.pop(key)}


def _head(request: ReceivedRequest, number: int) -> dict[str, Any]:
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": request.body.get("model", "")}


def _counts_at_start(usage: Usage) -> dict[str, int]:
    """The vendor has produced a token by then, if it produces any."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_create_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": min(usage.output_tokens, 1),
    }


def _ending(stop_reason: str, usage: Usage, *, done: bool) -> list[dict[str, Any]]:
    delta = {"stop_reason": _STOP_REASONS.get(stop_reason, stop_reason), "stop_sequence": None}
    last = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage.output_tokens}}
    return [last, {"type": "message_stop"}] if done else [last]


def _event(body: dict[str, Any]) -> bytes:
    return sse_event(body, name=body["type"])
