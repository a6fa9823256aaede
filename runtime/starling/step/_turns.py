"""On replay: which of the strands of one call gets its answer next.

While a run was recorded, what a tool waited for came one after another: effects, calls that it dispatched, the model's
answers. Code sees that order (a race, `asyncio.as_completed`, a queue), so a replay keeps it, though nothing in it
takes time. Strategy: who asks waits until everything that this call recorded before has been reproduced, and until its
other strands have had time to act on the answer before, unless both came in the same moment. A call in which only one
strand ever asks waits for nothing.

An earlier answer for which nobody asks holds up the others for a moment only: such a program was changed, and the
comparison finds that.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from starling.step._timers import Timers
from starling.tool._threads import in_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from starling.step._frame import Frame

__all__ = ["Turns"]

_QUIET_ROUNDS = 40
"""How often the event loop comes round, with nothing new from this call, before its code is taken to stand still."""
_QUIET_STEPS = 5
"""The same where threads were answered, in steps of `_STEP_S`: the loop coming round does not mean that they ran."""
_ROUNDS_TO_BEGIN = 3
"""How often it comes round before a strand that asks alone is answered: others that it has started begin meanwhile."""
_SAME_MOMENT_NS = 250_000
"""Answers recorded so shortly after each other came before the code could act on the first: it saw both at once."""
_STEP_S = 0.002
_BUSIEST = 8
"""By how much the steps are multiplied at most on a machine that has more to do than it has processors."""
_PATIENCE_S = 1.0
"""How long, over a whole call, strands wait for one that recorded something before and may still be at work."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    """A strand that waits.

    Attributes:
        index: where its answer was recorded.
        patient: whether another strand may be under way to an earlier answer.
        cut_off: it waits for being cut off. expires: by a timer, if by nothing else. until: but no longer.
        released: done when it may go on.
    """

    frame: Frame
    index: int
    patient: bool = False
    cut_off: bool = False
    expires: bool = False
    until: float = 0.0
    released: Future[None] = field(default_factory=Future)

    @property
    def is_over(self) -> bool:
        """Whether its call has ended or failed: then it goes on to hear that."""
        return self.frame.closed or self.frame.failure is not None


class Turns:
    """The turns of one call's strands.

    Args:
        loop: the run's.
        lock: guards the replay's state; reentrant.
        left: what the call recorded and has not reproduced yet, by index, in order.
        recorded_at: when an event was recorded, in nanoseconds.
        stopped: whether the environment stopped the recorded code here: then no timer expires.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lock: AbstractContextManager[bool],
        left: Callable[[], Iterator[int]],
        recorded_at: Callable[[int], int],
        stopped: Callable[[], bool],
    ) -> None:
        self._lock = lock
        self._left = left
        self._recorded_at = recorded_at
        self._stopped = stopped
        self._loop = loop
        self._timers = Timers()
        self._waiting: list[_Waiter] = []
        self._answering: set[int] = set()
        self._pending: set[int] = set()
        self._last = -1
        self._passed = 0
        self._patience = _PATIENCE_S
        self._strand: object = None
        self._are_several = False
        self._have_threads = False
        self._quiet = 0
        self._looks = 0
        self._next_look: asyncio.Handle | None = None

    @cached_property
    def _quiet_steps(self) -> int:
        """See `_QUIET_STEPS`. The system is asked when there are threads."""
        return round(_QUIET_STEPS * _business())

    # --- for strands

    async def turn(self, frame: Frame, index: int) -> None:
        """Wait until the answer that was recorded at ``index`` is next. To be followed by `answered`."""
        task = asyncio.current_task()
        waiter = self._enter(frame, index, task, is_main=task is frame.strand)
        try:
            if waiter is not None:
                await self._released(waiter)
            else:
                for _ in range(_ROUNDS_TO_BEGIN):
                    await asyncio.sleep(0)
        except BaseException:
            self.answered(index)
            raise

    async def turn_to_act(self, frame: Frame, index: int) -> None:
        """Wait until a strand may do what was recorded at ``index``: that is no answer, and needs no time to act on."""
        task = asyncio.current_task()
        with self._lock:
            if self._is_due(index) and not self._answering:
                self.at_once(task)
                return
        await self.turn(frame, index)
        self.answered(index)

    def turn_in_thread(self, frame: Frame, index: int) -> None:
        """The same, from a thread of the call's. A loop that does not come round waits for threads; they go on then."""
        waiter = self._enter(frame, index, threading.current_thread(), is_main=in_worker())
        if waiter is None:
            return
        idle, until = 0, time.monotonic() + _PATIENCE_S
        while idle < self._quiet_steps and time.monotonic() < until:
            looks = self._looks
            with suppress(TimeoutError):
                waiter.released.result(_STEP_S)
                break
            with self._lock:
                stands_still = self._looks == looks and self._is_due(index) and not self._answering
            idle = idle + 1 if stands_still else 0
        self._leave(waiter)

    async def settled(self, index: int) -> None:
        """Wait until the strands that have asked got the answers that were recorded before ``index``."""
        rounds = 0
        while any(waiter.index < index and not waiter.cut_off for waiter in self._waiting) or self._answering:
            rounds += 1
            await asyncio.sleep(0 if rounds <= _QUIET_ROUNDS else _STEP_S)

    def at_once(self, strand: object) -> None:
        """Note that a strand got an answer for which it cannot wait."""
        with self._lock:
            self._see(strand)
            self.happened()

    async def until_cut_off(self, frame: Frame, index: int, *, expires: bool, longest_s: float) -> None:
        """Wait, as the recorded strand did, for what cut it off; return if nothing does.

        Args:
            expires: whether timers of the call expire at once if nothing else happens in it.
        """
        waiter = self._await_cut(frame, index, asyncio.current_task(), expires=expires, longest_s=longest_s)
        try:
            await self._released(waiter)
        finally:
            self.answered(index)

    def until_cut_off_in_thread(self, frame: Frame, index: int, *, expires: bool, longest_s: float) -> None:
        """The same, from a thread: until its call has ended, since nobody can cancel a thread."""
        waiter = self._await_cut(frame, index, threading.current_thread(), expires=expires, longest_s=longest_s)
        with suppress(TimeoutError):
            waiter.released.result(longest_s)
        self._leave(waiter)
        self.answered(index)

    def expect(self, index: int) -> None:
        """Count an answer as one to come, whoever waits for it."""
        with self._lock:
            self._pending.add(index)
            self.happened()

    def answered(self, index: int) -> None:
        """The strand has its answer, or was cut off."""
        with self._lock:
            self._answering.discard(index)
            self._pending.discard(index)
            self.happened()

    def happened(self) -> None:
        """Something new came from this call."""
        with self._lock:
            self._quiet = 0
            if self._waiting:
                self._look_soon()

    # --- who waits

    def _enter(self, frame: Frame, index: int, strand: object, *, is_main: bool) -> _Waiter | None:
        """None if it is this strand's turn."""
        with self._lock:
            self._see(strand, is_main=is_main)
            at_once = not self._are_several or (self._last in self._answering and self._is_same_moment(index))
            if at_once and self._is_due(index):
                self._answer(index)
                return None
            waiter = _Waiter(frame=frame, index=index, patient=not is_main)
            self._waiting.append(waiter)
            self.happened()
            return waiter

    def _await_cut(self, frame: Frame, index: int, strand: object, *, expires: bool, longest_s: float) -> _Waiter:
        with self._lock:
            self._see(strand)
            until = self._loop.time() + longest_s
            waiter = _Waiter(frame=frame, index=index, patient=True, cut_off=True, expires=expires, until=until)
            self._waiting.append(waiter)
            self.expect(index)
            return waiter

    def _see(self, strand: object, *, is_main: bool = True) -> None:
        """Note whether more than one strand of this call asks; one is waited for without further ado.

        A thread that the call has started is never the only one: its pool may give it one job after the other.
        """
        is_thread = isinstance(strand, threading.Thread)
        is_another = self._strand is not None and self._strand is not strand
        self._are_several = self._are_several or is_another or (is_thread and not is_main)
        self._have_threads = self._have_threads or is_thread
        self._strand = strand

    async def _released(self, waiter: _Waiter) -> None:
        try:
            await asyncio.wrap_future(waiter.released)
        finally:
            self._leave(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                self.happened()

    # --- who is next

    def _is_due(self, index: int) -> bool:
        """Whether everything recorded before has been reproduced, is about to be, or is not waited for any more."""
        pending = min((other for other in self._pending if self._is_awaited(other)), default=index)
        left = next((other for other in self._left() if self._is_awaited(other)), index)
        return min(pending, left) >= index

    def _is_awaited(self, index: int) -> bool:
        return index >= self._passed and index not in self._answering

    def _is_same_moment(self, index: int) -> bool:
        """Whether an answer came together with the last one. Threads that are answered together race; one at a time."""
        if self._last < 0 or self._have_threads:
            return False
        return 0 <= self._recorded_at(index) - self._recorded_at(self._last) < _SAME_MOMENT_NS

    def _answer(self, index: int) -> None:
        self._answering.add(index)
        self._last = index

    def _look_soon(self) -> None:
        if _is_here(self._loop):
            self._schedule_look(0)
        else:
            with suppress(RuntimeError):  # the loop is closed; the thread goes on after a while
                self._loop.call_soon_threadsafe(self._schedule_look, 0)

    def _schedule_look(self, delay_s: float) -> None:
        """On the loop. In a context of its own: this is no timer of the call's."""
        with self._lock:
            if self._next_look is not None:
                self._next_look.cancel()
            if delay_s:
                self._next_look = self._loop.call_later(delay_s, self._look, context=Context())
            else:
                self._next_look = self._loop.call_soon(self._look, context=Context())

    def _look(self) -> None:
        """Once a round of the loop, or a step of time, while somebody waits."""
        with self._lock:
            self._next_look = None
            self._looks += 1
            for waiter in [waiter for waiter in self._waiting if waiter.is_over]:
                self._release(waiter)
            if not self._waiting:
                return
            self._quiet += 1
            stands_still = self._quiet >= (self._quiet_steps if self._have_threads else _QUIET_ROUNDS)
            slowly = self._have_threads or self._quiet > _QUIET_ROUNDS
            if stands_still and not self._answering:
                slowly = self._go_on(min(self._waiting, key=lambda waiter: waiter.index)) or slowly
            if self._waiting and self._next_look is None:
                self._schedule_look(_STEP_S if slowly else 0)

    def _go_on(self, first: _Waiter) -> bool:
        """The call stands still: let the first who waits go on. Returns whether only time can help."""
        if not self._is_due(first.index):
            if self._patience > 0 and (first.patient or self._are_several or self._pending):
                self._patience -= _STEP_S
                return True
            self._passed = first.index
        elif not first.cut_off:
            self._release_moment(first)
        elif first.expires and not self._stopped() and self._timers.expire_next(first.frame):
            self._quiet = 0
        elif self._loop.time() < first.until:
            return True
        else:
            self._release(first)
        return False

    def _release_moment(self, first: _Waiter) -> None:
        """Release the first waiter, and those that got their answers together with it."""
        self._release(first)
        for waiter in sorted(self._waiting, key=lambda waiter: waiter.index):
            if waiter.cut_off or not self._is_due(waiter.index) or not self._is_same_moment(waiter.index):
                return
            self._release(waiter)

    def _release(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        if not waiter.cut_off:
            self._answer(waiter.index)
        if not waiter.released.done():
            waiter.released.set_result(None)


def _business() -> float:
    """How many threads want each processor, from 1: the longer, then, until an answered one has run."""
    try:
        load, _, _ = os.getloadavg()
    except (AttributeError, OSError):  # Windows; a sandbox
        return 1.0
    return min(max(1.0, load / (os.cpu_count() or 1)), float(_BUSIEST))


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the loop's own thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
