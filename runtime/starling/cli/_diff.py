"""``starling diff``: what differs between two recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["DESCRIPTION", "SUMMARY", "add_arguments", "run"]

SUMMARY = "show what differs between two recordings"
DESCRIPTION = """\
Show what differs between two golden fixtures or SQLite event logs, run by run in the order in which they began: the
texts of `starling textconv` as a line diff. What changes at every recording is not compared.

Exit code 0: nothing differs; 1: something does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two files, and how much of what is equal is shown."""
    parser.add_argument("old", metavar="OLD", type=Path, help="a golden fixture or a SQLite event log")
    parser.add_argument("new", metavar="NEW", type=Path, help="the one to compare with it")
    parser.add_argument(
        "-U",
        "--unified",
        metavar="LINES",
        type=int,
        default=3,
        help="how many equal lines to show around what differs (3)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the diff."""
    import sys
    from difflib import unified_diff

    from starling.cli._textconv import text_of

    old, new = (text_of(path).splitlines() for path in (arguments.old, arguments.new))
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    different = False
    for line in unified_diff(old, new, str(arguments.old), str(arguments.new), n=arguments.unified, lineterm=""):
        different = True
        print(line)
    return int(different)
