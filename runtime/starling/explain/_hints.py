"""A divergence → what to do about it, where that can be guessed from the values. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starling.event import Kind, SideEffectRecorded
from starling.explain._values import as_moment, first_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event
    from starling.replay import Divergence

__all__ = ["hints"]

_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?|\b\d\d:\d\d:\d\d\b")
_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32,64}\b|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"
)
_LEAD = 64
_LONGEST = 20_000
"""Characters of a text that are looked at, from a little before the first difference."""
_LONGEST_TOLD = 200_000
_MOST = 200
"""Fields, recorded times, and times or ids in a text that are looked at."""
_YEARS = (1_000_000_000, 4_000_000_000)
"""Unix seconds from 2001 to 2096: numbers that may be times, in seconds, milli-, micro- or nanoseconds."""

_IN_TOOL = {
    "time": "A time leaked in: take it from starling.step.now(), which is recorded and replayed.",
    "id": "A random id leaked in: make it from starling.step.random(), or inside starling.step.side_effect(name, fn).",
    "random": "A random number leaked in: take it from starling.step.random(), which is recorded and replayed.",
    "": "If it comes from IO, a clock or a random number, take it through starling.step (side_effect, now, random).",
}
_OUTSIDE = {
    "time": "A time stands in it: pass the date in from the test, or let a tool ask starling.step.now().",
    "id": "A random id stands in it: pass it in from the test, or make it in a tool from starling.step.random().",
    "random": "A random number stands in it: pass it in from the test, or let a tool ask starling.step.random().",
}
_TOOL_KINDS = frozenset({Kind.ToolCallCompleted, Kind.ToolCallFailed, Kind.ToolCallScheduled})
_GONE = {
    "now": "The recorded call of step.now() is gone: was it replaced by the real clock?",
    "rand": "The recorded call of step.random() is gone: was it replaced by real random numbers?",
}
_ORDER = "If the order of these calls is chance (a set, a folder's listing, a race), give them a fixed order."
_EFFECT = "If a side effect was added or renamed on purpose, that is a change of the agent: record it."


def hints(divergence: Divergence, events: Sequence[Event] = ()) -> list[str]:
    """One sentence for each thing that seems to have leaked in, and what to use instead.

    Args:
        events: the recorded run; a time that it holds as one of `starling.step.now` did not leak in.
    """
    recorded = divergence.recorded
    if divergence.kind is Kind.ToolCallFailed and isinstance(recorded, SideEffectRecorded):
        return []  # the tool failed before it came to that
    if isinstance(recorded, SideEffectRecorded) and recorded.name in _GONE and not _same_effect(divergence):
        return [_GONE[recorded.name]]
    if divergence.cls != "payload":
        return [_EFFECT] if Kind.SideEffectRecorded in (divergence.kind, divergence.expected_kind) else []
    known = _Known(_recorded_times(divergence, events))
    found = (_cause(change.recorded, change.produced, known) for change in divergence.changes[:_MOST])
    causes = {cause for cause in found if cause}
    if divergence.kind in _TOOL_KINDS:
        wanted = causes or ({""} if divergence.kind is not Kind.ToolCallScheduled else set())
        order = [_ORDER] * any(change.path == "tool" for change in divergence.changes)
        return [*order, *(_IN_TOOL[cause] for cause in _IN_TOOL if cause in wanted)]
    return [_OUTSIDE[cause] for cause in _OUTSIDE if cause in causes]


def _same_effect(divergence: Divergence) -> bool:
    produced = divergence.produced
    return isinstance(produced, SideEffectRecorded) and produced.name == getattr(divergence.recorded, "name", "")


def _recorded_times(divergence: Divergence, events: Sequence[Event]) -> list[int]:
    """What `starling.step.now` gave in this call (outside of calls: in the run), in nanoseconds."""
    call_id = divergence.call_id or getattr(divergence.recorded, "call_id", "")
    payloads = [event.decode() for event in events if event.kind == Kind.SideEffectRecorded]
    return [
        payload.value
        for payload in payloads
        if isinstance(payload, SideEffectRecorded)
        and payload.name == "now"
        and isinstance(payload.value, int)
        and call_id in ("", payload.call_id)
    ]


class _Known:
    """Recorded times, in nanoseconds and in the forms that a text may have them in."""

    def __init__(self, nanoseconds: Sequence[int]) -> None:
        self.nanoseconds = nanoseconds[:_MOST]
        self.written = " ".join(map(_written, self.nanoseconds))


def _cause(recorded: Any, produced: Any, known: _Known) -> str:
    """``time``, ``id`` or ``random`` if both values look like one, and differ in it."""
    if isinstance(recorded, str) and isinstance(produced, str):
        return _cause_in_text(recorded, produced, known)
    if _is_number(recorded) and _is_number(produced) and not _is_known(produced, known.nanoseconds):
        return _numeric_cause(recorded, produced)
    return ""


def _cause_in_text(recorded: str, produced: str, known: _Known) -> str:
    start = max(0, first_difference(recorded, produced) - _LEAD)
    told = recorded[max(0, start - _LONGEST_TOLD) : start + _LONGEST_TOLD]
    for cause, pattern in (("time", _TIME), ("id", _ID)):
        before, after = (pattern.findall(text[start : start + _LONGEST])[:_MOST] for text in (recorded, produced))
        texts = (told, known.written) if cause == "time" else (told,)
        if before and before != after and not all(any(one in text for text in texts) for one in after):
            return cause
    return ""


def _written(nanoseconds: int) -> str:
    """A recorded time in the forms that a text may have it in, or a part of it."""
    moment = as_moment(nanoseconds)
    return f"{moment} {moment.replace('T', ' ')}"


def _is_known(produced: float, known: Sequence[int]) -> bool:
    """Whether a number is a recorded time, in some unit and however it was rounded."""
    return any(abs(produced * unit - moment) <= unit for moment in known for unit in (1, 10**3, 10**6, 10**9))


def _numeric_cause(recorded: float, produced: float) -> str:
    if _is_time(recorded) and _is_time(produced):
        return "time"
    fractions = all(
        isinstance(value, float) and 0 < value < 1 and len(repr(value)) > 12 for value in (recorded, produced)
    )
    wide = all(isinstance(value, int) and value > 1 << 40 for value in (recorded, produced))
    return "random" if fractions or wide else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: float) -> bool:
    return any(_YEARS[0] * unit <= value <= _YEARS[1] * unit for unit in (1, 10**3, 10**6, 10**9))
