"""The ambient session of mode ``tail``: records a process anew, with the model's answers of its last recording.

Strategy: a recording session whose runs are given their recorded counterparts, found as a replay finds them. How long a
run keeps to its counterpart is the run's business (`starling.step._tail`); runs do not depend on each other, except on
the tool call that starts them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starling.errors import NondeterminismError
from starling.event import Kind
from starling.replay._recording_session import RecordingSession
from starling.replay._replaying_session import ReplayingSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.ambient import KeptRun, ReplayOptions, RunIntent
    from starling.event import Event
    from starling.fixture import FixtureRun
    from starling.replay._recording_session import Recorder
    from starling.replay._undeclared import UndeclaredCalls

__all__ = ["TailSession"]


class TailSession(RecordingSession):
    """Records every run anew, and answers it from its recording up to the first difference.

    Until then a run costs no tokens, has no effects and needs no key. Tools run, as on replay; what the environment did
    to the recorded run (failures of the provider, timeouts, cancellations) happens again.

    Args:
        runs: what was recorded. options: how to compare. A tool with the policy ``run`` is compared here, since what it
            returns today is recorded. watcher: as for `RecordingSession`.

    Raises:
        LogCorruptError: one of the runs is damaged, cut short, or none. SchemaVersionMismatchError: or too new.

    Attributes:
        turns_kept: how many of the model calls of `runs` the recording has answered.
    """

    keyless = True

    def __init__(
        self,
        runs: Iterable[FixtureRun],
        options: ReplayOptions | None = None,
        watcher: UndeclaredCalls | None = None,
    ) -> None:
        super().__init__(watcher)
        self.turns_kept = 0
        self._recorded = ReplayingSession(runs, options)

    def begin(self, intent: RunIntent) -> Recorder:
        """Make room for a run, and find its counterpart."""
        kept = self._counterpart(intent)
        recorder = super().begin(intent)
        recorder.kept = kept
        return recorder

    def ended(self, kept: KeptRun | None) -> None:
        """A run is over."""
        if isinstance(kept, _Kept):
            self._recorded.end(kept.run)

    @property
    def turns(self) -> int:
        """How many model calls the runs have made, answered by the recording or not."""
        return sum(event.kind is Kind.TurnStarted for run in self.runs for event in run.events)

    def count(self, turns: int) -> None:
        """The recording has answered so many more model calls."""
        with self._lock:
            self.turns_kept += turns

    def _counterpart(self, intent: RunIntent) -> _Kept | None:
        """The recorded run in place of which one begins; an effect that is carried out has none."""
        resumed, parent = self._today(intent.resumes), self._today(intent.parent_run_id)
        if intent.parent_effect or any(one is not None and one.kept is None for one in (resumed, parent)):
            return None
        as_recorded = replace(
            intent,
            resumes=_recorded_id(resumed, intent.resumes),
            parent_run_id=_recorded_id(parent, intent.parent_run_id),
        )
        try:
            run = self._recorded.begin(as_recorded).run
        except NondeterminismError:
            return None
        known = None if resumed is None else resumed.kept
        return known if isinstance(known, _Kept) else _Kept(run=run, session=self)

    def _today(self, run_id: str) -> Recorder | None:
        """The run of this session that has this id; None if the test has brought it along."""
        return next((one for one in self._recorders if run_id and one.run_id == run_id), None)


def _recorded_id(recorder: Recorder | None, otherwise: str) -> str:
    """The id under which a run was recorded that has another one today."""
    return otherwise if recorder is None or recorder.kept is None else recorder.kept.events[0].run_id


@dataclass(slots=True, kw_only=True, eq=False)
class _Kept:
    """A recorded run that answers a live one; see `starling.ambient.KeptRun`."""

    run: FixtureRun
    session: TailSession
    reached: int = 0

    @property
    def events(self) -> Sequence[Event]:
        return self.run.events

    @property
    def options(self) -> ReplayOptions:
        return self.session._recorded.options

    def skipped(self, call_id: str, before: int | None) -> None:
        self.session._recorded.skip(self.run.run_id, call_id, before)

    def answered(self, turns: int) -> None:
        self.session.count(turns)
