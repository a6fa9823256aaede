"""Following a run: history, then live events, no gap, no double.

Strategy: a follower is a cursor over the log, never a queue beside it. It reads a page from its cursor, hands it out,
and sleeps only when the log had nothing more; so there is nothing to overflow and nothing to reconcile. An append wakes
the followers of its run; where other processes can append too, a follower also looks again after a pause.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from starling.errors import LogClosedError
from starling.event import TERMINAL_KINDS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator

    from starling.event import Event

__all__ = ["PAGE_SIZE", "Pages", "Wakeups", "follow"]

PAGE_SIZE = 256
"""Events that a follower holds at most (seed, "Reading and streaming": the buffer is 256 events)."""


class Pages(Protocol):
    """Reads at most ``limit`` events of a run from ``from_seq`` on, in order. Raises `LogClosedError` after close."""

    async def __call__(self, run_id: str, from_seq: int, limit: int) -> list[Event]:
        """One page; a short one means that there is no more for now."""
        ...


class Wakeups:
    """Tells followers, in whatever thread and event loop they wait, that there may be something new."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sleepers: dict[str, set[_Sleeper]] = {}

    def wake(self, run_id: str) -> None:
        """Wake the followers of one run. Callable from any thread."""
        if not self._sleepers:  # the common case costs nothing; a follower reads the log after it has registered
            return
        with self._lock:
            sleepers = tuple(self._sleepers.get(run_id, ()))
        for sleeper in sleepers:
            sleeper.wake()

    def wake_all(self) -> None:
        """Wake every follower, because the log was closed."""
        with self._lock:
            run_ids = tuple(self._sleepers)
        for run_id in run_ids:
            self.wake(run_id)

    @contextmanager
    def sleeper(self, run_id: str) -> Iterator[_Sleeper]:
        """Register a follower of the running event loop for as long as the block lasts."""
        sleeper = _Sleeper()
        with self._lock:
            self._sleepers.setdefault(run_id, set()).add(sleeper)
        try:
            yield sleeper
        finally:
            with self._lock:
                rest = self._sleepers[run_id]
                rest.discard(sleeper)
                if not rest:
                    del self._sleepers[run_id]


class _Sleeper:
    """One follower's alarm clock, bound to the event loop that it was made in."""

    def __init__(self) -> None:
        import asyncio

        self._loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._alarm = asyncio.Event()

    def wake(self) -> None:
        """Ring, from any thread. A loop that is gone needs no waking."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._alarm.set)

    def reset(self) -> None:
        """Rings from now on count. Call it before looking at the log, so that none is missed in between."""
        self._alarm.clear()

    async def sleep(self, at_most_s: float | None) -> None:
        """Until it rings, or for so many seconds."""
        snooze = None if at_most_s is None else self._loop.call_later(at_most_s, self._alarm.set)
        try:
            await self._alarm.wait()
        finally:
            if snooze is not None:
                snooze.cancel()


async def follow(
    pages: Pages, wakeups: Wakeups, run_id: str, from_seq: int, poll_s: float | None
) -> AsyncIterator[Event]:
    """The events of a run from ``from_seq`` on, until its terminal event or until the log is closed.

    Args:
        pages: reads the log.
        wakeups: rings when this process appends.
        run_id: the run, which need not exist yet.
        from_seq: the first seq wanted.
        poll_s: seconds after which to look again unasked; None where nobody else can append.
    """
    import asyncio

    before = _Before(pages, run_id, from_seq)
    with wakeups.sleeper(run_id) as sleeper:
        next_seq = from_seq
        while True:
            sleeper.reset()
            try:
                page = await pages(run_id, next_seq, PAGE_SIZE)
                if not page and next_seq == from_seq and await before.holds_the_end():
                    return
            except LogClosedError:
                return
            for event in page:
                yield event
                if event.kind in TERMINAL_KINDS:
                    return
                next_seq = event.seq + 1
            if len(page) < PAGE_SIZE:
                await sleeper.sleep(poll_s)
            else:
                await asyncio.sleep(0)  # a long history must not starve the loop, and must stay cancellable


class _Before:
    """What a run holds before the first seq that a follower wants: if it ended there, nothing is to be waited for."""

    def __init__(self, pages: Pages, run_id: str, from_seq: int) -> None:
        self._pages = pages
        self._run_id = run_id
        self._from_seq = from_seq
        self._looked_to = 1

    async def holds_the_end(self) -> bool:
        """Whether the run's terminal event is there."""
        if self._from_seq <= 1:
            return False
        page = await self._pages(self._run_id, self._from_seq - 1, 1)  # of one that comes back for what it lacks
        return _ends(page or await self._last_page(), self._from_seq)

    async def _last_page(self) -> list[Event]:
        while len(page := await self._pages(self._run_id, self._looked_to, PAGE_SIZE)) == PAGE_SIZE:
            self._looked_to = page[-1].seq  # once more, so that the last page is never empty
        return page


def _ends(page: list[Event], before: int) -> bool:
    return bool(page) and page[-1].kind in TERMINAL_KINDS and page[-1].seq < before
