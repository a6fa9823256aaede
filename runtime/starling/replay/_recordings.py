"""What a recording must be before anything is replayed: one whole run that bears out what its last event says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.agent._authorship import dialect_of
from starling.agent._parts import misstated_seam
from starling.errors import LogCorruptError, SchemaVersionMismatchError
from starling.event import TERMINAL_KINDS, Kind, validate_recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Event, ValidRun

__all__ = ["check_recording"]

_RESTORE = "Nothing was run. Restore the recording from a copy, or record the run again"
_NO_RUN = "Nothing was run. Replay a run that `Agent.run` recorded; this is none"
_UNFINISHED = (
    "Nothing was run. Its process was killed, or its last events are missing: finish it with Agent.resume, restore it "
    "from a copy, or record it again"
)


def check_recording(run_id: str, events: Sequence[Event]) -> ValidRun:
    """Refuse to replay what is not one whole, untouched run, and return its events.

    Raises:
        SchemaVersionMismatchError: a newer version of this library wrote it.
        LogCorruptError: it is damaged, cut short, or no run at all. ``run_id`` and ``seq`` say where.
    """
    if not events:
        raise _refused(run_id, 1, "there are no events", _NO_RUN)
    if events[0].run_id != run_id:
        raise _refused(run_id, events[0].seq, f"its events are of run {events[0].run_id!r}", _NO_RUN)
    try:
        run = validate_recording(events)
    except SchemaVersionMismatchError:
        raise
    except LogCorruptError as error:
        raise LogCorruptError(
            f"{error.message}. {_advice(events)}", run_id=run_id, seq=error.seq, field=error.field
        ) from error
    if run.misstated:
        what = f"the last event belies the run: {'; '.join(run.misstated)}"
        raise _refused(run_id, len(events), what, _RESTORE)
    if any(event.kind == Kind.RunResumed for event in run):
        _check_seams(run_id, run)
    return run


def _check_seams(run_id: str, run: ValidRun) -> None:
    """What a RunResumed says of the part before it follows from that, and no code of today's would show it wrong."""
    payloads = [event.decode() for event in run]
    wrong = misstated_seam(payloads, dialect_of(payloads))
    if wrong is not None:
        index, what = wrong
        raise _refused(run_id, index + 1, f"RunResumed belies the events before it: {what}", _RESTORE)


def _advice(events: Sequence[Event]) -> str:
    if events[0].seq == 1 and events[0].kind != Kind.RunStarted:
        return _NO_RUN
    return _RESTORE if events[-1].kind in TERMINAL_KINDS else _UNFINISHED


def _refused(run_id: str, seq: int, what: str, advice: str) -> LogCorruptError:
    return LogCorruptError(f"run {run_id!r}, seq {seq}: {what}. {advice}", run_id=run_id, seq=seq)
