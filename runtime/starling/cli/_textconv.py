"""``starling textconv``: a recording as text, for ``git diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from starling.cli._runs import RecordedRun

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "parts", "run"]

SUMMARY = "print a recording as text, for git diff"
DESCRIPTION = """\
Print what a golden fixture (or any other log) holds, as text made for line diffs: goal, prompt, tools, what the model
said and called, what the tools returned, how it ended. What changes at every recording (ids, times, durations, token
counts, costs, hashes) is left out.

git calls this once `starling git-setup` has been run; `git diff` and `git log -p` then show what changed in a
recording."""
EXAMPLES = ("starling textconv testdata/golden/test_shop/test_tea_is_in_stock.db",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("file", metavar="FILE", help="a golden fixture, or any other log")


async def run(arguments: argparse.Namespace) -> int:
    """Print the text. A file that cannot be read is said so in the text: git would show nothing else of the diff."""
    from starling.cli._runs import recorded_runs
    from starling.errors import LogError

    try:
        async for part in parts(*recorded_runs(arguments.file)):
            print(part, end="")
    except LogError as error:
        print(f"not readable: {error}")
    return 0


async def parts(test_id: str, runs: AsyncIterator[RecordedRun]) -> AsyncIterator[str]:
    """The text of what `starling.cli._runs.recorded_runs` gives, one run at a time.

    Raises:
        LogError: the log cannot be read.
    """
    if test_id:
        yield f"{test_id}\n"
    async for one in runs:
        yield _text(one)


def _text(run: RecordedRun) -> str:
    from starling.replay import transcript

    return f"\n# {run.label}\n{transcript(run.events)}\n"
