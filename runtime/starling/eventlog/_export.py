"""Export to NDJSON and import back, byte for byte: for archives, and for moving runs between backends.

Strategy: both go run by run. An export holds a page of events at a time; an import holds one run, because a run is
checked whole and appended in one batch, so that it is there or not. Doing an import again changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from starling.errors import InvalidAppendError, LogCorruptError, RunNotFoundError
from starling.event import TERMINAL_KINDS, validate, validate_prefix
from starling.eventlog._blocking import blocking_view, drive, drive_each
from starling.eventlog._ndjson import event_of_line, line_of_event
from starling.eventlog._whole import events_of, run_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from starling.event import Event
    from starling.eventlog._protocol import EventLog

__all__ = ["ImportReport", "export_runs", "export_runs_sync", "import_runs", "import_runs_sync"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        runs: runs that were written, or gone on with.
        events: events that were written.
        present: runs that the log held already, to the last event of the file or beyond.
        in_progress: runs of either kind that have no end, in the file or in the log. Where a file was cut off between
            two lines, its last run is one.
    """

    runs: int = 0
    events: int = 0
    present: int = 0
    in_progress: int = 0


async def export_runs(log: EventLog, wanted: Iterable[str] | None = None) -> AsyncIterator[str]:
    """The lines of an export, without newlines, in constant memory. Nothing is validated: what is there is told.

    Args:
        log: the log.
        wanted: the ids of the runs, in the order wanted; None for all of them.

    Raises:
        RunNotFoundError: the log holds no event of a run that was named.
        LogCorruptError: a row is not an event.
        LogError: no runs are named, and the log cannot say which it holds.
    """
    ids = run_ids(log) if wanted is None else _each(wanted)
    async for run_id in ids:
        seq = 0
        async for event in events_of(log, run_id):
            seq = event.seq
            yield line_of_event(event)
        if not seq and wanted is not None:
            raise RunNotFoundError(f"{log!r} holds no run {run_id!r}", run_id=run_id)


def export_runs_sync(log: EventLog, wanted: Iterable[str] | None = None) -> Iterator[str]:
    """`export_runs`, blocking."""
    return drive_each(export_runs(blocking_view(log), wanted))


async def import_runs(
    log: EventLog,
    lines: Iterable[str | bytes] | AsyncIterable[str | bytes],
    *,
    on_run: Callable[[ImportReport], None] = lambda _: None,
) -> ImportReport:
    """Write the runs of an export into a log, each whole or not at all.

    Every run is validated first: its hashes, its chain, its order and, if it ended, its Merkle root. A run that has not
    ended can be resumed afterwards. What the log holds of a run already must be the same bytes; only what is missing is
    appended.

    Args:
        log: the log, open for writing.
        lines: as `export_runs` gives them, newlines or not; blank ones are passed over.
        on_run: given the sums so far after each run; what is known where an error ends the import.

    Raises:
        LogCorruptError: a line or a run is not sound; the text says which line. The runs before that run are in the
            log; the last of them is not if the line does not even say which run it is of.
        InvalidAppendError: the log holds a run under this id that is another one.
        ReadOnlyError, LogWriteError: as `starling.eventlog.EventLog.append`.
    """
    report = ImportReport()
    async for numbers, run in _runs(lines):
        written, ended = await _import_run(log, run, numbers)
        report = ImportReport(
            runs=report.runs + bool(written),
            events=report.events + written,
            present=report.present + (not written),
            in_progress=report.in_progress + (not ended),
        )
        on_run(report)
    return report


def import_runs_sync(
    log: EventLog, lines: Iterable[str | bytes], *, on_run: Callable[[ImportReport], None] = lambda _: None
) -> ImportReport:
    """`import_runs`, blocking."""
    return drive(import_runs(blocking_view(log), lines, on_run=on_run))


async def _import_run(log: EventLog, run: Sequence[Event], numbers: Sequence[int]) -> tuple[int, bool]:
    """Append what the log lacks of a run whose events stand in these lines.

    Returns how many events that were, and whether the run has ended now.
    """
    run_id = run[0].run_id
    try:
        (validate if run[-1].kind in TERMINAL_KINDS else validate_prefix)(run)
    except LogCorruptError as error:
        at = max((index for index, event in enumerate(run) if event.seq == error.seq), default=0)
        text = f"line {numbers[at]}: {error}"
        raise LogCorruptError(text, run_id=run_id, seq=error.seq, field=error.field) from error
    present = await log.read(run_id)
    for ours, theirs in zip(present, run, strict=False):
        if ours != theirs:
            raise InvalidAppendError(
                f"line {numbers[ours.seq - 1]}: {log!r} holds another run {run_id}: seq {ours.seq} differs. Nothing of "
                "it was written",
                run_id=run_id,
                seq=ours.seq,
            )
    missing = run[len(present) :]
    if missing:
        await log.append(run_id, missing)
    last = run[-1] if missing else present[-1]
    return len(missing), last.kind in TERMINAL_KINDS


async def _runs(
    lines: Iterable[str | bytes] | AsyncIterable[str | bytes],
) -> AsyncIterator[tuple[list[int], list[Event]]]:
    """Each run of the lines, behind the numbers of its lines, from 1."""
    run: list[Event] = []
    numbers: list[int] = []
    number = 0
    async for line in _each(lines):
        number += 1
        if not line.strip():
            continue
        event = _event(line, number)
        if run and (event.run_id != run[0].run_id or event.seq == 1):  # or the same run again, from another export
            yield numbers, run
            numbers, run = [], []
        numbers.append(number)
        run.append(event)
    if run:
        yield numbers, run


def _event(line: str | bytes, number: int) -> Event:
    try:
        return event_of_line(line)
    except LogCorruptError as error:
        raise LogCorruptError(f"line {number}: {error}", field=error.field) from error


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
