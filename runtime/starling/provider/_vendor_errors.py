"""What a vendor and its SDK say of a failure, read once for all adapters. Pure.

Strategy: `wrap_http_status` classes by status; here is what comes before it: the vendor's words in its error body, the
wait that its headers ask for, and the class of an error report inside a stream, where there is no status.
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from starling.errors import NetworkError, ProviderError
from starling.provider._errors import provider_error_text, wrap_http_status
from starling.provider._transport import is_transport_error

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "error_from_report",
    "error_from_status",
    "error_from_transport",
    "other_error",
    "redact",
    "redirection",
    "retry_after_s",
    "unexpected_error",
    "unread_body",
    "vendor_message",
    "vendor_words",
]

_STATUS = re.compile(r"[45][0-9]{2}")

_LONGEST_MESSAGE = 1000
"""Characters of a vendor's message that are kept; some gateways answer with a whole page."""


def error_from_status(
    status: int, body: object, headers: Mapping[str, str], *, provider: str, request_id: str, secret: str
) -> ProviderError:
    """The error for an HTTP answer other than 200.

    Args:
        status: the HTTP status.
        body: the parsed body, its text if it is not JSON, or None.
        headers: the response's headers, names in lower case or case-insensitive.
        provider: the provider's id.
        request_id: the vendor's id of the request.
        secret: the API key; it is taken out of the message should the server repeat it.
    """
    return wrap_http_status(
        vendor_words(redirection(status, headers) or body, "no message", secret),
        status,
        provider=provider,
        request_id=request_id,
        retry_after_s=retry_after_s(headers),
    )


def error_from_report(
    body: Mapping[str, Any], classes: Mapping[str, type[ProviderError]], *, provider: str, request_id: str, secret: str
) -> ProviderError:
    """The error for an error report inside a stream, classed by the HTTP status that it quotes, or by its name.

    Args:
        body: the event, with the report under ``error`` or itself being it.
        classes: the vendor's names for what went wrong (``code``, ``type`` or ``status`` of a report, which may hold a
            status instead, as a number or as text).
    """
    inner = body.get("error")
    details = inner if isinstance(inner, dict) else body
    message = vendor_words(body, "the vendor reported an error without a message", secret)
    named = (str(details.get(field)) for field in ("code", "type", "status"))
    name = next((name for name in named if name in classes or _STATUS.fullmatch(name)), "")
    if name.isdecimal() and name not in classes:
        return wrap_http_status(message, int(name), provider=provider, request_id=request_id)
    kind = classes.get(name, ProviderError)
    return kind(provider_error_text(provider, message), provider=provider, request_id=request_id)


def error_from_transport(error: Exception, *, provider: str, request_id: str = "", secret: str = "") -> NetworkError:
    """The error for a connection that failed or broke. The SDK says only that it did; its cause says why."""
    reason = error.__cause__ or error
    words = f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__
    text = provider_error_text(provider, f"the connection failed ({redact(words, secret)})")
    failure = NetworkError(text, provider=provider, request_id=request_id)
    failure.__cause__ = error
    return failure


def other_error(error: Exception, *, provider: str, request_id: str = "", secret: str = "") -> ProviderError:
    """The error for what is none of an SDK's own exceptions: `NetworkError` if the network caused it."""
    kind = error_from_transport if is_transport_error(error) else unexpected_error
    return kind(error, provider=provider, request_id=request_id, secret=secret)


def unexpected_error(error: BaseException, *, provider: str, request_id: str = "", secret: str = "") -> ProviderError:
    """The error for what neither the vendor nor the network is known to cause."""
    text = f"unexpected {type(error).__name__}: {redact(str(error), secret)}"
    return ProviderError(provider_error_text(provider, text), provider=provider, request_id=request_id)


def redirection(status: int, headers: Mapping[str, str]) -> str:
    """What is said of an answer that points elsewhere; "" for any other answer."""
    if not 300 <= status < 400:
        return ""
    where = headers.get("location", "")
    return f"the answer is a redirect{f' to {where}' if where else ''}, which is not followed; is the address right?"


def unread_body(error: Exception) -> str:
    """What is said in place of a refusal's own words, when its body stopped or broke off."""
    return f"no message: the answer's body could not be read ({type(error).__name__})"


def vendor_words(body: object, otherwise: str, secret: str) -> str:
    """The vendor's words as they stand in an error: without the API key, and not too many.

    Args:
        body: see `vendor_message`.
        otherwise: what is said where the vendor said nothing.
        secret: the API key. It is taken out first, or half of it might stand before the cut.
    """
    return redact(vendor_message(body) or otherwise, secret)[:_LONGEST_MESSAGE]


def vendor_message(body: object) -> str:
    """All that the vendor said, the API key included.

    Bodies are ``{"message": …}``, the same under ``error``, or plain text.
    """
    if isinstance(body, dict):
        inner = body.get("error", body)
        message: Any = inner.get("message") if isinstance(inner, dict) else inner
        message = message or body.get("message") or body.get("detail")
    else:
        message = body
    return str(message).strip() if message else ""


def redact(text: str, secret: str) -> str:
    """The text without the API key, should a server have repeated it."""
    return text.replace(secret, "[redacted]") if secret else text


def retry_after_s(headers: Mapping[str, str]) -> float | None:
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
