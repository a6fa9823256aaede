"""The one thing an adapter must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starling.provider._chunks import Chunk
    from starling.provider._types import Capabilities, ProviderInfo, Request

__all__ = ["Capable", "Counting", "Provider"]


@runtime_checkable
class Provider(Protocol):
    """Streams a model's answer. Holds no state of a run; one object serves many runs and event loops."""

    def info(self) -> ProviderInfo:
        """Who answers; cheap, no IO."""
        ...

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer in pieces, in the order that `starling.provider._chunks` states.

        Raises `starling.errors.ProviderError` or a subclass. Closing the iterator early closes the connection.
        """
        ...


@runtime_checkable
class Capable(Protocol):
    """A provider that says what it supports."""

    def capabilities(self) -> Capabilities:
        """What is supported; everything else is skipped by the contract suite."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A provider whose answers depend on how often it was asked, such as a script."""

    def skip_turn(self) -> None:
        """A call that would have been its next one was answered by a recording."""
        ...
