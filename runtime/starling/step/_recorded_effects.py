"""On replay: the effects of a recording, handed to the code that asks for them, each in its turn.

They are found by call, name and number of the request. What is asked for and was not recorded diverges.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starling.errors import NondeterminismError
from starling.event import SideEffectRecorded
from starling.step._abandoned import is_abandoned
from starling.step._interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractContextManager

    from starling.event import Payload
    from starling.step._frame import Frame
    from starling.step._order import Order
    from starling.step._reproduction import Reproduction

__all__ = ["RecordedEffects"]


class RecordedEffects:
    """Answers requests for effects.

    Args:
        payloads: the recorded run. recording: what of it was reproduced. order: whose turn it is.
        lock: guards those; reentrant.
        owned: whether the recorded effects name their call.
        commit: delivers what was reproduced, before code goes on with it.

    Attributes:
        took: told of each effect that is handed out, and the number of its request; the lock is held.
    """

    def __init__(
        self,
        payloads: Sequence[Payload],
        recording: Reproduction,
        order: Order,
        lock: AbstractContextManager[bool],
        *,
        owned: bool,
        commit: Callable[[], Awaitable[None]],
    ) -> None:
        self.took: Callable[[Frame, SideEffectRecorded, int], None] = lambda *_: None
        self._payloads = payloads
        self._recording = recording
        self._cursor = recording.cursor
        self._progress = recording.progress
        self._order = order
        self._lock = lock
        self._owned = owned
        self._commit = commit

    async def answer(self, frame: Frame, name: str, request: int, *, waits: bool) -> SideEffectRecorded:
        """The recorded effect that answers this request, when it is its turn."""
        index = self._index(frame, name, request)
        if is_abandoned(self._payloads[index]):
            self._take(frame, name, request)
            await self._commit()
            await self._order.effect_cut_off(frame, index)
        if not self._owned:
            return await self._delivered(frame, name, request)
        try:
            if waits:
                await self._order.effect(frame, index)
            else:
                self._order.effect_at_once(frame, index)
        except asyncio.CancelledError:
            self._take_if_left(frame, index, name, request)
            raise
        try:
            return await self._delivered(frame, name, request)
        finally:
            self._order.answered(frame, index)

    async def _delivered(self, frame: Frame, name: str, request: int) -> SideEffectRecorded:
        recorded = self._take(frame, name, request)
        await self._commit()
        return recorded

    def answer_at_once(self, frame: Frame, name: str, request: int) -> SideEffectRecorded:
        """The same for sync code; only in a thread can it wait."""
        if not self._owned:
            return self._take(frame, name, request)
        index = self._index(frame, name, request)
        if is_abandoned(self._payloads[index]):
            self._take(frame, name, request)
            self._order.effect_cut_off_at_once(frame, index)
        self._order.effect_at_once(frame, index)
        try:
            return self._take(frame, name, request)
        finally:
            self._order.answered(frame, index)

    def _index(self, frame: Frame, name: str, request: int) -> int:
        """Where the effect that answers a request was recorded.

        Raises:
            NondeterminismError: it was not.
        """
        node = self._cursor.owner(frame)
        with self._lock:
            frame.check()
            produced = SideEffectRecorded(name=name, value=None, call_id=frame.call_id)
            if node is self._cursor.root:
                self._recording.next_of_run(produced)
                index = self._cursor.effect_of_run(name, request)
            else:
                index = node.effects.get(name, {}).get(request)
            if index is None or self._progress.is_taken(index):
                raise self._recording.diverge(node, None, produced, frame)
            return index

    def _take_if_left(self, frame: Frame, index: int, name: str, request: int) -> None:
        """An effect of a strand that is cancelled while it waits for its turn: the recorded one was sooner."""
        with self._lock, suppress(NondeterminismError, Interruption):
            if not frame.closed and frame.failure is None and not self._progress.is_taken(index):
                self._take(frame, name, request)

    def _take(self, frame: Frame, name: str, request: int) -> SideEffectRecorded:
        with self._lock:
            index = self._index(frame, name, request)
            self._recording.take(index)
            frame.answer(name, request)
            recorded = self._payloads[index]
            assert isinstance(recorded, SideEffectRecorded)  # the tree holds nothing else there
            self.took(frame, recorded, request)
            return recorded

    def patched(self, frame: Frame, name: str) -> bool:
        """Whether the recorded call has the mark; otherwise it predates the patch."""
        with self._lock:
            frame.check()
            index = self._cursor.owner(frame).effects.get(name, {}).get(1)
            if index is not None and not self._progress.is_taken(index):
                self._recording.take(index)
        return index is not None
