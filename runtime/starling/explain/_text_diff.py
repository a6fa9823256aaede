"""Two long texts → the lines that differ, bounded in size and in time. Pure.

`difflib` takes quadratic time, so it is given windows: a few hundred lines of either text from the first pair that
differs, then again from where those were equal once more. Nothing is compared beyond what can be shown.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from starling.explain._values import SHORT, first_difference, printable, was_cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starling.explain._values import Limits

__all__ = ["changed_bytes", "changed_text", "leaves_out"]

_LEAD = 30
"""Characters shown before the first difference of two long lines."""
_POPULAR_FROM = 200
"""Lines from which `difflib` may pass over the ones that are frequent, which make it slow."""
_BYTES_SHOWN = 8

_LEFT_OUT = re.compile(r"[-+ ] … (and more: |\d+ more lines?\Z)")

_Hunk = tuple[int, int, int, int]
"""Lines that differ: from and to in the old text, from and to in the new one."""


def changed_text(recorded: str, produced: str, limits: Limits = SHORT) -> list[str]:
    """Two texts as a line diff around what differs: ``- `` recorded, ``+ `` produced."""
    old, new = recorded.splitlines(), produced.splitlines()
    if old == new:  # what differs is how lines end
        old, new = _with_ends(recorded), _with_ends(produced)
    lines: list[str] = []
    done, spent = 0, 0
    for start, end, new_start, new_end in _hunks(old, new, limits.compared):
        room = limits.lines - len(lines)
        if room <= 0 or spent > limits.total:
            return [
                *lines,
                f"  … and more: {len(old) - done} recorded and {len(new) - new_start} produced lines follow",
            ]
        lines += _between(old[done:start], limits, first=not lines)
        hunk = _hunk(old[start:end], new[new_start:new_end], room, limits)
        lines += hunk
        done, spent = end, spent + sum(map(len, hunk))
    return [*lines, *(_cut(f"  {line}", limits) for line in old[done : done + limits.context])]


def changed_bytes(recorded: bytes, produced: bytes) -> str:
    """Two binary values around their first difference, on one line."""
    at = first_difference(recorded.decode("latin-1"), produced.decode("latin-1"))
    old, new = (value[at : at + _BYTES_SHOWN].hex() or "(end)" for value in (recorded, produced))
    return f"{len(recorded)} → {len(produced)} bytes, from byte {at} on: {old} → {new}"


def leaves_out(line: str) -> bool:
    """Whether something that differs is missing on a line of `changed_text`, or behind it."""
    return was_cut(line) or _LEFT_OUT.match(line) is not None


def _hunks(old: Sequence[str], new: Sequence[str], window: int) -> Iterator[_Hunk]:
    """What differs, from the beginning on; found when asked for."""
    from difflib import SequenceMatcher

    tail = _equal_at_the_end(old, new)
    ends = len(old) - tail, len(new) - tail
    at, new_at = 0, 0
    while True:
        equal = _equal_from(old, new, at, new_at, ends)
        at, new_at = at + equal, new_at + equal
        if at >= ends[0] and new_at >= ends[1]:
            return
        one, other = old[at : min(at + window, ends[0])], new[new_at : min(new_at + window, ends[1])]
        crowded = len(other) >= _POPULAR_FROM
        codes: Sequence[tuple[str, int, int, int, int]] = SequenceMatcher(
            None, one, other, autojunk=crowded
        ).get_opcodes()
        if at + window < ends[0] or new_at + window < ends[1]:
            codes = _up_to_last_equal(codes)
        yield from ((at + a, at + b, new_at + c, new_at + d) for tag, a, b, c, d in codes if tag != "equal")
        at, new_at = at + codes[-1][2], new_at + codes[-1][4]


def _up_to_last_equal(codes: Sequence[tuple[str, int, int, int, int]]) -> Sequence[tuple[str, int, int, int, int]]:
    """Without what stands at the edge of a window: the next one looks at it again, and further."""
    last = max((index for index, code in enumerate(codes) if code[0] == "equal"), default=len(codes) - 1)
    return codes[: last + 1]


def _equal_from(old: Sequence[str], new: Sequence[str], at: int, new_at: int, ends: tuple[int, int]) -> int:
    count = min(ends[0] - at, ends[1] - new_at)
    return next((index for index in range(count) if old[at + index] != new[new_at + index]), count)


def _equal_at_the_end(old: Sequence[str], new: Sequence[str]) -> int:
    shorter = min(len(old), len(new))
    return next((index for index in range(shorter) if old[-1 - index] != new[-1 - index]), shorter)


def _between(equal: Sequence[str], limits: Limits, *, first: bool) -> list[str]:
    """The equal lines before a hunk: those beside it and beside the one before, and how many are left out."""
    after, before = (0 if first else limits.context), limits.context
    left_out = len(equal) - after - before
    if left_out <= 1:
        return [_cut(f"  {line}", limits) for line in equal]
    shown = [_cut(f"  {line}", limits) for line in (*equal[:after], *equal[len(equal) - before :])]
    return [*shown[:after], f"  … {left_out} equal lines", *shown[after:]]


def _hunk(old: Sequence[str], new: Sequence[str], room: int, limits: Limits) -> list[str]:
    """Changed lines, as many of both sides as there is room for."""
    most_old = max(room // 2, room - len(new))
    most_new = max(room // 2, room - len(old))
    starts = [_start(one, other, limits) for one, other in zip(old[:most_old], new[:most_new], strict=False)]
    return [*_side("- ", old, most_old, starts, limits), *_side("+ ", new, most_new, starts, limits)]


def _side(sign: str, lines: Sequence[str], most: int, starts: Sequence[int], limits: Limits) -> list[str]:
    shown = [
        _cut(f"{sign}{'…' if start else ''}{line[start:]}", limits)
        for line, start in zip(lines[:most], (*starts, *[0] * most), strict=False)
    ]
    more = len(lines) - len(shown)
    return [*shown, f"{sign}… {more} more line{'' if more == 1 else 's'}"] if more else shown


def _start(old: str, new: str, limits: Limits) -> int:
    """From where on two lines are shown, so that what differs is to be seen."""
    if max(len(old), len(new)) <= limits.line:
        return 0
    return max(0, first_difference(old, new) - _LEAD)


def _with_ends(text: str) -> list[str]:
    """The lines of a text with what ends each of them, to be seen."""
    return [
        f"{line}{json.dumps(whole[len(line) :])[1:-1]}"
        for whole, line in zip(text.splitlines(keepends=True), text.splitlines(), strict=True)
    ]


def _cut(line: str, limits: Limits) -> str:
    line = printable(line[: limits.line + 1])
    return line if len(line) <= limits.line else f"{line[: limits.line - 1]}…"
