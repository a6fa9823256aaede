"""The timers that one call's code has set on the event loop, for a replay that need not wait for them.

The recording shows that something cut an effect off; mostly that was a timeout, and on replay nothing else happens
until it expires. What the timeout is made of (`asyncio.timeout`, `wait_for`, `wait`, `call_later`) is all the same: it
is a timer of the loop, and it carries the context of the code that set it, and with it the call. asyncio has no public
way to list timers. A loop that is not asyncio's own keeps them elsewhere; there they expire in their own time.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

from starling.step._frame import current

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.step._frame import Frame

__all__ = ["Timers", "pause"]

_MOST_EXPIRED = 1000
"""How many timers of a call are expired early. Code that sets the same one again and again must not go on for ever."""


class Timers:
    """The timers of one call, expired early in the order in which they would expire.

    That order is one of the call's own time, which stands still but for jumping to the timer that expires: a timer set
    after a jump counts from there. So a timeout of 15 s comes after 15 beats of a loop that sleeps for 1 s each.
    """

    __slots__ = ("_due", "_left", "_now")

    def __init__(self) -> None:
        self._now = 0.0
        self._due: dict[int, tuple[Any, float]] = {}
        self._left = _MOST_EXPIRED

    def expire_next(self, frame: Frame) -> bool:
        """Let the next timer expire as soon as the loop comes round. Returns whether there was one."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._now = max(self._now, now)
        self._due = {
            id(timer): self._due.get(id(timer), (timer, self._now + timer.when() - now))
            for timer in _set_by(frame, loop)
        }
        if not self._due or not self._left:
            return False
        self._left -= 1
        timer, due = min(self._due.values(), key=lambda entry: entry[1])
        self._now = max(self._now, due)
        _expire(timer, loop)
        return True


def _set_by(frame: Frame, loop: asyncio.AbstractEventLoop) -> Iterator[Any]:
    for timer in getattr(loop, "_scheduled", ()):
        context = getattr(timer, "_context", None)
        if context is not None and not timer.cancelled() and context.get(current) is frame:
            yield timer


def _expire(timer: Any, loop: asyncio.AbstractEventLoop) -> None:
    callback, args, context = timer._callback, timer._args, timer._context
    timer.cancel()
    loop.call_soon(callback, *args, context=context)


async def pause(seconds: float, *others: asyncio.Future[Any]) -> None:
    """Let time pass, until one of the others is done at most. The timer is no call's, so no replay lets it expire."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _settle, over, context=Context())
    try:
        await asyncio.wait([over, *others], return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()


def _settle(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
