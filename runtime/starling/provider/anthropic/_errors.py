"""The vendor's names for what went wrong. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.errors import AuthError, RateLimitError, ServerError

if TYPE_CHECKING:
    from starling.errors import ProviderError

__all__ = ["ERROR_CLASSES"]

ERROR_CLASSES: dict[str, type[ProviderError]] = {
    "rate_limit_error": RateLimitError,
    "authentication_error": AuthError,
    "permission_error": AuthError,
    "api_error": ServerError,
    "overloaded_error": ServerError,
    "timeout_error": ServerError,
}
"""``error.type`` of an error event (the vendor's page "Errors"), as their HTTP statuses 429, 401, 403, 500, 529 and 504
would be classed. What is not here (``invalid_request_error``, ``billing_error``, …) is a plain ProviderError."""
