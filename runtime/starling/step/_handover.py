"""On replay: what was reproduced goes on to whoever receives it, in the recorded order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starling.event import Event
    from starling.step._progress import Progress

__all__ = ["Handover"]


class Handover:
    """How far a replayed run has been handed on.

    An object of its own, so that the parts of a replay that commit hold this and not each other: a replay that is over
    is then freed at once, without the garbage collector.

    Args:
        events: the recorded run. progress: what of it was reproduced.
        deliver: takes the reproduced events, in order and without gaps; None if nobody wants them.
    """

    def __init__(
        self, events: Sequence[Event], progress: Progress, deliver: Callable[[Sequence[Event]], Awaitable[None]] | None
    ) -> None:
        self._events = events
        self._progress = progress
        self._deliver = deliver
        self._delivered = 0
        self._delivering = asyncio.Lock()

    async def commit(self) -> None:
        """Hand on what has been reproduced without a gap."""
        if self._deliver is None:
            return
        async with self._delivering:
            start, end = self._delivered, self._progress.first_left(self._delivered)
            if end > start:
                self._delivered = end
                await self._deliver(self._events[start:end])
