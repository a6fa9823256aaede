"""``starling diff``: what differs between two recordings, or two runs of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.cli._output import coloured

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from starling.cli._runs import RecordedRun

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "show what differs between two recordings, or two runs"
DESCRIPTION = """\
Show what differs, as a line diff of the texts of `starling textconv`:

  starling diff OLD NEW        between two golden fixtures or logs, run by run in the order in which they began
  starling diff LOG RUN RUN    between two runs of one log

What changes at every recording (ids, times, counts, costs, hashes) is not compared.

Exit code 0: nothing differs; 1: something does; 2: one of them cannot be read."""
EXAMPLES = (
    "starling diff old.db testdata/golden/test_shop/test_tea_is_in_stock.db",
    "starling diff log.db 01JZ8 01JZ9",
)
USAGE = "starling diff [-h] [-U LINES] OLD NEW\n       starling diff [-h] [-U LINES] LOG RUN RUN"
_COLOURS = {"-": "red", "+": "green", "@": "cyan"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two files or a log and two runs, and how much of what is equal is shown."""
    parser.add_argument("old", metavar="OLD", help="a golden fixture or any other log; the LOG of two runs")
    parser.add_argument("new", metavar="NEW", help="the log to compare with it; or the older RUN of the log")
    parser.add_argument("run_id", metavar="RUN", nargs="?", help="the newer run of the log")
    parser.add_argument(
        "-U",
        "--unified",
        metavar="LINES",
        type=int,
        default=3,
        help="how many equal lines to show around what differs (3)",
    )


async def run(arguments: argparse.Namespace) -> int:
    """Print the diff."""
    from difflib import unified_diff

    names, texts = await (_of_two_logs(arguments) if arguments.run_id is None else _of_two_runs(arguments))
    old, new = (text.splitlines() for text in texts)
    different = False
    for line in unified_diff(old, new, *names, n=arguments.unified, lineterm=""):
        different = True
        print(coloured(line, _COLOURS[line[0]]) if line[:1] in _COLOURS else line)
    return int(different)


_Sides = tuple[tuple[str, str], tuple[str, str]]
"""What the two are called, and their texts."""


async def _of_two_logs(arguments: argparse.Namespace) -> _Sides:
    from starling.cli._logs import shown
    from starling.cli._runs import recorded_runs, runs_of_log

    names = (arguments.old, arguments.new)
    old, new = map(recorded_runs, names)
    if bool(old[0]) != bool(new[0]):  # one is a fixture: what only fixtures know is no difference
        old, new = (("", runs_of_log(name)) for name in names)
    return (shown(names[0]), shown(names[1])), (await _whole(*old), await _whole(*new))


async def _whole(test_id: str, runs: AsyncIterator[RecordedRun]) -> str:
    from starling.cli._textconv import parts

    return "".join([part async for part in parts(test_id, runs)])


async def _of_two_runs(arguments: argparse.Namespace) -> _Sides:
    from starling.cli._runs import named_runs
    from starling.replay import transcript

    old, new = await named_runs(arguments.old, (arguments.new, arguments.run_id))
    return (old.label, new.label), (transcript(old.events), transcript(new.events))
