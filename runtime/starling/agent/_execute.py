"""One run from its first event to its terminal one: wiring in, result or error out.

`execute_live` writes a new run, `replay_recorded` goes through a recorded one. Which of them a call of `Agent.run`
becomes is the ambient session's decision, if there is one.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling._ulid import new as new_ulid
from starling.agent._loop import Conversation, Ending, completed, conclude, converse
from starling.agent._result import result_of
from starling.agent._transcript import prompt_changes, user_message
from starling.agent._wiring import run_started
from starling.errors import LogCorruptError, LogWriteError, NondeterminismError, ProviderModelMismatchError
from starling.event import (
    Chain,
    Kind,
    RunCompleted,
    RunStarted,
    event_hash,
)
from starling.eventlog import preflight
from starling.step._dialect import OURS, dialect_of
from starling.step._divergence import Divergence, changes_between
from starling.step._frame import Frame, current, enclosing
from starling.step._interruption import Interruption
from starling.step._journal import NOT_FOR_THE_LOG, LiveJournal
from starling.step._meter import Meter
from starling.step._replay import ReplayJournal
from starling.step._run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starling.agent._result import RunResult
    from starling.agent._wiring import Wiring
    from starling.ambient import ReplayOptions, RunRecorder
    from starling.event import Event, Payload
    from starling.eventlog import EventLog

__all__ = ["Finished", "Recording", "replay_recorded", "run_goal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that has its terminal event: what it came to, and what its caller gets if it did not complete."""

    result: RunResult
    error: BaseException | None = None
    cause: BaseException | None = None

    def unwrap(self) -> RunResult:
        """Return the result of a completed run, raise the error of any other."""
        if self.error is not None:
            raise self.error from self.cause
        return self.result


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recorded run, read once: events, their payloads, and how to compare."""

    events: tuple[Event, ...]
    payloads: tuple[Payload, ...]
    options: ReplayOptions

    @classmethod
    def of(cls, events: Sequence[Event], options: ReplayOptions) -> Recording:
        """Decode a recorded run.

        Raises:
            LogCorruptError: it does not begin with RunStarted, or a payload cannot be read.
        """
        payloads = tuple(event.decode() for event in events)
        if not payloads or not isinstance(payloads[0], RunStarted):
            run_id = events[0].run_id if events else ""
            raise LogCorruptError(f"run {run_id!r} does not begin with RunStarted", run_id=run_id, seq=1)
        return cls(events=tuple(events), payloads=payloads, options=options)

    @property
    def started(self) -> RunStarted:
        """The first event."""
        started = self.payloads[0]
        assert isinstance(started, RunStarted)  # checked in `of`
        return started


# --- live or replayed, as the session decides


async def run_goal(
    wiring: Wiring, goal: str, run_id: str, observe: Callable[[Sequence[Event]], None] | None = None
) -> RunResult:
    """Run a goal; ``run_id`` is minted when empty. ``observe`` is given each batch once it is in the log."""
    wiring.check()
    if not wiring.config.skip_schema_check:
        await preflight(wiring.log)
    started = run_started(wiring, goal)
    session = ambient.active()
    if session is None:
        return (await _execute_live(wiring, started, run_id, None, observe)).unwrap()
    place: Any = session.begin(_intent(started))
    try:
        if not session.replaying:
            return (await _execute_live(wiring, started, run_id, place, observe)).unwrap()
        try:
            recording = Recording.of(place.events, place.options)
            finished = await replay_recorded(
                wiring, started, recording, observe=observe, skipped=place.skipped, cut_short=place.diverged
            )
        except NondeterminismError as error:
            place.diverged(error)
            raise
        return finished.unwrap()
    finally:
        place.ended()


def _intent(started: RunStarted) -> ambient.RunIntent:
    frame, effect = enclosing()
    return ambient.RunIntent(
        started=started,
        parent_run_id=frame.run.run_id if frame else "",
        parent_call_id=frame.call_id if frame else "",
        parent_effect=effect,
    )


async def _execute_live(
    wiring: Wiring,
    started: RunStarted,
    run_id: str,
    recorder: RunRecorder | None,
    observe: Callable[[Sequence[Event]], None] | None,
) -> Finished:
    run_id = run_id or (f"{wiring.namespace}/{new_ulid()}" if wiring.namespace else new_ulid())

    def committed(events: Sequence[Event]) -> None:
        if recorder is not None:
            recorder.committed(events)
        if observe is not None:
            observe(events)

    journal = LiveJournal(Chain(run_id), wiring.log, committed=committed, emit_timeout_s=wiring.config.emit_timeout)
    run = _run(wiring, run_id, journal)
    run.dialect = OURS
    return await _execute(wiring, run, started)


# --- replayed


async def replay_recorded(
    wiring: Wiring,
    started: RunStarted,
    recording: Recording,
    *,
    observe: Callable[[Sequence[Event]], None] | None = None,
    skipped: Callable[[str], None] = lambda _: None,
    cut_short: Callable[[NondeterminismError], None] = lambda _: None,
) -> Finished:
    """Go through a recorded run with today's code.

    Args:
        started: what this agent would write first; its goal is the one under test.
        skipped: told of each tool call that is not run (again).
        cut_short: told what was not reproduced when the caller cancels this replay, which sees the cancellation only.

    Raises:
        NondeterminismError: today's code does something else than the recording.
        ProviderModelMismatchError: the agent is wired to another provider, API version or model.
    """
    started = _identity_checked(started, recording)
    deliver = await _delivery(wiring.log, recording.events, observe)
    dialect = dialect_of(recording.started)
    journal = ReplayJournal(
        recording.events,
        recording.payloads,
        recording.options,
        dialect,
        deliver=deliver,
        skipped=skipped,
        explain=lambda index, turn, request: prompt_changes(recording.payloads[:index], turn, request, dialect),
    )
    run = _run(wiring, recording.events[0].run_id, journal)
    run.dialect = dialect
    try:
        finished = await _execute(wiring, run, started)
    except NondeterminismError as error:
        raise journal.collected() or error from None
    except asyncio.CancelledError:
        unfinished = journal.unfinished()
        if unfinished is not None:
            cut_short(unfinished)
        raise
    collected = journal.collected()
    if collected is not None:
        raise collected
    return finished


def _identity_checked(started: RunStarted, recording: Recording) -> RunStarted:
    """Insist on the recorded provider, API version and model, unless forced."""
    recorded = recording.started
    names = ("provider_id", "api_version", "model_id")
    if recording.options.force_provider:
        from dataclasses import replace

        return replace(started, provider_id=recorded.provider_id, api_version=recorded.api_version)
    changes = tuple(change for change in changes_between(recorded, started) if change.path in names)
    if not changes:
        return started
    divergence = Divergence(
        run_id=recording.events[0].run_id,
        seq=1,
        kind=Kind.RunStarted,
        expected_kind=Kind.RunStarted,
        cls="payload",
        reason=(
            f"the recording was made with {_identity(recorded)}, the agent is wired to {_identity(started)}; "
            "nothing was run. Record again, or pass force_provider=True if the difference is meant"
        ),
        recorded=recorded,
        produced=started,
        changes=changes,
        length=len(recording.events),
    )
    raise ProviderModelMismatchError(
        f"{divergence}\n{divergence.reason}", run_id=divergence.run_id, divergences=(divergence,)
    )


def _identity(started: RunStarted) -> str:
    return f"{started.provider_id}/{started.api_version}/{started.model_id}"


async def _delivery(
    log: EventLog, recorded: Sequence[Event], observe: Callable[[Sequence[Event]], None] | None
) -> Callable[[Sequence[Event]], Any]:
    """Where reproduced events go: the agent's own log, as far as it does not hold them already.

    It may hold a part: an earlier replay that diverged. A run of that id which is another one is left as it is.
    """
    run_id = recorded[0].run_id
    stored = await log.read(run_id)
    held = len(stored)
    if stored and (held > len(recorded) or event_hash(stored[-1]) != event_hash(recorded[held - 1])):
        held = len(recorded)

    async def deliver(events: Sequence[Event]) -> None:
        missing = [event for event in events if event.seq > held]
        if missing:
            await _append(log, missing)
        if observe is not None:
            observe(events)

    return deliver


async def _append(log: EventLog, events: Sequence[Event]) -> None:
    """Write to the agent's own log on replay; what fails there is the log's fault, not a divergence."""
    first = events[0]
    try:
        await log.append(first.run_id, events)
    except Exception as error:
        raise LogWriteError(
            f"run {first.run_id}: the agent's own log did not take what was replayed from seq {first.seq} on: {error}",
            run_id=first.run_id,
            seq=first.seq,
        ) from error


# --- common


def _run(wiring: Wiring, run_id: str, journal: LiveJournal | ReplayJournal) -> Run:
    return Run(
        run_id=run_id,
        journal=journal,
        provider=wiring.provider,
        tools={tool.name: tool for tool in wiring.tools},
        meter=Meter(budget=wiring.budget, model=wiring.config.model),
        dialect=OURS,
        require_raw_response_hash=wiring.config.require_raw_response_hash,
        max_parallel_tools=wiring.config.max_parallel_tools,
        metrics=wiring.metrics,
        logger=wiring.logger,
    )


async def _execute(wiring: Wiring, run: Run, started: RunStarted) -> Finished:
    conversation = Conversation(config=wiring.config, tools=wiring.definitions, messages=[user_message(started.goal)])
    with _inside(run):
        run.metrics.run_started()
        run.logger.info("run started", extra={"run_id": run.run_id, "model": started.model_id})
        ending = await _until_it_ends(wiring, run, started, conversation)
        return await _finish(run, ending)


@contextmanager
def _inside(run: Run) -> Iterator[None]:
    token = current.set(Frame(run))
    try:
        yield
    finally:
        current.reset(token)


async def _until_it_ends(wiring: Wiring, run: Run, started: RunStarted, conversation: Conversation) -> Ending:
    seconds = wiring.budget.wall_clock_s if wiring.budget and not run.journal.replaying else 0.0
    deadline = asyncio.timeout(seconds or None)
    run.out_of_time = deadline.expired
    run.emit(started)
    try:
        await run.journal.commit()
        async with deadline:
            return completed(run, await converse(run, conversation))
    except NOT_FOR_THE_LOG:
        raise
    except asyncio.CancelledError as error:
        if run.journal.replaying:
            raise  # today's caller; what the recorded one did is an Interruption
        return conclude(run, error, 0)
    except BaseException as error:  # noqa: BLE001 - it is recorded, and raised again by `_finish`
        return conclude(run, error, wiring.budget.wall_clock_ms if wiring.budget else 0)


async def _finish(run: Run, ending: Ending) -> Finished:
    """Write the terminal event and sum up what the run came to."""
    try:
        if ending.before is not None:
            run.emit(ending.before)
        terminal = run.journal.emit_terminal(ending.terminal)
    except Interruption as interruption:
        return await _finish(run, conclude(run, interruption, 0))
    await run.journal.commit()
    if isinstance(run.journal, ReplayJournal):
        run.journal.finish()
    result = result_of(
        run.run_id,
        run.meter,
        final_text=terminal.final_text if isinstance(terminal, RunCompleted) else "",
        duration_ms=terminal.duration_ms,
        terminal_kind=terminal.KIND,
        merkle_root=terminal.merkle_root or b"",
    )
    _report(run, result, getattr(terminal, "error_type", ""))
    if ending.error is not None:
        error_type = getattr(terminal, "error_type", "")
        ending.error.__dict__.update(result=result, run_id=run.run_id, error_type=error_type)
    return Finished(result=result, error=ending.error, cause=ending.cause)


_STATUS = {Kind.RunCompleted: "completed", Kind.RunFailed: "failed", Kind.RunCancelled: "cancelled"}


def _report(run: Run, result: RunResult, error_type: str) -> None:
    status = _STATUS[result.terminal_kind]
    run.metrics.run_ended(status, error_type, result.duration.total_seconds())
    run.logger.info(
        "run %s",
        status,
        extra={"run_id": run.run_id, "turns": result.turn_count, "tool_calls": result.tool_call_count},
    )
