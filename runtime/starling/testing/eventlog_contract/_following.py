"""A stream is history, then live events: no gap, no double, whatever happens around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starling.testing.eventlog_contract._runs import PATIENCE_S, collect, sample_run

if TYPE_CHECKING:
    from starling.testing.eventlog_contract._runs import Factory

__all__ = [
    "a_cancelled_follower_leaves_the_log_alone",
    "a_follower_may_ask_for_any_seq",
    "a_slow_follower_loses_nothing",
    "followers_end_when_the_log_closes",
    "serves_many_followers",
    "streams_a_run_that_does_not_exist_yet",
    "streams_history_and_ends_at_the_terminal",
    "streams_history_then_live",
    "streams_nothing_from_behind_the_end",
]


async def streams_history_and_ends_at_the_terminal(factory: Factory) -> None:
    """A finished run is streamed whole, from any seq, and the stream ends by itself."""
    log = factory()
    events = sample_run("r", 600)
    await log.append("r", events)
    for from_seq in (1, 2, 256, 257, 513, 602):
        async with asyncio.timeout(PATIENCE_S):
            streamed = [event async for event in log.stream("r", from_seq)]
        assert streamed == events[from_seq - 1 :], f"stream from seq {from_seq} differs from the run"
    await log.close()


async def streams_history_then_live(factory: Factory) -> None:
    """Events appended before, while and after a stream starts are delivered once each, in order."""
    log = factory()
    events = sample_run("r", 40)
    await log.append("r", events[:5])
    stream = log.stream("r")
    async with asyncio.timeout(PATIENCE_S):
        streamed = [await anext(stream) for _ in range(5)]
        for event in events[5:]:
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await log.append("r", [event])
            streamed.append(await waiting)
        rest = [event async for event in stream]
    assert streamed == events, "live events were lost, doubled or reordered"
    assert rest == [], "the stream went on after the terminal event"
    await log.close()


async def streams_nothing_from_behind_the_end(factory: Factory) -> None:
    """Whoever asks for what comes after the terminal event is not kept waiting, whether it is there yet or not."""
    log = factory()
    for effects in (600, 510):  # the second run is two pages of 256, to the last event
        run_id = f"of {effects}"
        events = sample_run(run_id, effects)
        await log.append(run_id, events[:-1])
        beyond = (len(events) + 1, len(events) + 2, 10_000, 2**63)
        early = [asyncio.ensure_future(collect(log.stream(run_id, from_seq))) for from_seq in beyond]
        await asyncio.sleep(0)
        await log.append(run_id, events[-1:])
        late = [collect(log.stream(run_id, from_seq)) for from_seq in beyond]
        async with asyncio.timeout(PATIENCE_S):
            streamed = await asyncio.gather(*early, *late)
        assert not any(streamed), "a stream from behind the terminal event gave something"
    await log.close()


async def streams_a_run_that_does_not_exist_yet(factory: Factory) -> None:
    """A stream waits for the first event of its run and ignores other runs."""
    log = factory()
    events = sample_run("later")
    following = asyncio.ensure_future(collect(log.stream("later")))
    await log.append("other", sample_run("other"))
    await log.append("later", events)
    async with asyncio.timeout(PATIENCE_S):
        assert await following == events, "a stream opened before its run missed part of it"
    await log.close()


async def serves_many_followers(factory: Factory) -> None:
    """Each of many followers gets every event, while writers of several runs are at work."""
    log = factory()
    runs = {f"r{n}": sample_run(f"r{n}", 30) for n in range(3)}
    following = {run_id: [asyncio.ensure_future(collect(log.stream(run_id))) for _ in range(4)] for run_id in runs}
    for position in range(32):
        for run_id, events in runs.items():
            await log.append(run_id, events[position : position + 1])
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        for run_id, followers in following.items():
            for follower in followers:
                assert await follower == runs[run_id], f"a follower of {run_id} got something else"
    await log.close()


async def a_slow_follower_loses_nothing(factory: Factory) -> None:
    """A follower that is far behind, by more than any buffer, still gets every event."""
    log = factory()
    events = sample_run("r", 1500)
    await log.append("r", events[:1])
    stream = log.stream("r")
    async with asyncio.timeout(PATIENCE_S):
        first = await anext(stream)
        for start in range(1, len(events), 100):
            await log.append("r", events[start : start + 100])
        assert [first] + [event async for event in stream] == events, "a slow follower lost events"
    await log.close()


async def a_cancelled_follower_leaves_the_log_alone(factory: Factory) -> None:
    """A follower can be cancelled while it waits; the log and other followers go on."""
    log = factory()
    events = sample_run("r")
    await log.append("r", events[:1])
    cancelled = asyncio.ensure_future(collect(log.stream("r")))
    staying = asyncio.ensure_future(collect(log.stream("r")))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled], timeout=PATIENCE_S)
    assert cancelled.cancelled(), "a waiting stream did not react to cancellation"
    await log.append("r", events[1:])
    async with asyncio.timeout(PATIENCE_S):
        assert await staying == events, "cancelling one follower disturbed another"
    await log.close()


async def a_follower_may_ask_for_any_seq(factory: Factory) -> None:
    """One below the first is the first; one beyond what a database counts to never comes, as the run's end tells."""
    log = factory()
    events = sample_run("r", ended=False)
    await log.append("r", events)
    everything, nothing = (asyncio.ensure_future(collect(log.stream("r", seq))) for seq in (-(2**63) - 1, 2**63))
    await asyncio.sleep(0)
    await log.append("r", sample_run("r")[len(events) :])
    async with asyncio.timeout(PATIENCE_S):
        assert await everything == sample_run("r"), "a stream from before the first event missed some"
        assert await nothing == [], "there is no such event"
    await log.close()


async def followers_end_when_the_log_closes(factory: Factory) -> None:
    """Closing the log ends the streams that are open, quietly, after what they were given."""
    log = factory()
    events = sample_run("r", ended=False)
    await log.append("r", events)
    following = asyncio.ensure_future(collect(log.stream("r")))
    await asyncio.sleep(0)
    await log.close()
    async with asyncio.timeout(PATIENCE_S):
        assert await following == events, "a stream must end quietly when its log is closed"
