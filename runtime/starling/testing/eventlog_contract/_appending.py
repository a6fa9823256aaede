"""What was appended can be read back, whole and unmixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling.event import Chain, SideEffectRecorded, validate
from starling.eventlog import EventLog
from starling.testing.eventlog_contract._runs import RUN_STARTED, sample_run

if TYPE_CHECKING:
    from starling.testing.eventlog_contract._runs import Factory

__all__ = [
    "empty_batch_changes_nothing",
    "is_an_event_log",
    "keeps_extreme_values",
    "reading_gives_a_copy",
    "reads_back_what_was_appended",
    "runs_do_not_mix",
    "unknown_run_is_empty",
]


async def is_an_event_log(factory: Factory) -> None:
    """The object has the methods of the interface."""
    log = factory()
    assert isinstance(log, EventLog), f"{log!r} lacks a method of starling.eventlog.EventLog"
    await log.close()


async def reads_back_what_was_appended(factory: Factory) -> None:
    """Events come back equal and in order, however they were cut into batches."""
    log = factory()
    for batch_size in (1, 2, 3, 100):
        run_id = f"run-{batch_size}"
        events = sample_run(run_id, 7)
        for start in range(0, len(events), batch_size):
            await log.append(run_id, events[start : start + batch_size])
        stored = await log.read(run_id)
        assert stored == events, f"appended in batches of {batch_size}, read back {stored}"
        validate(stored)
    await log.close()


async def unknown_run_is_empty(factory: Factory) -> None:
    """Reading a run that the log does not know gives an empty list."""
    log = factory()
    for run_id in ("nobody", "", "\ud800"):
        assert await log.read(run_id) == [], f"unknown run {run_id!r} must read as []"
    await log.close()


async def empty_batch_changes_nothing(factory: Factory) -> None:
    """An empty batch is accepted and leaves the run as it was."""
    log = factory()
    events = sample_run("r")
    await log.append("r", [])
    assert await log.read("r") == [], "an empty batch made a run"
    await log.append("r", events[:2])
    await log.append("r", ())
    await log.append("r", events[2:])
    assert await log.read("r") == events, "an empty batch changed a run"
    await log.close()


async def runs_do_not_mix(factory: Factory) -> None:
    """Appends to several runs may alternate, whatever their ids look like."""
    log = factory()
    ids = ("r", "R", "r ", "ns/r", "rr", "r%", "r'\"", "ключ")
    runs = {run_id: sample_run(run_id, 4) for run_id in ids}
    for position in range(6):
        for run_id, events in runs.items():
            await log.append(run_id, [events[position]])
    for run_id, events in runs.items():
        assert await log.read(run_id) == events, f"run {run_id!r} got mixed with another"
    await log.close()


async def reading_gives_a_copy(factory: Factory) -> None:
    """Changing a list that was read, or one that was appended, does not change the log."""
    log = factory()
    events = sample_run("r")
    given = list(events)
    await log.append("r", given)
    given.clear()
    (await log.read("r")).clear()
    assert await log.read("r") == events, "the log shares a list with its caller"
    await log.close()


async def keeps_extreme_values(factory: Factory) -> None:
    """The limits of ts and large or empty-looking payloads survive."""
    log = factory()
    chain = Chain("r")
    values: tuple[Any, ...] = ("", b"", None, "\x00", "x" * 200_000, [], {"k": -(2**63)})
    events = [chain.append(RUN_STARTED, -(2**63))]
    events += [chain.append(SideEffectRecorded(name="v", value=value), 2**63 - 1) for value in values]
    await log.append("r", events)
    assert await log.read("r") == events, "an unusual value was changed"
    await log.close()
