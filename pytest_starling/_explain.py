"""A divergence → the text that a person reads. Pure, and bounded in size whatever the payloads hold.

Order: what differs, where in the run, which fixture, what to do. The first line is made apart: it stands alone in
short summaries and annotations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_starling._hints import hints
from pytest_starling._timeline import timeline, tool_names
from pytest_starling._values import changed_text, shorten, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event
    from starling.replay import Change, Divergence, FixtureRun

__all__ = ["explain", "headline"]

_MOST_CHANGES = 8
_LONG_TEXT = 60
_MOST_RUNS = 8


def headline(divergence: Divergence, runs: Sequence[FixtureRun]) -> str:
    """The first line of a failure."""
    if _is_unexpected(divergence):
        return f"golden run diverged: a run was started that is not in the recording of {_runs(len(runs))}"
    if _is_left_over(divergence):
        return f"golden run diverged: recorded run {_number(divergence, runs)} of {len(runs)} was not asked for"
    return str(divergence)


def explain(divergence: Divergence, runs: Sequence[FixtureRun], *, fixture: str, recorded_at: str) -> list[str]:
    """Everything below the first line, but for the command that records the test.

    Args:
        runs: all of the fixture's.
        fixture: its path, as people are shown it; empty for a recording that is in no file.
        recorded_at: ISO 8601, or empty.
    """
    if _is_unexpected(divergence) or _is_left_over(divergence):
        body = [_sentence(divergence.reason), "", "recorded runs:", *_run_list(divergence, runs)]
    else:
        body = _at_an_event(divergence, _events_of(divergence, runs))
    advice = hints(divergence, _events_of(divergence, runs))
    recorded = f", recorded {recorded_at[:10]}" if recorded_at else ""
    return [
        *body,
        "",
        *([f"fixture  {fixture}{recorded}"] if fixture else []),
        *([f"run      {divergence.run_id} ({_number(divergence, runs)} of {len(runs)})"] if divergence.run_id else []),
        "",
        *advice,
    ]


def _at_an_event(divergence: Divergence, events: Sequence[Event]) -> list[str]:
    where = ""
    if divergence.call_id:
        where = f" in the call of {tool_names(events).get(divergence.call_id, 'a tool')} ({divergence.call_id})"
    return [
        _sentence(divergence.reason + where),
        *_changes(divergence.changes),
        "",
        *timeline(divergence, events),
    ]


def _changes(changes: Sequence[Change]) -> list[str]:
    lines = [line for change in changes[:_MOST_CHANGES] for line in _change(change)]
    more = len(changes) - _MOST_CHANGES
    rest = [f"    … {more} more field{'' if more == 1 else 's'}"] if more > 0 else []
    return ["", *lines, *rest] if lines else []


def _change(change: Change) -> list[str]:
    old, new, path = change.recorded, change.produced, shorten(change.path)
    if isinstance(old, str) and isinstance(new, str) and (_is_long(old) or _is_long(new)):
        return [f"    {path}:", *(f"        {line}" for line in changed_text(old, new))]
    shown = show(old), show(new)
    if shown[0] == shown[1]:  # the difference lies beyond what is shown, or in the type alone
        shown = tuple(f"{text} ({_kind(value)})" for text, value in zip(shown, (old, new), strict=True))  # type: ignore[assignment]
    return [f"    {path}: {shown[0]} → {shown[1]}"]


def _kind(value: Any) -> str:
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{size}"


def _is_long(text: str) -> bool:
    return len(text) > _LONG_TEXT or "\n" in text


# --- runs as a whole


def _is_unexpected(divergence: Divergence) -> bool:
    """A run was started that the recording does not hold."""
    return divergence.cls == "exhausted" and divergence.length == 0


def _is_left_over(divergence: Divergence) -> bool:
    """A recorded run that was never started."""
    return divergence.kind is None and divergence.seq == 1


def _run_list(divergence: Divergence, runs: Sequence[FixtureRun]) -> list[str]:
    lines = [
        f"{'>' if run.run_id == divergence.run_id and _is_left_over(divergence) else ' '} {number:>4}  "
        f"{show(getattr(run.events[0].decode(), 'goal', ''), 72)}  {len(run.events)} events"
        for number, run in enumerate(runs[:_MOST_RUNS], start=1)
    ]
    return [*lines, f"        … {len(runs) - _MOST_RUNS} more"] if len(runs) > _MOST_RUNS else lines


def _events_of(divergence: Divergence, runs: Sequence[FixtureRun]) -> Sequence[Event]:
    return next((run.events for run in runs if run.run_id == divergence.run_id), ())


def _number(divergence: Divergence, runs: Sequence[FixtureRun]) -> int:
    return next((number for number, run in enumerate(runs, start=1) if run.run_id == divergence.run_id), 0)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:1200]
