"""A turn as OpenAI's chat-completions wire shows it. Pure: values in, bytes out.

Strategy: the server asks for the parts of an answer up front, so that what this wire cannot carry fails before a
byte is sent. A streamed answer is a list of events and of the steps that only the server can take (`Hang`, `Do`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.errors import StarlingError
from starling.provider import (
    EndChunk,
    ReasoningChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    UsageChunk,
    assemble,
)
from starling.testing._script import Do, Fail, Hang

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.testing._script import Step, Turn

__all__ = ["Part", "completion", "error_body", "stream_parts"]

Part: TypeAlias = bytes | Hang | Do
"""One event of a stream as bytes, or what the server does at that point."""

_ERROR_TYPES: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_error"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
"""What the vendor calls an error of that status: its ``type`` and its ``code``. Others are server errors."""

_DONE = b"data: [DONE]\n\n"


def error_body(message: str, status: int | None) -> dict[str, Any]:
    """An error as the vendor words it, in an HTTP answer and within a stream alike."""
    kind, code = _ERROR_TYPES.get(status or 500, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def stream_parts(
    turn: Turn, *, model: str, completion_id: str, include_usage: bool, fragment: int, done: bool
) -> list[Part]:
    """A streamed answer.

    Args:
        turn: what the model says; an exact turn without an `EndChunk` makes an answer without a finish reason.
        model: echoed in every event.
        completion_id: the id in every event.
        include_usage: whether the request asked for token counts.
        fragment: characters of tool arguments that one event carries.
        done: whether the end marker is sent.

    Raises:
        StarlingError: the turn holds something that this wire has no words for.
    """
    head = {"id": completion_id, "object": "chat.completion.chunk", "created": 0, "model": model}
    usage = _last_usage(turn) if include_usage else None
    parts: list[Part] = [_event({**head, "choices": [_choice({"role": "assistant", "content": ""})]})]
    parts += [item if isinstance(item, Hang | Do) else _event({**head, **item}) for item in _contents(turn, fragment)]
    if usage is not None:
        parts.append(_event({**head, "choices": [], "usage": _counts(usage)}))
    return [*parts, _DONE] if done else parts


def completion(turn: Turn, *, model: str, completion_id: str) -> dict[str, Any]:
    """The answer as one JSON object, for requests that do not stream.

    Raises:
        InvalidStreamError: the turn is not a whole answer.
        StarlingError: the turn holds something that this wire has no words for.
    """
    chunks = [step for step in turn.steps if not isinstance(step, Fail | Hang | Do)]
    response = assemble(chunks)
    message: dict[str, Any] = {"role": "assistant", "content": response.text or None}
    if response.tool_uses:
        message["tool_calls"] = [
            {"id": use.call_id, "type": "function", "function": {"name": use.name, "arguments": use.raw_args}}
            for use in response.tool_uses
        ]
    if any(block.redacted or block.signature for block in response.reasoning):
        raise _no_words("signed or redacted reasoning")
    if response.reasoning:
        message["reasoning_content"] = "".join(block.content for block in response.reasoning)
    choice = {"index": 0, "message": message, "finish_reason": response.stop_reason, "logprobs": None}
    head = {"id": completion_id, "object": "chat.completion", "created": 0, "model": model}
    return {**head, "choices": [choice], "usage": _counts(response.usage)}


def _contents(turn: Turn, fragment: int) -> Iterator[dict[str, Any] | Hang | Do]:
    """The turn's steps as event bodies; token counts are held back, because the vendor sends them last."""
    index: dict[str, int] = {}
    for step in turn.steps:
        match step:
            case Hang() | Do():
                yield step
            case Fail():
                yield error_body(str(step.error), step.status)
            case ToolUseStart() | ToolUseDelta():
                at = index.setdefault(step.call_id, len(index))
                for piece in _call_pieces(step, fragment):
                    yield {"choices": [_choice({"tool_calls": [{"index": at, **piece}]})]}
            case EndChunk():
                yield {"choices": [_choice({}, step.stop_reason)]}
            case ToolUseEnd() | UsageChunk():
                continue
            case _:
                yield {"choices": [_choice(_text_delta(step))]}


def _text_delta(step: Step) -> dict[str, Any]:
    match step:
        case TextChunk():
            return {"content": step.text}
        case ReasoningChunk() if not step.signature:
            return {"reasoning_content": step.text}
    raise _no_words(type(step).__name__)


def _call_pieces(step: ToolUseStart | ToolUseDelta, fragment: int) -> list[dict[str, Any]]:
    if isinstance(step, ToolUseStart):
        return [{"id": step.call_id, "type": "function", "function": {"name": step.name, "arguments": ""}}]
    pieces = (step.args[at : at + fragment] for at in range(0, len(step.args), fragment))
    return [{"function": {"arguments": piece}} for piece in pieces]


def _no_words(what: str) -> StarlingError:
    return StarlingError(f"OpenAI's wire cannot carry {what} as scripted; take it out of the script")


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _last_usage(turn: Turn) -> Usage | None:
    counts = [step.usage for step in turn.steps if isinstance(step, UsageChunk)]
    return counts[-1] if counts else None


def _counts(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_create_tokens,
        },
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
