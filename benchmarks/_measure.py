"""How things are compared: in one process, one right after the other, many times, and the median of what that gives.

A machine that is shared is slow and fast by turns, so only the ratio of two things done within the same moment says
anything. Each round does both, in changing order, and gives one ratio.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Row", "compare", "seconds"]

ROUNDS = 21
ROUND_S = 0.02
"""What one side of a round takes at least: long beside the clock's grain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        what: the thing that is measured.
        against: what it is compared with, in the same run.
        goal: what the figure should be, at most (or at least, if ``at_least``).
        figure: what it is.
        unit: of both.
        details: the absolute figures behind it, and how much the rounds differ.
    """

    what: str
    against: str
    goal: float
    figure: float
    unit: str = "×"
    at_least: bool = False
    details: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.figure >= self.goal if self.at_least else self.figure <= self.goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of the rounds: seconds a call of both sides, and the quartiles of their ratio."""

    subject_s: float
    baseline_s: float
    low: float
    ratio: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.subject_s)} to {_short(self.baseline_s)}; quartiles {self.low:.2f} to {self.high:.2f}"


def compare(
    subject: Callable[[], object],
    baseline: Callable[[], object],
    *,
    clock: Callable[[], float] = time.process_time,
    rounds: int = ROUNDS,
) -> Comparison:
    """How long one call of ``subject`` takes, in calls of ``baseline``.

    Args:
        clock: the processor's, where both do nothing but compute; the wall's where they wait for a disk or a server.
    """
    calls = {side: _calls(side, clock) for side in (subject, baseline)}
    took: dict[Callable[[], object], list[float]] = {subject: [], baseline: []}
    for number in range(rounds):
        for side in (subject, baseline) if number % 2 else (baseline, subject):
            took[side].append(seconds(side, calls[side], clock))
    ratios = [one / other for one, other in zip(took[subject], took[baseline], strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    ours, theirs = (statistics.median(took[side]) for side in (subject, baseline))
    return Comparison(subject_s=ours, baseline_s=theirs, low=low, ratio=ratio, high=high)


def seconds(side: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    """What one call takes, on average over so many. Garbage is collected before, as for every side."""
    gc.collect()
    begun = clock()
    for _ in range(calls):
        side()
    return (clock() - begun) / calls


def _calls(side: Callable[[], object], clock: Callable[[], float]) -> int:
    """How often a side is called in a round. The first calls fill what is filled once."""
    calls = 1
    while (took := seconds(side, calls, clock) * calls) < ROUND_S:
        calls = max(calls + 1, int(calls * min(8.0, 1.2 * ROUND_S / took if took else 8.0)))
    return calls


def _short(value: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"
