"""Recording a program, changing it, recording its tail: what the tests of mode ``tail`` share."""

from __future__ import annotations

import contextlib
from typing import Any

from starling import ambient
from starling.errors import LiveCallError, NondeterminismError
from starling.event import Kind, validate
from starling.provider import Capabilities, ProviderInfo
from starling.replay import RecordingSession, ReplayingSession, ReplayOptions, TailSession
from starling.testing import ScriptedProvider


class Model:
    """Answers by how far the conversation is, whoever has answered before, and remembers which turns it was asked for.

    Args:
        turns: one script a turn; see `starling.testing.ScriptedProvider`.
    """

    def __init__(self, *turns: ScriptedProvider, name: str = "model") -> None:
        self.turns = turns
        self.name = name
        self.asked: list[int] = []

    def info(self) -> ProviderInfo:
        return ProviderInfo(id=self.name, api_version="v0")

    def capabilities(self) -> Capabilities:
        return Capabilities(tools=True, reasoning=True, request_id=True)

    def stream(self, request: Any) -> Any:
        number = sum(message.role == "assistant" for message in request.messages) + 1
        self.asked.append(number)
        return ScriptedProvider(self.turns[number - 1].turns).stream(request)


def says(text: str) -> ScriptedProvider:
    return ScriptedProvider().text(text)


def plans(*calls: Any) -> ScriptedProvider:
    """A turn that calls tools, by name or as (name, args); each call has an id of its own."""
    script = ScriptedProvider()
    for call in calls:
        script.tool_call(*((call,) if isinstance(call, str) else call))
    return script


async def recorded(program: Any) -> Any:
    """The runs of a program."""
    session = RecordingSession()
    await _played(session, program)
    return _valid(session)


async def tail(runs: Any, program: Any, **options: Any) -> TailSession:
    """The session in which a program was recorded anew; what it has recorded must replay clean."""
    session = TailSession(runs, ReplayOptions(**options))
    await _played(session, program)
    kept = _valid(session)
    assert not {run.run_id for run in runs} & {run.run_id for run in kept}, "a run of its own has an id of its own"
    return session


async def replay_failures(runs: Any, program: Any, **options: Any) -> list[Any]:
    """What is wrong with a replay of these runs."""
    session = ReplayingSession(runs, ReplayOptions(**options))
    with contextlib.suppress(NondeterminismError, LiveCallError):
        await _played(session, program)
    session.finish()
    return session.failures


async def _played(session: Any, program: Any) -> None:
    with ambient.activate(session):
        await program()


def _valid(session: RecordingSession) -> Any:
    for run in session.runs:
        validate(run.events)
    return session.runs


def payloads(run: Any, kind: str) -> list[Any]:
    return [event.decode() for event in run.events if event.kind is Kind[kind]]
