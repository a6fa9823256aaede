"""A turn as OpenRouter's chat completions show it: OpenAI's wire, in the gateway's dialect. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.provider import ReasoningChunk, RedactedThinkingChunk
from starling.testing._openai_wire import Dialect, OpenAIWire, counts, stream_parts, text_delta

if TYPE_CHECKING:
    from starling.provider import Usage
    from starling.testing._script import Step
    from starling.testing._wire import Part, ReceivedRequest, Reply

__all__ = ["OpenRouterWire", "error_body"]

_WAITING = b": OPENROUTER PROCESSING\n\n"
"""The comment that keeps a connection open until the first piece of an answer."""


class OpenRouterWire(OpenAIWire):
    """Chat completions through the gateway. Token counts are always sent."""

    request_id_header = "x-generation-id"

    def stream(self, reply: Reply, request: ReceivedRequest, number: int) -> list[Part]:
        """A streamed answer."""
        parts = stream_parts(
            reply.turn,
            model=request.body.get("model", ""),
            completion_id=f"gen-{number}",
            include_usage=True,
            fragment=reply.fragment,
            done=reply.done,
            dialect=_DIALECT,
        )
        return [_WAITING, *parts]

    def error_body(self, message: str, status: int) -> Any:
        """As the gateway words it."""
        return error_body(message, status)


def error_body(message: str, status: int | None) -> dict[str, Any]:
    """An error as the gateway words it: its code is an HTTP status."""
    return {"error": {"code": status or 502, "message": message}}


def _failure(message: str, status: int | None) -> dict[str, Any]:
    """An error within a stream ends the only choice as well (guide "Streaming", errors in the middle of one)."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    return {**error_body(message, status), "choices": [choice]}


def _delta(step: Step) -> dict[str, Any]:
    match step:
        case RedactedThinkingChunk():
            return {"reasoning_details": [{"type": "reasoning.encrypted", "data": step.text}]}
        case ReasoningChunk() if step.signature:
            detail = {"type": "reasoning.text", "text": step.text, "signature": step.signature.decode()}
            return {"reasoning": step.text, "reasoning_details": [detail]}
        case ReasoningChunk():
            return {"reasoning": step.text}
        case _:
            return text_delta(step)


def _counts(usage: Usage) -> dict[str, Any]:
    stated = {} if usage.cost_usd is None else {"cost": usage.cost_usd}
    return {**counts(usage), **stated}


_DIALECT = Dialect(delta=_delta, counts=_counts, failure=_failure)
