"""Where a replay stands in its recording: whose event comes next, and how this part of the run ends.

Reading only: what was reproduced is `_progress`, what is compared is `_comparison`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.event import SideEffectRecorded, ToolCallScheduled
from starling.step._abandoned import is_abandoned
from starling.step._interruption import Interruption, cuts_short, ends_part
from starling.step._progress import Progress
from starling.step._tree import build_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Payload
    from starling.step._frame import Frame
    from starling.step._tree import Node

__all__ = ["Cursor"]


class Cursor:
    """The place of a replay; who moves it holds a lock.

    Args:
        payloads: the decoded recording. owned_effects: whether its effects name their call.

    Attributes:
        root: the recording, cut by owner. progress: which of its events were reproduced.
    """

    def __init__(self, payloads: Sequence[Payload], *, owned_effects: bool) -> None:
        self.payloads = payloads
        self.root = build_tree(payloads, owned_effects=owned_effects)
        self.progress = Progress(len(payloads))
        self._owned_effects = owned_effects
        self._ends = [index for index, payload in enumerate(payloads) if ends_part(payload)]
        self._cuts = frozenset(index for index in self._ends if cuts_short(payloads[index]))

    # --- what comes next

    def owner(self, frame: Frame) -> Node:
        """The node whose own events code in this frame makes."""
        if frame.call_id and self._owned_effects:
            node: Node = frame.node
            return node
        return self.root

    def next_own(self, frame: Frame) -> int | None:
        """The next event that code in this frame makes; None if nothing of it is left."""
        return self.progress.next_own(self.owner(frame))

    def next_of_run(self, payload: Payload) -> int | None:
        """The next event of the run's own code, which wants to make ``payload``.

        Raises:
            Interruption: the environment stopped the run before that.
        """
        index = self.progress.next_own(self.root)
        if index in self._cuts and not cuts_short(payload):
            raise Interruption(self.payloads[index])
        return index

    def after(self, frame: Frame | None) -> int:
        """Where code that has nothing left goes on: at what comes next around it, or past the end.

        What a parallel call has left is not looked at: how far that one has got is chance.
        """
        while frame is not None:
            index = self.next_own(frame)
            if index is not None:
                return index
            frame = frame.parent
        return len(self.payloads)

    def effect_of_run(self, name: str, request: int) -> int | None:
        """The effect that answers this request of the run's own code; other events of the run are a boundary.

        One that was cut off when the run's code left it behind was recorded only then.
        """
        asked = self.root.effects.get(name, {}).get(request) if self._owned_effects else None
        if asked is not None and is_abandoned(self.payloads[asked]):
            return asked
        for index in self.progress.left(self.root):
            recorded = self.payloads[index]
            if isinstance(recorded, SideEffectRecorded):
                if index == asked or (asked is None and recorded.name == name):
                    return index
            elif self._owned_effects or not isinstance(recorded, ToolCallScheduled):
                return None
        return None

    # --- where the recorded run, or one process's part of it, ended

    @property
    def next_end(self) -> int | None:
        """The event that ends the part of the run which is being replayed."""
        return next((index for index in self._ends if not self.progress.is_taken(index)), None)

    @property
    def end(self) -> Payload | None:
        """The same, its payload."""
        index = self.next_end
        return None if index is None else self.payloads[index]

    def end_for(self, frame: Frame) -> Payload | None:
        """How the part ended, if nothing else of this frame comes before that."""
        index = self.next_own(frame)
        return self.end if index is None or index in self._ends else None

    def cut_off(self) -> Payload | None:
        """How the environment ended the part, if everything before that was reproduced; None if neither is so."""
        end = self.next_end
        if end is None or not cuts_short(self.payloads[end]) or self.progress.first_left(0) < end:
            return None
        return self.payloads[end]

    def check_not_cut_short(self) -> None:
        """Stop where the environment stopped this part of the run.

        Raises:
            Interruption: it did.
        """
        end = self.end
        if end is not None and cuts_short(end):
            raise Interruption(end)
