"""A call of `Agent.run` or `Agent.resume`: carried out, recorded or replayed, as the ambient session decides."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling._ulid import new as new_ulid
from starling.agent._authorship import dialect_of
from starling.agent._cancellation import as_cancelled
from starling.agent._execute import execute
from starling.agent._parts import beginning, continuation, orphans, seam_after
from starling.agent._recorded import Recording, Resumption, replay_recorded
from starling.agent._tail import tail_of
from starling.agent._wiring import run_started
from starling.errors import (
    LogWriteError,
    NondeterminismError,
    PartialToolCallError,
    RunAlreadyTerminalError,
    RunInUseError,
    RunNotFoundError,
)
from starling.event import (
    TERMINAL_KINDS,
    Chain,
    RunStarted,
    decode_payload,
    encode_payload,
    kind_name,
    validate_prefix,
)
from starling.eventlog import preflight
from starling.step._compare import carry_over
from starling.step._dialect import OURS
from starling.step._divergence import changes_between
from starling.step._frame import enclosing
from starling.step._live import LiveJournal
from starling.step._replay import ReplayJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.agent._execute import Finished
    from starling.agent._parts import Part
    from starling.agent._result import RunResult
    from starling.agent._wiring import Wiring
    from starling.ambient import RunRecorder
    from starling.event import Event, Payload
    from starling.step._dialect import Dialect

__all__ = ["resume_run", "run_from", "run_goal"]


async def run_goal(
    wiring: Wiring, goal: str, run_id: str, observe: Callable[[Sequence[Event]], None] | None = None
) -> RunResult:
    """Run a goal; ``run_id`` is minted when empty. ``observe`` is given each batch once it is in the log."""
    wiring.check()
    return await run_from(wiring, run_started(wiring, goal), run_id, observe)


async def run_from(
    wiring: Wiring, started: RunStarted, run_id: str, observe: Callable[[Sequence[Event]], None] | None = None
) -> RunResult:
    """Run from this first event on; see `run_goal`."""
    await _check(wiring)

    async def live(recorder: RunRecorder | None) -> Finished:
        chain = Chain(run_id or (f"{wiring.namespace}/{new_ulid()}" if wiring.namespace else new_ulid()))
        return await _live(wiring, chain, beginning(wiring, started), OURS, recorder, observe=observe)

    return await _in_session(wiring, _intent(started), live, observe)


async def resume_run(wiring: Wiring, run_id: str, extra_message: str, *, reissue_tools: bool) -> RunResult:
    """Go on with a run whose process has ended; see `Agent.resume`."""
    await _check(wiring)
    events = await wiring.log.read(run_id)
    payloads = _unfinished(run_id, events)
    started = payloads[0]
    assert isinstance(started, RunStarted)  # `validate_prefix` has seen to it
    dialect = dialect_of(payloads)
    if not reissue_tools:
        _refuse_orphans(run_id, payloads, dialect)
    today = run_started(wiring, started.goal)
    seam = seam_after(payloads, dialect, extra_message=extra_message, reissue_tools=reissue_tools)

    async def live(recorder: RunRecorder | None) -> Finished:
        _warn_of_other_wiring(wiring, run_id, started, today)
        part = continuation(wiring, payloads, seam, dialect)
        return await _live(wiring, Chain.resume(events), part, dialect, recorder, held=events)

    return await _in_session(wiring, _intent(today, run_id, events), live, None, Resumption(events=events, seam=seam))


async def _check(wiring: Wiring) -> None:
    """Refuse a wiring that cannot run, or a log that this version cannot write."""
    wiring.check()
    if not wiring.config.skip_schema_check:
        await preflight(wiring.log)


def _intent(started: RunStarted, resumes: str = "", events: Sequence[Event] = ()) -> ambient.RunIntent:
    frame, effect = enclosing()
    not_recorded = None
    if frame is not None and not effect and isinstance(frame.run.journal, ReplayJournal):
        not_recorded = partial(frame.run.journal.not_recorded, frame, started)
    return ambient.RunIntent(
        started=started,
        parent_run_id=frame.run.run_id if frame else "",
        parent_call_id=frame.call_id if frame else "",
        parent_effect=effect,
        resumes=resumes,
        events=tuple(events),
        not_recorded=not_recorded,
    )


async def _in_session(
    wiring: Wiring,
    intent: ambient.RunIntent,
    live: Callable[[RunRecorder | None], Any],
    observe: Callable[[Sequence[Event]], None] | None,
    resumption: Resumption | None = None,
) -> RunResult:
    """Let the session that is active, if one is, decide what becomes of a run."""
    session = ambient.active()
    if session is None:
        finished: Finished = await live(None)
        return finished.unwrap()
    place: Any = session.begin(intent)
    if isawaitable(place):
        place = await place
    try:
        if not session.replaying:
            with place.watching():
                finished = await live(place)
            return finished.unwrap()
        try:
            recording = Recording.of(place.events, place.options)
            replaying = replay_recorded(
                wiring,
                intent.started,
                recording,
                resumption=resumption,
                to_seam=True,
                observe=observe,
                skipped=place.skipped,
                cut_short=place.diverged,
            )
            finished = await as_cancelled(replaying, recording.payloads[-1])
        except NondeterminismError as error:
            place.diverged(error)
            raise
        except (LogWriteError, RunInUseError) as error:
            place.stopped(error.seq)
            raise
        return finished.unwrap()
    finally:
        place.ended()


def _both(
    recorder: RunRecorder | None, observe: Callable[[Sequence[Event]], None] | None
) -> Callable[[Sequence[Event]], None]:
    """Who is told of each batch once it is in the log."""

    def committed(events: Sequence[Event]) -> None:
        if recorder is not None:
            recorder.committed(events)
        if observe is not None:
            observe(events)

    return committed


async def _live(
    wiring: Wiring,
    chain: Chain,
    part: Part,
    dialect: Dialect,
    recorder: RunRecorder | None,
    *,
    observe: Callable[[Sequence[Event]], None] | None = None,
    held: Sequence[Event] = (),
) -> Finished:
    """Carry out a run, or what is left of it; ``held`` is what the log holds of it already."""
    committed = _both(recorder, observe)
    if recorder is not None:
        wiring = replace(wiring, provider=recorder.provider(wiring.provider))
        tail = tail_of(recorder, held, dialect)
        if tail is not None:
            return await tail.carry_on(wiring, chain, part, committed=committed, asked=recorder.asked)
    journal = LiveJournal(
        chain,
        wiring.log,
        committed=committed,
        asked=recorder.asked if recorder is not None else lambda *_: None,
        owned_effects=dialect.owned_effects,
        emit_timeout_s=wiring.config.emit_timeout,
    )
    return await execute(wiring, part, journal, run_id=chain.run_id, dialect=dialect)


# --- what may be resumed


def _unfinished(run_id: str, events: Sequence[Event]) -> Sequence[Payload]:
    """The payloads of a run that has not ended.

    Raises:
        RunNotFoundError, RunAlreadyTerminalError, SchemaVersionMismatchError, LogCorruptError.
    """
    if not events:
        raise RunNotFoundError(
            f"run {run_id!r} is not in the log: nothing to resume. Ids are taken as they are, namespace included",
            run_id=run_id,
        )
    last = events[-1]
    if last.kind in TERMINAL_KINDS:
        raise RunAlreadyTerminalError(
            f"run {run_id} ended with {kind_name(last.kind)} at seq {last.seq}; nothing may follow. Start a new run",
            run_id=run_id,
            seq=last.seq,
        )
    validate_prefix(events)
    return [event.decode() for event in events]


def _refuse_orphans(run_id: str, payloads: Sequence[Payload], dialect: Dialect) -> None:
    pending = orphans(payloads, dialect)
    if pending:
        calls = ", ".join(f"{call.use.tool} ({call.call_id})" for call in pending)
        raise PartialToolCallError(
            f"run {run_id} has {len(pending)} tool call(s) without an outcome at seq {len(payloads)}: {calls}. They "
            "may have taken effect. Nothing was written; look at what they did, then resume with reissue_tools=True",
            run_id=run_id,
            seq=len(payloads),
        )


def _as_read(payload: Payload) -> Payload:
    """An event as it comes out of a log again."""
    return decode_payload(payload.KIND, encode_payload(payload))


def _warn_of_other_wiring(wiring: Wiring, run_id: str, recorded: RunStarted, today: RunStarted) -> None:
    """Mended code may well go on with an old run, but its recording will replay with neither of the two."""
    compared = _as_read(carry_over(recorded, today, ambient.ReplayOptions()))
    changes = [change.path for change in changes_between(recorded, compared)]
    if changes:
        wiring.logger.warning(
            "run %s is resumed with another wiring than it was started with (%s): its recording will not replay",
            run_id,
            ", ".join(changes),
            extra={"run_id": run_id},
        )
