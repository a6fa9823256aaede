"""What a call had come to when its process ended, for the call that is reissued in its place.

A payment that was made before the crash is not made twice: effects that the orphaned call had recorded are served to
the call that stands in for it, and so are the outcomes of calls that it had dispatched (api page, "Resume"). What is
served is recorded again under the new call's id, so that a replay finds everything where it always is. Pure, but for
what has been handed out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from starling._cbor import encode
from starling.event import SideEffectRecorded, ToolCallCompleted, ToolCallFailed, ToolCallScheduled
from starling.step._abandoned import is_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.event import Payload
    from starling.step._tree import Node

__all__ = ["PATCH", "SERVED", "Served", "left_by"]

PATCH = "starling/patch:"
"""Begins the name of the mark that `step.patched` leaves."""

SERVED = "starling/served"
"""Names the record that says: this call was not run, its outcome is that of an orphan's call; the value is its id."""


@dataclass(slots=True, kw_only=True, eq=False)
class Served:
    """What is left of a call that a crash cut off.

    Attributes:
        scheduled: the last event that issued it.
        first_attempt: the attempt that is to be made now: the one that was cut off, or the next one.
        outcome: how the call ended, if it did; then it is not run again.
        effects: by name and number of the request within that attempt.
        calls: what it had dispatched in that attempt, in that order.
        was_cut_off: whether an effect without an outcome was the last it had asked for; that is carried out again.
    """

    scheduled: ToolCallScheduled
    first_attempt: int
    outcome: ToolCallCompleted | ToolCallFailed | None = None
    effects: dict[tuple[str, int], SideEffectRecorded] = field(default_factory=dict)
    calls: list[Served] = field(default_factory=list)
    was_cut_off: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether it had got anywhere: then the call that stands in for it must go the same way."""
        return bool(self.effects or self.calls or self.was_cut_off)

    def take_effect(self, name: str, request: int) -> SideEffectRecorded | None:
        """The recorded effect for this request, once."""
        return self.effects.pop((name, request), None)

    def take_call(self, scheduled: ToolCallScheduled) -> Served | None:
        """What is left of the first call that asked for the same and has not been handed out yet."""
        for call in self.calls:
            if _asks_for_the_same(call.scheduled, scheduled):
                self.calls.remove(call)
                return call
        return None


def left_by(payloads: Sequence[Payload], root: Node, begun: Iterable[int]) -> Served | None:
    """What is left of a call after all the crashes that it did not survive.

    Args:
        payloads: the run so far. root: the same, cut by owner.
        begun: the index of the event that issued it, and of each that reissued it; all are the run's own calls.

    Returns:
        None if it never was issued.
    """
    served: Served | None = None
    for index in begun:
        served = _left(payloads, index, root.children[index], served)
    return served


def _left(
    payloads: Sequence[Payload], index: int, node: Node, earlier: Served | None, caller_last: int | None = None
) -> Served:
    """What is left of one issue of a call.

    Args:
        earlier: what had been left to it.
        caller_last: the last event of the call that dispatched it. If this one was cancelled behind that, nothing shows
            that the caller got over it, and it goes on as after a crash.
    """
    start = max((own for own in node.own if _is_attempt(payloads[own], node)), default=index)
    scheduled: Any = payloads[start]
    ended = node.outcomes.get(scheduled.attempt)
    if ended is not None and not (caller_last is not None and ended > caller_last and _is_cancelled(payloads[ended])):
        return _ended(scheduled, payloads[ended])
    last = max((own for own in node.own if own > start and _was_got_over(payloads[own], node)), default=start)
    left = Served(
        scheduled=scheduled,
        first_attempt=scheduled.attempt,
        effects=dict(_effects(payloads, node, start, last)),
        calls=[_left(payloads, at, node.children[at], None, last) for at in node.calls if at > start],
        was_cut_off=any(own > last and is_abandoned(payloads[own]) for own in node.own),
    )
    return left if earlier is None or start != index else _merged(earlier, left)


def _is_attempt(payload: Payload, node: Node) -> bool:
    return isinstance(payload, ToolCallScheduled) and payload.call_id == node.call_id


def _was_got_over(payload: Payload, node: Node) -> bool:
    """Whether an event shows that the code had gone on until then."""
    ended = isinstance(payload, ToolCallCompleted | ToolCallFailed) and payload.call_id == node.call_id
    return not ended and not is_abandoned(payload)


def _is_cancelled(outcome: Payload) -> bool:
    return isinstance(outcome, ToolCallFailed) and outcome.error_type == "cancelled"


def _ended(scheduled: ToolCallScheduled, outcome: Any) -> Served:
    if isinstance(outcome, ToolCallFailed) and not outcome.final:
        return Served(scheduled=scheduled, first_attempt=scheduled.attempt + 1)
    return Served(scheduled=scheduled, first_attempt=scheduled.attempt, outcome=outcome)


def _effects(
    payloads: Sequence[Payload], node: Node, start: int, last: int
) -> Iterable[tuple[tuple[str, int], SideEffectRecorded]]:
    """The effects of the attempt that began at ``start``, its requests counted from 1.

    Behind ``last`` are effects that were cut off, and nothing shows that the code got over that: a cancellation of the
    run may have done it.
    """
    for name, by_request in node.effects.items():
        before = max((request for request, index in by_request.items() if index < start), default=0)
        for request, index in by_request.items():
            effect = payloads[index]
            assert isinstance(effect, SideEffectRecorded)  # the tree holds nothing else there
            if start < index <= last:
                yield (name, request - before), effect
            elif name.startswith(PATCH):
                yield (name, request), effect  # holds for all attempts


def _merged(earlier: Served, later: Served) -> Served:
    """What was left before, brought up to date by what its stand-in got to before it was cut off, too."""
    calls = []
    for call in later.calls:
        was = earlier.take_call(call.scheduled)
        calls.append(call if was is None or call.outcome is not None else _call_merged(was, call))
    return replace(
        later,
        effects=earlier.effects | later.effects,
        calls=[*calls, *earlier.calls],
        was_cut_off=earlier.was_cut_off or later.was_cut_off,
    )


def _call_merged(earlier: Served, later: Served) -> Served:
    return _merged(earlier, later) if earlier.outcome is None else earlier


def _asks_for_the_same(recorded: ToolCallScheduled, scheduled: ToolCallScheduled) -> bool:
    return recorded.tool == scheduled.tool and encode(recorded.args) == encode(scheduled.args)
