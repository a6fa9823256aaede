"""Going through a recorded run with today's agent: all its parts, or the one that a call of `Agent` stands for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starling.agent._authorship import dialect_of
from starling.agent._delivery import delivery
from starling.agent._execute import execute
from starling.agent._explanations import explain_prompt
from starling.agent._parts import Part, beginning, continuation, seam_after
from starling.errors import LogCorruptError, NondeterminismError, ProviderModelMismatchError, RunCutOffError
from starling.event import Kind, RunResumed, RunStarted, ValidRun, encode_payload
from starling.step._compare import carry_over, describe
from starling.step._divergence import Divergence, changes_between
from starling.step._interruption import Interruption
from starling.step._redaction import redacted
from starling.step._replay import ReplayJournal
from starling.step._stopping import stops_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.agent._execute import Finished
    from starling.agent._wiring import Wiring
    from starling.ambient import ReplayOptions
    from starling.event import Event, Payload
    from starling.step._dialect import Dialect

__all__ = ["Recording", "Resumption", "cut_off", "replay_recorded"]


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
        payloads = events.decode() if isinstance(events, ValidRun) else tuple(event.decode() for event in events)
        if not payloads or not isinstance(payloads[0], RunStarted):
            run_id = events[0].run_id if events else ""
            raise LogCorruptError(f"run {run_id!r} does not begin with RunStarted", run_id=run_id, seq=1)
        kept = events if isinstance(events, ValidRun) else tuple(events)
        return cls(events=kept, payloads=payloads, options=options)

    @property
    def started(self) -> RunStarted:
        """The first event."""
        started = self.payloads[0]
        assert isinstance(started, RunStarted)  # checked in `of`
        return started


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """A call that goes on with a run: what the agent's log holds of it, and the event with which it would go on."""

    events: Sequence[Event]
    seam: RunResumed


async def replay_recorded(
    wiring: Wiring,
    started: RunStarted,
    recording: Recording,
    *,
    resumption: Resumption | None = None,
    to_seam: bool = False,
    observe: Callable[[Sequence[Event]], None] | None = None,
    watch: Callable[[int, Payload, Divergence | None], None] | None = None,
    skipped: Callable[[str, int | None], None] = lambda *_: None,
    cut_short: Callable[[NondeterminismError], None] = lambda _: None,
) -> Finished:
    """Go through a recorded run with today's code.

    Args:
        started: what this agent would write first; its goal is the one under test.
        resumption: the call under test is one that goes on with the run.
        to_seam: stop where the recorded process stopped; otherwise go on behind the seam.
        watch: told of each event that is reproduced, see `ReplayJournal`.
        skipped: told of each tool call that is not run (again).
        cut_short: told what was not reproduced when this replay is cancelled or interrupted, which is all that its
            caller sees.

    Raises:
        NondeterminismError: today's code does something else than the recording.
        ProviderModelMismatchError: the agent is wired to another provider, API version or model.
        RunCutOffError: with ``to_seam``, where the recorded process was cut off.
        LogWriteError, RunInUseError: the agent's own log failed, or another writer is at the run there.
    """
    wiring, started = _redacted(wiring, started, recording.options)
    started = _identity_checked(started, recording)
    dialect = dialect_of(recording.payloads)
    journal = ReplayJournal(
        recording.events,
        recording.payloads,
        recording.options,
        dialect,
        deliver=await delivery(wiring.log, recording.events, observe, goes_on=resumption is not None),
        skipped=skipped,
        explain=lambda index, turn, request: explain_prompt(
            recording.payloads[:index], turn, request, dialect, of_agent=wiring.body is None
        ),
        watch=watch,
    )
    try:
        finished = await _parts(wiring, started, recording, journal, resumption, to_seam=to_seam)
    except NondeterminismError as error:
        raise journal.collected() or error from None
    except BaseException as error:
        if not isinstance(error, asyncio.CancelledError) and not stops_everything(error):
            raise
        unfinished = journal.unfinished()
        if unfinished is not None:
            cut_short(unfinished)
        raise
    collected = journal.collected()
    if collected is not None:
        raise collected
    return finished


async def _parts(
    wiring: Wiring,
    started: RunStarted,
    recording: Recording,
    journal: ReplayJournal,
    resumption: Resumption | None,
    *,
    to_seam: bool,
) -> Finished:
    """One part after the other, as many processes as the run had."""
    run_id, dialect = recording.events[0].run_id, journal.dialect
    if resumption is None:
        part = beginning(wiring, started)
    else:
        seam = _seam_of(recording, resumption)
        journal.pass_over(seam)
        part = _resumed(wiring, recording, seam, dialect)
    while True:
        try:
            return await execute(wiring, part, journal, run_id=run_id, dialect=dialect)
        except Interruption:
            seam = journal.seam()
            await journal.commit()
        if to_seam:
            raise cut_off(run_id, seam)
        part = _resumed(wiring, recording, seam, dialect)


def cut_off(run_id: str, seq: int) -> RunCutOffError:
    """The error of a call whose recorded process ended behind this event."""
    return RunCutOffError(
        f"run {run_id} was cut off after seq {seq} when it was recorded, and resumed from there: here, as there, only "
        "Agent.resume goes on",
        run_id=run_id,
        seq=seq + 1,
    )


def _resumed(wiring: Wiring, recording: Recording, after: int, dialect: Dialect) -> Part:
    """The part behind a seam. Where the recording has none, what is made up for it diverges."""
    payloads = recording.payloads[:after]
    seam = recording.payloads[after] if after < len(recording.payloads) else None
    if not isinstance(seam, RunResumed):
        seam = seam_after(payloads, dialect, extra_message="", reissue_tools=True)
    return continuation(wiring, payloads, seam, dialect)


def _seam_of(recording: Recording, resumption: Resumption) -> int:
    """Where in the recording this call goes on: at the first seam behind what the log holds.

    The log may hold less than was recorded before the seam, because today it failed sooner.

    Raises:
        NondeterminismError: the run has another beginning than the recorded one, or this call has other arguments.
    """
    held = len(resumption.events)
    for index, event in enumerate(resumption.events[: len(recording.events)]):
        _check_same(recording, index, event.decode())
    seams = (index for index in range(held, len(recording.events)) if recording.events[index].kind is Kind.RunResumed)
    seam = next(seams, None)
    if seam is None:
        return held
    _check_same(recording, seam, resumption.seam)
    return seam


def _check_same(recording: Recording, index: int, produced: Payload) -> None:
    recorded, options, run_id = recording.payloads[index], recording.options, recording.events[0].run_id
    if recorded.KIND is produced.KIND:
        produced = carry_over(recorded, produced, options)
        if encode_payload(produced) == recording.events[index].payload:
            return
    divergence = describe(
        recorded, produced, options, run_id=run_id, seq=index + 1, length=len(recording.events), call_id=""
    )
    raise NondeterminismError(divergence.text, divergences=(divergence,))


def _redacted(wiring: Wiring, started: RunStarted, options: ReplayOptions) -> tuple[Wiring, RunStarted]:
    """Today's parts as the recording has them, if it was redacted: so the requests are made of redacted texts alone."""
    kept = redacted(started, options.redact)
    assert isinstance(kept, RunStarted)  # a redaction keeps the kind
    return (wiring, started) if kept is started else (wiring.telling(kept), kept)


def _identity_checked(started: RunStarted, recording: Recording) -> RunStarted:
    """Insist on the recorded provider, API version and model, unless forced."""
    recorded = recording.started
    names = ("provider_id", "api_version", "model_id")
    if recording.options.force_provider:
        return replace(started, provider_id=recorded.provider_id, api_version=recorded.api_version)
    todays = [getattr(started, name) for name in names]
    if {*map(type, todays)} == {str} and todays == [getattr(recorded, name) for name in names]:
        return started
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
    raise ProviderModelMismatchError(divergence.text, divergences=(divergence,))


def _identity(started: RunStarted) -> str:
    return f"{started.provider_id}/{started.api_version}/{started.model_id}"
