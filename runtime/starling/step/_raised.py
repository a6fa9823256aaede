"""What made a tool fail today, for whoever has to mend it: the class, the text and the line, but not the exception.

An exception holds its traceback, and that the frames of the user's code with all their variables; a divergence is kept
for longer than those should live.
"""

from __future__ import annotations

import os
import sysconfig
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Raised", "raised_by"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An exception, described.

    Attributes:
        type: the name of its class. text: what it says.
        file, line, function: the innermost place of the user's own code; empty and 0 if none was on the way.
    """

    type: str
    text: str = ""
    file: str = ""
    line: int = 0
    function: str = ""

    def __str__(self) -> str:
        said = f"{self.type}: {self.text}" if self.text else self.type
        return f"{said} ({self.file}:{self.line}, in {self.function})" if self.file else said


def raised_by(error: BaseException, *, text: str = "") -> Raised:
    """Where an exception comes from. What may be shown of its text a redaction says, so the caller gives that."""
    name = type(error).__qualname__.rpartition("<locals>.")[2]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if _is_users(frame.f_code.co_filename):
            return Raised(type=name, text=text, file=frame.f_code.co_filename, line=line, function=frame.f_code.co_name)
    return Raised(type=name, text=text)


@cache
def _is_users(file: str) -> bool:
    """Whether a file is neither ours, nor Python's own, nor installed, nor generated."""
    folders = (_OURS, *map(Path, map(sysconfig.get_path, _SCHEMES)))
    return os.path.isabs(file) and not any(Path(file).is_relative_to(folder) for folder in folders)  # noqa: PTH117


_OURS = Path(__file__).parents[1]
_SCHEMES = ("stdlib", "platstdlib", "purelib", "platlib")
