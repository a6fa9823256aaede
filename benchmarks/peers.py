"""A golden test beside the same conversation on pytest-recording, vcrpy and the vendor's SDK: what one test costs.

The cost of a test is the difference of two sessions, of N tests and of twice as many, so that starting pytest,
importing an SDK and making a client cancel. The processor's time counts: neither side waits for anything.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measure import Row
from benchmarks._projects import CASSETTES, GOLDEN, Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._projects import Outcome, Side

__all__ = ["rows"]

ROUNDS = 7
OURS, THEIRS = 150, 50
"""Tests of a module: enough for the difference of two sessions to be long beside what sessions differ by anyway."""
MODULES = ("test_first", "test_second")
WAYS = (("", "no", 20.0), (", streaming", "yes", 70.0))


def rows() -> Iterator[Row]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        ours = _recorded(Project(Path(folder, "ours"), GOLDEN, modules=MODULES, tests=OURS))
        theirs = {
            stream: _recorded(Project(Path(folder, stream), _streaming(stream), modules=MODULES, tests=THEIRS))
            for _, stream, _ in WAYS
        }
        for way, stream, goal in WAYS:
            yield _row(ours, theirs[stream], way, goal)


def _streaming(stream: str) -> Side:
    return replace(CASSETTES, env={**CASSETTES.env, "STREAM": stream})


def _recorded(project: Project) -> Project:
    """A project that is ready to replay, its caches filled."""
    for outcome in (project.record(), project.replay()):
        _require_all(project, outcome, len(MODULES))
    return project


def _row(ours: Project, theirs: Project, way: str, goal: float) -> Row:
    pairs = []
    for number in range(ROUNDS):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        took = {project: _a_test(project) for project in order}
        pairs.append((took[ours], took[theirs]))
    ratios = [other[0] / one[0] for one, other in pairs]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    (our_cpu, our_wall), (their_cpu, their_wall) = (
        [statistics.median(kind) * 1000 for kind in zip(*side, strict=True)] for side in zip(*pairs, strict=True)
    )
    return Row(
        what=f"a golden test in pytest, per test{way}",
        against=f"the same conversation on pytest-recording, vcrpy and the OpenAI SDK{way}",
        goal=goal,
        figure=ratio,
        unit="× faster",
        at_least=True,
        details=f"{our_cpu:.2f} ms to {their_cpu:.1f} ms (wall {our_wall:.2f} to {their_wall:.1f}); "
        f"quartiles {low:.1f} to {high:.1f}",
    )


def _a_test(project: Project) -> tuple[float, float]:
    """Seconds that a test takes: of the processor, and on the wall."""
    fewer, more = (project.replay(MODULES[:count]) for count in (1, 2))
    for count, outcome in ((1, fewer), (2, more)):
        _require_all(project, outcome, count)
    return (more.processor - fewer.processor) / project.tests, (more.wall - fewer.wall) / project.tests


def _require_all(project: Project, outcome: Outcome, modules: int) -> None:
    if outcome.failed or outcome.passed != modules * project.tests:
        raise RuntimeError(f"not all tests of {project.side.name} pass:\n{outcome.output[-4000:]}")
