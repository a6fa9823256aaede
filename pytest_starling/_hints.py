"""A divergence → what to do about it, where that can be guessed from the values. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starling.event import Kind

if TYPE_CHECKING:
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
_EFFECT = "If a side effect was added or renamed on purpose, that is a change of the agent: record it."


def hints(divergence: Divergence) -> list[str]:
    """One sentence for each thing that seems to have leaked in, and what to use instead."""
    if divergence.cls != "payload":
        return [_EFFECT] if Kind.SideEffectRecorded in (divergence.kind, divergence.expected_kind) else []
    causes = {cause for change in divergence.changes if (cause := _cause(change.recorded, change.produced))}
    if divergence.kind in _TOOL_KINDS:
        wanted = causes or ({""} if divergence.kind is not Kind.ToolCallScheduled else set())
        return [_IN_TOOL[cause] for cause in _IN_TOOL if cause in wanted]
    return [_OUTSIDE[cause] for cause in _OUTSIDE if cause in causes]


def _cause(recorded: Any, produced: Any) -> str:
    """``time``, ``id`` or ``random`` if both values look like one, and differ in it."""
    if isinstance(recorded, str) and isinstance(produced, str):
        for cause, pattern in (("time", _TIME), ("id", _ID)):
            before, after = (pattern.findall(text[:_DIGITS_COMPARED]) for text in (recorded, produced))
            if before and after and before != after:
                return cause
        return ""
    if _is_number(recorded) and _is_number(produced):
        return _numeric_cause(recorded, produced)
    return ""


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
