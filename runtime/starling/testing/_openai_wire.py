"""A turn as OpenAI's chat-completions wire shows it. Pure: values in, bytes out.

Strategy: every step of a turn is one event, but for token counts, which the vendor sends last, and arguments, which it
sends in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling.provider import (
    EndChunk,
    ReasoningChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    UsageChunk,
    assemble,
)
from starling.testing._script import Do, Fail, Hang
from starling.testing._wire import Wire, last_usage, no_words, pieces, sse_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starling.provider import Usage
    from starling.testing._script import Step, Turn
    from starling.testing._wire import Part, ReceivedRequest, Reply

__all__ = ["Dialect", "OpenAIWire", "completion", "counts", "error_body", "stream_parts", "text_delta"]

_VENDOR = "OpenAI"

_ERROR_TYPES: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_error"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
"""What the vendor calls an error of that status: its ``type`` and its ``code``. Others are server errors."""

_DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a gateway that speaks this wire says in its own way.

    Attributes:
        delta: a piece of text or reasoning, as a choice's delta.
        counts: the token counts.
        failure: an error in the middle of a stream, as an event; takes its message and its status.
    """

    delta: Callable[[Step], dict[str, Any]]
    counts: Callable[[Usage], dict[str, Any]]
    failure: Callable[[str, int | None], dict[str, Any]]


class OpenAIWire(Wire):
    """Chat completions."""

    def knows(self, path: str) -> bool:
        """The one endpoint."""
        return path.endswith("/chat/completions")

    def wants_stream(self, request: ReceivedRequest) -> bool:
        """As the body says."""
        return bool(request.body.get("stream"))

    def stream(self, reply: Reply, request: ReceivedRequest, number: int) -> list[Part]:
        """A streamed answer."""
        return stream_parts(
            reply.turn,
            model=request.body.get("model", ""),
            completion_id=f"chatcmpl-{number}",
            include_usage=bool((request.body.get("stream_options") or {}).get("include_usage")),
            fragment=reply.fragment,
            done=reply.done,
        )

    def whole(self, reply: Reply, request: ReceivedRequest, number: int) -> Any:
        """An answer in one piece."""
        return completion(reply.turn, model=request.body.get("model", ""), completion_id=f"chatcmpl-{number}")

    def error_body(self, message: str, status: int) -> Any:
        """As the vendor words it."""
        return error_body(message, status)


def error_body(message: str, status: int | None) -> dict[str, Any]:
    """An error as the vendor words it, in an HTTP answer and within a stream alike."""
    kind, code = _ERROR_TYPES.get(status or 500, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def stream_parts(
    turn: Turn,
    *,
    model: str,
    completion_id: str,
    include_usage: bool,
    fragment: int,
    done: bool,
    dialect: Dialect | None = None,
) -> list[Part]:
    """A streamed answer.

    Args:
        turn: what the model says; an exact turn without an `EndChunk` makes an answer without a finish reason.
        model: echoed in every event.
        completion_id: the id in every event.
        include_usage: whether the request asked for token counts.
        fragment: characters of tool arguments that one event carries.
        done: whether the end marker is sent.
        dialect: a gateway's own way; None is OpenAI's.

    Raises:
        StarlingError: the turn holds something that this wire has no words for.
    """
    head = {"id": completion_id, "object": "chat.completion.chunk", "created": 0, "model": model}
    usage = last_usage(turn) if include_usage else None
    words = dialect or Dialect(delta=text_delta, counts=counts, failure=error_body)
    parts: list[Part] = [sse_event({**head, "choices": [_choice({"role": "assistant", "content": ""})]})]
    parts += [
        item if isinstance(item, Hang | Do) else sse_event({**head, **item})
        for item in _contents(turn, fragment, words)
    ]
    if usage is not None:
        parts.append(sse_event({**head, "choices": [], "usage": words.counts(usage)}))
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
        raise no_words(_VENDOR, "signed or redacted reasoning")
    if response.reasoning:
        message["reasoning_content"] = "".join(block.content for block in response.reasoning)
    choice = {"index": 0, "message": message, "finish_reason": response.stop_reason, "logprobs": None}
    head = {"id": completion_id, "object": "chat.completion", "created": 0, "model": model}
    return {**head, "choices": [choice], "usage": counts(response.usage)}


def _contents(turn: Turn, fragment: int, words: Dialect) -> Iterator[dict[str, Any] | Hang | Do]:
    """The turn's steps as event bodies; token counts are held back, because the vendor sends them last."""
    index: dict[str, int] = {}
    for step in turn.steps:
        match step:
            case Hang() | Do():
                yield step
            case Fail():
                yield words.failure(str(step.error), step.status)
            case ToolUseStart() | ToolUseDelta():
                at = index.setdefault(step.call_id, len(index))
                for piece in _call_pieces(step, fragment):
                    yield {"choices": [_choice({"tool_calls": [{"index": at, **piece}]})]}
            case EndChunk():
                yield {"choices": [_choice({}, step.stop_reason)]}
            case ToolUseEnd() | UsageChunk():
                continue
            case _:
                yield {"choices": [_choice(words.delta(step))]}


def text_delta(step: Step) -> dict[str, Any]:
    """A piece of text or reasoning, as a choice's delta.

    Raises:
        StarlingError: the step is neither, or reasoning that this wire cannot carry.
    """
    match step:
        case TextChunk():
            return {"content": step.text}
        case ReasoningChunk() if not step.signature:
            return {"reasoning_content": step.text}
    raise no_words(_VENDOR, type(step).__name__)


def _call_pieces(step: ToolUseStart | ToolUseDelta, fragment: int) -> list[dict[str, Any]]:
    if isinstance(step, ToolUseStart):
        return [{"id": step.call_id, "type": "function", "function": {"name": step.name, "arguments": ""}}]
    return [{"function": {"arguments": piece}} for piece in pieces(step.args, fragment)]


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def counts(usage: Usage) -> dict[str, Any]:
    """Token counts; those of the prompt cache are part of the prompt's."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_create_tokens,
        },
    }
