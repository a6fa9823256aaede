"""The ambient session that records: it keeps what every run of the process does."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starling import _watching
from starling.fixture import FixtureRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from starling.ambient import KeptRun, PatchUse, RunIntent
    from starling.errors import LiveCallError
    from starling.event import Event
    from starling.provider import Provider, Request
    from starling.replay._undeclared import UndeclaredCall, UndeclaredCalls

__all__ = ["Recorder", "RecordingSession"]


class RecordingSession:
    """Keeps a copy of every run that is made while it is active.

    Args:
        watcher: finds what the runs' own code uses past `starling.step`; None looks for nothing.
        stand_in: given an agent's provider, what answers in its place; None for the provider itself.

    Attributes:
        requests: by turn, what code (and not an agent's loop) asked a model. The runs hold but hashes of it.
    """

    replaying = False

    def __init__(
        self, watcher: UndeclaredCalls | None = None, stand_in: Callable[[Provider], Provider] | None = None
    ) -> None:
        self.stand_in = stand_in
        self.requests: dict[str, Request] = {}
        self._watcher = watcher
        self._lock = threading.Lock()
        self._ticks = itertools.count(1)
        self._void: list[int] = []
        self._recorders: list[Recorder] = []

    def begin(self, intent: RunIntent) -> Recorder:
        """Make room for a run; one that is resumed goes on where it was kept, or begins with what it had come to."""
        with self._lock:
            recorder = next((known for known in self._recorders if known.run_id == intent.resumes != ""), None)
            if recorder is None:
                recorder = Recorder(self, intent, next(self._ticks))
                self._recorders.append(recorder)
            if intent.resumes:
                recorder.events[:] = intent.events  # the log knows best: what failed may have arrived all the same
        return recorder

    def ended(self, kept: KeptRun | None) -> None:
        """A run is over, which ``kept`` has answered as far as possible."""

    def refused(self, error: LiveCallError) -> None:
        """Never happens while recording."""

    def patch_used(self, use: PatchUse) -> None:
        """Of no interest while recording: a new run takes every new way."""

    def tick(self, instead_of: int = 0) -> int:
        """The next instant on the session's own clock.

        Args:
            instead_of: an instant that means nothing any more, and is not counted among those of `runs`.
        """
        with self._lock:
            if instead_of:
                self._void.append(instead_of)
            return next(self._ticks)

    def counted(self, instant: int) -> int:
        """The number of an instant among those that mean something: what ended, or began, is numbered without gaps."""
        return instant - sum(void < instant for void in self._void)

    @contextmanager
    def watching(self, intent: RunIntent) -> Iterator[None]:
        """Have the code of a run looked at; one inside another is looked at as that is, and not inside an effect."""
        watcher: _watching.Watcher | None = self._watcher
        if intent.parent_run_id:
            watcher = None if intent.parent_effect else _watching.watcher()
        with _watching.watched_by(watcher), _watching.watched_thread():
            yield

    def close(self) -> None:
        """Look no more at what code calls. A run that still goes on does so unobserved; what was found stays."""
        if self._watcher:
            self._watcher.close()

    @property
    def undeclared(self) -> tuple[UndeclaredCall, ...]:
        """What the watcher has found so far."""
        return self._watcher.found if self._watcher else ()

    @property
    def runs(self) -> tuple[FixtureRun, ...]:
        """The runs that wrote anything, in the order in which they were made."""
        return tuple(recorder.run for recorder in self._recorders if recorder.events)


@dataclass(slots=True, eq=False)
class Recorder:
    session: RecordingSession
    intent: RunIntent
    began: int
    finished: int = 0
    events: list[Event] = field(default_factory=list)
    kept: KeptRun | None = None

    def committed(self, events: Sequence[Event]) -> None:
        self.events.extend(events)

    def provider(self, own: Provider) -> Provider:
        return own if self.session.stand_in is None else self.session.stand_in(own)

    def asked(self, turn_id: str, request: Request) -> None:
        self.session.requests[turn_id] = request

    def watching(self) -> AbstractContextManager[None]:
        return self.session.watching(self.intent)

    def ended(self) -> None:
        self.finished = self.session.tick(instead_of=self.finished)
        self.session.ended(self.kept)

    @property
    def run_id(self) -> str:
        return self.events[0].run_id if self.events else ""

    @property
    def run(self) -> FixtureRun:
        return FixtureRun(
            run_id=self.run_id,
            events=tuple(self.events),
            parent_run_id=self.intent.parent_run_id,
            parent_call_id=self.intent.parent_call_id,
            parent_effect=self.intent.parent_effect,
            began=self.session.counted(self.began),
            ended=self.session.counted(self.finished),
        )
