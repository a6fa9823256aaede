"""The pieces in which a provider's answer arrives, one class a kind.

The legal order (a table in `_assemble`): any mix of text, reasoning, tool-use and usage chunks, then exactly one
`EndChunk`, then nothing. A `ToolUseStart` opens a call; deltas and the end name an open call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from starling.provider._types import Usage

__all__ = [
    "Chunk",
    "EndChunk",
    "ReasoningChunk",
    "RedactedThinkingChunk",
    "TextChunk",
    "ToolUseDelta",
    "ToolUseEnd",
    "ToolUseStart",
    "UsageChunk",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChunk:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningChunk:
    """A piece of the model's reasoning; a signature, if the vendor gives one, closes the block."""

    text: str = ""
    signature: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactedThinkingChunk:
    """A whole reasoning block that the vendor encrypted; ``text`` is opaque."""

    text: str
    signature: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUseStart:
    """The model begins to plan a call."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUseDelta:
    """A piece of a planned call's arguments, JSON text."""

    call_id: str
    args: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUseEnd:
    """The arguments of a planned call are complete."""

    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageChunk:
    """Token counts of this call so far; later ones replace earlier ones."""

    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class EndChunk:
    """The answer is complete."""

    stop_reason: str = ""
    raw_response_hash: bytes | None = None
    request_id: str = ""


Chunk: TypeAlias = (
    TextChunk
    | ReasoningChunk
    | RedactedThinkingChunk
    | ToolUseStart
    | ToolUseDelta
    | ToolUseEnd
    | UsageChunk
    | EndChunk
)
