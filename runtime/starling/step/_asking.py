"""On replay: which tool call asks the model next.

Turns of parallel calls count towards one budget, and which of them asked first was the environment's doing. Strategy: a
call waits while a turn that was recorded earlier can still come: while the call that made it, or one that leads to it,
is at work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from starling.event import ToolCallScheduled, TurnStarted
from starling.step._timers import pause

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.event import Payload
    from starling.step._frame import Frame
    from starling.step._progress import Progress

__all__ = ["Asking"]

_ROUNDS = 100
"""How often it looks again as soon as the event loop comes round, before it looks in steps of time."""
_STEP_S = 0.005
_LONGEST_S = 1.0
"""For calls that wait for each other in a way of their own."""


class Asking:
    """The calls that are at work, and those that want to ask the model.

    Args:
        payloads: the recorded run. progress: what of it was reproduced.
    """

    def __init__(self, payloads: Sequence[Payload], progress: Progress) -> None:
        self._payloads = payloads
        self._progress = progress
        self._turns = deque(index for index, payload in enumerate(payloads) if isinstance(payload, TurnStarted))
        self._parents = {
            payload.call_id: payload.parent_call_id for payload in payloads if isinstance(payload, ToolCallScheduled)
        }
        self._begun: dict[str, Frame] = {}
        self._held: dict[str, int] = {}

    def is_scheduled(self, call_id: str) -> None:
        """A call is to begin; models use their ids again and again."""
        self._begun.pop(call_id, None)

    def begins(self, frame: Frame) -> None:
        """A call's attempt begins to run."""
        self._begun[frame.call_id] = frame

    def over(self) -> None:
        """Nobody asks any more."""
        self._begun.clear()

    async def turn(self, frame: Frame, due: int) -> None:
        """Wait until no turn recorded before the one at ``due``, which this call wants to make, can still come."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LONGEST_S
        rounds = 0
        self._held[frame.call_id] = due
        try:
            while any(self._can_come(index) for index in self._left_before(due)) and loop.time() < until:
                rounds += 1
                await (asyncio.sleep(0) if rounds < _ROUNDS else pause(_STEP_S))
        finally:
            self._held.pop(frame.call_id, None)

    def _left_before(self, due: int) -> Iterator[int]:
        while self._turns and self._progress.is_taken(self._turns[0]):
            self._turns.popleft()
        return (index for index in self._turns if index < due and not self._progress.is_taken(index))

    def _can_come(self, index: int) -> bool:
        turn = self._payloads[index]
        assert isinstance(turn, TurnStarted)  # those are looked up
        if not turn.call_id or turn.call_id in self._held:
            return bool(turn.call_id)  # the loop does not ask while its calls are at work; who is held back will
        if turn.call_id in self._begun:
            return self._is_at_work(self._begun[turn.call_id])
        line = list(self._line(turn.call_id))
        waiting = {above for held in self._held for above in self._line(held)}
        return any(
            self._is_at_work(frame) and (call_id in line or call_id not in waiting)
            for call_id, frame in self._begun.items()
        )

    def _line(self, call_id: str) -> Iterator[str]:
        """The call, and those in which it was dispatched."""
        seen: set[str] = set()
        while call_id and call_id not in seen:
            seen.add(call_id)
            yield call_id
            call_id = self._parents.get(call_id, "")

    def _is_at_work(self, frame: Frame) -> bool:
        if frame.failure is not None:
            return False
        following = self._progress.next_own(frame.node)
        return not frame.closed or (following is not None and self._is_retry(following, frame))

    def _is_retry(self, index: int, frame: Frame) -> bool:
        payload = self._payloads[index]
        return isinstance(payload, ToolCallScheduled) and payload.call_id == frame.call_id
