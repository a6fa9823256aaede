"""One log in several threads and event loops; one storage in several log objects."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from starling.errors import InvalidAppendError
from starling.testing.eventlog_contract._refusing import Refused, must_refuse
from starling.testing.eventlog_contract._runs import PATIENCE_S, collect, sample_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event
    from starling.testing.eventlog_contract._runs import Factory

__all__ = [
    "follows_the_other_writer",
    "is_used_from_several_threads",
    "keeps_runs_across_reopening",
    "one_of_two_writers_wins",
    "sees_the_other_writer",
]


async def is_used_from_several_threads(factory: Factory) -> None:
    """Threads with event loops of their own write and follow runs of one log at the same time."""
    log = factory()
    runs = [sample_run(f"thread-{n}", 25) for n in range(4)]
    results: list[list[Event]] = []
    failures: list[BaseException] = []

    async def write_and_follow(events: Sequence[Event], followed: str) -> list[Event]:
        following = asyncio.ensure_future(collect(log.stream(followed)))
        for event in events:
            await log.append(event.run_id, [event])
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            return await following

    def work(number: int) -> None:
        try:
            results.append(asyncio.run(write_and_follow(runs[number], runs[number - 1][0].run_id)))
        except BaseException as error:  # noqa: BLE001 - carried to the checking thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(runs))]
    for thread in threads:
        thread.start()
    await _join(threads)
    assert not failures, f"threads failed: {failures}"
    assert sorted(results, key=lambda events: events[0].run_id) == runs, "a follower in a thread got something else"
    await log.close()


async def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        await asyncio.to_thread(thread.join)


async def one_of_two_writers_wins(factory: Factory) -> None:
    """Of several threads that append the same next event, exactly one succeeds; the others get InvalidAppendError."""
    log = factory()
    events = sample_run("r", 20)
    outcomes: list[str] = []

    def race(barrier: threading.Barrier) -> None:
        for event in events:
            barrier.wait(PATIENCE_S)
            try:
                asyncio.run(log.append("r", [event]))
            except InvalidAppendError:
                outcomes.append("refused")
            else:
                outcomes.append("written")

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=race, args=(barrier,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    await _join(threads)
    assert await log.read("r") == events, "racing writers damaged the run"
    assert outcomes.count("written") == len(events), f"{outcomes.count('written')} appends of {len(events)} succeeded"
    await log.close()


async def keeps_runs_across_reopening(factory: Factory) -> None:
    """A run may be written by several log objects, one after another."""
    events = sample_run("r", 5)
    for position, event in enumerate(events):
        log = factory()
        assert await log.read("r") == events[:position], "reopening changed the run"
        await log.append("r", [event])
        await log.close()
    log = factory()
    assert await log.read("r") == events, "the last event was lost"
    await log.close()


async def sees_the_other_writer(factory: Factory) -> None:
    """Two log objects on one storage: a stale one refuses what no longer fits, and goes on from where the other was."""
    first, second = factory(), factory()
    events = sample_run("r", 5)
    await first.append("r", events[:2])
    await second.append("r", events[2:4])
    await must_refuse(first, "r", Refused(why="an event that the other log wrote", before=(), batch=events[2:3]))
    await first.append("r", events[4:5])
    await second.append("r", events[5:])
    assert await first.read("r") == events, "two writers damaged the run"
    await first.close()
    await second.close()


async def follows_the_other_writer(factory: Factory) -> None:
    """A stream delivers what another log object on the same storage appends."""
    reader, writer = factory(), factory()
    events = sample_run("r", 5)
    following = asyncio.ensure_future(collect(reader.stream("r")))
    for event in events:
        await asyncio.sleep(0)
        await writer.append("r", [event])
    async with asyncio.timeout(PATIENCE_S):
        assert await following == events, "a stream missed what another log object wrote"
    await reader.close()
    await writer.close()
