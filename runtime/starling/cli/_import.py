"""``starling import``: runs from lines of JSON into a log."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from starling.cli._logs import add_log, opened
from starling.cli._output import Progress, add_json, add_progress, complain, count, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Iterator

    from starling.eventlog import ImportReport

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "read runs back from what export wrote"
DESCRIPTION = """\
Read runs from what `starling export` wrote into a log, which is created if it is missing. Each run is validated whole
(hashes, chain, order, Merkle root) and then written whole or not at all. Runs that the log holds already are left as
they are, so an import that was interrupted can be done again; a run that had not ended is gone on with.

How many of the runs have not ended is said on stderr. An export that was cut off between two lines cannot be told from
a smaller one: its last run is one of those then, and what came behind it is not missed.

Exit code 0: all that was read is in the log; 1: a line or a run is not sound, or the log holds another run under its id
(the runs before it are in the log); 2: the log or the file cannot be used."""
EXAMPLES = ("starling import restored.db log.ndjson", "zcat log.ndjson.gz | starling import postgresql:///agents")
_LINES_BETWEEN = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, and where the lines are."""
    add_log(parser)
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="the lines; stdin without it, or for -")
    add_json(parser, "the sums as a JSON object")
    add_progress(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Import the file."""
    from starling.errors import InvalidAppendError, LogCorruptError
    from starling.eventlog import ImportReport, import_runs

    reports = deque([ImportReport()], maxlen=1)
    stopped = None
    with _lines_of(arguments.file) as file, Progress(arguments.progress) as progress:
        async with opened(arguments.log, read_only=False) as log:
            try:
                await import_runs(log, _told(file, progress), on_run=reports.append)
            except (InvalidAppendError, LogCorruptError) as error:
                stopped = error
    if stopped:
        complain("import", stopped)
    _tell(reports[-1], " before that" if stopped else "", as_json=arguments.json)
    return int(bool(stopped))


def _tell(report: ImportReport, when: str, *, as_json: bool) -> None:
    if report.in_progress:
        runs = count(report.in_progress, "run")
        print(f"{runs} in progress: not ended when exported, or the file was cut off", file=sys.stderr)
    if as_json:
        print_json(
            {"runs": report.runs, "events": report.events, "present": report.present, "in_progress": report.in_progress}
        )
    else:
        were = "was" if report.present == 1 else "were"
        held = f"; {count(report.present, 'run')} {were} there already" if report.present else ""
        print(f"{count(report.runs, 'run')}, {count(report.events, 'event')} written{when}{held}")


@contextmanager
def _lines_of(name: str) -> Iterator[IO[bytes]]:
    from starling.errors import StarlingError

    if name == "-":
        if sys.stdin is None:
            raise StarlingError("stdin is closed: name the file, or give it one to read from")
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: PTH123, SIM115 - closed below
    except OSError as error:
        raise StarlingError(f"{name} cannot be read: {error.strerror}") from error
    with file:
        yield file


async def _told(lines: IO[bytes], progress: Progress) -> AsyncIterator[bytes]:
    for number, line in enumerate(lines, start=1):
        if number % _LINES_BETWEEN == 0:
            progress.at(count(number, "event"))
        yield line
