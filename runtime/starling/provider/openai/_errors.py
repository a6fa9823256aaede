"""The vendor's names for what went wrong. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.errors import AuthError, RateLimitError, ServerError

if TYPE_CHECKING:
    from starling.errors import ProviderError

__all__ = ["ERROR_CLASSES"]

ERROR_CLASSES: dict[str, type[ProviderError]] = {
    "rate_limit_exceeded": RateLimitError,
    "rate_limit_error": RateLimitError,
    "billing_hard_limit_reached": RateLimitError,
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
    "slow_down": ServerError,
}
"""``code`` or ``type`` of an error body (OpenAI's guide "Error codes", and what compatible servers use). They matter
where there is no HTTP status: in the middle of a stream."""
