"""The SDK's client: what it is built from, when, and what is missing for it."""

from __future__ import annotations

import os
import threading
from typing import Any

from starling.errors import AuthError, ProviderError, StarlingError
from starling.provider._credentials import check_key
from starling.provider._errors import provider_error_text
from starling.provider._sdk import require_sdk
from starling.provider._vendor_errors import other_error
from starling.provider.bedrock._connections import watch_connections
from starling.provider.bedrock._errors import sdk_failure
from starling.provider.bedrock._refusals import note_refusals

__all__ = ["KEY_VARIABLE", "SharedClient"]

KEY_VARIABLE = "AWS_BEARER_TOKEN_BEDROCK"
"""Where the SDK finds a Bedrock API key; without one it signs requests with AWS credentials."""

_REGION_VARIABLE = "AWS_DEFAULT_REGION"
_MORE_CONNECTIONS = {"max_pool_connections": 50}
"""Beyond the SDK's ten, a connection is not kept for the next call."""


class SharedClient:
    """One client for all event loops: it belongs to none, and is safe to use from several threads.

    Args:
        session: a ``boto3.Session``; None for one of the environment's.
        region: the AWS region; "" for the session's.
        base_endpoint: where to ask; "" for the vendor's own.
        config: a ``botocore.config.Config``; None for the SDK's defaults.
        timeout: seconds, or None for what the configuration says.
        provider: the provider's id, for errors.
    """

    def __init__(
        self, *, session: Any, region: str, base_endpoint: str, config: Any, timeout: float | None, provider: str
    ) -> None:
        self._session = session
        self._region = region
        self._base_endpoint = base_endpoint
        self._config = config
        self._timeout = timeout
        self._provider = provider
        self._lock = threading.Lock()
        self._client: Any = None

    def check(self) -> None:
        """Refuse what can be known to fail before anything is asked. Looks for credentials, so it may block.

        Raises:
            AuthError: there are no credentials.
            ProviderError: there is no region.
            MissingExtraError: boto3 is not installed.
        """
        __tracebackhide__ = True
        with self._lock:
            try:
                self._check()
            except StarlingError:
                raise
            except Exception as error:
                # A profile that does not exist, a login that has run out: found while looking for credentials.
                failure = sdk_failure(error, provider=self._provider, secret="")
                raise failure or other_error(error, provider=self._provider) from error

    def get(self) -> Any:
        """The client, built on first use. Blocks; raises as `check` does."""
        with self._lock:
            if self._client is None:
                self._check()
                self._client = self._built()
            return self._client

    def close(self) -> None:
        """Close the connections that no call uses. The client opens others when it is used again."""
        with self._lock:
            if self._client is not None:
                self._client.close()

    def _check(self) -> None:
        __tracebackhide__ = True
        session = self._own_session()
        if not self._region_name(session):
            text = f"no region: set {_REGION_VARIABLE}, or pass region="
            raise ProviderError(provider_error_text(self._provider, text), provider=self._provider)
        token = self._token()
        if not (token or self._signs_nothing() or session.get_credentials()):
            raise AuthError(provider_error_text(self._provider, _NO_CREDENTIALS), provider=self._provider)

    def _token(self) -> str:
        """The API key that the SDK will use, or "". It goes before credentials unless the user chose a signature."""
        __tracebackhide__ = True
        token = os.environ.get(KEY_VARIABLE)
        if token is None or getattr(self._config, "signature_version", None) is not None:
            return ""
        check_key(token.strip(), provider=self._provider, variable=KEY_VARIABLE, required=False)
        if not token.strip():
            # The SDK would send it all the same, and leave credentials alone.
            text = f"{KEY_VARIABLE} is set, but empty: unset it, or give it the key"
            raise AuthError(provider_error_text(self._provider, text), provider=self._provider)
        return token

    def _own_session(self) -> Any:
        if self._session is None:
            self._session = require_sdk("boto3", extra="bedrock").Session()
        return self._session

    def _region_name(self, session: Any) -> str:
        configured = getattr(self._config, "region_name", None)
        return self._region or configured or session.region_name or ""

    def _signs_nothing(self) -> bool:
        """Whether the user asked for requests without a signature, as a gateway may want them."""
        unsigned = require_sdk("botocore", extra="bedrock").UNSIGNED
        return getattr(self._config, "signature_version", None) is unsigned

    def _built(self) -> Any:
        session = self._own_session()
        client = session.client(
            "bedrock-runtime",
            region_name=self._region_name(session),
            endpoint_url=self._base_endpoint or None,
            config=self._full_config(),
        )
        watch_connections(client)
        note_refusals(client)
        return client

    def _full_config(self) -> Any:
        """The user's configuration, with the SDK's hidden retries off: a retry is the agent's and stands in the log."""
        config = require_sdk("botocore.config", extra="bedrock").Config
        timeouts = {} if self._timeout is None else {"connect_timeout": self._timeout, "read_timeout": self._timeout}
        ours = config(retries={"total_max_attempts": 1, "mode": "standard"}, **timeouts)
        return config(**_MORE_CONNECTIONS).merge(self._config or config()).merge(ours)


_NO_CREDENTIALS = (
    f"no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or {KEY_VARIABLE}, or pass session="
)
