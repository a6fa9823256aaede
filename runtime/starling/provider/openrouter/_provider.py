"""The adapter that does the IO: OpenAI's, with another endpoint, other headers and another reader."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starling.errors import AgentConfigError
from starling.provider._vendor_errors import error_from_status
from starling.provider.openai import OpenAI
from starling.provider.openrouter._errors import report_of
from starling.provider.openrouter._request import create_arguments
from starling.provider.openrouter._stream import GatewayReader

if TYPE_CHECKING:
    from starling.errors import ProviderError
    from starling.provider._adapter import Reader
    from starling.provider._types import Capabilities, Request

__all__ = ["OpenRouter"]


class OpenRouter(OpenAI):
    """OpenRouter's chat completions: the models of many vendors under names like ``anthropic/claude-sonnet-5``.

    Args:
        api_key: the key; by default the environment's ``OPENROUTER_API_KEY``.
        base_url: the endpoint, used as it is; by default the environment's ``OPENROUTER_BASE_URL``, else OpenRouter
            with ``api_version`` as the prefix. With a base URL a key is optional.
        http_referer: your application's address, for OpenRouter's attribution (header ``HTTP-Referer``).
        x_title: your application's name, for the same (header ``X-Title``).
        api_version: recorded in RunStarted. Keep it stable: replay compares it.
        provider_id: recorded in RunStarted.
        http_client: an ``httpx2.AsyncClient`` of your own (proxies, headers, transports). It is yours to close, and
            it ties the adapter to one event loop.
        timeout: seconds to wait for the connection and between two pieces of the answer; by default the SDK's.

    Raises:
        AuthError: no key, and none of what makes one unnecessary (a base URL, a replay).
        AgentConfigError: an attribution that no HTTP header can carry, or a timeout that is no number of seconds.
        MissingExtraError: the ``openai`` package is not installed.
    """

    _key_variable = "OPENROUTER_API_KEY"
    _base_url_variable = "OPENROUTER_BASE_URL"
    _host = "https://openrouter.ai/api"
    _request_id_header = "x-generation-id"
    _extra = "openrouter"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        http_referer: str = "",
        x_title: str = "",
        api_version: str = "v1",
        provider_id: str = "openrouter",
        http_client: Any = None,
        timeout: float | None = None,
    ) -> None:
        __tracebackhide__ = True
        self._attribution = {
            **_header("HTTP-Referer", http_referer, field="http_referer"),
            **_header("X-Title", x_title, field="x_title"),
        }
        super().__init__(
            api_key=api_key,
            base_url=base_url,
            api_version=api_version,
            provider_id=provider_id,
            http_client=http_client,
            timeout=timeout,
        )

    def capabilities(self) -> Capabilities:
        """What this wire supports. Which parameters a model supports differs; see ``provider.require_parameters``."""
        return replace(super().capabilities(), reasoning_signatures=True, cache_control=True, states_cost=True)

    def _reader(self) -> Reader:
        return GatewayReader(provider=self._info.id, secret=self._secret)

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments = create_arguments(request, provider=self._info.id)
        # The SDK would tell the gateway which of OpenAI's organizations the environment names.
        foreign = ["OpenAI-Organization", "OpenAI-Project", *([] if self._secret else ["Authorization"])]
        arguments["extra_headers"] = {**self._attribution, **dict.fromkeys(foreign, self._sdk().omit)}
        return arguments

    def _failure(self, error: Exception, request_id: str) -> ProviderError | None:
        if not isinstance(error, self._sdk().APIStatusError):
            return super()._failure(error, request_id)
        headers = error.response.headers
        return error_from_status(
            error.status_code,
            report_of(error.body),
            headers,
            provider=self._info.id,
            request_id=headers.get(self._request_id_header, ""),
            secret=self._secret,
        )


def _header(name: str, value: str, *, field: str) -> dict[str, str]:
    if not value.isascii() or not value.isprintable():
        text = f"{field} holds characters that no HTTP header can carry: {value!r}; write it in printable ASCII"
        raise AgentConfigError(text, field=field)
    return {name: value} if value else {}
