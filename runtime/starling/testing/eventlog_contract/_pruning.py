"""What a log promises from which runs can be pruned."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starling.event import Kind, validate
from starling.eventlog import RunPruner, prune_runs, run_ids
from starling.testing.eventlog_contract._runs import dated_run, sample_run

if TYPE_CHECKING:
    from starling.eventlog import EventLog
    from starling.testing.eventlog_contract._runs import Factory

__all__ = [
    "a_dry_run_deletes_nothing",
    "prunes_by_times_of_any_size",
    "pruning_keeps_what_is_not_meant",
    "pruning_takes_the_oldest_first",
    "writes_while_runs_are_pruned",
]

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_NOON_NS = 1_767_268_800_000_000_000
_LATER = _NOON + timedelta(days=1)
_ENDS = {"open": None, "done": Kind.RunCompleted, "failed": Kind.RunFailed, "stopped": Kind.RunCancelled}
"""How each run ends, in the order in which they start."""


async def a_dry_run_deletes_nothing(factory: Factory) -> None:
    """Without dry_run=False the report says what would go, and everything stays."""
    log = await _filled(factory)
    assert isinstance(log, RunPruner), "the log has no prune"
    report = await prune_runs(log, before=_LATER)
    assert (report.matched_runs, report.matched_events) == (3, 12), f"a dry run counts {report}"
    assert (report.deleted_runs, report.deleted_events, report.dry_run) == (0, 0, True), f"a dry run says {report}"
    assert await _ids(log) == sorted(_ENDS), "a dry run deleted something"
    await log.close()


async def pruning_keeps_what_is_not_meant(factory: Factory) -> None:
    """Runs that are too new or of another status stay, and runs in progress unless they are asked for."""
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"before": _LATER}, {"done", "failed", "stopped"}),
        ({"before": _NOON}, set()),
        ({"before": _NOON + timedelta(microseconds=1001)}, {"done"}),
        ({"before": _LATER, "status": "failed"}, {"failed"}),
        ({"before": _LATER, "status": "in progress"}, {"open"}),
        ({"before": _LATER, "include_in_progress": True}, set(_ENDS)),
        ({"older_than": timedelta(seconds=1), "status": "completed"}, {"done"}),
    ]
    log = factory()
    for options, gone in cases:
        await _fill(log)
        before = {run_id: await log.read(run_id) for run_id in _ENDS}
        report = await prune_runs(log, **options, dry_run=False)
        assert (report.deleted_runs, report.matched_runs) == (len(gone), len(gone)), f"{options}: {report}"
        assert report.deleted_events == sum(len(before[run_id]) for run_id in gone), f"{options}: {report}"
        for run_id, events in before.items():
            kept = [] if run_id in gone else events
            assert await log.read(run_id) == kept, f"{options}: run {run_id} is not as it should be"
        await prune_runs(log, before=_LATER, include_in_progress=True, dry_run=False)
    await log.close()


async def pruning_takes_the_oldest_first(factory: Factory) -> None:
    """With a limit the runs go in the order in which they started, and not more of them."""
    log = factory()
    for number in range(7):
        await log.append(f"r{number}", dated_run(f"r{number}", _NOON_NS + number))
    left = [f"r{number}" for number in range(7)]
    for limit in (1, 3):
        report = await prune_runs(log, before=_LATER, limit=limit, dry_run=False)
        left = left[limit:]
        assert report.deleted_runs == limit, f"a limit of {limit}: {report}"
        assert await _ids(log) == left, f"a limit of {limit} left {await _ids(log)}"
    await log.close()


async def prunes_by_times_of_any_size(factory: Factory) -> None:
    """A cutoff before all times keeps everything, one after them nothing that was meant."""
    log = await _filled(factory)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    cases: list[tuple[dict[str, Any], int]] = [
        ({"before": first}, 0),
        ({"older_than": timedelta.max}, 0),
        ({"before": last}, 3),
        ({"older_than": timedelta.min}, 3),
        ({"before": last, "limit": 2**63}, 3),
    ]
    for options, matched in cases:
        report = await prune_runs(log, **options)
        assert report.matched_runs == matched, f"{options}: {report}"
    await prune_runs(log, before=last, limit=2**63, dry_run=False)
    assert await _ids(log) == ["open"], "what has ended goes, and nothing else"
    await log.close()


async def writes_while_runs_are_pruned(factory: Factory) -> None:
    """A writer goes on while many runs are pruned, and neither loses anything."""
    log = factory()
    for number in range(250):
        await log.append(f"old-{number:03d}", dated_run(f"old-{number:03d}", _NOON_NS + number))
    events = sample_run("new", 60, ended=False)
    pruning = asyncio.ensure_future(prune_runs(log, before=_LATER, dry_run=False))
    for event in events:
        await log.append("new", [event])
        await asyncio.sleep(0)
    assert (await pruning).deleted_runs == 250, "runs were left"
    assert await _ids(log) == ["new"], "pruned runs are still there"
    assert await log.read("new") == events, "a run that was written meanwhile is not whole"
    await log.append("new", sample_run("new", 60)[-1:])
    validate(await log.read("new"))
    await log.close()


async def _filled(factory: Factory) -> EventLog:
    log = factory()
    await _fill(log)
    return log


async def _fill(log: EventLog) -> None:
    for number, (run_id, end) in enumerate(_ENDS.items()):
        await log.append(run_id, dated_run(run_id, _NOON_NS + number * 1_000_000, end))


async def _ids(log: EventLog) -> list[str]:
    return [run_id async for run_id in run_ids(log)]
