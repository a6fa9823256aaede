"""``starling textconv``: a recording as text, for ``git diff``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import argparse

    from starling.cli._runs import RecordedRun

__all__ = ["DESCRIPTION", "SUMMARY", "add_arguments", "run", "text_of", "write"]

SUMMARY = "print a recording as text, for git diff"
DESCRIPTION = """\
Print what a golden fixture (or any SQLite event log) holds, as text made for line diffs: goal, prompt, tools, what the
model said and called, what the tools returned, how it ended. What changes at every recording (ids, times, durations,
token counts, costs, hashes) is left out.

git calls this once `starling git-setup` has been run; `git diff` and `git log -p` then show what changed in a
recording."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a golden fixture or a SQLite event log")


def run(arguments: argparse.Namespace) -> int:
    """Print the text. A file that cannot be read is said so in the text: git would show nothing else of the diff."""
    from starling.errors import LogError

    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        write(arguments.file, sys.stdout)
    except LogError as error:
        print(f"not readable: {error}")
    return 0


def write(path: Path, out: TextIO) -> None:
    """Write the text of a file, one run at a time.

    Raises:
        LogError: there is no log in it.
    """
    from starling.cli._runs import recorded_runs

    test_id, runs = recorded_runs(path)
    if test_id:
        out.write(f"{test_id}\n")
    out.writelines(map(_text, runs))


def text_of(path: Path) -> str:
    """The text of a file's runs.

    Raises:
        LogError: there is no log in it.
    """
    from starling.cli._runs import recorded_runs

    _, runs = recorded_runs(path)
    return "".join(map(_text, runs))


def _text(run: RecordedRun) -> str:
    from starling.replay import transcript

    return f"\n# {run.label}\n{transcript(run.events)}\n"
