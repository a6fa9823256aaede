"""What a check is given, and how it asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from starling.errors import ProviderError
from starling.provider import Capabilities, Capable, Message, Request, assemble
from starling.testing._script import Script

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from starling.provider import Chunk, Provider, Response

__all__ = [
    "MODEL",
    "Check",
    "Factory",
    "Subject",
    "capabilities",
    "collect",
    "failure_of",
    "request",
    "response_of",
    "times_out",
]

MODEL = "contract-model"
_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A provider under test, with the vendor's side of it.

    Attributes:
        provider: the adapter.
        disconnected: set when its vendor sees it go away in the middle of an answer; None if nobody can tell.
        sent: gives what the adapter has sent so far, one parsed body a request; None if nobody can tell.
    """

    provider: Provider
    disconnected: threading.Event | None = None
    sent: Callable[[], Sequence[Any]] | None = None


Factory: TypeAlias = Callable[[Script], AbstractAsyncContextManager[Subject]]
"""Gives a provider whose vendor says what the script says, for the duration of a block."""
Check: TypeAlias = Callable[[Factory], Awaitable[None]]


def request(**fields: Any) -> Request:
    """What is asked where it does not matter."""
    messages = (Message(role="user", content="Say it."),)
    return Request(**{"model": MODEL, "messages": messages, "max_output_tokens": 100, **fields})


def capabilities(subject: Subject) -> Capabilities:
    """What the provider says it supports; nothing if it does not say."""
    return subject.provider.capabilities() if isinstance(subject.provider, Capable) else Capabilities()


async def collect(provider: Provider, asked: Request | None = None) -> list[Chunk]:
    """All chunks of one answer. A provider that hangs fails the check instead of stopping the suite."""
    async with times_out():
        return [chunk async for chunk in provider.stream(asked or request())]


def times_out() -> asyncio.Timeout:
    """A limit that nothing reaches which does not hang."""
    return asyncio.timeout(_LONGEST_S)


async def response_of(factory: Factory, script: Script, asked: Request | None = None) -> Response:
    """The answer that the script's first turn makes."""
    async with factory(script) as subject:
        return assemble(await collect(subject.provider, asked))


async def failure_of(provider: Provider) -> ProviderError:
    """The error that the next call ends with."""
    try:
        chunks = await collect(provider)
    except ProviderError as error:
        return error
    raise AssertionError(f"the call was to fail, and gave {len(chunks)} chunks: {chunks[-1:]}")
