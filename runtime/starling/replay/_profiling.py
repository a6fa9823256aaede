"""Seeing calls with a profile function: the only way before Python 3.12.

Strategy: the function is there only while a run is recorded: in the threads that record, and in those that start
meanwhile. Where another profiler works already, it stays, and calls are not seen.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from starling.replay._audience import Audience

__all__ = ["Profiling"]


class Profiling:
    """The profile function of all threads, and how many runs want it in each."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._profile = _profile(audience)
        self._here = _Here()

    def follow(self) -> None:
        """See what the audience wants to hear of in threads that start from now on."""
        wanted = self._profile if self._audience.watchers else None
        if threading.getprofile() in {None, self._profile}:
            threading.setprofile(wanted)

    @contextmanager
    def thread(self) -> Iterator[None]:
        """See the calls of this thread until the block ends."""
        here = self._here.blocks
        here.append(None)
        if sys.getprofile() is None:
            sys.setprofile(self._profile)
        try:
            yield
        finally:
            here.pop()
            self._withdraw(here)

    def _withdraw(self, here: list[None]) -> None:
        """Take the function away, unless a run overlaps. A forgotten one may be closed in some other thread."""
        if not here and here is self._here.blocks and sys.getprofile() is self._profile:
            sys.setprofile(None)


class _Here(threading.local):
    """One entry for each run that is being recorded in the thread."""

    def __init__(self) -> None:
        self.blocks: list[None] = []


def _profile(audience: Audience) -> Callable[[FrameType, str, Any], None]:
    """The profile function. It is called for everything, so that the order of its questions is what it costs."""

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            if id(frame.f_code) in audience.codes:
                audience.entered(frame)
            elif not audience.watchers and sys.getprofile() is profile:
                sys.setprofile(None)  # a thread that a tool has started, or one whose run was closed elsewhere
        elif event == "c_call" and function.__name__ in audience.names and audience.hears(frame.f_code.co_filename):
            audience.called(function, frame)

    return profile
