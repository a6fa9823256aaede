"""The adapter that does the IO: the official SDK, its client, a thread a call."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.provider._adapter import Adapter, read_answer, require_event_stream
from starling.provider._timeouts import check_timeout
from starling.provider._types import Capabilities, ProviderInfo
from starling.provider.bedrock._client import KEY_VARIABLE, SharedClient
from starling.provider.bedrock._errors import sdk_failure
from starling.provider.bedrock._reading import Reading, answer_of
from starling.provider.bedrock._refusals import named_refusals
from starling.provider.bedrock._request import converse_arguments
from starling.provider.bedrock._stream import ConverseReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starling.errors import ProviderError
    from starling.provider._adapter import Reader
    from starling.provider._chunks import Chunk
    from starling.provider._types import Request
    from starling.provider.bedrock._reading import Answer

__all__ = ["Bedrock"]


class Bedrock(Adapter):
    """Amazon Bedrock through ``ConverseStream``, for every model that Converse knows.

    Credentials are found as AWS's tools find them: the environment, a profile, single sign-on, the machine's role, or a
    Bedrock API key in ``AWS_BEARER_TOKEN_BEDROCK``.

    Args:
        session: a ``boto3.Session`` of your own, with its profile, region or credentials; by default one of the
            environment's.
        region: the AWS region; by default the session's (``AWS_DEFAULT_REGION`` or the profile's).
        base_endpoint: the endpoint of Bedrock's runtime (VPC endpoints, FIPS, gateways); by default the region's.
        config: a ``botocore.config.Config`` of your own: proxies, timeouts, certificates, the size of the pool. Its
            retries are not used, because a retry is the agent's and stands in the log.
        provider_id: recorded in RunStarted.
        api_version: recorded in RunStarted. Keep it stable: replay compares it.
        timeout: seconds to wait for the connection and between two pieces of the answer; by default the SDK's, which
            are 60.

    Raises:
        AuthError: no credentials, and no replay that would make them unnecessary.
        ProviderError: no region.
        AgentConfigError: a timeout that is no number of seconds.
        MissingExtraError: the ``boto3`` package is not installed.
    """

    def __init__(
        self,
        *,
        session: Any = None,
        region: str | None = None,
        base_endpoint: str | None = None,
        config: Any = None,
        provider_id: str = "bedrock",
        api_version: str = "2023-09-30",
        timeout: float | None = None,
    ) -> None:
        __tracebackhide__ = True
        super().__init__(
            ProviderInfo(id=provider_id, api_version=api_version), secret=os.environ.get(KEY_VARIABLE, "").strip()
        )
        check_timeout(timeout)
        self._client = SharedClient(
            session=session,
            region=region or "",
            base_endpoint=base_endpoint or "",
            config=config,
            timeout=timeout,
            provider=provider_id,
        )
        if not ambient.may_build_without_key():
            self._client.check()

    def capabilities(self) -> Capabilities:
        """What this wire supports; not every model behind it does."""
        return Capabilities(
            tools=True,
            tool_choice=True,
            reasoning=True,
            reasoning_signatures=True,
            stop_sequences=True,
            cache_control=True,
            request_id=True,
        )

    async def aclose(self) -> None:
        """Close the connections that no call uses. The adapter may be used again afterwards."""
        await asyncio.to_thread(self._client.close)

    def _reader(self) -> Reader:
        return ConverseReader(provider=self._info.id, secret=self._secret)

    async def _answer(self, request: Request, reader: Reader) -> AsyncGenerator[Chunk, None]:
        arguments = converse_arguments(request, provider=self._info.id)
        async with Reading(partial(self._ask, arguments)) as reading:
            head = await reading.head()
            reader.request_id = head.request_id
            require_event_stream(head.headers, provider=self._info.id)
            async with aclosing(read_answer(reading.blocks(), reader)) as chunks:
                async for chunk in chunks:
                    yield chunk

    def _ask(self, arguments: dict[str, Any]) -> Answer:
        """Send the request and wait for the answer to begin; blocks. Looks for credentials if nobody has yet."""
        client = self._client.get()
        with named_refusals(provider=self._info.id, secret=self._secret):
            return answer_of(client.converse_stream(**arguments))

    def _failure(self, error: Exception, request_id: str) -> ProviderError | None:
        del request_id  # the vendor repeats it in its errors
        return sdk_failure(error, provider=self._info.id, secret=self._secret)
