"""``starling validate``: is everything in a log what was written?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from starling.cli._logs import add_log, add_run, opened, run_named
from starling.cli._output import Progress, add_json, add_progress, coloured, count, print_json, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Sequence

    from starling.errors import LogCorruptError
    from starling.event import Event
    from starling.eventlog import EventLog

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "Verdict", "add_arguments", "judge", "run"]

SUMMARY = "check hash chains, order of events and Merkle roots"
DESCRIPTION = """\
Check that every run of a log is whole and as it was written: seq without gaps, one run id, the hash chain, one terminal
event at the end, a known schema, turns and tool calls in pairs, the Merkle root. Beyond the chain: the storage itself,
the sealed ends of runs that this library wrote, the head hashes of a golden fixture; and a warning where the totals or
the final text of a last event are not what the run adds up to.

What is printed are the runs that are not valid, and a sum. A run that has not ended is not valid, since nobody can say
whether its last events are missing; on the log of a living service use --allow-in-progress.

Exit code 0: everything is valid; 1: something is not; 2: the log could not be looked at."""
EXAMPLES = ("starling validate log.db", "starling validate --json --allow-in-progress log.db 01JZ8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, and how strict to be."""
    add_log(parser)
    add_run(parser, optional="all runs")
    parser.add_argument(
        "--allow-in-progress", action="store_true", help="a run that has not ended is valid if it is as far as it goes"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print valid runs, too")
    add_json(parser, "a JSON object for each run")
    add_progress(parser)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said of one run.

    Attributes:
        run_id: the run; empty for what is said of the log as a whole.
        state: ``valid``, ``in progress`` or ``damaged``.
        events: how many it has; 0 where they cannot be read.
        error: what is wrong. seq, field: where, as far as that is known.
        warnings: what the last event says and the run does not bear out.
    """

    run_id: str
    state: str
    events: int = 0
    error: str = ""
    seq: int | None = None
    field: str = ""
    warnings: tuple[str, ...] = ()


def judge(run_id: str, events: Sequence[Event]) -> Verdict:
    """What is to be said of a run that could be read. Pure."""
    from starling.errors import LogCorruptError
    from starling.event import TERMINAL_KINDS, misstated, validate, validate_prefix

    ended = bool(events) and events[-1].kind in TERMINAL_KINDS
    try:
        if ended:
            validate(events)
        else:
            validate_prefix(events)
        warnings = misstated(events)
    except LogCorruptError as error:
        return _damaged(run_id, error, events=len(events))
    if ended:
        return Verdict(run_id=run_id, state="valid", events=len(events), warnings=warnings)
    text = f"run {run_id!r}: it has not ended; what is there, up to seq {len(events)}, is sound"
    return Verdict(run_id=run_id, state="in progress", events=len(events), error=text, seq=len(events))


async def run(arguments: argparse.Namespace) -> int:
    """Validate one run or all."""
    accepted = {"valid", "in progress"} if arguments.allow_in_progress else {"valid"}
    tally = {"valid": 0, "in progress": 0, "damaged": 0}
    runs = events = 0
    async with opened(arguments.log) as log:
        with Progress(arguments.progress) as progress:
            async for verdict in _verdicts(log, arguments):
                tally[verdict.state] += 1
                runs += bool(verdict.run_id)
                events += verdict.events
                _tell(verdict, arguments, accepted)
                progress.at(f"{count(runs, 'run')}, {count(events, 'event')}, {tally['damaged']:,} damaged")
    if not arguments.json:
        states = ", ".join(f"{number:,} {state}" for state, number in tally.items() if number) or "nothing to check"
        print(f"{count(runs, 'run')}, {count(events, 'event')}: {states}")
    return int(any(number for state, number in tally.items() if state not in accepted))


async def _verdicts(log: EventLog, arguments: argparse.Namespace) -> AsyncIterator[Verdict]:
    """A run in memory at a time."""
    from starling.errors import LogCorruptError
    from starling.eventlog import run_ids

    damage = _fixture_damage(log)
    if damage is not None:
        yield damage
    if arguments.run_id is not None:
        yield await _of_run(log, await run_named(log, arguments.run_id))
        return
    try:
        async for run_id in run_ids(log):
            yield await _of_run(log, run_id)
    except LogCorruptError as error:  # of the storage: which runs there are cannot be said
        yield _damaged("", error)


async def _of_run(log: EventLog, run_id: str) -> Verdict:
    from starling.errors import LogCorruptError

    try:
        return judge(run_id, await log.read(run_id))
    except LogCorruptError as error:
        return _damaged(run_id, error)


def _fixture_damage(log: EventLog) -> Verdict | None:
    """What is wrong with a golden fixture beyond the runs in it; None for one that is sound, and for any other log."""
    from starling.errors import FixtureError, LogCorruptError
    from starling.eventlog import SQLiteLog
    from starling.replay import read_fixture

    if not isinstance(log, SQLiteLog):
        return None
    try:
        read_fixture(log.path)
    except FixtureError:
        return None
    except LogCorruptError as error:
        return _damaged("", error)
    return None


def _damaged(run_id: str, error: LogCorruptError, *, events: int = 0) -> Verdict:
    return Verdict(run_id=run_id, state="damaged", events=events, error=error.message, seq=error.seq, field=error.field)


def _tell(verdict: Verdict, arguments: argparse.Namespace, accepted: set[str]) -> None:
    if arguments.json:
        print_json(asdict(verdict))
        return
    if verdict.state not in accepted:
        print(f"{_word(verdict.state)} {printable(verdict.error)}")
    elif arguments.verbose or arguments.run_id:
        print(f"{_word(verdict.state)} {printable(verdict.run_id)}, {count(verdict.events, 'event')}")
    for warning in verdict.warnings:
        print(
            f"{_word('warning')} run {printable(verdict.run_id)}: the last event says otherwise: {printable(warning)}"
        )


_COLOURS = {"valid": "green", "damaged": "red", "in progress": "yellow", "warning": "yellow"}


def _word(word: str) -> str:
    return coloured(f"{word:<11}", _COLOURS[word])
