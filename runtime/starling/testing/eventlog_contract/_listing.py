"""What a log promises that lists its runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starling.event import Chain, Kind
from starling.eventlog import RunLister
from starling.testing.eventlog_contract._runs import RUN_STARTED, sample_run

if TYPE_CHECKING:
    from starling.testing.eventlog_contract._runs import Factory

__all__ = ["lists_its_runs"]


async def lists_its_runs(factory: Factory) -> None:
    """Every run once, newest first, finished or not, and what is appended later is seen."""
    log = factory()
    assert isinstance(log, RunLister), "the log has no list_runs"
    assert await log.list_runs() == [], "a fresh log lists runs"
    await log.append("old", sample_run("old", 2))
    await log.append("new", [Chain("new").append(RUN_STARTED, 1_500_000_000_123_456_789)])
    new, old = await log.list_runs()
    assert (new.run_id, old.run_id) == ("new", "old"), "the run that started last must come first"
    assert new.started_at == datetime(2017, 7, 14, 2, 40, 0, 123456, tzinfo=UTC), "started_at is the first event's time"
    assert (new.last_seq, new.terminal_kind) == (1, None), "a run that has not ended has no terminal kind"
    assert (old.last_seq, old.terminal_kind) == (4, Kind.RunCompleted), "a run that has ended says how"
    await log.close()
