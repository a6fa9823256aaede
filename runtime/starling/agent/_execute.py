"""One part of a run from its first event to its last: wiring in, result or error out.

One code for live runs and replays; the journal behind `Run` is what differs.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starling.agent._loop import Ending, completed, conclude
from starling.agent._result import result_of
from starling.errors import NondeterminismError
from starling.event import Kind, RunCompleted
from starling.step._frame import Frame, current, leave
from starling.step._interruption import Interruption
from starling.step._journal import NOT_FOR_THE_LOG
from starling.step._replay import ReplayJournal
from starling.step._run import Run
from starling.step._stopping import stops_everything

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.agent._parts import Part
    from starling.agent._result import RunResult
    from starling.agent._wiring import Wiring
    from starling.step._dialect import Dialect
    from starling.step._journal import Journal

__all__ = ["Finished", "execute"]


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


async def execute(wiring: Wiring, part: Part, journal: Journal, *, run_id: str, dialect: Dialect) -> Finished:
    """Carry out one part of a run.

    Raises:
        Interruption: on replay, where another process went on; the payload is its RunResumed.
        NondeterminismError: on replay, where today's code does something else than the recording.
        KeyboardInterrupt, pytest.exit.Exception: also where it makes a replay differ; the divergence is its cause.
        LogWriteError: the log did not take an event.
    """
    run = Run(
        run_id=run_id,
        journal=journal,
        provider=wiring.provider,
        tools={tool.name: tool for tool in wiring.tools},
        meter=part.meter,
        dialect=dialect,
        require_raw_response_hash=wiring.config.require_raw_response_hash,
        max_parallel_tools=wiring.config.max_parallel_tools,
        own_loop=wiring.body is not None,
        metrics=wiring.metrics,
        logger=wiring.logger,
    )
    with _inside(run):
        run.metrics.run_started()
        run.logger.info("run started", extra={"run_id": run.run_id, "model": wiring.config.model})
        ending = await _until_it_ends(wiring, run, part)
        try:
            return await _finish(run, ending)
        except NondeterminismError as error:
            if ending.error is not None and stops_everything(ending.error):
                raise ending.error from error  # whoever interrupts a replay wants it to stop
            raise


@contextmanager
def _inside(run: Run) -> Iterator[None]:
    token = current.set(Frame(run))
    try:
        yield
    finally:
        leave(token)


async def _until_it_ends(wiring: Wiring, run: Run, part: Part) -> Ending:
    seconds = wiring.budget.wall_clock_s if wiring.budget and not run.journal.replaying else 0.0
    deadline = asyncio.timeout(seconds or None)
    run.out_of_time = deadline.expired
    for payload in part.opening:
        run.emit(payload)
    try:
        await run.journal.commit()
        async with deadline:
            return completed(run, await part.body(run))
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
