"""A divergence → what to do about it, where that can be guessed from the values. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starling.event import Kind, SideEffectRecorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event
    from starling.replay import Divergence

__all__ = ["hints"]

_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?|\b\d\d:\d\d:\d\d\b")
_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32,64}\b|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"
)
_DIGITS_COMPARED = 20_000
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
_EFFECT = "If a side effect was added or renamed on purpose, that is a change of the agent: record it."


def hints(divergence: Divergence, events: Sequence[Event] = ()) -> list[str]:
    """One sentence for each thing that seems to have leaked in, and what to use instead.

    Args:
        events: the recorded run; a time that it holds as one of `starling.step.now` did not leak in.
    """
    recorded = divergence.recorded
    if isinstance(recorded, SideEffectRecorded) and recorded.name in _GONE and not _same_effect(divergence):
        return [_GONE[recorded.name]]
    if divergence.cls != "payload":
        return [_EFFECT] if Kind.SideEffectRecorded in (divergence.kind, divergence.expected_kind) else []
    known = _recorded_times(divergence, events)
    causes = {cause for change in divergence.changes if (cause := _cause(change.recorded, change.produced, known))}
    if divergence.kind in _TOOL_KINDS:
        wanted = causes or ({""} if divergence.kind is not Kind.ToolCallScheduled else set())
        return [_IN_TOOL[cause] for cause in _IN_TOOL if cause in wanted]
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
        if isinstance(payload, SideEffectRecorded) and payload.name == "now" and call_id in ("", payload.call_id)
    ]


def _cause(recorded: Any, produced: Any, known: Sequence[int]) -> str:
    """``time``, ``id`` or ``random`` if both values look like one, and differ in it.

    Args:
        known: recorded times, in nanoseconds.
    """
    if isinstance(recorded, str) and isinstance(produced, str):
        for cause, pattern in (("time", _TIME), ("id", _ID)):
            before, after = (pattern.findall(text[:_DIGITS_COMPARED]) for text in (recorded, produced))
            told = [recorded, *map(_written, known)] if cause == "time" else [recorded]
            if before and before != after and not all(any(one in text for text in told) for one in after):
                return cause
        return ""
    if _is_number(recorded) and _is_number(produced) and not _is_known(produced, known):
        return _numeric_cause(recorded, produced)
    return ""


def _written(nanoseconds: int) -> str:
    """A recorded time in the forms that a text may have it in, or a part of it."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)
    return f"{moment.isoformat(sep='T')} {moment.isoformat(sep=' ')}"


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
