"""The vendor's error reports: an HTTP error's body, or what stands in the middle of a stream. Pure.

Strategy: Google's reports are ``google.rpc.Status`` as JSON: a status number, its name, and ``details`` which hold what
other vendors put into headers and error codes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starling.errors import AuthError, ProviderError, RateLimitError, ServerError
from starling.provider._errors import provider_error_text, wrap_http_status
from starling.provider._vendor_errors import redirection, retry_after_s, vendor_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["error_from_google", "refused_by_sdk"]

_CLASSES: dict[str, type[ProviderError]] = {
    "RESOURCE_EXHAUSTED": RateLimitError,
    "UNAUTHENTICATED": AuthError,
    "PERMISSION_DENIED": AuthError,
    "INTERNAL": ServerError,
    "UNAVAILABLE": ServerError,
    "DEADLINE_EXCEEDED": ServerError,
    "UNKNOWN": ServerError,
    "DATA_LOSS": ServerError,
}
"""Names of ``google.rpc.Code``. They matter where a report has no number."""

_KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})
"""``google.rpc.ErrorInfo.reason``: a wrong key is a 400 to this vendor, and none of the request's fault."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")


def error_from_google(
    body: object, *, status: int | None, headers: Mapping[str, str], provider: str, request_id: str, secret: str
) -> ProviderError:
    """The error that a report makes.

    Args:
        body: the parsed body or event, its text if it is not JSON.
        status: the HTTP status; None within a stream, where the report's own number counts.
        headers: the response's, names in lower case or case-insensitive; empty within a stream.
        provider: the provider's id.
        request_id: the vendor's id of the answer, if it had begun.
        secret: the API key; it is taken out of the message should the server repeat it.
    """
    report = _report(body)
    status = status or _status(report)
    said = (status and redirection(status, headers)) or body
    message = vendor_words(said, "the vendor reported an error without a message", secret)
    wait_s = retry_after_s(headers)
    wait_s = _retry_delay_s(report) if wait_s is None else wait_s
    kind = _CLASSES.get(str(report.get("status")), ProviderError) if status is None else None
    if any(detail.get("reason") in _KEY_REASONS for detail in _details(report)):
        kind = AuthError
    if kind is None:
        return wrap_http_status(message, status, provider=provider, request_id=request_id, retry_after_s=wait_s)
    text = provider_error_text(provider, message, status)
    return kind(text, provider=provider, status=status, request_id=request_id, retry_after_s=wait_s)


def refused_by_sdk(problems: Sequence[Mapping[str, Any]], *, provider: str) -> ProviderError:
    """The error for parameters that the SDK's own model of a request does not take.

    Args:
        problems: what is wrong, as pydantic lists it (``loc``, ``msg``).
        provider: the provider's id.
    """
    first = problems[0]
    field = "params." + ".".join(str(step) for step in first["loc"])
    unknown = first.get("type") == "extra_forbidden"
    why = "the vendor has no such parameter" if unknown else str(first["msg"])
    return ProviderError(
        provider_error_text(provider, f"{field} cannot be sent: {why}"), provider=provider, field=field
    )


def _report(body: object) -> Mapping[str, Any]:
    inner = body.get("error", body) if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {}


def _status(report: Mapping[str, Any]) -> int | None:
    code = report.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _details(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    details = report.get("details")
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _retry_delay_s(report: Mapping[str, Any]) -> float | None:
    """``google.rpc.RetryInfo.retry_delay``, which this vendor uses in the place of a header."""
    delays = (_DURATION.fullmatch(str(detail.get("retryDelay"))) for detail in _details(report))
    return next((float(found[1]) for found in delays if found), None)
