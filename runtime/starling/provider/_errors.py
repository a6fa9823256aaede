"""How provider failures are classed and worded, in one place for all adapters.

Strategy: retry policy lives in caller code, so a failure is one of `RateLimitError`, `AuthError`, `ServerError`,
`NetworkError`, or plain `ProviderError` for what is neither (a request the vendor refuses is the caller's bug). The
text names the provider and the status; it is what RunFailed records.
"""

from __future__ import annotations

import json

from starling.errors import AuthError, NetworkError, ProviderError, RateLimitError, ServerError
from starling.provider._transport import is_transport_error

__all__ = ["classify_transport", "provider_error_text", "wrap_http_status"]

_BY_STATUS: dict[int, type[ProviderError]] = {401: AuthError, 403: AuthError, 429: RateLimitError}


def provider_error_text(provider: str, message: str, status: int | None = None) -> str:
    """The text of a provider failure as it stands in RunFailed.

    Args:
        provider: the provider's id, as in RunStarted.
        message: what went wrong, in the vendor's words where it gave any.
        status: the HTTP status; None when there was no answer.
    """
    where = f"starling: provider {json.dumps(provider, ensure_ascii=False)}"
    return f"{where} (status {status}): {message}" if status else f"{where}: {message}"


def wrap_http_status(
    error: Exception | str,
    status: int | None,
    *,
    provider: str,
    request_id: str = "",
    retry_after_s: float | None = None,
) -> ProviderError:
    """Class a failure by its HTTP status.

    Args:
        error: what the SDK raised, or the message. An exception becomes ``__cause__``; a `ProviderError` is
            classed already and comes back as it is.
        status: the HTTP status, a number; None or 0 when there was no answer (`classify_transport` decides then).
        provider: the provider's id.
        request_id: the vendor's id of the request, when it gave one.
        retry_after_s: how long the vendor asks to wait, in seconds.

    Returns:
        The error to raise; it is not raised here.

    Raises:
        TypeError: the status is not an int.
    """
    if isinstance(error, ProviderError):
        return error
    if status is not None and not isinstance(status, int):
        raise TypeError(f"wrap_http_status: status must be an int such as 429, or None, got {status!r}: convert it")
    kind = _kind_of(error, status)
    wrapped = kind(
        provider_error_text(provider, _words(error), status),
        provider=provider,
        status=status or None,
        request_id=request_id,
        retry_after_s=retry_after_s,
    )
    wrapped.__cause__ = error if isinstance(error, Exception) else None
    return wrapped


def classify_transport(error: Exception, *, provider: str) -> ProviderError:
    """Class a failure without an HTTP answer: `NetworkError` if the network caused it, else `ProviderError`.

    The network's are an `OSError` (DNS, TLS, timeouts, connections that were refused or reset) and what the usual HTTP
    clients raise for a line that failed or an answer that came in pieces, by itself or as a cause. What they say of a
    mistake (an address without a scheme, a header that no request can carry, a missing file) is not.
    """
    return wrap_http_status(error, None, provider=provider)


def _kind_of(error: Exception | str, status: int | None) -> type[ProviderError]:
    if status:
        return ServerError if status >= 500 else _BY_STATUS.get(status, ProviderError)
    caused_by_network = not isinstance(error, str) and is_transport_error(error)
    return NetworkError if caused_by_network else ProviderError


def _words(error: Exception | str) -> str:
    """What the exception says; its class where it says nothing, as timeouts do."""
    return str(error) or type(error).__name__
