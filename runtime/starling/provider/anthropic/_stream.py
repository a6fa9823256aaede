"""The vendor's streamed message to our chunks. Pure: bytes in, chunks out.

Strategy: after the vendor's page "Streaming messages". A message is a row of blocks, each with a start, deltas and an
end; counts of tokens are cumulative; only ``message_stop`` makes it whole. Events and deltas of a kind that is not
known are passed over, because the vendor reserves the right to add some; a *block* of another kind is refused, because
a turn without it would be another answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
from starling.provider._event_reader import EventReader
from starling.provider._types import Usage
from starling.provider._vendor_errors import error_from_report
from starling.provider.anthropic._errors import ERROR_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MessageReader"]

_COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_create_tokens": "cache_creation_input_tokens",
}
"""Our counts and the vendor's, who does not count what was read from the cache, or written to it, as input."""

_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
"""The blocks that a turn can hold. Others come from the vendor's own tools, which an agent's log could not replay."""


@dataclass(slots=True, kw_only=True)
class _Block:
    """A block while its pieces arrive.

    Attributes:
        kind: the vendor's type of it.
        call_id: of a tool use.
        arguments: of a tool use, where its start held them already; deltas take their place.
        signature: of a thinking block. The vendor sends it last and whole.
    """

    kind: str
    call_id: str = ""
    arguments: str = ""
    signature: str = ""


@dataclass(slots=True, kw_only=True)
class MessageReader(EventReader):
    """Reads one streamed message; see `EventReader`."""

    _open: dict[int, _Block] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _stop_reason: str = ""
    _stopped: bool = False

    def _ending(self) -> Iterator[Chunk]:
        if not self._stopped:
            raise self._broken_off()
        if not self._stop_reason:
            raise self._invalid("the answer has no stop_reason")
        if self._open:
            raise self._invalid(f"block {min(self._open)} has no end")
        yield EndChunk(stop_reason=self._stop_reason, raw_response_hash=self._raw_hash(), request_id=self.request_id)

    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        match self._text(event, "type"):
            case "content_block_delta":
                yield from self._delta(self._block(event), self._object(event, "delta"))
            case "content_block_start":
                yield from self._start(self._index(event), self._object(event, "content_block"))
            case "content_block_stop":
                yield from self._stop(self._block(event))
                del self._open[self._index(event)]
            case "message_start":
                yield from self._usage(self._object(self._object(event, "message"), "usage"))
            case "message_delta":
                self._stop_reason = self._text(self._object(event, "delta"), "stop_reason") or self._stop_reason
                yield from self._usage(self._object(event, "usage"))
            case "message_stop":
                self._stopped = self._saw_done = True
            case "error":
                raise error_from_report(
                    event, ERROR_CLASSES, provider=self.provider, request_id=self.request_id, secret=self.secret
                )
            case "":
                raise self._invalid("an event has no type")

    def _start(self, index: int, block: dict[str, Any]) -> Iterator[Chunk]:
        kind = self._text(block, "type")
        if kind not in _BLOCKS:
            raise self._invalid(f'a block of type "{kind}" has no place in a turn')
        if index in self._open:
            raise self._invalid(f"block {index} began twice")
        opened = self._open[index] = _Block(kind=kind)
        match kind:
            case "text":
                yield from self._delta(opened, {**block, "type": "text_delta"})
            case "thinking":
                opened.signature = self._text(block, "signature")
                yield from self._delta(opened, {**block, "type": "thinking_delta"})
            case "redacted_thinking":
                yield RedactedThinkingChunk(text=self._text(block, "data"))
            case _:
                yield self._call(opened, block)

    def _call(self, opened: _Block, block: dict[str, Any]) -> Chunk:
        opened.call_id, name = self._text(block, "id"), self._text(block, "name")
        if not opened.call_id or not name:
            raise self._invalid("a tool use has no id or no name")
        given = self._object(block, "input")
        opened.arguments = json.dumps(given, ensure_ascii=False) if given else ""
        return ToolUseStart(call_id=opened.call_id, name=name)

    def _delta(self, block: _Block, delta: dict[str, Any]) -> Iterator[Chunk]:
        match block.kind, self._text(delta, "type"):
            case "text", "text_delta":
                if text := self._text(delta, "text"):
                    yield TextChunk(text=text)
            case "tool_use", "input_json_delta":
                if piece := self._text(delta, "partial_json"):
                    block.arguments = ""
                    yield ToolUseDelta(call_id=block.call_id, args=piece)
            case "thinking", "thinking_delta":
                if text := self._text(delta, "thinking"):
                    yield ReasoningChunk(text=text)
            case "thinking", "signature_delta":
                block.signature = self._text(delta, "signature") or block.signature
            case _, "text_delta" | "input_json_delta" | "thinking_delta" | "signature_delta" as kind:
                raise self._invalid(f"a {kind} in a block of type {block.kind}")

    def _stop(self, block: _Block) -> Iterator[Chunk]:
        if block.signature:
            yield ReasoningChunk(signature=self._signature(block.signature))
        if block.arguments:
            yield ToolUseDelta(call_id=block.call_id, args=block.arguments)
        if block.call_id:
            yield ToolUseEnd(call_id=block.call_id)

    def _block(self, event: dict[str, Any]) -> _Block:
        index = self._index(event)
        block = self._open.get(index)
        if block is None:
            raise self._invalid(f"block {index} is not open")
        return block

    def _index(self, event: dict[str, Any]) -> int:
        index = event.get("index")
        if not isinstance(index, int):
            raise self._invalid("an event of a block has no index")
        return index

    def _usage(self, reported: dict[str, Any]) -> Iterator[Chunk]:
        """The counts so far: an event states those that changed, and null for others."""
        stated = {name: self._count(reported, name) for name in _COUNTS.values() if reported.get(name) is not None}
        if stated:
            self._counts |= stated
            yield UsageChunk(usage=Usage(**{ours: self._counts.get(theirs, 0) for ours, theirs in _COUNTS.items()}))
