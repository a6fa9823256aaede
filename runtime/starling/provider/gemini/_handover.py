"""How an answer's bytes come to us and not to the SDK. Imported on first use: it needs the SDK's HTTP client.

Strategy: the SDK makes the request and answers for addresses, headers and error bodies. It has no interface to the raw
bytes of a stream, and its own reading does more than reading: it takes broken streams up again and sends further
requests. So it gets an HTTP client that keeps a good answer for us, and shows the SDK an empty one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from contextvars import ContextVar
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

import httpx2

from starling.provider._vendor_errors import unread_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starling.errors import ProviderError

__all__ = ["Handover", "answered", "no_http_client", "own_http_client"]

_LONGEST_CONNECT_S = 5.0
_LONGEST_SILENCE_S = 600.0

_kept: ContextVar[list[Any]] = ContextVar("starling_gemini_kept")
"""The answers of the request that is being sent. A request is sent within one task."""


class Handover(httpx2.AsyncClient):
    """What the SDK takes for its HTTP client.

    Args:
        inner: sends the requests; an ``AsyncClient`` of httpx2 or of httpx.
        timeout: seconds for each step of a request; None leaves them to ``inner``.
        refusal: makes the error of an answer other than 200, from its body, ``status=`` and ``headers=``.
    """

    def __init__(self, inner: Any, timeout: float | None, refusal: Callable[..., ProviderError]) -> None:
        super().__init__(transport=httpx2.AsyncBaseTransport())  # never used; the default would load certificates
        self._inner = inner
        self._refusal = refusal
        self._own_timeout = {} if timeout is None else {"timeout": timeout}

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """The request as the inner client builds it. The SDK would switch its timeouts off."""
        kept = {name: value for name, value in kwargs.items() if name != "timeout"}
        return self._inner.build_request(*args, **kept, **self._own_timeout)

    async def send(self, request: Any, *, stream: bool = False, **kwargs: Any) -> Any:
        """Send the request, and no other to where the answer may point. What is not 200 is the SDK's to read.

        Raises:
            ProviderError: it is not 200, and the SDK could not read it.
        """
        response = await self._inner.send(request, stream=stream, **{**kwargs, "follow_redirects": False})
        if response.status_code != 200:
            await self._require_readable(response)
            return response
        _kept.get().append(response)
        return httpx2.Response(200)

    async def _require_readable(self, refused: Any) -> None:
        """The SDK reads a refusal's body before it says anything of the status: a body that it cannot read hides it."""
        body = None
        try:
            body = await refused.aread()
            refused.json()
        except JSONDecodeError:
            return  # taken for text
        except Exception as error:
            said = unread_body(error) if body is None else body.decode(errors="replace")
            raise self._refusal(said, status=refused.status_code, headers=refused.headers) from error


def own_http_client(timeout: float | None) -> Any:
    """A client for one event loop. The SDK's own would wait for ever."""
    limit = httpx2.Timeout(_LONGEST_SILENCE_S, connect=_LONGEST_CONNECT_S) if timeout is None else timeout
    return httpx2.AsyncClient(timeout=limit, limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100))


def no_http_client() -> Any:
    """For the SDK's blocking half, which is not used; the default would load certificates."""
    return httpx2.Client(transport=httpx2.BaseTransport())


@asynccontextmanager
async def answered(asking: Awaitable[AsyncIterator[Any]]) -> AsyncIterator[Any]:
    """The HTTP response to what the SDK's method is to send; it is closed at the end of the block.

    Args:
        asking: the call of ``generate_content_stream``.
    """
    kept: list[Any] = []
    token = _kept.set(kept)
    try:
        try:
            async for _ in await asking:
                pass  # of an empty answer the SDK makes nothing
        finally:
            _kept.reset(token)
        if len(kept) != 1:
            raise RuntimeError(f"the SDK has had {len(kept)} answers to one request; is this a version that we know?")
        yield kept[0]
    finally:
        for response in kept:
            await response.aclose()
