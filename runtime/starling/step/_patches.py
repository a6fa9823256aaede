"""Changing a tool without recording again: `patched` tells recordings that predate a change from those that do not.

    if step.patched("polite-greeting"):
        greeting = await step.side_effect("greet politely", polite)
    else:
        greeting = await step.side_effect("greet", plain)

New runs take the new way and say so in their log (a SideEffectRecorded `starling/patch:<id>`, once a tool call).
Recordings without that mark predate the change and are replayed on the old way. Once no recording needs the old way, it
goes, and `deprecate_patch` takes the place of `patched`; once no recording has the mark, that goes as well.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starling import ambient
from starling._cbor import written
from starling.errors import StepContextError
from starling.step._frame import current_frame
from starling.step._served import PATCH

if TYPE_CHECKING:
    from starling.step._frame import Frame

__all__ = ["deprecate_patch", "mark_of", "patched"]


def mark_of(patch_id: str) -> str:
    """The name of the effect that marks what was recorded with a patch."""
    return f"{PATCH}{patch_id}"


def patched(patch_id: str) -> bool:
    """Whether to take the new way: True in new runs, False where the run that is replayed predates this patch.

    A call that is reissued after a crash takes the way of the call that it stands in for.

    Args:
        patch_id: names the change. Use each id for one change only.

    Raises:
        StepContextError: no run is active here, or a side effect is.
    """
    frame = _frame("patched")
    name = mark_of(_checked(patch_id))
    answer, is_new = frame.way(name, lambda: frame.run.journal.patched(frame, name))
    if is_new:
        _report(frame, patch_id, deprecated=False, needed=not answer)
    return answer


def deprecate_patch(patch_id: str) -> None:
    """Accept the mark that `patched` has left in recordings, where its old way is gone from the code.

    Raises:
        StepContextError: no run is active here, or a side effect is.
    """
    frame = _frame("deprecate_patch")
    name = mark_of(_checked(patch_id))
    marked, is_new = frame.way(name, lambda: frame.run.journal.drop_patch(frame, name))
    if is_new:
        _report(frame, patch_id, deprecated=True, needed=marked)


def _frame(what: str) -> Frame:
    frame = current_frame(what)
    if frame is None:
        raise StepContextError(f"step.{what} inside a side effect cannot be recorded; ask before the effect")
    return frame


def _checked(patch_id: str) -> str:
    if not isinstance(patch_id, str) or not patch_id:
        raise TypeError(f"a patch is named by a text that is not empty, got {patch_id!r}")
    return written(patch_id)


def _report(frame: Frame, patch_id: str, *, deprecated: bool, needed: bool) -> None:
    """Tell the replaying session, which can say what no recording needs any more."""
    session = ambient.active()
    if frame.run.journal.replaying and session is not None and session.replaying:
        caller = sys._getframe(2)  # the code that asked `patched` or `deprecate_patch`
        file = caller.f_code.co_filename
        where = "" if _is_pythons(file) else f"{file}:{caller.f_lineno}"
        session.patch_used(ambient.PatchUse(patch_id=patch_id, where=where, deprecated=deprecated, needed=needed))


@cache
def _is_pythons(file: str) -> bool:
    """Whether a file is Python's own, as that of a thread is which was told to ask; not one that is installed there."""
    path, inside = Path(file), map(sysconfig.get_path, ("stdlib", "platstdlib"))
    return any(map(path.is_relative_to, inside)) and "site-packages" not in path.parts
