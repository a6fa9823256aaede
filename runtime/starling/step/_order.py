"""In which order the strands of a replayed run get their answers: those of one call, and calls that ask the model.

Nothing here compares anything. Where today's code has another order than the recorded one, it is let through after a
moment, and the comparison says what is wrong.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    ReasoningEmitted,
    SideEffectRecorded,
    ToolCallFailed,
    TurnStarted,
)
from starling.step._abandoned import is_cut_off
from starling.step._asking import Asking
from starling.step._interruption import cuts_short
from starling.step._served import PATCH
from starling.step._turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeVar

    from starling.event import Event, Payload
    from starling.step._cursor import Cursor
    from starling.step._frame import Frame
    from starling.step._tree import Node

    T = TypeVar("T")

__all__ = ["Order"]

_SLACK_S = 1.0
"""What is cut off without our help may come so much later than when it was recorded."""

_ANSWERS = (ReasoningEmitted, AssistantMessageCompleted, BudgetExceeded)


class Order:
    """Who goes next; made on the run's event loop.

    Args:
        events: the recorded run. cursor: the place of the replay.
        lock: guards that; reentrant.
    """

    def __init__(self, events: Sequence[Event], cursor: Cursor, lock: AbstractContextManager[bool]) -> None:
        self._events = events
        self._cursor = cursor
        self._progress = cursor.progress
        self._lock = lock
        self._loop_thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._asking = Asking(cursor.payloads, cursor.progress)
        self._turns: dict[Frame, Turns] = {}

    # --- calls

    def scheduled(self, call_id: str) -> None:
        """A call was dispatched."""
        self._asking.is_scheduled(call_id)

    def begins(self, frame: Frame) -> None:
        """The function of a call's attempt is about to run."""
        self._asking.begins(frame)

    def ended(self, frame: Frame) -> None:
        """The attempt has ended: who still waits in it goes on to hear that."""
        turns = self._turns.pop(frame, None)
        if turns is not None:
            turns.happened()

    async def to_dispatch(self, parent: Frame, index: int) -> None:
        """Wait for the turn of a call that was dispatched at ``index``."""
        await self._of(parent).turn_to_act(parent, index)

    async def in_turn(self, parent: Frame, calls: Sequence[Node], running: Awaitable[T]) -> T:
        """What a batch of calls comes to, when it is that answer's turn."""
        index = max(call.last_outcome for call in calls)
        if not parent.call_id or index >= len(self._events):
            return await running
        turns = self._of(parent)
        turns.expect(index)
        try:
            ended = await running
            if self._progress.is_taken(index):
                await turns.turn(parent, index)
            return ended
        finally:
            turns.answered(index)

    async def until_cut_off(self, frame: Frame, outcome: ToolCallFailed) -> None:
        """Wait for what cancelled a call that a tool, or a loop of the user's own, had dispatched: a timeout, a race.

        What cancels the run cancels the calls of its own code, too; nobody does that again.
        """
        parent, index = frame.parent, frame.node.outcomes[outcome.attempt]
        assert parent is not None  # a call has one
        if parent.call_id or (parent.strand is not None and not self._ends_behind(index)):
            await self._of(parent).until_cut_off(parent, index, expires=True, longest_s=self._took(parent, index))

    def _ends_behind(self, index: int) -> bool:
        """Whether the run's own code did nothing any more behind this event."""
        end = self._cursor.next_end
        if end is None or not cuts_short(self._cursor.payloads[end]):
            return False
        return not any(index < own < end for own in self._cursor.root.own)

    async def to_end(self, frame: Frame, index: int) -> None:
        """Before a call ends, which it did at ``index``: let its strands have what they had got by then."""
        turns = self._turns.get(frame)
        if turns is not None:
            await turns.settled(index)

    def over(self) -> None:
        """The run has ended, and all of it was reproduced: let go of its calls, which hold the run."""
        self._asking.over()

    # --- model calls

    async def to_ask(self, frame: Frame) -> None:
        """Wait for a call's turn to call the model."""
        asked = self._first_left(frame, (TurnStarted,))
        if asked is not None:
            await self._of(frame).turn_to_act(frame, asked)
        index = self._cursor.next_own(frame)
        if index is not None:
            await self._asking.turn(frame, index)

    async def to_hear(self, frame: Frame) -> None:
        """Wait for the turn of the model's answer."""
        index = self._first_left(frame, _ANSWERS)
        if index is not None:
            turns = self._of(frame)
            await turns.turn(frame, index)
            turns.answered(index)

    def _first_left(self, frame: Frame, kinds: tuple[type[Payload], ...]) -> int | None:
        left = self._progress.left(self._cursor.owner(frame))
        return next((index for index in left if isinstance(self._cursor.payloads[index], kinds)), None)

    # --- effects

    async def effect(self, frame: Frame, index: int) -> None:
        """Wait for the turn of the effect recorded at ``index``; to be followed by `answered`."""
        await self._of(frame).turn(frame, index)

    def effect_at_once(self, frame: Frame, index: int) -> None:
        """The same for sync code: a thread waits, the loop cannot."""
        turns = self._of(frame)
        if threading.get_ident() == self._loop_thread:
            turns.at_once(asyncio.current_task())
        else:
            turns.turn_in_thread(frame, index)

    def answered(self, frame: Frame, index: int) -> None:
        """The effect's answer is known to who asked for it."""
        self._of(frame).answered(index)

    async def effect_cut_off(self, frame: Frame, index: int) -> None:
        """Wait, as the recorded effect did, for what cuts it off; ends when its call does.

        Raises:
            CancelledError: nothing does, in a changed program; what the code makes of that is compared.
            StepContextError: the call has ended.
        """
        expires = is_cut_off(self._cursor.payloads[index])
        await self._of(frame).until_cut_off(frame, index, expires=expires, longest_s=self._took(frame, index))
        frame.check()
        raise asyncio.CancelledError

    def effect_cut_off_at_once(self, frame: Frame, index: int) -> None:
        """The same for sync code: a thread waits for the end of its call, the loop cannot."""
        if threading.get_ident() != self._loop_thread:
            expires = is_cut_off(self._cursor.payloads[index])
            turns = self._of(frame)
            turns.until_cut_off_in_thread(frame, index, expires=expires, longest_s=self._took(frame, index))
        frame.check()
        raise asyncio.CancelledError

    # --- the turns of one call

    def _of(self, frame: Frame) -> Turns:
        with self._lock:
            turns = self._turns.get(frame)
            if turns is None:
                turns = Turns(
                    self._loop,
                    self._lock,
                    lambda: self._left(frame),
                    lambda index: self._events[index].ts,
                    lambda: self._is_stopped(frame),
                )
                self._turns[frame] = turns
        return turns

    def _left(self, frame: Frame) -> Iterator[int]:
        """What others of the call may wait for: not the marks of patches, which today's code may not ask for."""
        for index in self._progress.left(self._cursor.owner(frame)):
            payload = self._cursor.payloads[index]
            if not (isinstance(payload, SideEffectRecorded) and payload.name.startswith(PATCH)):
                yield index

    def _is_stopped(self, frame: Frame) -> bool:
        return not frame.call_id and self._cursor.cut_off() is not None

    def _took(self, frame: Frame, index: int) -> float:
        """Seconds from the beginning of this frame's code to one of its events: so long that may have waited."""
        began = 0 if frame.parent is None else self._dispatched(frame.parent, frame.node)
        return max(0, self._events[index].ts - self._events[began].ts) / 1e9 + _SLACK_S

    def _dispatched(self, parent: Frame, node: Node) -> int:
        children = self._cursor.owner(parent).children.items()
        return next(index for index, child in children if child is node)
