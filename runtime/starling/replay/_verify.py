"""Replaying a log by hand: one run, or every run, against an agent of today's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.agent._blocking import run_blocking
from starling.agent._execute import Recording
from starling.ambient import ReplayOptions
from starling.errors import NondeterminismError, RunNotFoundError
from starling.event import validate
from starling.replay._sessions import ReplayingSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starling.agent import Agent
    from starling.ambient import ToolPolicy
    from starling.eventlog import EventLog
    from starling.step import Divergence

__all__ = ["replay", "replay_sync"]


async def replay(
    log: EventLog,
    run_id: str,
    agent: Agent,
    *,
    tools: ToolPolicy | Mapping[str, ToolPolicy] = "compare",
    ignore: Iterable[str] = (),
    compare_cost: bool = False,
    force_provider: bool = False,
    collect: bool = False,
) -> tuple[Divergence, ...]:
    """Execute a recorded run again with today's agent and require that it does the same.

    The provider is never called. Tools run, and their results are compared; what they take through `starling.step`
    comes from the recording.

    Args:
        log: holds the recording. run_id: which one.
        agent: today's wiring; its own log receives the run as well.
        tools: per tool, ``compare`` (run, compare), ``run`` (run, do not compare) or ``stub`` (do not run).
        ignore: payload fields that are not compared, such as ``RunStarted.app_version``.
        compare_cost: count prices as code, so that a changed price diverges.
        force_provider: accept another provider or API version than recorded.
        collect: go on after a divergence as far as possible and return them all instead of raising.

    Returns:
        With ``collect`` the divergences, first cause first; otherwise nothing.

    Raises:
        NondeterminismError: on the first divergence. ProviderModelMismatchError: before anything runs.
        RunNotFoundError: the log does not hold the run. LogCorruptError: it is damaged.
    """
    events = await log.read(run_id)
    if not events:
        raise RunNotFoundError(f"run {run_id!r} is not in the log; nothing to replay", run_id=run_id)
    validate(events)
    options = ReplayOptions(
        tools=tools,
        ignore=frozenset(ignore),
        compare_cost=compare_cost,
        force_provider=force_provider,
        collect=collect,
    )
    try:
        with ambient.override(ReplayingSession((), options)):
            await agent._replay(Recording.of(events, options))
    except NondeterminismError as error:
        if not collect:
            raise
        return tuple(error.divergences)
    return ()


def replay_sync(log: EventLog, run_id: str, agent: Agent, **options: Any) -> tuple[Divergence, ...]:
    """`replay`, blocking."""
    return run_blocking(lambda: replay(log, run_id, agent, **options))
