"""Assertions about recordings, for tests of any framework: plain functions that raise `AssertionError`.

They block, with and without a running event loop (`starling.agent` says how); inside async tests that loop waits, so
what an agent's tools need must not live on it. Nothing is sent anywhere: a replay never reaches a provider.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starling.agent._blocking import run_blocking
from starling.errors import NondeterminismError
from starling.event import Chain, RunStarted, text_hash
from starling.replay import replay

if TYPE_CHECKING:
    from starling.agent import Agent, CustomLoop
    from starling.event import Event, Kind
    from starling.eventlog import EventLog
    from starling.step import Divergence

__all__ = ["append_run_started", "assert_diverges", "assert_replays"]


def assert_replays(agent: Agent | CustomLoop, log: EventLog, run_id: str, times: int = 1, **options: Any) -> None:
    """Assert that today's agent does what the recording says, each of ``times`` times.

    Args:
        agent: today's wiring; its tools run.
        log: holds the recording. run_id: which one.
        times: how often it is replayed; more than once finds races between parallel tools.
        options: as for `starling.replay`.

    Raises:
        AssertionError: it diverged; the message says where, the cause holds the divergence.
        LogError: there is no such recording, or it is damaged.
    """
    for attempt in range(1, times + 1):
        try:
            run_blocking(lambda: replay(log, run_id, agent, **options))
        except NondeterminismError as error:
            which = f"replay {attempt} of {times}: " if times > 1 else ""
            raise AssertionError(f"{which}{error.message}") from error


def assert_diverges(
    agent: Agent | CustomLoop,
    log: EventLog,
    run_id: str,
    *,
    seq: int | None = None,
    cls: str | None = None,
    kind: Kind | str | None = None,
    field: str | None = None,
    **options: Any,
) -> Divergence:
    """Assert that today's agent leaves the recording, and where.

    Args:
        agent: today's wiring. log: holds the recording. run_id: which one.
        seq: the recorded event that was not reproduced.
        cls: ``kind``, ``payload``, ``turn_id`` or ``exhausted``.
        kind: the kind that headlines show: the recorded one, past the end the produced one.
        field: a payload path that must be among the changes, or above one: ``args`` for ``args.city``.
        options: as for `starling.replay`.

    Returns:
        The first divergence, for whatever else there is to check.

    Raises:
        AssertionError: the agent replays, or diverges elsewhere.
        LogError: there is no such recording, or it is damaged.
    """
    divergence = _divergence_of(agent, log, run_id, options)
    expected = {"seq": seq, "class": cls, "kind": None if kind is None else str(kind)}
    actual = {"seq": divergence.seq, "class": divergence.cls, "kind": str(divergence.expected_kind or divergence.kind)}
    for name, wanted in expected.items():
        if wanted is not None and wanted != actual[name]:
            raise AssertionError(
                f"expected a divergence with {name} {wanted!r}, but: {divergence}\n{divergence.reason}"
            )
    if field is not None and not any(_is_at(change.path, field) for change in divergence.changes):
        paths = ", ".join(change.path for change in divergence.changes) or "no field"
        raise AssertionError(f"expected {field!r} to differ, but {paths} did: {divergence}\n{divergence.reason}")
    return divergence


def append_run_started(
    log: EventLog,
    run_id: str,
    goal: str = "test",
    *,
    model: str = "test-model",
    provider_id: str = "scripted",
    api_version: str = "v0",
    system_prompt: str = "",
    ts: int | None = None,
) -> Event:
    """Begin a run in a log by hand, for tests of code that reads or continues runs.

    Args:
        log: receives the event. run_id: must be new there.
        ts: Unix nanoseconds; now if None.

    Returns:
        The event as written, seq 1. ``Chain.resume([event])`` goes on from there.

    Raises:
        InvalidAppendError: the log holds that run already.
    """
    started = RunStarted(
        goal=goal,
        provider_id=provider_id,
        model_id=model,
        api_version=api_version,
        params_hash=None,
        params=None,
        system_prompt_hash=text_hash(system_prompt),
        system_prompt=system_prompt,
        tool_registry_hash=None,
        tool_schemas=(),
    )
    event = Chain(run_id).append(started, time.time_ns() if ts is None else ts)
    run_blocking(lambda: log.append(run_id, [event]))
    return event


def _divergence_of(agent: Agent | CustomLoop, log: EventLog, run_id: str, options: dict[str, Any]) -> Divergence:
    try:
        collected = run_blocking(lambda: replay(log, run_id, agent, **options))
    except NondeterminismError as error:
        first: Divergence = error.divergence
        return first
    if collected:
        return collected[0]
    raise AssertionError(f"run {run_id} was expected to diverge, but replays")


def _is_at(path: str, field: str) -> bool:
    return path == field or path.startswith((f"{field}.", f"{field}["))
