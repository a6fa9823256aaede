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
from starling.provider.anthropic._request import create_arguments
from starling.provider.anthropic._stream import MessageReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from anthropic import AsyncAnthropic

    from starling.errors import ProviderError
    from starling.provider._adapter import Reader
    from starling.provider._chunks import Chunk
    from starling.provider._types import Request

__all__ = ["Anthropic"]

_KEY_VARIABLE = "ANTHROPIC_API_KEY"
_BASE_URL_VARIABLE = "ANTHROPIC_BASE_URL"
_HOST = "https://api.anthropic.com"
_VERSION_HEADER = "anthropic-version"
_REQUEST_ID_HEADER = "request-id"


class Anthropic(Adapter):
    """Anthropic's Messages API, or any gateway that speaks it.

    Args:
        api_key: the key; by default the environment's ``ANTHROPIC_API_KEY``. Give ``""`` for a gateway that takes none.
            The SDK's other ways to find credentials (profiles, federation) are not tried.
        base_url: the endpoint without ``/v1/messages``; by default the environment's ``ANTHROPIC_BASE_URL``, else
            Anthropic. With a base URL a key is optional.
        api_version: sent as the header ``anthropic-version`` and recorded in RunStarted. Keep it stable: replay
            compares it. From ``2026-10-21`` on the vendor refuses ``temperature``, ``top_p`` and ``top_k``.
        provider_id: recorded in RunStarted; name the gateway when the endpoint is not Anthropic's.
        http_client: an ``httpx2.AsyncClient`` of your own (proxies, headers, transports). It is yours to close, and
            it ties the adapter to one event loop.
        timeout: seconds to wait for the connection and between two pieces of the answer; by default the SDK's.

    Raises:
        AuthError: no key, and none of what makes one unnecessary (a base URL, a replay).
        AgentConfigError: a timeout that is no number of seconds.
        MissingExtraError: the ``anthropic`` package is not installed.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        api_version: str = "2023-06-01",
        provider_id: str = "anthropic",
        http_client: Any = None,
        timeout: float | None = None,
    ) -> None:
        __tracebackhide__ = True
        info = ProviderInfo(id=provider_id, api_version=api_version)
        super().__init__(info, secret=key_from(api_key, _KEY_VARIABLE))
        check_timeout(timeout)
        self._own_url = base_url or os.environ.get(_BASE_URL_VARIABLE, "")
        options = {
            # The SDK would look for missing credentials in many places; "" was a decision, and the header is left out.
            "api_key": self._secret or "none",
            "base_url": self._own_url or _HOST,
            # The SDK's own default moves with its major versions, and with it what the vendor refuses.
            "default_headers": {_VERSION_HEADER: api_version},
            "http_client": http_client,
            **NO_RETRIES,
            **({} if timeout is None else {"timeout": timeout}),
        }
        own_client = partial(
            own_http_client, provider=provider_id, request_id_header=_REQUEST_ID_HEADER, secret=self._secret
        )
        self._clients = LoopClients(partial(_build_client, options, own_client), None if http_client else _close_client)
        if not ambient.may_build_without_key():
            self._require_credentials()
            _sdk()

    def capabilities(self) -> Capabilities:
        """What this wire supports: everything that is asked about."""
        return Capabilities(
            tools=True,
            tool_choice=True,
            reasoning=True,
            reasoning_signatures=True,
            stop_sequences=True,
            cache_control=True,
            request_id=True,
        )

    async def aclose(self) -> None:
        """Close this event loop's connections. The adapter may be used again afterwards."""
        await self._clients.aclose()

    def _reader(self) -> Reader:
        return MessageReader(provider=self._info.id, secret=self._secret)

    async def _answer(self, request: Request, reader: Reader) -> AsyncGenerator[Chunk, None]:
        self._require_credentials()  # the adapter was built in a replaying process, perhaps, and is used in a live one
        arguments = create_arguments(request, provider=self._info.id)
        if not self._secret:
            arguments["extra_headers"] = {**arguments.get("extra_headers", {}), "Authorization": _sdk().omit}
        client = await self._clients.get()
        opening = client.messages.with_streaming_response.create(**arguments)
        answer = streamed(opening, reader, provider=self._info.id, request_id_header=_REQUEST_ID_HEADER)
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                yield chunk

    def _failure(self, error: Exception, request_id: str) -> ProviderError | None:
        return sdk_failure(
            _sdk(),
            error,
            provider=self._info.id,
            request_id=request_id,
            request_id_header=_REQUEST_ID_HEADER,
            secret=self._secret,
        )

    def _require_credentials(self) -> None:
        __tracebackhide__ = True
        check_key(
            self._secret,
            provider=self._info.id,
            variable=_KEY_VARIABLE,
            instead="(or base_url= for a gateway that takes none)",
            required=not self._own_url,
        )


def _build_client(options: Mapping[str, Any], own_client: Callable[[Any], Any]) -> AsyncAnthropic:
    sdk = _sdk()
    client: AsyncAnthropic = sdk.AsyncAnthropic(**{**options, "http_client": options["http_client"] or own_client(sdk)})
    return client


async def _close_client(client: AsyncAnthropic) -> None:
    await client.close()


def _sdk() -> Any:
    return require_sdk("anthropic", extra="anthropic")
