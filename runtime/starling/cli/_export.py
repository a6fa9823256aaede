"""``starling export``: runs as lines of JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from starling.cli._logs import add_log, opened, run_named
from starling.cli._output import Progress, add_progress, complain, count

if TYPE_CHECKING:
    import argparse

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "write runs to stdout as NDJSON, one event a line"
DESCRIPTION = """\
Write the runs of a log to stdout, one event a line: its envelope, its payload as JSON for readers, and what makes the
line exact, the payload's own bytes and the event's hash. `starling import` reads it back, byte for byte, into a log of
any kind. Memory stays the same however large the log is.

Nothing is validated: what is there is written. Exit code 1 means that a run could not be read, and that the output ends
before it."""
EXAMPLES = (
    "starling export log.db | gzip > log.ndjson.gz",
    "starling export log.db 01JZ8 | jq -r 'select(.kind_name == \"ToolCallScheduled\") | .payload.tool'",
)
_EVENTS_BETWEEN = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log, and which runs."""
    add_log(parser)
    parser.add_argument("run_ids", metavar="RUN", nargs="*", help="the runs to write, in this order; without it, all")
    add_progress(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Write the lines."""
    from starling.errors import LogCorruptError

    try:
        return await _export(arguments)
    except LogCorruptError as error:
        complain("export", error)
        return 1


async def _export(arguments: argparse.Namespace) -> int:
    from starling.eventlog import export_runs

    events = 0
    async with opened(arguments.log) as log:
        wanted = [await run_named(log, text) for text in arguments.run_ids] or None
        with Progress(arguments.progress) as progress:
            async for line in export_runs(log, wanted):
                sys.stdout.write(f"{line}\n")
                events += 1
                if events % _EVENTS_BETWEEN == 0:
                    progress.at(count(events, "event"))
    return 0
