"""The SDKs that the generator Stainless makes (OpenAI's, Anthropic's) are one program under two names.

Strategy: the SDK makes the request and answers for transport, authentication and errors; the answer's bytes are read
here, so that the raw response hash covers what the vendor sent. The SDK's own retries are off: a retry is the agent's
decision and stands in the log. So are redirects: they would send the prompt to an address that nobody named.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from starling.provider._adapter import read_answer, require_event_stream
from starling.provider._transport import is_transport_error
from starling.provider._vendor_errors import error_from_status, error_from_transport, unexpected_error, unread_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starling.errors import ProviderError
    from starling.provider._adapter import Reader
    from starling.provider._chunks import Chunk

__all__ = ["NO_RETRIES", "own_http_client", "sdk_failure", "streamed"]

NO_RETRIES: dict[str, Any] = {"max_retries": 0}
"""For the client's constructor."""


def own_http_client(sdk: Any, *, provider: str, request_id_header: str, secret: str) -> Any:
    """A client for one event loop: the SDK's own, but that one call is one request, and a refusal is told of at once.

    The SDK reads a refusal's body before it looks at its status, so a body that never ends would hide the status.

    Args:
        sdk: the SDK's module.
        request_id_header: see `streamed`.
        secret: the API key.
    """
    hook = partial(_read_refusal, provider=provider, request_id_header=request_id_header, secret=secret)
    return sdk.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks={"response": [hook]})


async def _read_refusal(response: Any, *, provider: str, request_id_header: str, secret: str) -> None:
    if response.is_success:
        return
    try:
        await response.aread()
    except Exception as error:
        raise error_from_status(
            response.status_code,
            unread_body(error),
            response.headers,
            provider=provider,
            request_id=response.headers.get(request_id_header, ""),
            secret=secret,
        ) from error


async def streamed(
    opening: Any, reader: Reader, *, provider: str, request_id_header: str
) -> AsyncGenerator[Chunk, None]:
    """The chunks of a streamed answer.

    Args:
        opening: what ``with_streaming_response.create(…)`` gives.
        request_id_header: where this vendor puts its id of the request, in lower case.
    """
    async with opening as response:
        reader.request_id = response.headers.get(request_id_header, "")
        require_event_stream(response.headers, provider=provider)
        async with aclosing(read_answer(response.iter_bytes(), reader)) as chunks:
            async for chunk in chunks:
                yield chunk


def sdk_failure(
    sdk: Any, error: Exception, *, provider: str, request_id: str, request_id_header: str, secret: str
) -> ProviderError | None:
    """An exception of the SDK's as one of ours; None if it is none of them."""
    if isinstance(error, sdk.APIStatusError):
        headers = error.response.headers
        return error_from_status(
            error.status_code,
            error.body,
            headers,
            provider=provider,
            request_id=headers.get(request_id_header, ""),
            secret=secret,
        )
    if isinstance(error, sdk.APIConnectionError):
        # It wraps whatever came of sending the request, an address without a scheme as well as a refused connection.
        if error.__cause__ is None or is_transport_error(error):
            return error_from_transport(error, provider=provider, request_id=request_id, secret=secret)
        return unexpected_error(error.__cause__, provider=provider, request_id=request_id, secret=secret)
    return None
