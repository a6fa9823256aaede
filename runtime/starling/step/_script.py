"""The replay that runs along beside a live run, in mode ``tail``: it says what is recorded, and what is not.

What differs is no failure here. Nothing that it finds stays in the way of the code, and it writes nothing itself; what
it takes from the recording without comparing it, it hands on to whoever writes the new run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.step._divergence import Explanation
from starling.step._replay import ReplayJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.ambient import ReplayOptions
    from starling.event import Event, Payload, SideEffectRecorded, ToolCallCompleted, ToolCallFailed
    from starling.step._dialect import Dialect
    from starling.step._frame import Frame
    from starling.step._tree import Node

__all__ = ["Script"]


class Script(ReplayJournal):
    """A recorded run, asked step by step; see `ReplayJournal` for its arguments."""

    def __init__(
        self,
        events: Sequence[Event],
        payloads: Sequence[Payload],
        options: ReplayOptions,
        dialect: Dialect,
        *,
        skipped: Callable[[str, int | None], None],
    ) -> None:
        super().__init__(
            events,
            payloads,
            options,
            dialect,
            deliver=None,
            skipped=skipped,
            explain=lambda *_: Explanation(reason="the request differs"),
            watch=lambda index, *_: self._taken.append(index),
        )
        self._compared.latches = False
        self._taken: list[int] = []
        self._copied: Callable[[Frame, Sequence[Payload]], None] = lambda *_: None

    def attend(
        self,
        *,
        took: Callable[[Frame, SideEffectRecorded, int], None],
        skipped: Callable[[Frame, Sequence[Payload]], None],
    ) -> None:
        """Say who records what is taken over.

        Args:
            took: given each effect. skipped: given what a call had done that is not run, in the recorded order.
        """
        self._effects.took, self._copied = took, skipped

    @property
    def root(self) -> Node:
        """What the recorded run's own code did."""
        return self._cursor.root

    def reached_seam(self) -> int:
        """The index of the RunResumed that comes next; 0 if something before it is left."""
        end = self._cursor.next_end or 0
        return end if self._progress.first_left(0) == end else 0

    def ended(self, frame: Frame) -> None:
        """An attempt has ended: nobody waits for it any more."""
        self._order.ended(frame)

    def recorded_outcome(self, frame: Frame, attempt: int) -> ToolCallCompleted | ToolCallFailed | None:
        """The same, with what is passed over handed on."""
        with self._lock:
            self._taken.clear()
            try:
                return super().recorded_outcome(frame, attempt)
            finally:
                self._copied(frame, [self._payloads[index] for index in sorted(self._taken)])
