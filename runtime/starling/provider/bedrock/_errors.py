"""The vendor's names for what went wrong, and the SDK's exceptions as ours. Pure, but for looking at the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.errors import AuthError, ProviderError, RateLimitError, ServerError
from starling.provider._errors import provider_error_text
from starling.provider._sdk import require_sdk
from starling.provider._vendor_errors import error_from_status, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STREAM_ERRORS", "error_name", "refusal", "sdk_failure"]

_NAMED: dict[str, type[ProviderError]] = {
    "throttlingException": RateLimitError,
    "modelNotReadyException": RateLimitError,
    "serviceQuotaExceededException": RateLimitError,
    "accessDeniedException": AuthError,
    "expiredTokenException": AuthError,
    "incompleteSignatureException": AuthError,
    "invalidClientTokenId": AuthError,
    "invalidSignatureException": AuthError,
    "missingAuthenticationTokenException": AuthError,
    "unrecognizedClientException": AuthError,
}
"""Exceptions whose class does not depend on their status: a quota is a 400 here, and so are some expired tokens."""

STREAM_ERRORS: dict[str, type[ProviderError]] = {
    **_NAMED,
    "internalServerException": ServerError,
    "modelStreamErrorException": ServerError,  # "Retry your request"
    "modelTimeoutException": ServerError,
    "serviceUnavailableException": ServerError,
}
"""Exceptions within a stream, where there is no status (API reference, ConverseStreamOutput)."""

_CREDENTIAL_ERRORS = (
    "CredentialRetrievalError",
    "LoginError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "RefreshWithMFAUnsupportedError",
    "SSOError",
    "TokenRetrievalError",
)
"""The SDK's exceptions that say that there are no usable credentials."""


def error_name(code: object) -> str:
    """An exception's name in one spelling: streams write it with a small letter, HTTP answers with a capital one."""
    name = code if isinstance(code, str) else ""
    return name[:1].lower() + name[1:]


def sdk_failure(error: Exception, *, provider: str, secret: str) -> ProviderError | None:
    """An exception of the SDK's as one of ours; None if it is none of them."""
    sdk = require_sdk("botocore.exceptions", extra="bedrock")
    if isinstance(error, sdk.ClientError):
        return _client_error(error.response, provider=provider, secret=secret)
    if isinstance(error, _credential_errors(sdk)):
        text = f"no usable credentials: {redact(str(error), secret)}"
        return AuthError(provider_error_text(provider, text), provider=provider)
    if isinstance(error, sdk.ParamValidationError):
        text = "; ".join(f"the SDK refuses the request: {redact(str(error), secret)}".splitlines())
        return ProviderError(provider_error_text(provider, text), provider=provider)
    return None


def refusal(status: int, message: str, headers: Mapping[str, str], *, provider: str, secret: str) -> ProviderError:
    """The error of an answer that the SDK could not read.

    Args:
        headers: the answer's, names in lower case; one of them names the exception.
    """
    code = headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]
    about = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    error = {"Code": code, "Message": message}
    return _client_error({"Error": error, "ResponseMetadata": about}, provider=provider, secret=secret)


def _client_error(response: Mapping[str, Any], *, provider: str, secret: str) -> ProviderError:
    """An HTTP answer other than 200."""
    reported, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    headers = about.get("HTTPHeaders", {})
    code, message = reported.get("Code", ""), reported.get("Message", "")
    failure = error_from_status(
        about.get("HTTPStatusCode", 0),
        f"{code}: {message}" if code and message else code or message,
        headers,
        provider=provider,
        request_id=about.get("RequestId", "") or headers.get("x-amzn-requestid", ""),
        secret=secret,
    )
    kind = _NAMED.get(error_name(code))
    return failure if kind is None or type(failure) is not ProviderError else _as(kind, failure)


def _as(kind: type[ProviderError], failure: ProviderError) -> ProviderError:
    return kind(
        str(failure),
        provider=failure.provider,
        status=failure.status,
        request_id=failure.request_id,
        retry_after_s=failure.retry_after_s,
    )


def _credential_errors(sdk: Any) -> tuple[type[Exception], ...]:
    """Those of the table that this version of the SDK has."""
    return tuple(getattr(sdk, name) for name in _CREDENTIAL_ERRORS if hasattr(sdk, name))
