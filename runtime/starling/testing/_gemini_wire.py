"""A turn as the Gemini API's wire shows it. Pure: values in, bytes out.

Strategy: every step of a turn is one event. A call comes whole. A signature is a redacted block of the script whose
text says where it stands, as the adapter writes it: ``call <id>`` before that call, or ``text <at>-<at>`` behind that
text.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from starling.provider import (
    EndChunk,
    PlannedCall,
    ReasoningChunk,
    RedactedThinkingChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    UsageChunk,
    assemble,
)
from starling.testing._script import Do, Fail, Hang
from starling.testing._wire import Wire, no_words, sse_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.provider import Usage
    from starling.testing._script import Step, Turn
    from starling.testing._wire import Part, ReceivedRequest, Reply

__all__ = ["GeminiWire", "error_body", "stream_parts"]

_VENDOR = "Gemini"

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_STOP_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}
"""The script's own stop reasons in the vendor's words; others are sent as they are."""


class GeminiWire(Wire):
    """``streamGenerateContent`` and ``generateContent``."""

    request_id_header = ""  # the id of an answer stands in its events

    def knows(self, path: str) -> bool:
        """The two methods of a model."""
        return path.endswith((":streamGenerateContent", ":generateContent"))

    def wants_stream(self, request: ReceivedRequest) -> bool:
        """As the path says."""
        return ":streamGenerateContent" in request.path

    def stream(self, reply: Reply, request: ReceivedRequest, number: int) -> list[Part]:
        """A streamed answer."""
        return stream_parts(reply.turn, **_head(request, number))

    def whole(self, reply: Reply, request: ReceivedRequest, number: int) -> Any:
        """An answer in one piece."""
        turn = reply.turn
        response = assemble([step for step in turn.steps if not isinstance(step, Fail | Hang | Do)])
        events = [event for event in _events(turn) if isinstance(event, dict)]
        parts = [part for event in events for one in event.get("candidates", []) for part in one["content"]["parts"]]
        last = _candidate(*parts, finish_reason=_stop_reason(response.stop_reason))
        counts = {"usageMetadata": _counts(response.usage)}
        return {"candidates": [last], **counts, **_head_fields(**_head(request, number))}

    def error_body(self, message: str, status: int) -> Any:
        """As the vendor words it."""
        return error_body(message, status)


def error_body(message: str, status: int | None) -> dict[str, Any]:
    """An error as the vendor words it, in an HTTP answer and within a stream alike."""
    code = status or 500
    return {"error": {"code": code, "message": message, "status": _STATUS_NAMES.get(code, "UNKNOWN")}}


def stream_parts(turn: Turn, *, model: str, response_id: str) -> list[Part]:
    """A streamed answer.

    Args:
        turn: what the model says; an exact turn without an `EndChunk` makes an answer without a finish reason.
        model: echoed in every event.
        response_id: the id in every event.

    Raises:
        StarlingError: the turn holds something that this wire has no words for.
    """
    head = _head_fields(model=model, response_id=response_id)
    return [item if isinstance(item, Hang | Do) else sse_event({**item, **head}) for item in _events(turn)]


def _head(request: ReceivedRequest, number: int) -> dict[str, str]:
    model = request.path.partition("/models/")[2].partition(":")[0]
    return {"model": model, "response_id": f"req_{number}"}


def _head_fields(*, model: str, response_id: str) -> dict[str, str]:
    return {"modelVersion": model, "responseId": response_id}


def _events(turn: Turn) -> Iterator[dict[str, Any] | Hang | Do]:
    """The turn's steps as event bodies; token counts are those of the request so far, as the vendor sends them."""
    calls = {use.call_id: use for use in _calls(turn)}
    signatures: dict[str, bytes] = {}
    counts: dict[str, Any] = {}
    for step in turn.steps:
        match step:
            case Hang() | Do():
                yield step
            case Fail():
                yield error_body(str(step.error), step.status)
            case UsageChunk():
                counts = {"usageMetadata": _counts(step.usage)}
            case RedactedThinkingChunk() if step.text.startswith("call "):
                signatures[step.text.removeprefix("call ")] = step.signature
            case ToolUseStart():
                yield {"candidates": [_candidate(_call(calls[step.call_id], signatures))], **counts}
            case EndChunk():
                yield {"candidates": [_candidate({"text": ""}, finish_reason=_stop_reason(step.stop_reason))], **counts}
            case ToolUseDelta() | ToolUseEnd():
                continue
            case _:
                yield {"candidates": [_candidate(_text(step))], **counts}


def _calls(turn: Turn) -> list[PlannedCall]:
    """The turn's calls, each with its whole arguments."""
    pieces = [step for step in turn.steps if isinstance(step, ToolUseStart | ToolUseDelta | ToolUseEnd)]
    return list(assemble([*pieces, EndChunk(stop_reason="")]).tool_uses)


def _call(use: PlannedCall, signatures: dict[str, bytes]) -> dict[str, Any]:
    try:
        args = json.loads(use.raw_args or "{}")
    except ValueError:
        args = None
    if not isinstance(args, dict):
        raise no_words(_VENDOR, "arguments that are not a JSON object")
    part = {"functionCall": {"name": use.name, "args": args, "id": use.call_id}}
    return _signed(part, signatures.get(use.call_id, b""))


def _text(step: Step) -> dict[str, Any]:
    match step:
        case TextChunk():
            return {"text": step.text}
        case ReasoningChunk():
            return _signed({"text": step.text, "thought": True}, step.signature)
        case RedactedThinkingChunk() if step.text.startswith("text "):
            return _signed({"text": ""}, step.signature)
    raise no_words(_VENDOR, type(step).__name__)


def _signed(part: dict[str, Any], signature: bytes) -> dict[str, Any]:
    return {**part, "thoughtSignature": base64.b64encode(signature).decode()} if signature else part


def _candidate(*parts: dict[str, Any], finish_reason: str = "") -> dict[str, Any]:
    finish = {"finishReason": finish_reason} if finish_reason else {}
    return {"content": {"role": "model", "parts": list(parts)}, **finish, "index": 0}


def _stop_reason(reason: str) -> str:
    return _STOP_REASONS.get(reason, reason)


def _counts(usage: Usage) -> dict[str, int]:
    if usage.cache_create_tokens:
        raise no_words(_VENDOR, "tokens written to a cache")
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    return {**counts, "cachedContentTokenCount": usage.cache_read_tokens} if usage.cache_read_tokens else counts
