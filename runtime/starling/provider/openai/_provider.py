"""The adapter that does the IO: the official SDK, its client, its connections.

Strategy: the SDK makes the request and answers for transport, authentication and errors; the answer's bytes are read
here, so that the raw response hash covers what the vendor sent. The SDK's own retries are off: a retry is the agent's
decision and stands in the log.

One adapter object may serve several event loops, one after another (a test suite) or at once (threads). An HTTP
client belongs to the loop it was first used on, so there is one a loop, built on first use and closed when the loop
shuts its asynchronous generators down, as `asyncio.run` and every runner built on `asyncio.Runner` do.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import weakref
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.errors import AuthError, MissingExtraError, ProviderError
from starling.provider._errors import provider_error_text
from starling.provider._types import Capabilities, ProviderInfo
from starling.provider.openai._errors import error_from_status, error_from_transport, is_transport_error, redact
from starling.provider.openai._request import create_arguments
from starling.provider.openai._stream import AnswerReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from types import TracebackType
    from typing import Self

    from openai import AsyncOpenAI

    from starling.provider._chunks import Chunk
    from starling.provider._types import Request

__all__ = ["OpenAI"]

_KEY_VARIABLE = "OPENAI_API_KEY"
_BASE_URL_VARIABLE = "OPENAI_BASE_URL"
_HOST = "https://api.openai.com"
_LONGEST_DRAIN_S = 0.1


class OpenAI:
    """OpenAI's chat completions, or any server that speaks them (Groq, Ollama, vLLM, Azure, …).

    Args:
        api_key: the key; by default the environment's ``OPENAI_API_KEY``. Give ``""`` for an endpoint that takes none.
        base_url: the endpoint, used as it is; by default the environment's ``OPENAI_BASE_URL``, else OpenAI with
            ``api_version`` as the prefix. With a base URL a key is optional.
        organization: the OpenAI organization, sent as a header.
        api_version: recorded in RunStarted. Keep it stable: replay compares it.
        provider_id: recorded in RunStarted; name the vendor when the endpoint is not OpenAI's.
        http_client: an ``httpx2.AsyncClient`` of your own (proxies, headers, transports). It is yours to close, and
            it ties the adapter to one event loop.
        timeout: seconds to wait for the connection and between two pieces of the answer; by default the SDK's.

    Raises:
        AuthError: no key, and none of what makes one unnecessary (a base URL, a replay).
        MissingExtraError: the ``openai`` package is not installed.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        organization: str | None = None,
        api_version: str = "v1",
        provider_id: str = "openai",
        http_client: Any = None,
        timeout: float | None = None,
    ) -> None:
        self._info = ProviderInfo(id=provider_id, api_version=api_version)
        # Keys come out of files and secret stores with a line end.
        self._api_key = (os.environ.get(_KEY_VARIABLE, "") if api_key is None else api_key).strip()
        self._own_url = base_url or os.environ.get(_BASE_URL_VARIABLE, "")
        self._organization = organization
        self._http_client = http_client
        self._timeout = timeout
        # Not weak: a client's connections refer to their loop, so an entry would keep its own key alive.
        self._clients: dict[asyncio.AbstractEventLoop, _ClientKeeper] = {}
        # An adapter that is dropped while its loop runs on (one built for each call, on the loop behind `run_sync`)
        # must not leave its connections to the garbage collector, which finalizes sockets in any order.
        weakref.finalize(self, _close_dropped, self._clients).atexit = False
        if not ambient.may_build_without_key():
            self._require_credentials()
            _require_sdk()

    def __repr__(self) -> str:
        return f"OpenAI(provider_id={self._info.id!r}, api_version={self._info.api_version!r})"

    def info(self) -> ProviderInfo:
        """Provider id and API version, as recorded."""
        return self._info

    def capabilities(self) -> Capabilities:
        """What this wire supports. Cache markers are not among it: caching is the vendor's own decision here."""
        return Capabilities(tools=True, tool_choice=True, reasoning=True, stop_sequences=True, request_id=True)

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Ask the model; see `starling.provider.Provider.stream`.

        Raises:
            LiveCallError: a recording is being replayed; nothing was sent.
            ProviderError: anything else that went wrong, classed, while the answer is read.
        """
        ambient.refuse_live_call(f"{self._info.id} {request.model}")
        return self._chunks(request)

    async def aclose(self) -> None:
        """Close this event loop's connections. The adapter may be used again afterwards."""
        keeper = self._clients.get(asyncio.get_running_loop())
        if keeper is not None:
            await keeper.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _chunks(self, request: Request) -> AsyncGenerator[Chunk, None]:
        arguments = create_arguments(
            request, provider=self._info.id, max_tokens_name="max_tokens" if self._own_url else "max_completion_tokens"
        )
        if not self._api_key:
            arguments["extra_headers"] = {"Authorization": _require_sdk().omit}
        client = await self._client()
        reader = AnswerReader(provider=self._info.id, secret=self._api_key)
        try:
            async with client.chat.completions.with_streaming_response.create(**arguments) as response:
                reader.request_id = response.headers.get("x-request-id", "")
                self._require_event_stream(response)
                blocks = response.iter_bytes()
                async for block in blocks:
                    for chunk in reader.feed(block):
                        yield chunk
                    if reader.done:
                        await _drain(blocks)
            for chunk in reader.finish():
                yield chunk
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: whatever the SDK raises becomes one of ours
            mapped = self._mapped(error, reader.request_id)
            # What the server repeated of the key would show in the traceback of the cause.
            raise mapped from (None if self._api_key and self._api_key in str(error) else error)

    def _mapped(self, error: Exception, request_id: str) -> ProviderError:
        """A failure of the SDK or of its HTTP client as one of ours."""
        sdk = _require_sdk()
        if isinstance(error, sdk.APIStatusError):
            return error_from_status(
                error.status_code,
                error.body,
                error.response.headers,
                provider=self._info.id,
                secret=self._api_key,
            )
        if isinstance(error, sdk.APIConnectionError) or is_transport_error(error):
            return error_from_transport(error, provider=self._info.id, request_id=request_id)
        text = f"unexpected {type(error).__name__}: {redact(str(error), self._api_key)}"
        return ProviderError(provider_error_text(self._info.id, text), provider=self._info.id, request_id=request_id)

    def _require_event_stream(self, response: Any) -> None:
        """A proxy's login page or a server without streaming answers 200 too; say so instead of "no finish"."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in {"application/json", "text/html"}:
            text = f"the answer is {kind}, not an event stream; does base_url point at an API that streams?"
            raise ProviderError(provider_error_text(self._info.id, text), provider=self._info.id)

    def _require_credentials(self) -> None:
        if not self._api_key.isascii() or not self._api_key.isprintable():
            # An HTTP client would refuse the header, and quote the key in its message.
            raise self._auth_error("the API key holds characters that no HTTP header can carry; copy it again")
        if not self._api_key and not self._own_url:
            raise self._auth_error(
                f"no API key: set {_KEY_VARIABLE}, or pass api_key= (or base_url= for an endpoint that takes none)"
            )

    def _auth_error(self, text: str) -> AuthError:
        return AuthError(provider_error_text(self._info.id, text), provider=self._info.id)

    async def _client(self) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()
        keeper = self._clients.get(loop)
        if keeper is None:
            # Built in a replaying process, perhaps, and used in a live one.
            self._require_credentials()
            keeper = _ClientKeeper(self._build_client(), owned=self._http_client is None, clients=self._clients)
            await keeper.open(loop)
        return keeper.client

    def _build_client(self) -> AsyncOpenAI:
        sdk = _require_sdk()
        client: AsyncOpenAI = sdk.AsyncOpenAI(
            # The SDK would take a missing key from the environment; "" was a decision, and the header is left out.
            api_key=self._api_key or "none",
            base_url=self._own_url or f"{_HOST}/{self._info.api_version}",
            organization=self._organization,
            http_client=self._http_client,
            max_retries=0,
            **({} if self._timeout is None else {"timeout": self._timeout}),
        )
        return client


class _ClientKeeper:
    """Holds one loop's client and closes it when that loop shuts down.

    A loop closes its started asynchronous generators before it stops, and that is the one hook it offers: without it
    an idle connection would outlive its loop and be reported as a leak in somebody else's test.
    """

    def __init__(
        self, client: AsyncOpenAI, *, owned: bool, clients: dict[asyncio.AbstractEventLoop, _ClientKeeper]
    ) -> None:
        self.client = client
        self._owned = owned
        self._clients = clients
        self._keeping: AsyncGenerator[None, None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop's place among the clients; loops that stopped without a word lose theirs."""
        for stopped in [other for other in list(self._clients) if other.is_closed()]:
            self._clients.pop(stopped, None)
        self._clients[loop] = self
        self._keeping = self._keep(loop)
        await anext(self._keeping)

    async def aclose(self) -> None:
        """Give the place up and close the client, unless it is the user's own."""
        if self._keeping is not None:
            await self._keeping.aclose()

    def start_closing(self, loop: asyncio.AbstractEventLoop) -> None:
        """`aclose` without waiting for it; on the keeper's own loop."""
        self._closing = loop.create_task(self.aclose())

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._clients.pop(loop, None)
            if self._owned:
                await self.client.close()


def _close_dropped(clients: dict[asyncio.AbstractEventLoop, _ClientKeeper]) -> None:
    """Close the clients of an adapter that is gone, each on its own loop. Called by the garbage collector."""
    for loop, keeper in list(clients.items()):
        if loop.is_running():
            with contextlib.suppress(RuntimeError):  # it closed just now, and its clients with it
                loop.call_soon_threadsafe(keeper.start_closing, loop)


async def _drain(blocks: AsyncIterator[bytes]) -> None:
    """Read what follows the end marker, or HTTP/1.1 could not use the connection again.

    The answer is complete by now: whatever happens here costs the connection, not the answer.
    """
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_LONGEST_DRAIN_S):
            async for _ in blocks:
                pass


def _require_sdk() -> Any:
    """The SDK's module, imported on first use only."""
    if importlib.util.find_spec("openai") is None:
        raise MissingExtraError("pip install 'pytest-starling[openai]'", extra="openai")
    import openai

    return openai
