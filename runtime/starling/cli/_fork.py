"""``starling fork``: a copy of a log in which one run ends sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.cli._logs import opened, positive, run_named
from starling.cli._output import printable

if TYPE_CHECKING:
    import argparse

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "copy a SQLite log, and cut one run short"
DESCRIPTION = """\
Copy a SQLite log (or a golden fixture) and keep of one run only the events before a seq, so that it can be resumed and
take another way: with another prompt, another model, a tool that was mended. Other runs are copied as they are. The log
may be written meanwhile; nothing in it changes. The copy must not exist yet, and is there whole or not at all.

`starling show LOG RUN` shows the seqs. Agent.resume(run_id) goes on with the run in the copy."""
EXAMPLES = ("starling fork log.db branch.db 01JZ8 --before-seq 12",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From where to where, which run, and how much of it."""
    parser.add_argument("log", metavar="LOG", help="a SQLite file or a golden fixture")
    parser.add_argument("copy", metavar="COPY", help="the new file")
    parser.add_argument("run_id", metavar="RUN", help="a run id, or the beginning of one that no other run has")
    parser.add_argument(
        "--before-seq", metavar="N", type=positive, help="the first seq that is left out (none: the run is kept)"
    )


async def run(arguments: argparse.Namespace) -> int:
    """Fork."""
    from starling.errors import LogError
    from starling.eventlog import SQLiteLog, fork_sqlite

    async with opened(arguments.log) as log:
        if not isinstance(log, SQLiteLog):
            raise LogError(
                f"{log!r} is no file: `starling export` its runs, `starling import` them into one, fork that"
            )
        run_id = await run_named(log, arguments.run_id)
    left_out = await fork_sqlite(log.path, arguments.copy, run_id, arguments.before_seq or 0)
    held = _held(printable(run_id), arguments.before_seq, left_out)
    print(f"{arguments.copy} holds {held}, and every other run")
    return 0


def _held(run: str, before_seq: int | None, left_out: int) -> str:
    if before_seq is None:
        return f"all events of run {run}"
    if not left_out:
        return f"all events of run {run}, which has none from seq {before_seq} on"
    return f"the events before seq {before_seq} of run {run}" if before_seq > 1 else f"no event of run {run}"
