"""Where the environment stopped a recorded run: cancelled, out of time, or cut by a crash. A replay stops too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.event import BudgetExceeded, RunCancelled, RunCompleted, RunFailed, RunResumed
from starling.step import _texts

if TYPE_CHECKING:
    from starling.event import Payload

__all__ = ["Interruption", "cuts_short", "ends_part"]


class Interruption(BaseException):
    """The recording shows that the environment ended or cut the run here: cancelled, out of time, or crashed.

    Not an `Exception`: tools and user code must not catch it by accident. ``payload`` is the recorded event.
    """

    def __init__(self, payload: Payload) -> None:
        super().__init__(payload)
        self.payload = payload


def cuts_short(recorded: Payload | None) -> bool:
    """Whether this recorded event is how the environment ended the run, or this process's part of it."""
    if not isinstance(recorded, _MAY_CUT_SHORT):
        return False
    match recorded:
        case BudgetExceeded(limit=limit):
            return limit == "wall_clock"
        case RunCancelled(reason=reason):
            return not _texts.is_interruption(reason)  # code raised that, and is to raise it again
        case _:
            return True


_MAY_CUT_SHORT = (BudgetExceeded, RunCancelled, RunResumed)
_TERMINAL = (RunCompleted, RunFailed, RunCancelled)


def ends_part(recorded: Payload) -> bool:
    """Whether this event ends the run, or what one process did of it."""
    return isinstance(recorded, _TERMINAL) or cuts_short(recorded)
