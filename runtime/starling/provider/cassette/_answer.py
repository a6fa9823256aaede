"""A recorded HTTP answer as its adapter would have given it live: chunks, or the error that it was. Pure.

A streamed answer goes through the very reader of the adapter. One that was given as a whole is cut into the events
that a stream of it would have had; only its hash is taken over the body as it came.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from starling._blake3 import digest
from starling.errors import InvalidStreamError
from starling.provider._chunks import EndChunk
from starling.provider._errors import provider_error_text
from starling.provider._vendor_errors import error_from_status
from starling.provider.anthropic._stream import MessageReader
from starling.provider.cassette._anthropic import as_events
from starling.provider.openai._stream import AnswerReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.provider._chunks import Chunk
    from starling.provider.cassette._file import Interaction

__all__ = ["chunks_of"]

_REQUEST_ID = {"openai": "x-request-id", "anthropic": "request-id"}


def chunks_of(interaction: Interaction, *, provider: str) -> Iterator[Chunk]:
    """What the model said.

    Args:
        provider: the agent's provider, for errors.

    Raises:
        ProviderError: the vendor refused, as it did while the cassette was recorded; classed as the adapter would.
        NetworkError, InvalidStreamError: the recorded answer is not whole.
    """
    request_id = interaction.headers.get(_REQUEST_ID[interaction.vendor], "")
    if interaction.status != 200:
        raise error_from_status(
            interaction.status,
            _parsed(interaction.body),
            interaction.headers,
            provider=provider,
            request_id=request_id,
            secret="",
        )
    whole = interaction.body.lstrip().startswith(b"{")
    reader: AnswerReader | MessageReader
    if interaction.vendor == "openai":
        reader = AnswerReader(provider=provider, request_id=request_id)
    else:
        reader = MessageReader(provider=provider, request_id=request_id)
    stream = _as_stream(interaction, provider) if whole else interaction.body
    for chunk in chain(reader.feed(stream), reader.finish()):
        if whole and isinstance(chunk, EndChunk):
            yield replace(chunk, raw_response_hash=digest(interaction.body))
        else:
            yield chunk


def _parsed(body: bytes) -> Any:
    """An error's body; its text if it is not JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _as_stream(interaction: Interaction, provider: str) -> bytes:
    """The events that an answer given as a whole would have been streamed in."""
    try:
        body = json.loads(interaction.body)
        events = as_events(body) if interaction.vendor == "anthropic" else [_as_event(body)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        text = provider_error_text(provider, "invalid answer: the body is not what the vendor documents")
        raise InvalidStreamError(text, provider=provider) from error
    lines = [*(json.dumps(event) for event in events), "[DONE]"]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def _as_event(body: dict[str, Any]) -> dict[str, Any]:
    """A chat completion as the one event of a stream."""
    choices = [{**choice, "delta": _delta(choice["message"])} for choice in body.get("choices") or ()]
    return {**body, "choices": choices}


def _delta(message: dict[str, Any]) -> dict[str, Any]:
    calls = [{**call, "index": at} for at, call in enumerate(message.get("tool_calls") or ())]
    return {**message, "tool_calls": calls}
