"""Logs as contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

__all__ = ["ClosedAtTheEnd"]


class ClosedAtTheEnd:
    """A log that is closed at the end of a ``with`` or an ``async with``."""

    if TYPE_CHECKING:  # an observed log hands `close_sync` on to the one that it observes

        def close_sync(self) -> None: ...

        async def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
