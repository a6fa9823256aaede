"""The vendor's streamed answer to our chunks. Pure: bytes in, chunks out.

Strategy: events are read as plain JSON rather than as the SDK's models, because servers that "speak OpenAI" leave
fields out, send null for a list, or add fields of their own (``reasoning_content``). Being lenient about what is
missing does not mean being lenient about the end: an answer is whole only when the vendor gave a finish reason and
then ended the stream as the wire says. Half an answer is an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starling._blake3 import digest
from starling.errors import InvalidStreamError, NetworkError, ProviderError
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
from starling.provider._errors import provider_error_text
from starling.provider._types import Usage
from starling.provider.openai._errors import error_from_body
from starling.provider.openai._sse import SSEDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AnswerReader"]

_DONE = b"[DONE]"

_TEXT_FIELDS: tuple[tuple[str, type[TextChunk | ReasoningChunk]], ...] = (
    ("reasoning_content", ReasoningChunk),  # DeepSeek, vLLM, SGLang
    ("reasoning", ReasoningChunk),  # OpenRouter, Ollama, newer vLLM
    ("content", TextChunk),
    ("refusal", TextChunk),  # a refusal is the answer; without it the turn would look empty
)
"""Fields of a delta that hold text, in the order in which a model produces them."""


@dataclass(slots=True)
class _OpenCall:
    """A planned call while its pieces arrive; ``held`` is what came before the name was known."""

    call_id: str = ""
    name: str = ""
    held: str = ""
    started: bool = False


@dataclass(slots=True, kw_only=True)
class AnswerReader:
    """Reads one streamed answer.

    Attributes:
        provider: the provider's id, for errors.
        request_id: the vendor's id of the request, from the response's headers.
        secret: the API key; kept out of messages should the server repeat it.
    """

    provider: str
    request_id: str = ""
    secret: str = field(default="", repr=False)
    _decoder: SSEDecoder = field(default_factory=SSEDecoder)
    _payloads: list[bytes] = field(default_factory=list)
    _calls: list[_OpenCall] = field(default_factory=list)
    _by_index: dict[int, _OpenCall] = field(default_factory=dict)
    _finish_reason: str = ""
    _saw_usage: bool = False
    _saw_done: bool = False

    @property
    def done(self) -> bool:
        """The vendor has said that nothing follows."""
        return self._saw_done

    def feed(self, block: bytes) -> Iterator[Chunk]:
        """The chunks that the next bytes complete.

        Raises:
            ProviderError: an event is the vendor's error report; classed by its type.
            InvalidStreamError: an event is not what the wire says.
        """
        for data in self._decoder.feed(block):
            yield from self._event(data)

    def finish(self) -> Iterator[Chunk]:
        """The chunks that end the answer, once the connection has given all it had.

        Raises:
            NetworkError: the stream broke off.
            InvalidStreamError: the vendor ended the stream without finishing the answer.
        """
        for data in self._decoder.finish():
            yield from self._event(data)
        if not self._whole():
            raise self._incomplete()
        yield from self._end_calls()
        yield EndChunk(
            stop_reason=self._finish_reason,
            raw_response_hash=digest(b"\n".join(self._payloads)),
            request_id=self.request_id,
        )

    def _event(self, data: bytes) -> Iterator[Chunk]:
        if data.strip() == _DONE:
            self._saw_done = True
            return
        self._payloads.append(data)
        event = self._parse(data)
        if event.get("error") or event.get("object") == "error":
            raise error_from_body(event, provider=self.provider, request_id=self.request_id, secret=self.secret)
        yield from self._content(event)
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._saw_usage = True
            yield UsageChunk(usage=_usage(usage))

    def _whole(self) -> bool:
        # Usage comes after the finish reason and is the last thing before [DONE], which some servers omit.
        return bool(self._finish_reason) and (self._saw_done or self._saw_usage)

    def _incomplete(self) -> ProviderError:
        if self._saw_done:
            return self._invalid("the answer has no finish_reason")
        problem = "the stream broke off before the answer was complete; try again"
        return NetworkError(
            provider_error_text(self.provider, problem), provider=self.provider, request_id=self.request_id
        )

    def _parse(self, data: bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._invalid(f"event {len(self._payloads)} is not JSON") from error
        if not isinstance(event, dict):
            raise self._invalid(f"event {len(self._payloads)} is not a JSON object")
        return event

    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        for choice in self._list(event, "choices"):
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
        if delta.get("function_call"):
            raise self._invalid("function_call was used in place of tool_calls")
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

    def _text(self, holder: dict[str, Any], name: str) -> str:
        value = holder.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        raise self._invalid(f"{name} is not text")

    def _object(self, holder: dict[str, Any], name: str) -> dict[str, Any]:
        value = holder.get(name)
        if value is None or isinstance(value, dict):
            return value or {}
        raise self._invalid(f"{name} is not an object")

    def _list(self, holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
        value = holder.get(name)
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return value
        raise self._invalid(f"{name} is not a list of objects")

    def _invalid(self, problem: str) -> InvalidStreamError:
        return InvalidStreamError(
            provider_error_text(self.provider, f"invalid stream: {problem}"),
            provider=self.provider,
            request_id=self.request_id,
        )


def _usage(reported: dict[str, Any]) -> Usage:
    """The vendor's counts. ``prompt_tokens`` includes what was read from the cache, and so does ``input_tokens``."""
    details = reported.get("prompt_tokens_details")
    cached = details if isinstance(details, dict) else {}
    return Usage(
        input_tokens=_count(reported, "prompt_tokens"),
        output_tokens=_count(reported, "completion_tokens"),
        cache_read_tokens=_count(cached, "cached_tokens"),
        cache_create_tokens=_count(cached, "cache_write_tokens"),
    )


def _count(holder: dict[str, Any], name: str) -> int:
    value = holder.get(name)
    return value if isinstance(value, int) else 0
