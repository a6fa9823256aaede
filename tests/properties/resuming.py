"""What may not be done again behind a seam, found in the log and in what the process counted.

A call is known by its arguments: every planned call has a number of its own, and so has every call inside it. Calls
whose arguments the model got wrong have none and are left out.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from starling.event import ToolCallCompleted, ToolCallFailed, ToolCallScheduled
from tests.properties.reading import ABANDONED, Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.event import Event
    from tests.properties.reading import Attempt, Call
    from tests.properties.run import Process

SERVED = "starling/served"


def nothing_is_done_twice(events: Sequence[Event], seam: int, process: Process) -> None:
    """Check the part of a run from seq ``seam`` on, which ``process`` did, against everything before it."""
    before, whole = Reading(events[: seam - 1]), Reading(events)
    _no_ended_call_is_issued(before, whole, seam)
    orphans = {_known_as(call): call for call in _open(before)}
    for call in whole.calls.values():
        orphan = orphans.pop(_known_as(call), None) if call.scheduled > seam and call.inside is None else None
        if orphan is not None:
            _goes_on(before, orphan, whole, call)
    _counted(whole, seam, process)


def _known_as(call: Call) -> tuple[str, Any]:
    return call.tool, _number(call)


def _number(call: Call) -> int:
    """The number of a call; 0 if its arguments have none."""
    n = call.args.get("n", 0) if isinstance(call.args, dict) else 0
    return int(n) if isinstance(n, int | float) else 0


def _open(reading: Reading) -> Iterator[Call]:
    """The model's calls that have not ended."""
    return (call for call in reading.calls.values() if call.inside is None and not _has_ended(reading, call))


def _has_ended(reading: Reading, call: Call) -> bool:
    outcome = call.attempts[-1].outcome
    payload = reading.at(outcome) if outcome else None
    return isinstance(payload, ToolCallCompleted) or (isinstance(payload, ToolCallFailed) and payload.final)


def _no_ended_call_is_issued(before: Reading, whole: Reading, seam: int) -> None:
    ended = {
        _known_as(call)
        for call in before.calls.values()
        if call.inside is None and _number(call) and _has_ended(before, call)
    }
    again = {_known_as(call) for call in whole.calls.values() if call.scheduled > seam and call.inside is None}
    assert not ended & again, f"issued again though they had ended: {ended & again}"


def _goes_on(before: Reading, orphan: Call, whole: Reading, call: Call) -> None:
    """What the orphan's last attempt had got is what the attempt that stands in for it gets."""
    if not _number(call) or orphan.attempts[-1].outcome:
        return
    had, has = orphan.attempts[-1], call.attempts[0]
    assert has.number == had.number
    for name, values in _effects(before, had).items():
        for was, is_now in zip(values, _effects(whole, has).get(name, []), strict=False):
            assert was == is_now, f"{name} was carried out again"
    inner = {_known_as(child): child for child in _children(whole, has)}
    for child in _children(before, had):
        stand_in = inner.get(_known_as(child))
        if stand_in is not None and _number(child):
            _inner_goes_on(before, child, whole, stand_in)


def _inner_goes_on(before: Reading, orphan: Call, whole: Reading, call: Call) -> None:
    if not _has_ended(before, orphan):
        _goes_on(before, orphan, whole, call)
        return
    was = before.at(orphan.attempts[-1].outcome)
    if isinstance(was, ToolCallFailed) and was.error_type == "cancelled" and not _is_served(whole, call):
        return  # it goes on if its caller was cut off before it got over that
    if call.attempts[-1].outcome and not _never_began(whole, call):
        assert _is_served(whole, call)
        assert type(was) is type(whole.at(call.attempts[-1].outcome))


def _never_began(reading: Reading, call: Call) -> bool:
    """Whether a call was cancelled before it ran: its caller's time was over while it was being scheduled."""
    last = call.attempts[-1]
    ended = reading.at(last.outcome)
    return not last.events and isinstance(ended, ToolCallFailed) and ended.error_type == "cancelled"


def _effects(reading: Reading, attempt: Attempt) -> dict[str, list[Any]]:
    """What effects gave or how they failed, by name; not those that were cut off."""
    found: dict[str, list[Any]] = {}
    for seq in attempt.events:
        effect = reading.at(seq)
        if isinstance(effect, ToolCallScheduled) or (effect.error and effect.error.type == ABANDONED):
            continue
        found.setdefault(effect.name, []).append((effect.value, effect.error))
    return found


def _children(reading: Reading, attempt: Attempt) -> list[Call]:
    payloads = (reading.at(seq) for seq in attempt.events)
    return [reading.calls[payload.call_id] for payload in payloads if isinstance(payload, ToolCallScheduled)]


def _is_served(reading: Reading, call: Call) -> bool:
    return any(getattr(reading.at(seq), "name", "") == SERVED for attempt in call.attempts for seq in attempt.events)


def _counted(whole: Reading, seam: int, process: Process) -> None:
    """The process did no more than it wrote down as done anew."""
    bodies: Counter[tuple[int, str]] = Counter()
    for call in whole.calls.values():
        made = [attempt for attempt in call.attempts if (attempt.events or [attempt.outcome])[0] > seam]
        if call.scheduled > seam and not _is_served(whole, call):
            bodies[_number(call), call.tool] += max(len(made), len(call.attempts))
    for known_as, times in process.bodies.items():
        assert times <= bodies[known_as], f"{known_as} was run {times} times"
