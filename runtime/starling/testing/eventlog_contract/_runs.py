"""Runs to append, and what the checks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from starling.event import Chain, Event, RunCompleted, RunStarted, SideEffectRecorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starling.eventlog import EventLog

__all__ = ["PATIENCE_S", "RUN_STARTED", "Check", "Factory", "collect", "sample_run"]

Factory: TypeAlias = "Callable[[], EventLog]"
Check: TypeAlias = "Callable[[Factory], Awaitable[None]]"

PATIENCE_S = 30.0
"""How long a check waits for something that a correct log does at once: only ever reached by a log that hangs."""


def sample_run(run_id: str, effects: int = 3, *, ended: bool = True) -> list[Event]:
    """A valid run: RunStarted, so many side effects, RunCompleted. Without ``ended`` the last one is missing."""
    chain = Chain(run_id)
    events = [chain.append(RUN_STARTED, 1)]
    events += [chain.append(SideEffectRecorded(name="count", value=n), n + 2) for n in range(effects)]
    if ended:
        events.append(chain.append(_completed(chain.root()), effects + 2))
    return events


RUN_STARTED = RunStarted(
    schema_version=1,
    goal="count",
    provider_id="scripted",
    model_id="m",
    api_version="v0",
    params_hash=None,
    params=None,
    system_prompt_hash=None,
    system_prompt="",
    tool_registry_hash=None,
    tool_schemas=(),
)
"""How every sample run begins."""


def _completed(merkle_root: bytes) -> RunCompleted:
    return RunCompleted(
        final_text="done",
        turn_count=0,
        tool_call_count=0,
        total_cost_usd=0.0,
        total_input_tokens=0,
        total_output_tokens=0,
        duration_ms=1,
        merkle_root=merkle_root,
    )


async def collect(stream: AsyncIterator[Event]) -> list[Event]:
    """Everything that a stream delivers until it ends."""
    return [event async for event in stream]
