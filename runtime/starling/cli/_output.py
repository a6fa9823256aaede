"""What commands print: tables, JSON lines, colours on a terminal, and how far long work has come."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from starling.eventlog import RunSummary

__all__ = [
    "Progress",
    "add_json",
    "add_progress",
    "as_time",
    "coloured",
    "complain",
    "count",
    "duration",
    "of_summary",
    "print_json",
    "print_table",
    "printable",
    "status",
]

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1"}
_REDRAW_S = 0.1
_CLEAR_LINE = "\r\x1b[K"


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help=f"print {what}, for scripts")


def add_progress(parser: argparse.ArgumentParser) -> None:
    """``--progress`` and ``--no-progress``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--progress",
        action="store_true",
        default=None,
        help="say on stderr how far it has come (otherwise only on a terminal)",
    )
    group.add_argument("--no-progress", action="store_false", dest="progress", help="never say so")


def print_json(value: Mapping[str, Any], *, indent: int | None = None) -> None:
    """One object, on one line unless it is indented. What would steer a terminal is escaped, as JSON has it."""
    separators = None if indent else (",", ":")
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=str)
    print("\n".join(map(_printable_json, text.split("\n"))))


def printable(text: str) -> str:
    """The text with escapes for what would steer a terminal; line breaks among it."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _printable_json(line: str) -> str:
    """A line of JSON with JSON's escapes. What is not printable stands in strings alone."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def complain(command: str, error: Exception) -> None:
    """What is wrong, on stderr, behind whatever was printed before."""
    sys.stdout.flush()
    text = "\n".join(map(printable, str(error).splitlines()))
    print(f"starling {command}: {text}", file=sys.stderr)


def coloured(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text in a colour, if the stream (stdout) is a terminal and nobody objects (https://no-color.org)."""
    out = stream or sys.stdout
    wanted = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if wanted else text


def count(number: int, noun: str) -> str:
    """``1 run``, ``1,234 runs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def as_time(when: datetime) -> str:
    """UTC, to the millisecond: what is written into tickets must not depend on where somebody sat."""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(milliseconds: int) -> str:
    """``850ms``, ``12.3s``, ``4m05s``, ``2h00m``."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def status(run: RunSummary) -> str:
    """How a run stands, as ``--status`` takes it."""
    return "in progress" if run.terminal_kind is None else run.terminal_kind.name.removeprefix("Run").lower()


def of_summary(run: RunSummary) -> dict[str, Any]:
    """A run in a listing, for JSON."""
    return {
        "run_id": run.run_id,
        "started_at": as_time(run.started_at),
        "status": status(run),
        "events": run.last_seq,
        "turns": run.turn_count,
        "tool_calls": run.tool_call_count,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cost_usd": run.cost_usd,
        "duration_ms": run.duration_ms,
    }


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset(), go_on: bool = False
) -> None:
    """Columns two spaces apart, as wide as they must be; those in ``right`` end together.

    Args:
        go_on: whether the head was printed before, with other rows.
    """
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        sides = enumerate(zip(row, widths, strict=True))
        line = "  ".join(f"{cell:>{width}}" if at in right else f"{cell:<{width}}" for at, (cell, width) in sides)
        if number or not go_on:
            print(line.rstrip() if number else coloured(line.rstrip(), "bold"))


class Progress:
    """How far long work has come, on one line of stderr that goes away when it is done.

    Args:
        wanted: whether to show it; None for where stderr is a terminal.
    """

    def __init__(self, wanted: bool | None) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shows = self._is_terminal if wanted is None else wanted
        self._next = 0.0
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn and self._is_terminal:
            print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def at(self, text: str) -> None:
        """Say where the work stands, now and then."""
        if self._shows and time.monotonic() >= self._next:
            self._next = time.monotonic() + (_REDRAW_S if self._is_terminal else 1.0)
            self._drawn = True
            line = f"{_CLEAR_LINE}{printable(text)}" if self._is_terminal else f"{printable(text)}\n"
            print(line, end="", file=sys.stderr, flush=True)
