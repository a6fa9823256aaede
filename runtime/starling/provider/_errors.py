"""How provider failures are classed and worded, in one place for all adapters.

Strategy: retry policy lives in caller code, so a failure is one of `RateLimitError`, `AuthError`, `ServerError`,
`NetworkError`, or plain `ProviderError` for what is neither (a request the vendor refuses is the caller's bug). The
text names the provider and the status; it is what RunFailed records.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starling.errors import AuthError, NetworkError, ProviderError, RateLimitError, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["classify_transport", "provider_error_text", "wrap_http_status"]

_BY_STATUS: dict[int, type[ProviderError]] = {401: AuthError, 403: AuthError, 429: RateLimitError}

# OSError covers DNS (gaierror), refused and reset connections, TLS (ssl.SSLError) and timeouts.
_TRANSPORT = (OSError, EOFError)


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
        status: the HTTP status; None or 0 when there was no answer (`classify_transport` decides then).
        provider: the provider's id.
        request_id: the vendor's id of the request, when it gave one.
        retry_after_s: how long the vendor asks to wait, in seconds.

    Returns:
        The error to raise; nothing is raised here.
    """
    if isinstance(error, ProviderError):
        return error
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
    """Class a failure without an HTTP answer: `NetworkError` if the network caused it, else `ProviderError`."""
    return wrap_http_status(error, None, provider=provider)


def _kind_of(error: Exception | str, status: int | None) -> type[ProviderError]:
    if status:
        return ServerError if status >= 500 else _BY_STATUS.get(status, ProviderError)
    caused_by_network = not isinstance(error, str) and any(isinstance(link, _TRANSPORT) for link in _causes(error))
    return NetworkError if caused_by_network else ProviderError


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what caused it, outermost first; SDKs like to wrap the socket's own error."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _words(error: Exception | str) -> str:
    """What the exception says; its class where it says nothing, as timeouts do."""
    return str(error) or type(error).__name__
