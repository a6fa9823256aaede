"""The vendor's streamed answer to our chunks. Pure: bytes in, chunks out.

Strategy: the SDK's decoder takes the frames apart (AWS event stream encoding: checksums, headers, a JSON payload); what
they hold is read here rather than by the SDK's parser, which drops fields that it does not know and fails where a
gateway adds one. An answer is whole when ``messageStop`` and the ``metadata`` behind it have come.
"""

from __future__ import annotations

import binascii
import struct
from base64 import b64decode, b64encode
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
from starling.provider._sdk import require_sdk
from starling.provider._types import Usage
from starling.provider._vendor_errors import error_from_report
from starling.provider.bedrock._errors import STREAM_ERRORS, error_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.errors import ProviderError

__all__ = ["ConverseReader"]


@dataclass(slots=True)
class _Block:
    """A content block while its pieces arrive."""

    call_id: str = ""
    signature: str = ""
    redacted: bytes = b""


@dataclass(slots=True, kw_only=True)
class ConverseReader(EventReader):
    """Reads one answer of ``ConverseStream``; see `EventReader`, whose events are payloads by type here."""

    _frames: Any = None
    _blocks: dict[int, _Block] = field(default_factory=dict)
    _stop_reason: str = ""

    def feed(self, block: bytes) -> Iterator[Chunk]:
        """The chunks that the next bytes complete; see `EventReader.feed`."""
        for headers, payload in self._messages(block):
            if headers.get(":message-type") != "event":
                raise self._reported(headers, payload)
            self._payloads.append(payload)
            yield from self._content({str(headers.get(":event-type")): self._parsed(payload)})

    def _messages(self, block: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        sdk = require_sdk("botocore.eventstream", extra="bedrock")
        if self._frames is None:
            self._frames = sdk.EventStreamBuffer()
        self._frames.add_data(block)
        try:
            for message in self._frames:
                yield message.headers, message.payload
        except (sdk.ParserError, struct.error, KeyError, UnicodeDecodeError) as error:
            raise self._invalid(f"message {len(self._payloads) + 1} is not as the wire says ({error})") from error

    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        match event:
            case {"contentBlockDelta": body}:
                yield from self._open(body)
                yield from self._delta(self._block(body), self._object(body, "delta"))
            case {"contentBlockStart": body}:
                yield from self._open(body)
                yield from self._start(self._block(body), self._object(body, "start"))
            case {"contentBlockStop": body}:
                yield from self._stop(self._position(body, "contentBlockIndex"))
            case {"messageStop": body}:
                yield from self._stop_all(list(self._blocks))
                self._stop_reason = self._text(body, "stopReason")
            case {"metadata": body}:
                # The last event. One before messageStop does not end the answer.
                self._saw_done = bool(self._stop_reason)
                yield UsageChunk(usage=self._usage(self._object(body, "usage")))
            case _:
                return  # messageStart, and what the vendor may come to send

    def _ending(self) -> Iterator[Chunk]:
        if not self._saw_done:
            raise self._broken_off()
        yield EndChunk(stop_reason=self._stop_reason, raw_response_hash=self._raw_hash(), request_id=self.request_id)

    # --- blocks

    def _block(self, body: dict[str, Any]) -> _Block:
        return self._blocks[self._position(body, "contentBlockIndex")]

    def _open(self, body: dict[str, Any]) -> Iterator[Chunk]:
        """Make sure that there is the block an event belongs to. A new one ends the reasoning before it."""
        index = self._position(body, "contentBlockIndex")
        if index not in self._blocks:
            yield from self._stop_all([other for other, block in self._blocks.items() if not block.call_id])
            self._blocks[index] = _Block()

    def _stop_all(self, indices: list[int]) -> Iterator[Chunk]:
        """Stop what a gateway did not: some end the message, but not its blocks."""
        for index in indices:
            yield from self._stop(index)

    def _start(self, block: _Block, start: dict[str, Any]) -> Iterator[Chunk]:
        use = self._object(start, "toolUse")
        # Tools that the vendor runs itself (server_tool_use) are part of how it came to its answer.
        if not use or use.get("type"):
            return
        block.call_id, name = self._text(use, "toolUseId"), self._text(use, "name")
        if not block.call_id or not name:
            raise self._invalid("a tool call has no id or no name")
        yield ToolUseStart(call_id=block.call_id, name=name)

    def _delta(self, block: _Block, delta: dict[str, Any]) -> Iterator[Chunk]:
        match delta:
            case {"text": _}:
                yield TextChunk(text=self._text(delta, "text"))
            case {"toolUse": _} if block.call_id:
                yield ToolUseDelta(call_id=block.call_id, args=self._text(self._object(delta, "toolUse"), "input"))
            case {"reasoningContent": _}:
                yield from self._reasoning(block, self._object(delta, "reasoningContent"))
            case {"image": _}:
                raise self._invalid("the model answers with an image, which no chunk can carry")
            case _:
                return  # what goes on beside the answer: sources of its text, tools that the vendor runs itself

    def _reasoning(self, block: _Block, piece: dict[str, Any]) -> Iterator[Chunk]:
        """Text goes on at once; a signature or encrypted content is given when its block is complete."""
        text = self._text(piece, "text")
        if text:
            yield ReasoningChunk(text=text)
        block.signature += self._text(piece, "signature")
        block.redacted += self._bytes(piece, "redactedContent")

    def _stop(self, index: int) -> Iterator[Chunk]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.call_id:
            yield ToolUseEnd(call_id=block.call_id)
        if block.signature:
            yield ReasoningChunk(signature=self._signature(block.signature))
        if block.redacted:
            yield RedactedThinkingChunk(text=b64encode(block.redacted).decode())

    # --- values

    def _bytes(self, holder: dict[str, Any], name: str) -> bytes:
        try:
            return b64decode(self._text(holder, name), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._invalid(f"{name} is not base64") from error

    def _usage(self, reported: dict[str, Any]) -> Usage:
        """The vendor's counts. ``inputTokens`` leaves out what went to or came from the cache."""
        return Usage(
            input_tokens=self._count(reported, "inputTokens"),
            output_tokens=self._count(reported, "outputTokens"),
            cache_read_tokens=self._count(reported, "cacheReadInputTokens"),
            cache_create_tokens=self._count(reported, "cacheWriteInputTokens"),
        )

    def _reported(self, headers: dict[str, Any], payload: bytes) -> ProviderError:
        """What the vendor reports in place of the rest: an exception of its model, or an error that is not in it."""
        name = str(headers.get(":exception-type") or headers.get(":error-code") or "an error without a name")
        report = self._parsed(payload) if headers.get(":exception-type") and payload else {}
        said = report.get("message") or report.get("originalMessage") or headers.get(":error-message")
        return error_from_report(
            {"type": error_name(name), "message": f"{name}: {said}" if said else name},
            STREAM_ERRORS,
            provider=self.provider,
            request_id=self.request_id,
            secret=self.secret,
        )
