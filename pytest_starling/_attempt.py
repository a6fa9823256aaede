"""One run of a golden test, recording or replaying: what stands open meanwhile, and what it comes to.

Everything that an attempt changes in the process (the runtime's slot, one environment variable) hangs on one exit
stack, which `close` unwinds however the run ended. `_phases` opens, judges and closes it.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling import _doubts, _failure, _nondeterminism, _variable
from pytest_starling._guard import Guard
from pytest_starling._marker import configured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_starling._failure import Failure
    from pytest_starling._marker import GoldenMark
    from pytest_starling._session import GoldenItem
    from starling.replay import Fixture, FixtureRun, PatchUse, UndeclaredCall

__all__ = ["Attempt"]


class Attempt:
    """A run of a golden test, with its session in the runtime's slot until it is closed.

    Attributes:
        fixture: what is replayed; None while recording, or where it cannot be used.
        problem: why nothing can be replayed, or recorded. A failure of the test once it asks for a run.
        failure: why the test fails, once that is known.
        broken_setup: a fixture of the test could not be made, because it asked for a run in vain.
        divergences: all that were found, the first cause first.
    """

    def __init__(self, golden: GoldenItem) -> None:
        from starling.ambient import activate

        self.golden = golden
        self.replaying = golden.kind == "replay"
        self.trial = golden.trial
        self.guard = Guard(replaying=self.replaying)
        self.fixture: Fixture | None = None
        self.problem: Failure | None = None
        self.failure: Failure | None = None
        self.body_passed = False
        self.broken_setup = False
        self._stack = ExitStack()
        with ExitStack() as opening:
            opening.enter_context(_variable.set_to(_variable.ACTIVE if self.replaying else None))
            opening.enter_context(activate(self.guard))
            self._stack = opening.pop_all()

    def close(self) -> None:
        """Take the session out of the slot, and give the environment back. Idempotent."""
        self._stack.close()

    # --- the session

    def load(self, folder: Path, defaults: object) -> None:
        """Find out what is recorded or replayed, now that the test's fixtures have said where it is kept.

        Args:
            folder: what ``golden_run_dir`` says. defaults: what ``golden_run_config`` says.
        """
        golden = self.golden
        mark, wrong = configured(golden.mark, defaults)
        if wrong:
            pytest.fail("\n".join(f"golden_run_config {sentence}" for sentence in wrong), pytrace=False)
        if golden.movable:
            golden.path = golden.settings.root / folder / golden.movable
        if self.replaying:
            self._load_recording(mark)
        else:
            self._make_room()

    def _make_room(self) -> None:
        from starling.replay import RecordingSession

        self.problem = _failure.unwritable(self.golden)
        if self.problem:
            self.guard.refuse(self.problem.error)
        else:
            self.guard.open(RecordingSession(_nondeterminism.watcher(self.golden.settings)))

    def _load_recording(self, mark: GoldenMark) -> None:
        from starling.replay import ReplayingSession

        self._read()
        if self.fixture is None:
            assert self.problem is not None, "one of them is found"
            self.guard.refuse(self.problem.error)
            return
        options = mark.options(compare_cost=self.golden.settings.compare_cost)
        self.guard.open(ReplayingSession(self.fixture.runs, options))
        _doubts.warn(self.golden, self.fixture, mark)

    def _read(self) -> None:
        from starling.errors import LogError
        from starling.replay import read_fixture

        golden = self.golden
        path = golden.source or golden.path
        if not path.exists():
            self.problem = _failure.missing(golden)
            return
        try:
            fixture = read_fixture(path)
        except LogError as error:
            self.problem = _failure.unusable(golden, error)
            return
        if fixture.test_id != golden.name.text and not golden.adopts:
            self.problem = _failure.foreign(golden, fixture)
        else:
            self.fixture = fixture

    # --- what was found

    @property
    def asked_in_vain(self) -> bool:
        """Whether a run was asked for though there is a `problem`."""
        return self.problem is not None and any(error is self.problem.error for error in self.guard.failures)

    @property
    def runs(self) -> tuple[FixtureRun, ...]:
        """The runs so far: recorded ones, or those asked for in a replay."""
        session: Any = self.guard.session
        if session is None:
            return ()
        return tuple(session.played if self.replaying else session.runs)

    @property
    def undeclared(self) -> tuple[UndeclaredCall, ...]:
        """While recording: what the runs' own code used past `starling.step` so far."""
        session: Any = self.guard.session
        return () if session is None or self.replaying else session.undeclared

    @property
    def patches(self) -> tuple[PatchUse, ...]:
        """What a replay's runs asked `step.patched` and `step.deprecate_patch` so far."""
        session: Any = self.guard.session
        return tuple(session.patches) if self.replaying and session is not None else ()

    @property
    def divergences(self) -> tuple[Any, ...]:
        """All that were found, the first cause first."""
        return tuple(one for error in self.guard.failures for one in getattr(error, "divergences", ()))

    def is_ours(self, error: BaseException | None) -> bool:
        """Whether an exception is what the failure is about, and not one of the test's own."""
        return error is not None and self.failure is not None and any(error is one for one in self.failure.errors)

    def judge(self, *, passed: bool) -> Failure | None:
        """What the golden run comes to after a phase of the test.

        Args:
            passed: nothing was raised, so that recorded runs which were not asked for are no mere consequence.
        """
        self.body_passed = passed
        if passed and self.fixture:
            self._require_runs(before=_end_of_body(self.fixture.runs))
        errors = self.guard.failures
        if self.asked_in_vain or (passed and self.problem and not errors):
            self.failure = self.problem
        elif errors:
            self.failure = _failure.from_errors(self.golden, errors, self.fixture)
        elif passed and self.fixture and not self.runs:
            self.failure = _failure.unseen(recorded=len(self.fixture.runs))
        return self.failure

    def body_ended(self) -> None:
        """The test's own function is over; what runs from now on is teardown. See `_end_of_body`."""
        session: Any = self.guard.session
        if session is not None and not self.replaying:
            session.tick()

    def finish(self) -> None:
        """Nothing runs any more: recorded runs that were not asked for by now never will be."""
        if self.body_passed and self.fixture:
            self._require_runs(before=math.inf)

    def _require_runs(self, *, before: float) -> None:
        session: Any = self.guard.session
        if self.replaying and session is not None:
            session.finish(before=before)


def _end_of_body(runs: Sequence[FixtureRun]) -> float:
    """When the test's own function ended, on the clock that counts what began and what ended.

    While recording, the end of the function takes a number of that clock which is no run's: the one that is missing.
    None is missing if nothing ran afterwards.
    """
    taken = {instant for run in runs for instant in (run.began, run.ended)}
    return next((instant for instant in range(1, max(taken, default=0)) if instant not in taken), math.inf)
