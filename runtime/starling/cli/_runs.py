"""The runs in a log of whichever kind, as a reader goes through them: a golden fixture's, or those of a service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starling.cli._logs import opened, run_named
from starling.errors import FixtureError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starling.event import Event
    from starling.replay import Fixture

__all__ = ["RecordedRun", "named_runs", "recorded_runs", "runs_of_log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """One run in a log.

    Attributes:
        label: what a reader calls it.
        events: all that is there of it.
    """

    label: str
    events: Sequence[Event]


def recorded_runs(name: str) -> tuple[str, AsyncIterator[RecordedRun]]:
    """The runs of a log, in the order in which they began, one at a time.

    Returns:
        The id of the test that a golden fixture belongs to (``""`` for any other log), and the runs.

    Raises:
        LogError: there is no log, or it is a fixture that was damaged or edited. That of a log that is no fixture is
            raised when its first run is asked for.
    """
    from starling.replay import read_fixture

    path = Path(name)
    if not path.exists():
        return "", runs_of_log(name)
    try:
        fixture = read_fixture(path)
    except FixtureError:
        return "", runs_of_log(name)
    return fixture.test_id, _of_fixture(fixture)


async def named_runs(name: str, texts: Sequence[str]) -> list[RecordedRun]:
    """Some runs of a log, by their ids or what these begin with.

    Raises:
        LogError: the log cannot be read, or one of the texts names no run or several.
    """
    async with opened(name) as log:
        ids = [await run_named(log, text) for text in texts]
        return [RecordedRun(label=run_id, events=await log.read(run_id)) for run_id in ids]


async def _of_fixture(fixture: Fixture) -> AsyncIterator[RecordedRun]:
    numbers = {run.run_id: number for number, run in enumerate(fixture.runs, start=1)}
    for run in fixture.runs:
        parent = numbers.get(run.parent_run_id)
        inside = f", started inside run {parent}" if parent else ""
        yield RecordedRun(label=f"run {numbers[run.run_id]}{inside}", events=run.events)


async def runs_of_log(name: str) -> AsyncIterator[RecordedRun]:
    """`recorded_runs` of any log; of a golden fixture without what only fixtures know."""
    from starling.errors import LogError
    from starling.eventlog import RunLister

    async with opened(name) as log:
        if not isinstance(log, RunLister):
            raise LogError(f"{log!r} cannot list its runs")
        ids = [summary.run_id for summary in reversed(await log.list_runs())]
        for number, run_id in enumerate(ids, start=1):
            yield RecordedRun(label=f"run {number}", events=await log.read(run_id))
