"""The vendor's streamed answer to our chunks. Pure: bytes in, chunks out.

Strategy: each event is a whole response with the next parts of the answer. There is no end marker: an answer is whole
when a finish reason has come and the connection then ended. What a part may hold that a recording cannot (an image,
code that ran at the vendor's) is refused rather than left out.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starling.errors import ProviderError
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
from starling.provider._errors import provider_error_text
from starling.provider._event_reader import EventReader
from starling.provider._sse import SSEDecoder
from starling.provider._types import Usage
from starling.provider.gemini._errors import error_from_google
from starling.provider.gemini._marks import call_mark, minted_id, text_mark

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AnswerReader"]

_UNFINISHED = "CONTINUATION"
"""The answer is longer than one request may be; a further request with the token that came along goes on with it."""

_NO_ANSWER = {
    "MALFORMED_FUNCTION_CALL": "the model wrote a call that cannot be read",
    "UNEXPECTED_TOOL_CALL": "the model called a tool that it was not given",
    "TOO_MANY_TOOL_CALLS": "the vendor's own tools were called too often",
    "MALFORMED_RESPONSE": "the model wrote an answer that cannot be read",
    "MISSING_THOUGHT_SIGNATURE": "the request lacks a thought signature",
}
"""Finish reasons that stand in the place of an answer."""

_HARMLESS = frozenset({"text", "thought", "thoughtSignature", "functionCall", "partMetadata"})
"""Fields of a part that are read, or say nothing of the answer."""

_COUNTS = {
    "input_tokens": ("promptTokenCount", "toolUsePromptTokenCount"),
    "output_tokens": ("candidatesTokenCount", "thoughtsTokenCount"),
    "cache_read_tokens": ("cachedContentTokenCount",),
}
"""What our counts add up. Thoughts are billed as output; the prompt's count includes what the cache gave, and so does
``input_tokens``."""


class _LineKeeper(SSEDecoder):
    """Keeps the lines of bare JSON too: once a stream has begun, the vendor may write an error into it like that."""

    def __init__(self) -> None:
        super().__init__()
        self.stray: list[bytes] = []

    def finish(self) -> list[bytes]:
        """As its base; a last line without an end may be the end of a report."""
        self._keep(self._rest())
        return super().finish()

    def _line(self, line: bytes) -> bytes | None:
        self._keep(line)
        return super()._line(line)

    def _keep(self, line: bytes) -> None:
        if line.lstrip()[:1] in {b"{", b"}", b"[", b"]", b'"', b","}:
            self.stray.append(line)


@dataclass(slots=True, kw_only=True)
class AnswerReader(EventReader):
    """Reads one streamed answer; see `EventReader`.

    Attributes:
        first_number: the number of the first call that has to be given an id.
        continuation: with it, a further request goes on with this answer; None if the answer is complete.
    """

    first_number: int = 1
    continuation: bytes | None = None
    _decoder: SSEDecoder = field(default_factory=_LineKeeper)
    _text_length: int = 0
    _minted: int = 0
    _finish_reason: str = ""
    _finish_message: str = ""
    _token: bytes | None = None
    _earlier: Usage = field(default_factory=Usage)
    _usage: Usage = field(default_factory=Usage)

    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        if event.get("error"):
            raise self._reported(event)
        self.request_id = self._text(event, "responseId") or self.request_id
        candidates = self._list(event, "candidates")
        if not candidates:
            self._check_prompt(self._object(event, "promptFeedback"))
        for candidate in candidates:
            yield from self._candidate(candidate)
        yield from self._counted(self._object(event, "usageMetadata"))

    def _ending(self) -> Iterator[Chunk]:
        if not self._finish_reason:
            raise self._stray_report() or self._broken_off()
        if self._finish_reason == _UNFINISHED:
            self._next_request()
            return
        if self._finish_reason in _NO_ANSWER:
            problem = f"{self._finish_reason} ({_NO_ANSWER[self._finish_reason]})"
            raise self._invalid(f"{problem}: {self._finish_message}" if self._finish_message else problem)
        yield EndChunk(stop_reason=self._finish_reason, raw_response_hash=self._raw_hash(), request_id=self.request_id)

    def _next_request(self) -> None:
        if self._token is None or self._token == self.continuation:
            raise self._invalid(f"{_UNFINISHED} without a new continuationToken")
        self.continuation, self._token = self._token, None
        self._finish_reason = ""
        self._earlier = self._usage

    @property
    def unfinished(self) -> bool:
        """Whether the answer goes on in a further request, with `continuation`."""
        return self.continuation is not None and not self._finish_reason

    # --- candidates and their parts

    def _candidate(self, candidate: dict[str, Any]) -> Iterator[Chunk]:
        if self._position(candidate, "index") != 0:
            raise self._invalid("there is more than one candidate")
        for part in self._list(self._object(candidate, "content"), "parts"):
            for chunk in self._part(part):
                if _goes_on(chunk):
                    self._finish_reason = ""
                yield chunk
        self._finish_reason = self._text(candidate, "finishReason") or self._finish_reason
        self._finish_message = self._text(candidate, "finishMessage") or self._finish_message
        self._token = self._bytes(candidate, "continuationToken") or self._token

    def _part(self, part: dict[str, Any]) -> Iterator[Chunk]:
        other = [name for name, value in part.items() if value is not None and name not in _HARMLESS]
        if other:
            raise self._invalid(
                f"a part holds {other[0]}, which cannot be recorded; ask for text and function calls only"
            )
        signature = self._bytes(part, "thoughtSignature")
        text = self._text(part, "text")
        if part.get("functionCall"):
            yield from self._call(self._object(part, "functionCall"), signature)
        elif part.get("thought"):
            yield ReasoningChunk(text=text, signature=signature)
        else:
            yield from self._answer_text(text, signature)

    def _answer_text(self, text: str, signature: bytes) -> Iterator[Chunk]:
        start = self._text_length
        self._text_length += len(text)
        if text:
            yield TextChunk(text=text)
        if signature:
            yield RedactedThinkingChunk(text=text_mark(start, self._text_length), signature=signature)

    def _call(self, call: dict[str, Any], signature: bytes) -> Iterator[Chunk]:
        name = self._text(call, "name")
        if not name:
            raise self._invalid("a function call has no name")
        if call.get("partialArgs") or call.get("willContinue"):
            raise self._invalid("the arguments of a call come in pieces, which this API does not do")
        call_id = self._text(call, "id") or self._mint()
        if signature:
            yield RedactedThinkingChunk(text=call_mark(call_id), signature=signature)
        yield ToolUseStart(call_id=call_id, name=name)
        yield ToolUseDelta(call_id=call_id, args=json.dumps(self._object(call, "args"), ensure_ascii=False))
        yield ToolUseEnd(call_id=call_id)

    def _mint(self) -> str:
        self._minted += 1
        return minted_id(self.first_number + self._minted - 1)

    def _bytes(self, holder: dict[str, Any], name: str) -> bytes:
        given = self._text(holder, name)
        standard = given.replace("-", "+").replace("_", "/")
        try:
            return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except ValueError as error:
            raise self._invalid(f"{name} is not base64") from error

    # --- counts

    def _counted(self, reported: dict[str, Any]) -> Iterator[Chunk]:
        """Counts are of this request so far; those of the requests before it, for the same answer, are added."""
        counts = {
            name: getattr(self._earlier, name) + sum(self._count(reported, part) for part in parts)
            for name, parts in _COUNTS.items()
        }
        usage = Usage(**counts)
        if any(part in reported for parts in _COUNTS.values() for part in parts) and usage != self._usage:
            self._usage = usage
            yield UsageChunk(usage=usage)

    # --- what went wrong

    def _check_prompt(self, feedback: dict[str, Any]) -> None:
        reason = self._text(feedback, "blockReason")
        if reason:
            text = provider_error_text(self.provider, f"the prompt was blocked: {reason}; the vendor gave no answer")
            raise ProviderError(text, provider=self.provider, request_id=self.request_id)

    def _stray_report(self) -> ProviderError | None:
        stray = self._decoder.stray if isinstance(self._decoder, _LineKeeper) else []
        try:
            report = json.loads(b"\n".join(stray))
        except (ValueError, RecursionError):
            return None
        report = report[0] if isinstance(report, list) and report else report
        return self._reported(report) if isinstance(report, dict) and report.get("error") else None

    def _reported(self, report: dict[str, Any]) -> ProviderError:
        return error_from_google(
            report, status=None, headers={}, provider=self.provider, request_id=self.request_id, secret=self.secret
        )


def _goes_on(chunk: Chunk) -> bool:
    """Whether this is more of an answer. A reason to finish that stood before it was none: some gateways send one in
    events that say nothing yet.
    """
    if isinstance(chunk, TextChunk | ReasoningChunk):
        return bool(chunk.text)
    return isinstance(chunk, ToolUseStart)
