"""Chunks to one response: the chunk contract as a state machine (seed page "The streaming chunk contract").

Strategy: two small machines. The stream is open until its `EndChunk`; each planned call is new, open or closed, and
`_CALL_RULES` says what a chunk makes of it. Everything that the tables do not allow is an `InvalidStreamError`, whose
texts are part of the format: they are what RunFailed records, live and in replay.

What belongs here: the order and the shape of chunks. What a call's arguments mean is decided where they are decoded.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from starling._cbor import written
from starling.errors import InvalidStreamError
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
from starling.provider._types import Reasoning, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Assembler", "PlannedCall", "Response", "assemble"]


_NO_USAGE = Usage()
_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_create_tokens")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A tool call as the model wrote it; ``raw_args`` is its argument text, not yet looked at."""

    call_id: str
    name: str
    raw_args: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer of the model.

    Attributes:
        text: all text pieces, joined.
        tool_uses: the planned calls in the order in which they were opened.
        stop_reason: why the model stopped, in the vendor's words.
        usage: the last token counts reported; zeros if there were none.
        raw_response_hash: BLAKE3-256 over what the vendor sent, if the adapter takes it.
        request_id: the vendor's id of the request, "" if it gave none.
        reasoning: the reasoning blocks in their order.
    """

    text: str = ""
    tool_uses: tuple[PlannedCall, ...] = ()
    stop_reason: str = ""
    usage: Usage = _NO_USAGE
    raw_response_hash: bytes | None = None
    request_id: str = ""
    reasoning: tuple[Reasoning, ...] = ()


class _Call(Enum):
    """How far a planned call has come."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


_ToolChunk: TypeAlias = ToolUseStart | ToolUseDelta | ToolUseEnd

_CALL_RULES: dict[tuple[type[_ToolChunk], _Call], _Call | str] = {
    (ToolUseStart, _Call.NEW): _Call.OPEN,
    (ToolUseStart, _Call.OPEN): "duplicate ChunkToolUseStart for CallID",
    (ToolUseStart, _Call.CLOSED): "duplicate ChunkToolUseStart for CallID",
    (ToolUseDelta, _Call.NEW): "ChunkToolUseDelta for unknown CallID",
    (ToolUseDelta, _Call.OPEN): _Call.OPEN,
    (ToolUseDelta, _Call.CLOSED): "ChunkToolUseDelta after ChunkToolUseEnd for CallID",
    (ToolUseEnd, _Call.NEW): "ChunkToolUseEnd for unknown CallID",
    (ToolUseEnd, _Call.OPEN): _Call.CLOSED,
    (ToolUseEnd, _Call.CLOSED): "duplicate ChunkToolUseEnd for CallID",
}
"""What a chunk makes of a call in that state: its next state, or what is wrong. At the end of the stream every call
counts as closed, with or without its `ToolUseEnd`."""

_FIELDS: dict[type[object], tuple[tuple[str, ...], type[object], str]] = {
    TextChunk: (("text",), str, "ChunkText missing text"),
    ReasoningChunk: (("text",), str, "ChunkReasoning missing text"),
    RedactedThinkingChunk: (("text",), str, "ChunkRedactedThinking missing text"),
    ToolUseStart: (("call_id", "name"), str, "ChunkToolUseStart missing ToolUse payload"),
    ToolUseDelta: (("call_id", "args"), str, "ChunkToolUseDelta missing ToolUse payload"),
    ToolUseEnd: (("call_id",), str, "ChunkToolUseEnd missing ToolUse payload"),
    UsageChunk: (("usage",), Usage, "ChunkUsage missing Usage payload"),
    EndChunk: (("stop_reason", "request_id"), str, "ChunkEnd missing stop reason"),
}
"""The chunk kinds, the fields each must fill, with what, and what is wrong if it does not. Adapters that others write
are not type-checked by us."""


class Assembler:
    """Takes the chunks of one model call, in their order, and becomes the response.

    Not thread-safe; one object a call.
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[str, _Call] = {}
        self._names: dict[str, str] = {}
        self._args: dict[str, list[str]] = {}
        self._thinking: list[str] | None = None
        self._reasoning: list[Reasoning] = []
        self._usage = _NO_USAGE
        self._end: EndChunk | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._text)

    @property
    def usage(self) -> Usage:
        """The token counts so far; zeros until the provider reports any."""
        return self._usage

    def feed(self, chunk: Chunk) -> tuple[Reasoning, ...]:
        """Take the next chunk.

        Returns:
            The reasoning blocks that this chunk completed, oldest first: none as a rule, two where a redacted block
            follows an open one. The `EndChunk` completes an open block, so none is left over after it.

        Raises:
            InvalidStreamError: the chunk is not allowed here, or not a chunk.
        """
        self._check(chunk)
        done = len(self._reasoning)
        # Counts may arrive at any time and say nothing about the content; everything else ends an open block.
        if not isinstance(chunk, ReasoningChunk | UsageChunk):
            self._close_reasoning()
        self._take(chunk)
        return tuple(self._reasoning[done:])

    def finish(self) -> Response:
        """The response, once the stream has ended.

        Raises:
            InvalidStreamError: the stream ended without an `EndChunk`.
        """
        if self._end is None:
            raise _invalid("stream EOF before ChunkEnd")
        return Response(
            text=self.text,
            tool_uses=tuple(
                [  # of a known size: Python keeps a tuple that was made of a generator, and takes up no such one again
                    PlannedCall(call_id=call_id, name=name, raw_args="".join(self._args[call_id]))
                    for call_id, name in self._names.items()
                ]
            ),
            stop_reason=self._end.stop_reason,
            usage=self._usage,
            raw_response_hash=self._end.raw_response_hash,
            request_id=self._end.request_id,
            reasoning=tuple(self._reasoning),
        )

    def _check(self, chunk: object) -> None:
        if type(chunk) not in _FIELDS:
            raise _invalid(f"unknown chunk of type {type(chunk).__name__}")
        if self._end is not None:
            raise _invalid("chunk after ChunkEnd")
        names, wanted, problem = _FIELDS[type(chunk)]
        if not all(isinstance(getattr(chunk, name), wanted) for name in names):
            raise _invalid(problem)
        if isinstance(chunk, UsageChunk):
            _check_usage(chunk.usage)

    def _take(self, chunk: Chunk) -> None:
        match chunk:
            case TextChunk():
                _add(self._text, chunk.text)
            case ReasoningChunk():
                self._take_reasoning(chunk)
            case RedactedThinkingChunk():
                self._add_reasoning(chunk.text, chunk.signature, redacted=True)
            case UsageChunk():
                self._usage = chunk.usage
            case EndChunk():
                self._end = chunk
            case _:
                self._take_tool_use(chunk)

    def _take_tool_use(self, chunk: _ToolChunk) -> None:
        call_id = chunk.call_id
        outcome = _CALL_RULES[type(chunk), self._calls.get(call_id, _Call.NEW)]
        if isinstance(outcome, str):
            raise _invalid(f'{outcome} "{call_id}"')
        self._calls[call_id] = outcome
        if isinstance(chunk, ToolUseStart):
            self._names[call_id] = chunk.name
            self._args[call_id] = []
        elif isinstance(chunk, ToolUseDelta):
            _add(self._args[call_id], chunk.args)

    def _take_reasoning(self, chunk: ReasoningChunk) -> None:
        if not chunk.text and not chunk.signature:
            return
        if self._thinking is None:
            self._thinking = []
        _add(self._thinking, chunk.text)
        if chunk.signature:
            self._close_reasoning(chunk.signature)

    def _close_reasoning(self, signature: bytes = b"") -> None:
        if self._thinking is not None:
            self._add_reasoning("".join(self._thinking), signature)
            self._thinking = None

    def _add_reasoning(self, content: str, signature: bytes, *, redacted: bool = False) -> None:
        # Given back to the vendor as it is recorded: a replay has nothing else to give.
        self._reasoning.append(Reasoning(content=written(content), signature=signature, redacted=redacted))


def assemble(chunks: Iterable[Chunk]) -> Response:
    """The response that a whole stream of chunks makes. Raises `InvalidStreamError` if it breaks the contract."""
    assembler = Assembler()
    for chunk in chunks:
        assembler.feed(chunk)
    return assembler.finish()


def _add(pieces: list[str], piece: str) -> None:
    """Append a piece. A character that the vendor cut in two, between its surrogates, is made whole."""
    if not piece:
        return
    if "\udc00" <= piece[0] <= "\udfff" and pieces and "\ud800" <= pieces[-1][-1] <= "\udbff":
        piece = pieces.pop() + piece
        piece = piece.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    pieces.append(piece)


def _check_usage(usage: Usage) -> None:
    """Refuse what no log can hold. That a count makes sense is the adapter's to see to: it knows the vendor."""
    for name in _COUNTS:
        count = getattr(usage, name)
        if not isinstance(count, int) or isinstance(count, bool) or count not in _INT64:
            raise _invalid(f"ChunkUsage with {name} {count!r}, which is not a 64-bit integer")
    cost = usage.cost_usd
    if cost is not None and not _is_amount(cost):
        raise _invalid(f"ChunkUsage with cost_usd {cost!r}, which is not a finite number")


def _is_amount(cost: object) -> bool:
    """Whether this is a number that a float can hold: neither NaN nor infinite, and no int beyond them."""
    return isinstance(cost, int | float) and not isinstance(cost, bool) and abs(cost) <= sys.float_info.max


def _invalid(problem: str) -> InvalidStreamError:
    return InvalidStreamError(f"step: invalid provider stream: {problem}")
