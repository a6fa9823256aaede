"""Replaying one run of a log by hand, against an agent of today's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.agent._blocking import run_blocking
from starling.agent._recorded import Recording
from starling.ambient import ReplayOptions, ignoring
from starling.errors import NondeterminismError, RunNotFoundError
from starling.replay._nested import NestedRuns, RunIndex
from starling.replay._recordings import check_recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starling.agent import Agent, CustomLoop
    from starling.ambient import PatchUse, Redact, ToolPolicy
    from starling.event import Event, Payload, ValidRun
    from starling.eventlog import EventLog
    from starling.step import Divergence

__all__ = ["go_through", "read_recording", "replay", "replay_sync"]


async def replay(
    log: EventLog,
    run_id: str,
    agent: Agent | CustomLoop,
    *,
    tools: ToolPolicy | Mapping[str, ToolPolicy] = "compare",
    ignore: Iterable[str] = (),
    compare_cost: bool = False,
    force_provider: bool = False,
    collect: bool = False,
    redact: Redact | None = None,
) -> tuple[Divergence, ...]:
    """Execute a recorded run again with today's agent and require that it does the same.

    The provider is never called. Tools run, and their results are compared; what they take through `starling.step`
    comes from the recording. Runs that tools start (sub-agents) are looked for in the same log, among the runs that
    began while the call was under way, and replayed with the agent that the tool makes today.

    With ``collect`` a replay goes on after a divergence as far as it can, on recorded values: what a tool returned
    otherwise is compared and forgotten, a call that took another way is passed over up to its recorded outcome. It
    ends where the run's own code takes another way. One change that shows in many places is one cause: what merely
    repeats it carries the seq of that cause in `Divergence.cause_seq`.

    Args:
        log: holds the recording. run_id: which one.
        agent: today's wiring, or loop; its own log receives the run as well.
        tools: per tool, ``compare`` (run, compare), ``run`` (run, do not compare) or ``stub`` (do not run).
        ignore: payload fields that are not compared, such as ``RunStarted.app_version``.
        compare_cost: count prices as code, so that a changed price diverges.
        force_provider: accept another provider or API version than recorded.
        collect: go on after a divergence as far as possible and return them all instead of raising.
        redact: with what the recording was redacted, if it was; see `starling.replay.redact_run`.

    Returns:
        With ``collect`` the divergences, first cause first; otherwise nothing.

    Raises:
        NondeterminismError: on the first divergence. ProviderModelMismatchError: before anything runs.
        RunNotFoundError: the log does not hold the run. LogCorruptError: it is damaged, cut short, or no run.
        SchemaVersionMismatchError: a newer version of this library wrote it.
        AgentConfigError: ``tools`` or ``ignore`` is wrong; it says what may stand there.
    """
    options = ReplayOptions(
        tools=tools,
        ignore=ignoring(ignore),
        compare_cost=compare_cost,
        force_provider=force_provider,
        collect=collect,
        redact=redact,
    )
    events = await read_recording(log, run_id)
    try:
        await go_through(events, agent, RunIndex(log), options)
    except NondeterminismError as error:
        if not collect:
            raise
        return tuple(error.divergences)
    return ()


def replay_sync(log: EventLog, run_id: str, agent: Agent | CustomLoop, **options: Any) -> tuple[Divergence, ...]:
    """`replay`, blocking."""
    return run_blocking(lambda: replay(log, run_id, agent, **options))


async def read_recording(log: EventLog, run_id: str) -> ValidRun:
    """One whole run of a log.

    Raises:
        RunNotFoundError: the log does not hold it. LogCorruptError, SchemaVersionMismatchError: see `check_recording`.
    """
    events = await log.read(run_id)
    if not events:
        raise RunNotFoundError(f"run {run_id!r} is not in the log; nothing to replay", run_id=run_id)
    return check_recording(run_id, events)


async def go_through(
    events: Sequence[Event],
    agent: Agent | CustomLoop,
    index: RunIndex,
    options: ReplayOptions,
    *,
    observe: Callable[[Sequence[Event]], None] | None = None,
    watch: Callable[[int, Payload, Divergence | None], None] | None = None,
    on_patch: Callable[[PatchUse], None] = lambda _: None,
) -> None:
    """Replay a whole run and what its tools start.

    Args:
        index: where nested runs are looked for.
        observe: given each batch of reproduced events, in order. watch: told of each event, as it is reproduced.
        on_patch: told of each patch that today's code asks for.

    Raises:
        NondeterminismError: something was not reproduced; with ``options.collect`` it holds all that was found.
        LogError: a nested run is damaged.
    """
    nested = NestedRuns(index, events, options, on_patch)
    diverged = None
    try:
        with ambient.override(nested):
            await agent._replay(Recording.of(events, options), observe, watch)
    except NondeterminismError as error:
        diverged = error
    verdict = nested.verdict(diverged)
    if verdict is not None:
        raise verdict from None
