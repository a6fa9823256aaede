"""The vendor's streamed answer to our chunks. Pure: bytes in, chunks out.

Strategy: an answer is whole only when the vendor gave a finish reason and then ended the stream as the wire says.
Compatible servers differ in small things (``reasoning_content``, no ``[DONE]``, pieces of calls without an index).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starling.provider._chunks import (
    Chunk,
    EndChunk,
    ReasoningChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    UsageChunk,
)
from starling.provider._event_reader import EventReader
from starling.provider._types import Usage
from starling.provider._vendor_errors import error_from_report
from starling.provider.openai._errors import ERROR_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AnswerReader"]

_TEXT_FIELDS: tuple[tuple[str, type[TextChunk | ReasoningChunk]], ...] = (
    ("reasoning_content", ReasoningChunk),  # DeepSeek, vLLM, SGLang
    ("reasoning", ReasoningChunk),  # OpenRouter, Ollama, newer vLLM
    ("content", TextChunk),
    ("refusal", TextChunk),  # a refusal is the answer; without it the turn would look empty
)
"""Fields of a delta that hold text, in the order in which a model produces them."""

_NO_PLACE = {
    "function_call": "was used in place of tool_calls",
    "audio": "is a part of the answer that no chunk can carry",
    "images": "are a part of the answer that no chunk can carry",  # OpenRouter
}
"""Fields of a delta without which the answer would be half of one."""


@dataclass(slots=True)
class _OpenCall:
    """A planned call while its pieces arrive; ``held`` is what came before the name was known."""

    call_id: str = ""
    name: str = ""
    held: str = ""
    started: bool = False


@dataclass(slots=True, kw_only=True)
class AnswerReader(EventReader):
    """Reads one streamed answer; see `EventReader`."""

    _calls: list[_OpenCall] = field(default_factory=list)
    _by_index: dict[int, _OpenCall] = field(default_factory=dict)
    _finish_reason: str = ""
    _saw_usage: bool = False

    def _ending(self) -> Iterator[Chunk]:
        # Usage comes after the finish reason and is the last thing before [DONE], which some servers omit.
        if not self._finish_reason and self._saw_done:
            raise self._invalid("the answer has no finish_reason")
        if not self._finish_reason or not (self._saw_done or self._saw_usage):
            raise self._broken_off()
        yield from self._end_calls()
        yield EndChunk(stop_reason=self._finish_reason, raw_response_hash=self._raw_hash(), request_id=self.request_id)

    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        if event.get("error") or "error" in (event.get("object"), event.get("type")):
            raise error_from_report(
                event, ERROR_CLASSES, provider=self.provider, request_id=self.request_id, secret=self.secret
            )
        yield from self._choices(event)
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._saw_usage = True
            yield UsageChunk(usage=self._usage(usage))

    def _choices(self, event: dict[str, Any]) -> Iterator[Chunk]:
        for choice in self._list(event, "choices"):
            if self._position(choice, "index") != 0:
                raise self._invalid("there is more than one choice")
            yield from self._delta(self._object(choice, "delta"))
            reason = self._text(choice, "finish_reason")
            self._finish_reason = reason or self._finish_reason

    def _delta(self, delta: dict[str, Any]) -> Iterator[Chunk]:
        seen = ""
        for name, kind in _TEXT_FIELDS:
            text = self._text(delta, name)
            # Some servers send their reasoning under both of its names.
            if text and not (kind is ReasoningChunk and text == seen):
                seen = text
                yield kind(text=text)
        for name, why in _NO_PLACE.items():
            if delta.get(name):
                raise self._invalid(f"{name} {why}")
        for piece in self._list(delta, "tool_calls"):
            yield from self._call_piece(piece)

    def _call_piece(self, piece: dict[str, Any]) -> Iterator[Chunk]:
        function = self._object(piece, "function")
        call = self._call_of(piece)
        call.name = call.name or self._text(function, "name")
        call.held += self._text(function, "arguments")
        if call.name and not call.started:
            call.started = True
            yield ToolUseStart(call_id=call.call_id, name=call.name)
        if call.started and call.held:
            yield ToolUseDelta(call_id=call.call_id, args=call.held)
            call.held = ""

    def _call_of(self, piece: dict[str, Any]) -> _OpenCall:
        """The call a piece belongs to: the one at its index; ids tell calls apart where a server always says 0."""
        call_id = self._text(piece, "id")
        given = piece.get("index")
        index = given if isinstance(given, int) else self._index_of(call_id)
        call = self._by_index.get(index)
        if call is not None and call_id not in {"", call.call_id}:
            call = next((other for other in self._calls if other.call_id == call_id), None)
        if call is None:
            call = _OpenCall(call_id=call_id or f"call_{len(self._calls)}")
            self._calls.append(call)
        self._by_index[index] = call
        return call

    def _index_of(self, call_id: str) -> int:
        """Where a piece without an index belongs: to the call of its id, without one to the latest call."""
        if call_id:
            return next((at for at, call in enumerate(self._calls) if call.call_id == call_id), len(self._calls))
        return max(len(self._calls) - 1, 0)

    def _end_calls(self) -> Iterator[Chunk]:
        for call in self._calls:
            if not call.started:
                raise self._invalid(f'tool call "{call.call_id}" has no name')
            yield ToolUseEnd(call_id=call.call_id)

    def _usage(self, reported: dict[str, Any]) -> Usage:
        """The vendor's counts. ``prompt_tokens`` includes what the cache gave, and so does ``input_tokens``."""
        details = reported.get("prompt_tokens_details")
        cached = details if isinstance(details, dict) else {}
        return Usage(
            input_tokens=self._count(reported, "prompt_tokens"),
            output_tokens=self._count(reported, "completion_tokens"),
            cache_read_tokens=self._count(cached, "cached_tokens"),
            cache_create_tokens=self._count(cached, "cache_write_tokens"),
        )
