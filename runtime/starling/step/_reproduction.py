"""Reproducing recorded events one by one: today's payload beside the recorded one, which then flows on.

Every way in which a replay gets ahead leads through here; which event comes next is looked up by the caller. Who uses
it holds the replay's lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starling.event import ToolCallScheduled
from starling.step._comparison import Comparison
from starling.step._cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.ambient import ReplayOptions
    from starling.errors import NondeterminismError
    from starling.event import Event, Payload, TurnStarted
    from starling.provider import Request
    from starling.step._dialect import Dialect
    from starling.step._divergence import Divergence, Explanation
    from starling.step._frame import Frame
    from starling.step._tree import Node

__all__ = ["Reproduction"]


class Reproduction:
    """The events of a recording, reproduced.

    Args: see `ReplayJournal`.

    Attributes:
        cursor: whose event comes next. progress: what was reproduced. compared: what was found to differ.
    """

    def __init__(
        self,
        events: Sequence[Event],
        payloads: Sequence[Payload],
        options: ReplayOptions,
        dialect: Dialect,
        *,
        skipped: Callable[[str, int | None], None],
        explain: Callable[[int, TurnStarted, Request], Explanation],
        watch: Callable[[int, Payload, Divergence | None], None] | None,
    ) -> None:
        self.cursor = Cursor(payloads, owned_effects=dialect.owned_effects)
        self.progress = self.cursor.progress
        self.compared = Comparison(events, payloads, options, explain)
        self._collects = options.collect
        self._events = events
        self._payloads = payloads
        self._dialect = dialect
        self._skipped = skipped
        self._watch = watch

    def next_of_run(self, payload: Payload) -> int | None:
        """The next event of the run's own code, which wants to make ``payload``.

        Raises:
            NondeterminismError: that code has diverged before.
            Interruption: the environment stopped the run before that.
        """
        self.compared.check()
        return self.cursor.next_of_run(payload)

    def reproduce(
        self, node: Node, index: int | None, payload: Payload, *, frame: Frame | None = None, strict: bool = False
    ) -> Any:
        """Compare with the event at ``index`` and take it; the recorded payload flows on.

        ``strict``: what this node recorded before ``index`` must have been reproduced already; there is nothing if
        ``index`` is what comes next. Otherwise what is missing is found at the call's outcome.
        """
        if not self._dialect.exact_integers:
            payload = self._dialect.written(payload)
        if index is None or (strict and self._is_behind(node, index)):
            raise self.diverge(node, index, payload, frame)
        recorded = self._payloads[index]
        if recorded.KIND is not payload.KIND:
            raise self.diverge(node, index, payload, frame)
        divergence: Divergence | None = None
        if not self.compared.are_equal(index, payload):
            divergence = self._differs(node, index, payload, frame)
            if not self._collects:
                raise self.compared.latched(divergence, frame)
            self.compared.divergences.append(divergence)
        self.take(index, payload, divergence)
        return recorded

    def _is_behind(self, node: Node, index: int) -> bool:
        first = self.progress.next_own(node)
        return first is not None and first < index

    def take(self, index: int, produced: Payload | None = None, divergence: Divergence | None = None) -> None:
        """Count a recorded event as reproduced."""
        self.progress.take(index)
        if self._watch is not None:
            today = self._payloads[index] if produced is None else self.compared.shown(index, produced)
            self._watch(index, today, divergence)

    def diverge(
        self, node: Node, index: int | None, produced: Payload, frame: Frame | None = None, *, reason: str = ""
    ) -> NondeterminismError:
        """Nothing more can be reproduced there. ``reason``: if more is known than the two payloads tell."""
        divergence = self._differs(node, index, produced, frame)
        return self.compared.latched(replace(divergence, reason=reason) if reason else divergence, frame)

    def _differs(self, node: Node, index: int | None, produced: Payload, frame: Frame | None) -> Divergence:
        """Report against the first event of this node that was not reproduced, which may precede ``index``."""
        first = self.progress.next_own(node)
        candidates = [position for position in (first, index) if position is not None]
        at = min(candidates) if candidates else self.cursor.after(frame)
        return self.compared.described(at, produced, frame)

    def skip(self, frame: Frame, index: int) -> None:
        """Pass over a call that is not run (again), up to ``index``."""
        again = next((own for own in frame.node.own if own > index), None)
        self._skipped(frame.call_id, None if again is None else self._events[again].ts)
        self.take_until(frame, index)

    def take_until(self, frame: Frame, index: int) -> None:
        """Take what is left of a call up to ``index``; calls it made count for the run's totals, as they did live."""
        for taken in self.progress.take_until(frame.node, index):
            payload = self._payloads[taken]
            frame.run.meter.observe(payload)
            if isinstance(payload, ToolCallScheduled) and payload.call_id != frame.call_id:
                self._skipped(payload.call_id, None)
            if self._watch is not None:
                self._watch(taken, self._payloads[taken], self.compared.found_at(taken))
        for name, by_request in frame.node.effects.items():
            for request, effect in by_request.items():
                if self.progress.is_taken(effect):
                    frame.answer(name, request)
