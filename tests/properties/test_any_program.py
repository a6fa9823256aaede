"""Whatever an agent does and however its run ends: the log is valid, and the run replays under any other schedule."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import given

from starling import MemoryLog
from starling.event import validate
from starling.replay import replay
from tests.properties.run import Process
from tests.properties.strategies import programs, seeds

if TYPE_CHECKING:
    from starling.event import Event
    from tests.properties.programs import Program
    from tests.properties.run import Ran

RUN_ID = "run"


async def live(program: Program, seed: int) -> tuple[Ran, list[Event]]:
    process = Process(program, seed, live=True)
    ran = await process.do(process.agent().run_with_id(RUN_ID, program.goal))
    events = await process.kept.read(RUN_ID)
    return ran, events


async def copy_of(events):
    log = MemoryLog()
    await log.append(RUN_ID, events)
    return log


@given(program=programs(), seed=seeds, today=seeds)
def test_a_run_replays_under_any_schedule(program, seed, today):
    async def check():
        _ran, events = await live(program, seed)
        if not events:
            return
        validate(events)
        for schedule in (seed + 1, today):
            process = Process(program, schedule, live=False)
            again = await process.do(replay(await copy_of(events), RUN_ID, process.agent()))
            if again.error:
                raise again.error
            assert await process.kept.read(RUN_ID) == events
            assert process.provider.requests == ()
            assert not process.carried_out

    asyncio.run(check())
