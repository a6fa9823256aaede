"""The adapter that does the IO: the official SDK, its client, its connections."""

from __future__ import annotations

import os
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from starling import ambient
from starling.errors import ProviderError
from starling.provider._adapter import Adapter, read_answer, require_event_stream
from starling.provider._credentials import check_key, key_from
from starling.provider._errors import provider_error_text
from starling.provider._loop_clients import LoopClients
from starling.provider._sdk import require_sdk
from starling.provider._timeouts import check_timeout
from starling.provider._types import Capabilities, ProviderInfo
from starling.provider._vendor_errors import redact
from starling.provider.gemini._errors import error_from_google, refused_by_sdk
from starling.provider.gemini._request import first_free_number, generate_arguments
from starling.provider.gemini._stream import AnswerReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from starling.provider._adapter import Reader
    from starling.provider._chunks import Chunk
    from starling.provider._types import Request

__all__ = ["Gemini"]

_KEY_VARIABLE = "GEMINI_API_KEY"
_OTHER_KEY_VARIABLE = "GOOGLE_API_KEY"
_BASE_URL_VARIABLE = "GOOGLE_GEMINI_BASE_URL"
_HOST = "https://generativelanguage.googleapis.com"
_NO_RETRIES = {"attempts": 1}


class Gemini(Adapter):
    """Google's Gemini API (the developer API, not Vertex AI).

    Args:
        api_key: the key; by default the environment's ``GOOGLE_API_KEY``, else its ``GEMINI_API_KEY``, in the SDK's own
            order.
        base_url: the endpoint without the version; by default the environment's ``GOOGLE_GEMINI_BASE_URL``, else
            Google's.
        api_version: the prefix of the paths, recorded in RunStarted. Keep it stable: replay compares it.
        provider_id: recorded in RunStarted.
        http_client: an ``httpx2.AsyncClient`` of your own (proxies, headers, transports). It is yours to close, and
            it ties the adapter to one event loop.
        timeout: seconds to wait for the connection and between two pieces of the answer; by default 5 and 600, or
            what your own client says.

    Raises:
        AuthError: no key, and no recording is being replayed.
        AgentConfigError: a timeout that is no number of seconds.
        MissingExtraError: the ``google-genai`` package is not installed.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        api_version: str = "v1beta",
        provider_id: str = "gemini",
        http_client: Any = None,
        timeout: float | None = None,
    ) -> None:
        __tracebackhide__ = True
        info = ProviderInfo(id=provider_id, api_version=api_version)
        super().__init__(info, secret=key_from(api_key, _OTHER_KEY_VARIABLE, _KEY_VARIABLE))
        check_timeout(timeout)
        options = {
            "api_key": self._secret,
            "base_url": base_url or os.environ.get(_BASE_URL_VARIABLE) or _HOST,
            "api_version": api_version,
        }
        refusal = partial(error_from_google, provider=provider_id, request_id="", secret=self._secret)
        self._clients = LoopClients(
            partial(_build, options, http_client, timeout, refusal), None if http_client else _close
        )
        if not ambient.may_build_without_key():
            self._require_credentials()
            _sdk()

    def capabilities(self) -> Capabilities:
        """What this wire supports. Cache markers are not among it: the vendor caches by itself, or a cache is named.

        The parameter that names one is ``cached_content``.
        """
        return Capabilities(
            tools=True,
            tool_choice=True,
            reasoning=True,
            reasoning_signatures=True,
            stop_sequences=True,
            request_id=True,
        )

    async def aclose(self) -> None:
        """Close this event loop's connections. The adapter may be used again afterwards."""
        await self._clients.aclose()

    def _reader(self) -> Reader:
        return AnswerReader(provider=self._info.id, secret=self._secret)

    async def _answer(self, request: Request, reader: Reader) -> AsyncGenerator[Chunk, None]:
        self._require_credentials()  # the adapter was built in a replaying process, perhaps, and is used in a live one
        answer = cast("AnswerReader", reader)
        answer.first_number = first_free_number(request)
        arguments = generate_arguments(request, provider=self._info.id)
        line = await self._clients.get()
        while True:
            async with aclosing(self._one_request(line, arguments, answer)) as chunks:
                async for chunk in chunks:
                    yield chunk
            if not answer.unfinished:
                return
            arguments["config"]["continuation_token"] = answer.continuation

    async def _one_request(
        self, line: _Line, arguments: Mapping[str, Any], reader: AnswerReader
    ) -> AsyncGenerator[Chunk, None]:
        from starling.provider.gemini._handover import answered

        asking = line.sdk.aio.models.generate_content_stream(**arguments)
        async with answered(asking) as response:
            require_event_stream(response.headers, provider=self._info.id)
            async with aclosing(read_answer(response.aiter_bytes(), reader)) as chunks:
                async for chunk in chunks:
                    yield chunk

    def _failure(self, error: Exception, request_id: str) -> ProviderError | None:
        from pydantic import ValidationError

        provider = self._info.id
        if isinstance(error, _sdk().errors.APIError):
            return error_from_google(
                error.details,
                status=error.code,
                headers=getattr(error.response, "headers", {}),
                provider=provider,
                request_id=request_id,
                secret=self._secret,
            )
        if isinstance(error, ValidationError):
            return refused_by_sdk(error.errors(include_url=False, include_input=False), provider=provider)
        if type(error) is ValueError:  # what the SDK says of parameters that are Vertex AI's alone
            text = f"the SDK refused the request: {redact(str(error), self._secret)}"
            return ProviderError(provider_error_text(provider, text), provider=provider)
        return None

    def _require_credentials(self) -> None:
        __tracebackhide__ = True
        check_key(
            self._secret,
            provider=self._info.id,
            variable=f"{_KEY_VARIABLE} (or {_OTHER_KEY_VARIABLE})",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One event loop's client of the SDK, and the HTTP client behind it."""

    sdk: Any
    http: Any


def _build(
    options: Mapping[str, Any], http_client: Any, timeout: float | None, refusal: Callable[..., ProviderError]
) -> _Line:
    from starling.provider.gemini._handover import Handover, no_http_client, own_http_client

    http = http_client or own_http_client(timeout)
    sdk = _sdk().Client(
        vertexai=False,  # whatever the environment says
        api_key=options["api_key"],
        http_options={
            "base_url": options["base_url"],
            "api_version": options["api_version"],
            "retry_options": _NO_RETRIES,
            "httpx_async_client": Handover(http, timeout, refusal),
            "httpx_client": no_http_client(),
        },
    )
    return _Line(sdk=sdk, http=http)


async def _close(line: _Line) -> None:
    await line.http.aclose()


def _sdk() -> Any:
    return require_sdk("google.genai", extra="gemini")
