"""Cut after any event, resumed and finished: the log is valid, and the whole replays, over several seams as well."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from starling.event import Kind, validate
from starling.replay import replay
from tests.properties.resuming import nothing_is_done_twice
from tests.properties.run import Process, WatchedLog
from tests.properties.strategies import programs, seeds
from tests.properties.test_any_program import RUN_ID, copy_of, live

SEAMS = 3


def answered(events):
    """How many of the script's turns are over: an answer, or a failure, ends one."""
    return sum(event.kind is Kind.AssistantMessageCompleted for event in events)


async def resumed(program, events, cut, seed, extra):
    """What another process makes of the first events of a run."""
    kept = WatchedLog()
    await kept.append(RUN_ID, events[:cut])
    process = Process(program, seed, live=True, kept=kept, said=answered(events[:cut]))
    await process.do(process.agent().resume(RUN_ID, extra))
    whole = await kept.read(RUN_ID)
    validate(whole)
    nothing_is_done_twice(whole, cut + 1, process)
    return whole


async def replays(program, events, seed):
    process = Process(program, seed, live=False)
    again = await process.do(replay(await copy_of(events), RUN_ID, process.agent()))
    if again.error:
        raise again.error
    assert process.provider.requests == ()
    assert not process.carried_out


@settings(max_examples=max(20, settings.default.max_examples // 4))
@given(program=programs(), seed=seeds, extra=st.sampled_from(["", "go on"]))
def test_cut_after_every_event(program, seed, extra):
    async def check():
        _ran, events = await live(program, seed)
        for cut in range(1, len(events)):
            await replays(program, await resumed(program, events, cut, seed + cut, extra), seed - cut)

    asyncio.run(check())


@given(program=programs(), seed=seeds, cuts=st.lists(st.integers(0, 60), min_size=SEAMS, max_size=SEAMS))
def test_cut_again_and_again(program, seed, cuts):
    async def check():
        _ran, events = await live(program, seed)
        if not events:
            return
        first = 1
        for number, cut in enumerate(cuts):
            if first >= len(events):
                break
            at = first + cut % (len(events) - first)
            events = await resumed(program, events, at, seed + number, "")
            first = at + 1
        await replays(program, events, seed - 1)

    asyncio.run(check())
