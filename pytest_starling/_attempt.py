"""One run of a golden test, recording or replaying: opened before setup, judged after the call, closed after teardown.

The three phase functions are generators; the hooks in `plugin` delegate to them. Everything that an attempt changes in
the process (the runtime's slot, one environment variable) hangs on one exit stack, which `close` unwinds however the
run ended.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling import _failure, _variable
from pytest_starling._guard import Guard
from pytest_starling._marker import configured

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from pytest_starling._failure import Failure
    from pytest_starling._marker import GoldenMark
    from pytest_starling._session import GoldenItem
    from starling.replay import Fixture, FixtureRun

__all__ = ["Attempt", "calling", "setting_up", "sibling_of", "tearing_down"]

_FAILURES = (Exception, pytest.fail.Exception)
_OUTCOMES = (*_FAILURES, pytest.skip.Exception)
"""What a phase may raise and pytest reports; anything else (KeyboardInterrupt, pytest.exit) goes straight through."""


class Attempt:
    """A run of a golden test, with its session in the runtime's slot until it is closed.

    Attributes:
        fixture: what is replayed; None while recording, or where it cannot be used.
        problem: why the fixture cannot be used.
        failure: why the test fails, once that is known.
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
            from starling.replay import RecordingSession

            self.guard.open(RecordingSession())

    def _load_recording(self, mark: GoldenMark) -> None:
        from starling.replay import ReplayingSession

        self._read()
        runs = self.fixture.runs if self.fixture else ()
        options = mark.options(compare_cost=self.golden.settings.compare_cost)
        self.guard.open(ReplayingSession(runs, options))
        if self.fixture and mark.max_age is not None:
            self._warn_if_stale(self.fixture, mark.max_age)

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

    def _warn_if_stale(self, fixture: Fixture, max_age: float) -> None:
        from datetime import UTC, datetime

        from pytest_starling import StarlingWarning

        days = (datetime.now(UTC) - datetime.fromisoformat(fixture.recorded_at)).total_seconds() / 86400
        if days > max_age:
            golden = self.golden
            command = golden.command.replace("--record-golden", "--golden-mode=all")
            golden.item.warn(
                StarlingWarning(
                    f"{golden.shown_path} was recorded {days:.0f} days ago, and max_age is {max_age:g}: the provider "
                    f"may answer differently by now. Record it anew: {command}"
                )
            )

    # --- what was found

    @property
    def runs(self) -> tuple[FixtureRun, ...]:
        """The runs so far: recorded ones, or those asked for in a replay."""
        session: Any = self.guard.session
        if session is None:
            return ()
        return tuple(session.played if self.replaying else session.runs)

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
        if errors:
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


# --- the phases -----------------------------------------------------------------------------------


def setting_up(golden: GoldenItem) -> Generator[None, Any, Any]:
    """Around a golden test's setup."""
    golden.end()
    attempt = golden.begin()
    try:
        return (yield)
    except _FAILURES as error:
        if attempt.problem and attempt.guard.failures:
            return None  # a fixture started a run that cannot be there: the call says what is really wrong
        _blame(attempt, error, attempt.judge(passed=False))
        raise


def calling(golden: GoldenItem) -> Generator[None, Any, Any]:
    """Around a golden test's own function: raise what it swallowed, and what it did not ask for."""
    attempt = golden.attempt
    assert attempt is not None, "a call follows a setup"
    if attempt.problem:
        attempt.failure = attempt.problem
        raise attempt.failure.error
    try:
        result = yield
    except _OUTCOMES as error:
        failure = attempt.judge(passed=False)
        if isinstance(error, pytest.skip.Exception) and failure:
            raise failure.error from None
        _blame(attempt, error, failure)
        raise
    finally:
        attempt.body_ended()
    raised = _caught_by_unittest(golden.item)
    failure = attempt.judge(passed=raised is None)
    if raised is not None:
        _blame(attempt, raised, failure)
    elif failure:
        raise failure.error
    return result


def tearing_down(golden: GoldenItem) -> Generator[None, Any, Any]:
    """Around a golden test's teardown: the test's own fixtures inside the session, wider ones before a closed door."""
    attempt = golden.attempt
    if attempt is None:
        return (yield)
    raised: list[BaseException] = []
    try:
        _tear_down_own(golden, raised)
        with attempt.guard.closed_for("the teardown of a fixture of wider scope"):
            try:
                yield
            except _OUTCOMES as error:
                raised.append(error)
    finally:
        attempt.close()
    raised = _with_failures(attempt, raised)
    if len(raised) == 1:
        raise raised[0]
    if raised:
        raise BaseExceptionGroup("errors during test teardown", raised)
    return None


def sibling_of(item: pytest.Item) -> pytest.Item:
    """An item with the same parents: torn down towards it, only what is the item's own goes."""
    from copy import copy

    return copy(item)


def _with_failures(attempt: Attempt, raised: list[BaseException]) -> list[BaseException]:
    """What a teardown has to raise: a golden failure only if none was reported before, the rest being consequences."""
    found = {id(error) for error in attempt.guard.failures}
    if attempt.failure:
        return [error for error in raised if id(error) not in found]
    attempt.finish()
    failure = attempt.judge(passed=False)
    if failure is None or any(attempt.is_ours(error) for error in raised):
        return raised
    return [failure.error, *raised]


def _tear_down_own(golden: GoldenItem, raised: list[BaseException]) -> None:
    try:
        golden.item.session._setupstate.teardown_exact(sibling_of(golden.item))
    except _OUTCOMES as error:
        raised.append(error)


def _caught_by_unittest(item: pytest.Item) -> BaseException | None:
    """What a TestCase raised: its runner keeps exceptions instead of raising them."""
    kept = getattr(item, "_excinfo", None)
    return kept[0].value if kept else None


def _blame(attempt: Attempt, error: BaseException, failure: Failure | None) -> None:
    """An exception of the test's own keeps its traceback, and gets the golden failure as a note."""
    if failure and not attempt.is_ours(error):
        error.add_note(f"\n{failure.text}")
