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
from typing import TYPE_CHECKING, Any, Protocol

from starling import ambient
from starling.errors import ProviderError, StarlingError
from starling.provider._errors import provider_error_text
from starling.provider._transport import causes
from starling.provider._vendor_errors import other_error

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
                    yield chunk
        except StarlingError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: whatever the SDK raises becomes one of ours
            mapped = self._mapped(error, reader.request_id)
            # What the server repeated of the key would show in the tracebacks of the causes.
            raise mapped from (None if self._quotes_key(error) else error)

    def _quotes_key(self, error: Exception) -> bool:
        return bool(self._secret) and any(self._secret in str(link) for link in causes(error))

    def _mapped(self, error: Exception, request_id: str) -> ProviderError:
        failure = self._failure(error, request_id)
        return failure or other_error(error, provider=self._info.id, request_id=request_id, secret=self._secret)


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
