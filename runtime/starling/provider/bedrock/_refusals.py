"""Refusals that the SDK cannot read: their status stays known. For the threads that ask.

Strategy: the SDK reads and parses a refusal's body before it says anything of its status, and fails where the body is
not a JSON object in UTF-8, or does not end. So what its HTTP client received is noted on the way, and where the SDK
fails over a refusal, the note makes the error.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from starling.provider._sdk import require_sdk
from starling.provider._vendor_errors import unread_body, vendor_message
from starling.provider.bedrock._errors import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["named_refusals", "note_refusals"]

_FIRST_REFUSAL = 300

_noted: ContextVar[list[_Refusal]] = ContextVar("starling_bedrock_refusals")


@dataclass(slots=True, kw_only=True)
class _Refusal:
    """An answer other than 2xx. ``headers`` has names in lower case; ``body`` is None until it was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None = None


def note_refusals(client: Any) -> None:
    """Note what a client will be refused, for `named_refusals`."""
    session = client._endpoint.http_session
    session.send = partial(_send, session.send)


def _send(send: Callable[[Any], Any], request: Any) -> Any:
    response = send(request)
    noted = _noted.get(None)
    if noted is not None and response.status_code >= _FIRST_REFUSAL:
        headers = {name.lower(): value for name, value in response.headers.items()}
        noted.append(_Refusal(status=response.status_code, headers=headers))
        noted[-1].body = response.content  # kept by the response: the SDK will read it from there
    return response


@contextmanager
def named_refusals(*, provider: str, secret: str) -> Iterator[None]:
    """Say what was refused in a block that calls the SDK, where the SDK could not.

    Raises:
        ProviderError: the SDK failed over a refusal.
    """
    noted: list[_Refusal] = []
    token = _noted.set(noted)
    client_error = require_sdk("botocore.exceptions", extra="bedrock").ClientError
    try:
        yield
    except client_error:
        raise
    except Exception as error:
        if not noted:
            raise
        said = unread_body(error) if noted[-1].body is None else _words(noted[-1].body)
        raise refusal(noted[-1].status, said, noted[-1].headers, provider=provider, secret=secret) from error
    finally:
        _noted.reset(token)


def _words(body: bytes) -> str:
    text = body.decode(errors="replace")
    try:
        return vendor_message(json.loads(text))
    except (ValueError, RecursionError):
        return text
