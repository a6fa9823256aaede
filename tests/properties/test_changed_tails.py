"""Mode ``tail``: whatever changes, the new recording replays under the changed code; what came before costs nothing."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from starling import ambient
from starling.event import Kind, validate
from starling.replay import FixtureRun, TailSession, replay
from starling.testing import ScriptedProvider
from tests.properties.mutations import Mutation, mutations
from tests.properties.reading import Reading
from tests.properties.run import Process
from tests.properties.strategies import programs, seeds
from tests.properties.test_any_program import RUN_ID, copy_of, live


class Positional:
    """A program's model, which answers by how far the conversation is; remembers the turns that it was asked for."""

    def __init__(self, script: ScriptedProvider) -> None:
        self.asked: list[int] = []
        self._script = script

    def __getattr__(self, name):
        return getattr(self._script, name)

    def stream(self, request):
        number = sum(message.role == "assistant" for message in request.messages)
        self.asked.append(number)
        return ScriptedProvider(self._script.turns[number : number + 1]).stream(request)


class Caller(Process):
    """A live process whose caller cancels again what was cancelled when it was recorded."""

    def __init__(self, program, seed):
        super().__init__(program, seed, live=True)
        self.provider = Positional(self.provider)

    def _committed(self, events):
        super()._committed(events)
        if events[-1].kind is Kind.RunCancelled:
            self.cancel()


async def tail_of(events, program, seed):
    """The events of a new recording, and the turns that the model was asked for."""
    session = TailSession([FixtureRun(run_id=RUN_ID, events=tuple(events), began=1, ended=2)])
    process = Caller(program, seed)
    with ambient.activate(session):
        await process.do(process.agent().run(program.goal))
    (run,) = session.runs
    validate(run.events)
    return run, process.provider.asked


async def replays(run, program, seed):
    process = Process(program, seed, live=False)
    log = await copy_of([])
    await log.append(run.run_id, run.events)
    again = await process.do(replay(log, run.run_id, process.agent()))
    if again.error:
        raise again.error


def is_timed(program):
    """Whether a slow machine may let something expire that did not when it was recorded."""
    return any(tool.timeout for tool in program.tools) or bool(program.limits and program.limits.wall_clock)


@settings(max_examples=max(50, settings.default.max_examples // 2))
@given(program=programs(), seed=seeds, data=st.data())
def test_the_tail_of_a_changed_program(program, seed, data):
    async def check():
        _ran, events = await live(program, seed)
        if not events:
            return
        unchanged = Mutation(what="nothing", program=program, seqs=frozenset())
        mutation = data.draw(st.sampled_from([unchanged, *mutations(program, Reading(events))]), "mutation")
        run, asked = await tail_of(events, mutation.program, seed + 1)
        await replays(run, mutation.program, seed + 2)
        if not is_timed(mutation.program):
            turns = [event.seq for event in events if event.kind is Kind.TurnStarted]
            first = min(mutation.seqs, default=len(events) + 1)
            assert all(turns[number] >= first for number in asked if number < len(turns)), mutation.what
            assert mutation.seqs or not asked, mutation.what

    asyncio.run(check())
