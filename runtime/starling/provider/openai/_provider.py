"""The adapter that does the IO: the official SDK, its client, its connections."""

from __future__ import annotations

import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.provider._adapter import Adapter
from starling.provider._credentials import check_key, key_from
from starling.provider._loop_clients import LoopClients
from starling.provider._sdk import require_sdk
from starling.provider._stainless import NO_RETRIES, own_http_client, sdk_failure, streamed
from starling.provider._timeouts import check_timeout
from starling.provider._types import Capabilities, ProviderInfo
from starling.provider.openai._request import create_arguments
from starling.provider.openai._stream import AnswerReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from openai import AsyncOpenAI

    from starling.errors import ProviderError
    from starling.provider._adapter import Reader
    from starling.provider._chunks import Chunk
    from starling.provider._types import Request

__all__ = ["OpenAI"]


class OpenAI(Adapter):
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
        AgentConfigError: a timeout that is no number of seconds.
        MissingExtraError: the ``openai`` package is not installed.
    """

    # What a gateway that speaks this wire calls otherwise.
    _key_variable = "OPENAI_API_KEY"
    _base_url_variable = "OPENAI_BASE_URL"
    _host = "https://api.openai.com"
    _request_id_header = "x-request-id"
    _extra = "openai"

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
        __tracebackhide__ = True
        info = ProviderInfo(id=provider_id, api_version=api_version)
        super().__init__(info, secret=key_from(api_key, self._key_variable))
        check_timeout(timeout)
        self._own_url = base_url or os.environ.get(self._base_url_variable, "")
        options = {
            # The SDK would take a missing key from the environment; "" was a decision, and the header is left out.
            "api_key": self._secret or "none",
            "base_url": self._own_url or f"{self._host}/{api_version}",
            "organization": organization,
            "http_client": http_client,
            **NO_RETRIES,
            **({} if timeout is None else {"timeout": timeout}),
        }
        own_client = partial(
            own_http_client, provider=provider_id, request_id_header=self._request_id_header, secret=self._secret
        )
        self._clients = LoopClients(
            partial(_build_client, self._extra, options, own_client), None if http_client else _close_client
        )
        if not ambient.may_build_without_key():
            self._require_credentials()
            self._sdk()

    def capabilities(self) -> Capabilities:
        """What this wire supports. Cache markers are not among it: caching is the vendor's own decision here."""
        return Capabilities(tools=True, tool_choice=True, reasoning=True, stop_sequences=True, request_id=True)

    async def aclose(self) -> None:
        """Close this event loop's connections. The adapter may be used again afterwards."""
        await self._clients.aclose()

    def _reader(self) -> Reader:
        return AnswerReader(provider=self._info.id, secret=self._secret)

    async def _answer(self, request: Request, reader: Reader) -> AsyncGenerator[Chunk, None]:
        self._require_credentials()  # the adapter was built in a replaying process, perhaps, and is used in a live one
        arguments = self._arguments(request)
        client = await self._clients.get()
        opening = client.chat.completions.with_streaming_response.create(**arguments)
        answer = streamed(opening, reader, provider=self._info.id, request_id_header=self._request_id_header)
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                yield chunk

    def _arguments(self, request: Request) -> dict[str, Any]:
        """What the SDK is called with."""
        # Compatible servers know the older name; OpenAI's reasoning models know the newer one alone.
        max_tokens_name = "max_tokens" if self._own_url else "max_completion_tokens"
        arguments = create_arguments(request, provider=self._info.id, max_tokens_name=max_tokens_name)
        if not self._secret:
            arguments["extra_headers"] = {"Authorization": self._sdk().omit}
        return arguments

    def _failure(self, error: Exception, request_id: str) -> ProviderError | None:
        return sdk_failure(
            self._sdk(),
            error,
            provider=self._info.id,
            request_id=request_id,
            request_id_header=self._request_id_header,
            secret=self._secret,
        )

    def _require_credentials(self) -> None:
        __tracebackhide__ = True
        check_key(
            self._secret,
            provider=self._info.id,
            variable=self._key_variable,
            instead="(or base_url= for an endpoint that takes none)",
            required=not self._own_url,
        )

    def _sdk(self) -> Any:
        return require_sdk("openai", extra=self._extra)


def _build_client(extra: str, options: Mapping[str, Any], own_client: Callable[[Any], Any]) -> AsyncOpenAI:
    sdk = require_sdk("openai", extra=extra)
    client: AsyncOpenAI = sdk.AsyncOpenAI(**{**options, "http_client": options["http_client"] or own_client(sdk)})
    return client


async def _close_client(client: AsyncOpenAI) -> None:
    await client.close()
