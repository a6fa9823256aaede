"""A divergence → the text that a person reads. Pure, and bounded in size and time whatever the payloads hold.

Order: what differs, where in the run, which fixture, what to do. The first line is made apart: it stands alone in
short summaries and annotations. How much is shown is a value, `Limits`; what was left out is said to be so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.explain._hints import hints
from starling.explain._sentences import sentence
from starling.explain._text_diff import changed_bytes, changed_text, leaves_out
from starling.explain._timeline import timeline, tool_names
from starling.explain._values import SHORT, as_text, printable, shorten, show, was_cut
from starling.step import ABSENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event
    from starling.explain._values import Limits
    from starling.replay import Change, Divergence, FixtureRun

__all__ = ["explain", "headline"]

_LONG_TEXT = 60
_MOST_RUNS = 8
_INDENT = " " * 8


def headline(divergence: Divergence, runs: Sequence[FixtureRun]) -> str:
    """The first line of a failure."""
    if _is_unexpected(divergence):
        return f"golden run diverged: a run was started that is not in the recording of {_runs(len(runs))}"
    if _is_left_over(divergence):
        return f"golden run diverged: recorded run {_number(divergence, runs)} of {len(runs)} was not asked for"
    return str(divergence)


def explain(
    divergence: Divergence,
    runs: Sequence[FixtureRun],
    *,
    fixture: str,
    recorded_at: str,
    compare: str = "",
    more: str = "",
    limits: Limits = SHORT,
) -> list[str]:
    """Everything below the first line, but for the command that records the test.

    Args:
        runs: all of the fixture's.
        fixture: its path, as people are shown it; empty for a recording that is in no file.
        recorded_at: ISO 8601, or empty.
        compare: the command that compares the recording with what was produced; empty where that was not kept.
        more: what shows whatever is left out of the fields, as a sentence's subject; empty where nothing does.
        limits: how much is shown.
    """
    events = _events_of(divergence, runs)
    if _is_unexpected(divergence) or _is_left_over(divergence):
        body = [sentence(divergence, {}, limits), "", "recorded runs:", *_run_list(divergence, runs)]
    else:
        body = _at_an_event(divergence, events, limits, more)
    lines = [
        *body,
        "",
        *_facts(divergence, runs, fixture=fixture, recorded_at=recorded_at, compare=compare),
        "",
        *hints(divergence, events),
    ]
    return [printable(line) for line in lines]


def _facts(
    divergence: Divergence, runs: Sequence[FixtureRun], *, fixture: str, recorded_at: str, compare: str
) -> list[str]:
    recorded = f", recorded {recorded_at[:10]}" if recorded_at else ""
    return [
        *([f"fixture  {fixture}{recorded}"] if fixture else []),
        *([f"run      {divergence.run_id} ({_number(divergence, runs)} of {len(runs)})"] if divergence.run_id else []),
        *([f"compare  {compare}"] if compare else []),
    ]


def _at_an_event(divergence: Divergence, events: Sequence[Event], limits: Limits, more: str) -> list[str]:
    return [
        sentence(divergence, tool_names(events), limits),
        *([f"    {shorten(str(divergence.raised), limits.sentence)}"] if divergence.raised else []),
        *_changes(divergence.changes, limits, more),
        "",
        *timeline(divergence, events, limits),
    ]


# --- fields


def _changes(changes: Sequence[Change], limits: Limits, more: str) -> list[str]:
    lines = _renamed(changes[: limits.fields])
    shown, cut = 0, False
    changes = () if lines else changes
    for change in changes[: limits.fields]:
        if sum(map(len, lines)) > limits.total:
            break
        found, incomplete = _change(change, limits)
        lines += found
        shown, cut = shown + 1, cut or incomplete
    left = len(changes) - shown
    rest = [f"    … {left} more field{'' if left == 1 else 's'}"] if left else []
    advice = [f"    ({more} shows what is left out here)"] if more and (cut or left) else []
    return ["", *lines, *rest, *advice] if lines else []


def _renamed(changes: Sequence[Change]) -> list[str]:
    """What to say where one thing goes by another name, and nothing else differs."""
    if len(changes) != 2:
        return []
    gone, come = changes
    (before, _, old), (after, _, new) = (change.path.rpartition(".") for change in changes)
    is_move = ABSENT in (gone.produced, come.produced) and ABSENT in (gone.recorded, come.recorded)
    if before != after or not is_move or (gone.recorded, gone.produced) != (come.produced, come.recorded):
        return []
    old, new = (old, new) if gone.produced is ABSENT else (new, old)
    return [f"    {shorten(before)}: {shorten(old)} is called {shorten(new)} now"]


def _change(change: Change, limits: Limits) -> tuple[list[str], bool]:
    """The lines of one field, and whether something is left out of them."""
    old, new, path = change.recorded, change.produced, shorten(change.path)
    if isinstance(old, str) and isinstance(new, str) and (_is_long(old) or _is_long(new)):
        return _block(path, old, new, limits)
    shown = show(old), show(new)
    cut = any(
        was_cut(text) or (isinstance(value, bytes) and "…" in text)
        for text, value in zip(shown, (old, new), strict=True)
    )
    if cut and limits != SHORT:
        return _block(path, as_text(old, limits.total), as_text(new, limits.total), limits)
    if isinstance(old, bytes) and isinstance(new, bytes) and cut:
        return [f"    {path}: {changed_bytes(old, new)}"], True
    if shown[0] == shown[1]:  # the difference lies beyond what is shown, or in the type alone
        shown = tuple(f"{text} ({_kind(value)})" for text, value in zip(shown, (old, new), strict=True))  # type: ignore[assignment]
    return [f"    {path}: {shown[0]} → {shown[1]}"], cut


def _block(path: str, old: str, new: str, limits: Limits) -> tuple[list[str], bool]:
    lines = changed_text(old, new, limits)
    return [f"    {path}:", *(f"{_INDENT}{line}" for line in lines)], any(leaves_out(line) for line in lines)


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
        f"{show(getattr(run.events[0].decode(), 'goal', ''), SHORT.brief)}  {len(run.events)} events"
        for number, run in enumerate(runs[:_MOST_RUNS], start=1)
    ]
    return [*lines, f"        … {len(runs) - _MOST_RUNS} more"] if len(runs) > _MOST_RUNS else lines


def _events_of(divergence: Divergence, runs: Sequence[FixtureRun]) -> Sequence[Event]:
    return next((run.events for run in runs if run.run_id == divergence.run_id), ())


def _number(divergence: Divergence, runs: Sequence[FixtureRun]) -> int:
    return next((number for number, run in enumerate(runs, start=1) if run.run_id == divergence.run_id), 0)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
