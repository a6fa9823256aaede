"""What every adapter does alike: refuse while a recording is replayed, name failures, close.

Strategy: a base class with two holes, `_answer` (ask and give chunks) and `_failure` (an SDK's exception as one of
ours). Whatever an adapter raises leaves through one place, so nothing of an SDK's reaches a caller, and the key reaches
no message and no traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from starling import ambient
from starling.errors import ProviderError, StarlingError
from starling.provider._chunks import EndChunk
from starling.provider._errors import provider_error_text
from starling.provider._secrecy import clean
from starling.provider._transport import causes
from starling.provider._vendor_errors import other_error, redact

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from types import TracebackType
    from typing import Self

    from starling.provider._chunks import Chunk
    from starling.provider._types import ProviderInfo, Request

__all__ = ["Adapter", "Reader", "read_answer", "require_event_stream"]

_LONGEST_DRAIN_S = 0.1


class Reader(Protocol):
    """Turns one answer's bytes into chunks; `starling.provider._event_reader.EventReader` is most of one."""

    request_id: str

    @property
    def done(self) -> bool:
        """The vendor has said that nothing follows."""
        ...

    def feed(self, block: bytes) -> Iterator[Chunk]:
        """The chunks that the next bytes complete."""
        ...

    def finish(self) -> Iterator[Chunk]:
        """The chunks that end the answer; raises if it is not whole."""
        ...


class Adapter(ABC):
    """A provider on a vendor's SDK.

    Args:
        info: who answers.
        secret: the API key, to be kept out of messages; "" if there is none.
    """

    def __init__(self, info: ProviderInfo, *, secret: str = "") -> None:
        self._info = info
        self._secret = secret

    def __repr__(self) -> str:
        return f"{type(self).__name__}(provider_id={self._info.id!r}, api_version={self._info.api_version!r})"

    def info(self) -> ProviderInfo:
        """Provider id and API version, as recorded."""
        return self._info

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Ask the model; see `starling.provider.Provider.stream`.

        Raises:
            LiveCallError: a recording is being replayed; nothing was sent.
            ProviderError: anything else that went wrong, classed, while the answer is read.
        """
        ambient.refuse_live_call(f"{self._info.id} {request.model}")
        return self._chunks(request)

    @abstractmethod
    async def aclose(self) -> None:
        """Close this event loop's connections. The adapter may be used again afterwards."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    def _reader(self) -> Reader:
        """A fresh reader of one answer."""

    @abstractmethod
    def _answer(self, request: Request, reader: Reader) -> AsyncGenerator[Chunk, None]:
        """Send the request and give the answer's chunks. Closing the generator closes the connection."""

    def _failure(self, error: Exception, request_id: str) -> ProviderError | None:
        """The SDK's own exception as one of ours; None for one that it does not know."""
        del error, request_id
        return None

    async def _chunks(self, request: Request) -> AsyncGenerator[Chunk, None]:
        reader = self._reader()
        try:
            async with aclosing(self._answer(request, reader)) as chunks:
                async for chunk in chunks:
                    yield self._last(chunk) if isinstance(chunk, EndChunk) else chunk
        except Exception as error:  # noqa: BLE001 - the edge: whatever the SDK raises becomes one of ours
            failure = clean(self._ours(error, reader.request_id), self._secret)
        else:
            return
        try:
            raise failure  # not while `error` is handled: it would be the context, let go of or not
        finally:
            del failure  # its traceback holds this frame

    def _last(self, chunk: EndChunk) -> EndChunk:
        """A request id comes from a header, where some servers repeat what they were sent."""
        return replace(chunk, request_id=redact(chunk.request_id, self._secret))

    def _ours(self, error: Exception, request_id: str) -> StarlingError:
        if isinstance(error, StarlingError):
            return error
        # What our part of its HTTP client raised, an SDK may have wrapped.
        raised = next((link for link in causes(error) if isinstance(link, ProviderError)), None)
        if raised is not None:
            return raised
        failure = self._failure(error, request_id)
        failure = failure or other_error(error, provider=self._info.id, request_id=request_id, secret=self._secret)
        failure.__cause__ = error
        return failure


async def read_answer(blocks: AsyncIterator[bytes], reader: Reader) -> AsyncGenerator[Chunk, None]:
    """The chunks of an answer whose body arrives in blocks."""
    async for block in blocks:
        for chunk in reader.feed(block):
            yield chunk
        if reader.done:
            await _drain(blocks)
    for chunk in reader.finish():
        yield chunk


async def _drain(blocks: AsyncIterator[bytes]) -> None:
    """Read what follows the end marker, or HTTP/1.1 could not use the connection again.

    The answer is complete by now: whatever happens here costs the connection, not the answer.
    """
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_LONGEST_DRAIN_S):
            async for _ in blocks:
                pass


def require_event_stream(headers: Any, *, provider: str) -> None:
    """A proxy's login page or a server without streaming answers 200 too; say so instead of "no end".

    Args:
        headers: the response's, names in lower case or case-insensitive.

    Raises:
        ProviderError: the answer is a document.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"application/json", "text/html"}:
        text = f"the answer is {kind}, not an event stream; does base_url point at an API that streams?"
        raise ProviderError(provider_error_text(provider, text), provider=provider)
