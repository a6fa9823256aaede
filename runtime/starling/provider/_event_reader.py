"""A streamed answer of JSON events, read: what all such wires have in common. Pure: bytes in, chunks out.

Strategy: events are read as plain JSON rather than as an SDK's models, because servers that "speak" a vendor's wire
leave fields out, send null for a list, or add fields of their own. Being lenient about what is missing does not mean
being lenient about the end: what an adapter's `_ending` does not find whole is an error.

What belongs here: decoding, the hash over what came, and errors. What an event means is the adapter's.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starling._blake3 import digest
from starling.errors import InvalidStreamError, NetworkError
from starling.provider._errors import provider_error_text
from starling.provider._sse import SSEDecoder
from starling.provider._vendor_errors import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.provider._chunks import Chunk

__all__ = ["EventReader"]

_DONE = b"[DONE]"
_MOST_TOKENS = 2**63 - 1
"""The log holds no larger number."""
_LONGEST_SHOWN = 60
"""Characters of a value that a message quotes."""


@dataclass(slots=True, kw_only=True)
class EventReader(ABC):
    """Reads one streamed answer of server-sent events that hold JSON objects.

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
        yield from self._ending()

    @abstractmethod
    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        """The chunks that one event holds. Raises for the vendor's error reports."""

    @abstractmethod
    def _ending(self) -> Iterator[Chunk]:
        """The chunks that end the answer. Raises `_broken_off` or `_invalid` if it is not whole."""

    def _event(self, data: bytes) -> Iterator[Chunk]:
        if data.strip() == _DONE:  # OpenAI ends every stream so, and some gateways do with other wires
            self._saw_done = True
            return
        self._payloads.append(data)
        yield from self._content(self._parsed(data))

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._invalid(f"event {len(self._payloads)} is not JSON") from error
        if not isinstance(event, dict):
            raise self._invalid(f"event {len(self._payloads)} is not a JSON object")
        return event

    def _raw_hash(self) -> bytes:
        """The hash over what the vendor sent: the data of all events, a line end between them."""
        return digest(b"\n".join(self._payloads))

    # --- lenient about what is missing, strict about what is there

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

    def _signature(self, text: str) -> bytes:
        """A signature as bytes. One that has none could not be given back, and without it the vendor takes no turn."""
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise self._invalid("a signature is not text (it holds half of a surrogate pair)") from error

    def _position(self, holder: dict[str, Any], name: str) -> int:
        """The place that something has among its like; the first if it does not say."""
        value = holder.get(name)
        return value if isinstance(value, int) else 0

    def _count(self, holder: dict[str, Any], name: str) -> int:
        """A number of tokens; 0 if there is none. Budgets and costs are reckoned with it, so it has to be one."""
        value = holder.get(name)
        if value is None:
            return 0
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(whole, int) and not isinstance(whole, bool) and 0 <= whole <= _MOST_TOKENS:
            return whole
        raise self._invalid(f"{name} is {self._shown(value)}, which is no number of tokens")

    def _shown(self, value: object) -> str:
        """A value as a message quotes it."""
        if isinstance(value, list | dict):
            return "a list" if isinstance(value, list) else "an object"
        text = redact(json.dumps(value, ensure_ascii=False), self.secret)
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"

    # --- what went wrong

    def _broken_off(self) -> NetworkError:
        problem = "the stream broke off before the answer was complete; try again"
        return NetworkError(
            provider_error_text(self.provider, problem), provider=self.provider, request_id=self.request_id
        )

    def _invalid(self, problem: str) -> InvalidStreamError:
        return InvalidStreamError(
            provider_error_text(self.provider, f"invalid stream: {problem}"),
            provider=self.provider,
            request_id=self.request_id,
        )
