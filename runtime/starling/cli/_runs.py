"""The runs in a file, whichever kind of log it is: a golden fixture or a service's SQLite log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starling.errors import FixtureError
from starling.eventlog import SQLiteLog
from starling.replay import read_fixture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from starling.event import Event
    from starling.replay import Fixture

__all__ = ["RecordedRun", "recorded_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """One run in a file.

    Attributes:
        label: what a reader calls it.
        events: all that is there of it.
    """

    label: str
    events: Sequence[Event]


def recorded_runs(path: Path) -> tuple[str, Iterator[RecordedRun]]:
    """The runs of a file, in the order in which they began, one at a time.

    Returns:
        The id of the test that a golden fixture belongs to (``""`` for any other log), and the runs.

    Raises:
        LogError: there is no log in the file, or it is a fixture that was damaged or edited. That of a log that is no
            fixture is raised when its first run is asked for.
    """
    try:
        fixture = read_fixture(path)
    except FixtureError:
        return "", _of_log(path)
    return fixture.test_id, _of_fixture(fixture)


def _of_fixture(fixture: Fixture) -> Iterator[RecordedRun]:
    numbers = {run.run_id: number for number, run in enumerate(fixture.runs, start=1)}
    for run in fixture.runs:
        parent = numbers.get(run.parent_run_id)
        inside = f", started inside run {parent}" if parent else ""
        yield RecordedRun(label=f"run {numbers[run.run_id]}{inside}", events=run.events)


def _of_log(path: Path) -> Iterator[RecordedRun]:
    with SQLiteLog(path, read_only=True) as log:
        for number, run_id in enumerate(_oldest_first(log), start=1):
            yield RecordedRun(label=f"run {number}", events=log.read_sync(run_id))


def _oldest_first(log: SQLiteLog) -> list[str]:
    return [summary.run_id for summary in reversed(log.list_runs_sync())]
