"""Recording one run of an agent in memory and looking at it: what the tests of step, agent and replay share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from starling import Agent, Config, MemoryLog, ambient, replay
from starling.errors import NondeterminismError
from starling.event import Kind, validate
from starling.replay import FixtureRun, ReplayingSession
from starling.testing import ScriptedProvider

MODEL = "gpt-4o-mini"


def agent(script: ScriptedProvider | None = None, *tools: Any, log: Any = None, **options: Any) -> Agent:
    """An agent on a fresh log; options that `Agent` knows go to it, all others to its `Config`."""
    wiring = {name: options.pop(name) for name in ("budget", "namespace", "metrics") if name in options}
    config = Config(**{"model": MODEL, **options})
    return Agent(script or ScriptedProvider(), config, MemoryLog() if log is None else log, tools=tools, **wiring)


def calls(*planned: tuple[Any, ...] | str, answer: str | None = "done") -> ScriptedProvider:
    """A script: one turn that calls tools, by name or as (name, args), then one that answers."""
    script = ScriptedProvider()
    for call in planned:
        script.tool_call(*((call,) if isinstance(call, str) else call))
    return script if answer is None else script.turn().text(answer)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One run as it stands in the log."""

    log: Any
    run_id: str
    events: list[Any]
    result: Any = None
    error: BaseException | None = None

    @property
    def payloads(self) -> list[Any]:
        return [event.decode() for event in self.events]

    @property
    def kinds(self) -> list[str]:
        return [event.kind.name for event in self.events]

    @property
    def end(self) -> Any:
        return self.payloads[-1]

    def all(self, kind: str, **fields: Any) -> list[Any]:
        return [self.payloads[seq - 1] for seq in self.seqs(kind, **fields)]

    def one(self, kind: str, **fields: Any) -> Any:
        (found,) = self.all(kind, **fields)
        return found

    def seqs(self, kind: str, **fields: Any) -> list[int]:
        return [
            event.seq
            for event in self.events
            if event.kind is Kind[kind]
            and all(getattr(event.decode(), name) == value for name, value in fields.items())
        ]

    def seq(self, kind: str, **fields: Any) -> int:
        (found,) = self.seqs(kind, **fields)
        return found


async def record(recorder: Agent, goal: str = "go", *, run_id: str = "run") -> Recorded:
    """Run an agent to whatever end; what it leaves in the log must be valid."""
    result = error = None
    try:
        result = await recorder.run_with_id(run_id, goal)
    except (Exception, asyncio.CancelledError) as raised:
        error = raised
    events = await recorder.log.read(run_id)
    if not isinstance(error, AssertionError):
        validate(events)
    return Recorded(log=recorder.log, run_id=run_id, events=events, result=result, error=error)


async def replays(recorded: Recorded, *agents: Agent, **options: Any) -> None:
    """Every agent reproduces the recording, into its own log as well."""
    for today in agents:
        assert await replay(recorded.log, recorded.run_id, today, **options) == ()
        assert await today.log.read(recorded.run_id) == recorded.events


async def diverges(recorded: Recorded, today: Agent, **options: Any) -> Any:
    """The first divergence of today's agent."""
    with pytest.raises(NondeterminismError) as raised:
        await replay(recorded.log, recorded.run_id, today, **options)
    return raised.value.divergence


def playing(recorded: Recorded) -> ReplayingSession:
    """A session that plays one recording back, as the plugin does for a test."""
    return ReplayingSession([FixtureRun(run_id=recorded.run_id, events=tuple(recorded.events), began=1, ended=2)])


async def again(recorded: Recorded, today: Agent, *, blocking: bool = False) -> Recorded:
    """What a caller of today's `Agent.run` (or its twin) gets while the recording is played back."""
    goal = recorded.payloads[0].goal
    result = error = None
    session = playing(recorded)
    with ambient.activate(session):
        try:
            result = await asyncio.to_thread(today.run_sync, goal) if blocking else await today.run(goal)
        except (Exception, asyncio.CancelledError) as raised:
            error = raised
    session.finish()
    assert session.failures == []
    events = await today.log.read(recorded.run_id)
    return Recorded(log=today.log, run_id=recorded.run_id, events=events, result=result, error=error)
