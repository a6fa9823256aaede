"""A golden failure as pytest shows any other: the user's own frames, then lines marked ``E``.

Only the text in place of the exception's is ours, so that its first line is what short summaries, ``--tb=line``, JUnit
files and annotations show. The pieces are pytest's classes, because xdist can carry no others.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest
    from _pytest._code.code import ReprEntry, ReprExceptionInfo, ReprFileLocation
    from _pytest._io import TerminalWriter

    from pytest_starling._failure import Failure

__all__ = ["representation", "without_frames"]

_MARKER = "E   "
_DIFF_LINE = re.compile(r"E {11}(?:(-)|\+) ")
"""A line of a text's diff; see `starling.explain`. Values never begin a line, so nothing else looks like it."""


def representation(
    item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], failure: Failure
) -> ReprExceptionInfo:
    """What is shown of a failure that an exception has brought up."""
    from _pytest._code.code import ReprExceptionInfo, ReprFileLocation

    from pytest_starling._callers import is_users

    excinfo = _of_one(excinfo)
    own = item._traceback_filter(excinfo).filter(lambda entry: is_users(str(entry.path)))
    if not own:
        return without_frames(item, failure)
    crash = ReprFileLocation(str(own[-1].path), own[-1].lineno + 1, failure.headline)
    style = item.config.getoption("tbstyle", "auto")
    if style == "line":
        return _headline(failure, crash)
    shown: Any = excinfo.getrepr(
        style="long" if style in ("auto", "long") else "short",
        showlocals=item.config.getoption("showlocals", False),
        tbfilter=lambda _: own,
        chain=False,
        abspath=Path.cwd() != item.config.invocation_params.dir,
    )
    last = shown.reprtraceback.reprentries[-1]
    source = [line for line in last.lines if not line.startswith(_MARKER)]
    shown.reprtraceback.reprentries[-1] = _coloured_entry()(
        [*source, *_marked(failure)], last.reprfuncargs, last.reprlocals, last.reprfileloc, last.style
    )
    return ReprExceptionInfo(reprcrash=crash, reprtraceback=shown.reprtraceback)


def _of_one(excinfo: pytest.ExceptionInfo[BaseException]) -> pytest.ExceptionInfo[BaseException]:
    """The first exception of a group, raised where the group was: pytest shows groups in a form of their own."""
    error = excinfo.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return excinfo if error is excinfo.value else type(excinfo).from_exc_info((type(error), error, excinfo.tb))


def without_frames(item: pytest.Item, failure: Failure) -> ReprExceptionInfo:
    """What is shown of a failure that no code of the user's has brought up."""
    from _pytest._code.code import ReprExceptionInfo, ReprFileLocation, ReprTraceback

    path, line, _ = item.location
    crash = ReprFileLocation(path, (line or 0) + 1, failure.headline)
    if item.config.getoption("tbstyle", "auto") == "line":
        return _headline(failure, crash)
    shown_at = ReprFileLocation(path, (line or 0) + 1, "golden run")
    entry = _coloured_entry()(_marked(failure), None, None, shown_at, "long")
    return ReprExceptionInfo(reprcrash=crash, reprtraceback=ReprTraceback([entry], None, "long"))


def _headline(failure: Failure, crash: ReprFileLocation) -> ReprExceptionInfo:
    """With ``--tb=line`` pytest shows what was raised and adds where, and of us a line is wanted, too."""
    from _pytest._code.code import ReprExceptionInfo, ReprTraceback

    entry = _coloured_entry()([f"{_MARKER}{failure.headline}"], None, None, None, "value")
    return ReprExceptionInfo(reprcrash=crash, reprtraceback=ReprTraceback([entry], None, "value"))


def _marked(failure: Failure) -> list[str]:
    return [f"{_MARKER}{line}".rstrip() if index else f"{_MARKER}{line}" for index, line in enumerate(failure.lines)]


@cache
def _coloured_entry() -> type[ReprEntry]:
    """An entry with the colours of a diff. Its class has the name by which xdist carries pytest's own."""
    from _pytest._code import code

    class ReprEntry(code.ReprEntry):
        def _write_entry_lines(self, tw: TerminalWriter) -> None:
            first = next((at for at, line in enumerate(self.lines) if line.startswith(_MARKER)), len(self.lines))
            source = self.lines[:first]
            tw._write_source([line[len(_MARKER) :] for line in source], [line[: len(_MARKER)] for line in source])
            for line in self.lines[first:]:
                diff = _DIFF_LINE.match(line)
                if diff is None:
                    tw.line(line, bold=True, red=True)
                else:
                    tw.line(line, red=bool(diff[1]), green=not diff[1])

    return ReprEntry
