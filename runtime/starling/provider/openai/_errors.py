"""The SDK's exceptions and the vendor's error bodies to ours, once, with the vendor's own words. Pure.

The SDK is not imported here: its exceptions are told apart by what they carry, a response or none.
"""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from starling.errors import AuthError, NetworkError, ProviderError, RateLimitError, ServerError
from starling.provider._errors import provider_error_text, wrap_http_status

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["error_from_body", "error_from_status", "error_from_transport", "is_transport_error", "redact"]

_HTTP_PACKAGES = frozenset({"anyio", "httpcore", "httpcore2", "httpx", "httpx2"})

_LONGEST_MESSAGE = 1000
"""Characters of a vendor's message that are kept; some gateways answer with a whole page."""

_BY_TYPE: dict[str, type[ProviderError]] = {
    "rate_limit_exceeded": RateLimitError,
    "rate_limit_error": RateLimitError,
    "insufficient_quota": RateLimitError,
    "tokens": RateLimitError,
    "requests": RateLimitError,
    "invalid_api_key": AuthError,
    "authentication_error": AuthError,
    "permission_error": AuthError,
    "server_error": ServerError,
    "internal_error": ServerError,
    "internal_server_error": ServerError,
    "api_error": ServerError,
    "overloaded_error": ServerError,
    "service_unavailable": ServerError,
}
"""The vendor's names for what went wrong, in ``code`` or ``type`` of an error body (OpenAI's guide "Error codes", and
what compatible servers use). They matter where there is no HTTP status: in the middle of a stream."""


def error_from_status(
    status: int, body: object, headers: Mapping[str, str], *, provider: str, secret: str
) -> ProviderError:
    """The error for an HTTP answer other than 200.

    Args:
        status: the HTTP status.
        body: the parsed body, its text if it is not JSON, or None.
        headers: the response's headers, names in lower case or case-insensitive.
        provider: the provider's id.
        secret: the API key; it is taken out of the message should the server repeat it.
    """
    return wrap_http_status(
        redact(_message(body) or "no message", secret),
        status,
        provider=provider,
        request_id=headers.get("x-request-id", ""),
        retry_after_s=_retry_after_s(headers),
    )


def error_from_body(body: dict[str, Any], *, provider: str, request_id: str, secret: str) -> ProviderError:
    """The error for an error report inside a stream, classed by its HTTP-like code or by its type."""
    inner = body.get("error")
    details = inner if isinstance(inner, dict) else body
    code = details.get("code")
    message = redact(_message(body) or "the vendor reported an error without a message", secret)
    if isinstance(code, int) and 400 <= code < 600:
        return wrap_http_status(message, code, provider=provider, request_id=request_id)
    names = (str(code), str(details.get("type")))
    kind = next((_BY_TYPE[name] for name in names if name in _BY_TYPE), ProviderError)
    return kind(provider_error_text(provider, message), provider=provider, request_id=request_id)


def is_transport_error(error: Exception) -> bool:
    """Whether the HTTP client below the SDK raised this.

    Reading an answer's bytes is not covered by the SDK's own mapping, and which client it is depends on what the
    user passed in.
    """
    roots = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError | EOFError) or bool(roots & _HTTP_PACKAGES)


def error_from_transport(error: Exception, *, provider: str, request_id: str = "") -> NetworkError:
    """The error for a connection that failed or broke. The SDK says only that it did; its cause says why."""
    reason = error.__cause__ or error
    words = f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__
    text = provider_error_text(provider, f"the connection failed ({words})")
    failure = NetworkError(text, provider=provider, request_id=request_id)
    failure.__cause__ = error
    return failure


def _message(body: object) -> str:
    """The vendor's words. Bodies are ``{"message": …}``, the same under ``error``, or plain text."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        message: Any = inner.get("message") if isinstance(inner, dict) else inner
        message = message or body.get("detail")
    else:
        message = body
    return str(message)[:_LONGEST_MESSAGE].strip() if message else ""


def redact(text: str, secret: str) -> str:
    """The text without the API key, should a server have repeated it."""
    return text.replace(secret, "[redacted]") if secret else text


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the vendor asks to wait; a date counts from the answer's own date, so that no clock is read."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait_s = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return wait_s if math.isfinite(wait_s) and wait_s >= 0 else None
    try:
        wait = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return max(wait.total_seconds(), 0.0)
