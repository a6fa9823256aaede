"""The protocol of a test that may be recorded: replay it, record it, replay the recording, put that in place.

Each run is a whole one, with fresh function-scoped fixtures; wider ones stay set up. Only one of the runs is reported.
The old fixture stays as it is until the very last step, an atomic rename.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_starling import _cassette, _failure, _nondeterminism, _parts, _recording_failures, _report
from pytest_starling._disclosure import scrub
from pytest_starling._phases import sibling_of
from pytest_starling._reruns import recorded_by_reruns
from pytest_starling._saving import save, save_recording
from pytest_starling._session import Plan
from pytest_starling._state import golden_item

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_starling._attempt import Attempt
    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem
    from starling.replay import Fixture, FixtureRun

__all__ = ["pytest_runtest_logreport", "pytest_runtest_protocol"]


@dataclass(slots=True, kw_only=True)
class _Ran:
    """A whole run of the test: its reports, and what the attempt found."""

    reports: list[pytest.TestReport]
    attempt: Attempt | None

    @property
    def passed(self) -> bool:
        """Setup, call and teardown passed, and nothing of it was expected to fail."""
        return all(report.passed and not hasattr(report, "wasxfail") for report in self.reports)

    @property
    def failure(self) -> Failure | None:
        return self.attempt.failure if self.attempt else None

    @property
    def call(self) -> pytest.TestReport:
        return next(report for report in self.reports if report.when == "call")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a golden test in a mode that records. None leaves other tests, and what need only be replayed, to pytest."""
    golden = golden_item(item)
    if golden is None:
        return None
    mode = golden.settings.mode
    if item.config.getoption("setuponly", False) or (mode == "new" and not golden.movable and golden.path.exists()):
        return None
    recorder = _Recorder(golden, nextitem)
    if recorded_by_reruns(item, nextitem, recorder.reports):
        return True
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in recorder.reports():
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a subtest of a trial came to. First, before anybody counts it."""
    _parts.withheld(report)


class _Recorder:
    """Decides what is run, and which run is reported.

    Args:
        nextitem: the item after this one, which says what may stay set up.
    """

    def __init__(self, golden: GoldenItem, nextitem: pytest.Item | None) -> None:
        self.golden = golden
        self.nextitem = nextitem
        self._properties = list(golden.item.user_properties)

    def reports(self) -> list[pytest.TestReport]:
        """Run the test as often as it takes."""
        if self._must_record():
            return self._record()
        trial = self._run(Plan(trial=True, adopts=self.golden.settings.mends), then=self._next_after_trial)
        if self._mended_by_recording(trial):
            return self._record(trial.attempt.fixture if trial.attempt else None)
        _parts.release(self.golden, trial.attempt)
        return self._adopted(trial) if trial.passed else trial.reports

    def _must_record(self) -> bool:
        golden = self.golden
        return golden.settings.mode == "all" or (not golden.movable and not golden.path.exists())

    def _mended_by_recording(self, trial: _Ran) -> bool:
        if trial.failure is None:
            return False
        wanted = _failure.RECORDABLE if self.golden.settings.mends else {"missing"}
        return trial.failure.outcome in wanted

    def _adopted(self, trial: _Ran) -> list[pytest.TestReport]:
        """Give a fixture that was moved with its test the test's new id."""
        golden, fixture = self.golden, trial.attempt.fixture if trial.attempt else None
        if fixture is not None and fixture.test_id != golden.name.text:
            failure = save(golden, replace(fixture, test_id=golden.name.text))
            _settle(golden, trial, failure, "adopted")
        return trial.reports

    # --- recording

    def _record(self, old: Fixture | None = None) -> list[pytest.TestReport]:
        """Record the test; ``old`` is the recording of which mode ``tail`` keeps what it can."""
        kept = old if self.golden.settings.mode == "tail" else None
        run = self._run(Plan(records=True, kept=kept), then=self._next_after_recording)
        if not run.passed:
            _report_discarded(self.golden, run)
            return run.reports
        failure = self._save(run)
        _settle(self.golden, run, failure, "recorded")
        if failure:
            scrub(self.golden, run.reports)
        self._tear_down_rest(run)
        return run.reports

    def _save(self, run: _Ran) -> Failure | None:
        """Keep what a passed run recorded. Returns why it is not kept."""
        runs = run.attempt.runs if run.attempt else ()
        if run.attempt is None or not runs:
            return _failure.unseen()
        not_whole = _not_whole(runs)
        if not_whole:
            return not_whole
        undeclared = run.attempt.undeclared
        refusal = _nondeterminism.judge(self.golden, undeclared) or _cassette.judge(self.golden, run.attempt.cassette)
        if refusal:
            return refusal
        verify = (lambda path: self._verify(path, run)) if self.golden.settings.verify else None
        failure = save_recording(self.golden, run.attempt, verify)
        return _nondeterminism.as_cause(self.golden, failure, undeclared)

    def _verify(self, temporary: Path, run: _Ran) -> Failure | None:
        """Replay what was just recorded."""
        replayed = self._run(Plan(source=temporary, trial=True), then=self._last)
        if replayed.failure is not None:
            return _recording_failures.does_not_replay(self.golden, replayed.failure)
        run.reports[-1] = _later_teardown(run.reports[-1], replayed.reports[-1])
        broken = next((report for report in replayed.reports[:-1] if not report.passed), None)
        return None if broken is None else _recording_failures.fails_on_replay(self.golden, broken.longreprtext)

    # --- running

    def _run(self, plan: Plan, *, then: Callable[[list[pytest.TestReport]], pytest.Item | None]) -> _Ran:
        """Run setup, call and teardown without reporting them.

        Args:
            then: given the reports so far, the item towards which to tear down.
        """
        golden, item = self.golden, self.golden.item
        golden.plan = plan
        _make_fresh(item, self._properties)
        try:
            reports = [self._phase("setup")]
            if reports[0].passed:
                reports.append(self._phase("call"))
            stopping = item.session.shouldfail or item.session.shouldstop
            reports.append(self._phase("teardown", nextitem=None if stopping else then(reports)))
        finally:
            golden.end()
            golden.plan = Plan()
            _forget(item)
        return _Ran(reports=reports, attempt=golden.attempt)

    def _phase(self, when: Literal["setup", "call", "teardown"], **arguments: Any) -> pytest.TestReport:
        item = self.golden.item
        hook = getattr(item.ihook, f"pytest_runtest_{when}")
        reraise: tuple[type[BaseException], ...] = (pytest.exit.Exception,)
        if not item.config.getoption("usepdb", False):
            reraise += (KeyboardInterrupt,)
        call = pytest.CallInfo.from_call(lambda: hook(item=item, **arguments), when=when, reraise=reraise)
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        if report.failed and not self.golden.plan.trial:
            item.ihook.pytest_exception_interact(node=item, call=call, report=report)
        return report

    def _next_after_trial(self, reports: list[pytest.TestReport]) -> pytest.Item | None:
        """What is probably the last run tears down for good; if not, wider fixtures are set up again."""
        attempt = self.golden.attempt
        again = attempt is not None and attempt.failure is not None and attempt.failure.outcome in _failure.RECORDABLE
        return sibling_of(self.golden.item) if again else self._last(reports)

    def _next_after_recording(self, reports: list[pytest.TestReport]) -> pytest.Item | None:
        passed = all(report.passed for report in reports)
        verify = passed and self.golden.settings.verify
        return sibling_of(self.golden.item) if verify else self._last(reports)

    def _last(self, reports: list[pytest.TestReport]) -> pytest.Item | None:
        del reports
        return self.nextitem

    def _tear_down_rest(self, run: _Ran) -> None:
        """Tear down what no verifying run tore down, because there was none after all."""
        item = self.golden.item
        call = pytest.CallInfo.from_call(
            lambda: item.session._setupstate.teardown_exact(self.nextitem),
            when="teardown",
            reraise=(KeyboardInterrupt, pytest.exit.Exception),
        )
        if call.excinfo is not None:
            run.reports[-1] = item.ihook.pytest_runtest_makereport(item=item, call=call)


def _not_whole(runs: Sequence[FixtureRun]) -> Failure | None:
    """What is wrong with runs that were still going on, or cut off when their log failed."""
    from starling.event import TERMINAL_KINDS

    unfinished = sum(1 for one in runs if not one.ended)
    if unfinished:
        return _recording_failures.unfinished(unfinished)
    cut_off = next((one for one in runs if one.events[-1].kind not in TERMINAL_KINDS), None)
    return None if cut_off is None else _recording_failures.cut_off(cut_off.run_id)


def _make_fresh(item: pytest.Function, properties: list[Any]) -> None:
    """What pytest-rerunfailures does too: a run must not see what an earlier one left on the item."""
    item.user_properties[:] = properties
    item._report_sections.clear()
    item.__dict__.pop("_excinfo", None)  # what a TestCase raised and no report has taken
    method = item.__dict__.get("_obj")
    if isinstance(item.parent, pytest.Class) and isinstance(method, MethodType):
        item._instance = item._getinstance()  # type: ignore[no-untyped-call]
        item._obj = MethodType(method.__func__, item._instance)
    if not item._request:
        item._initrequest()


def _forget(item: pytest.Function) -> None:
    """As pytest itself does after a run."""
    item._request = False  # type: ignore[assignment]
    item.funcargs = None  # type: ignore[assignment]


def _later_teardown(first: pytest.TestReport, second: pytest.TestReport) -> pytest.TestReport:
    """The verifying run tears down the wider fixtures; a failure there is one of the test's."""
    return second if second.failed and not first.failed else first


def _settle(golden: GoldenItem, run: _Ran, failure: Failure | None, outcome: str) -> None:
    """Say in the reports what became of the recording, and leave the item as the run that is reported left it."""
    golden.item.user_properties[:] = run.reports[-1].user_properties
    failure = failure or _git_failure(golden)
    if failure:
        _report.fail(golden, run.call, failure)
    else:
        _report.attach(run.call, outcome)


def _git_failure(golden: GoldenItem) -> Failure | None:
    """Warn if git leaves the new fixture out; where warnings are errors, that fails the test."""
    from pytest_starling import StarlingWarning
    from pytest_starling._git import warn_if_ignored

    try:
        warn_if_ignored(golden)
    except StarlingWarning as warning:
        return _failure.Failure(outcome="ignored", headline=str(warning), errors=(warning,))
    return None


def _report_discarded(golden: GoldenItem, run: _Ran) -> None:
    """Say beside a test that did not pass that it was not recorded. What was skipped was not meant to be."""
    if run.failure and run.failure.outcome == "unsaved":
        return  # its own text says so
    failed = any(report.failed for report in run.reports)
    expected = any(hasattr(report, "wasxfail") for report in run.reports)
    outcome, why = ("discarded", "the test failed") if failed else ("expected", "the test is expected to fail (xfail)")
    for report in run.reports:
        if report.failed or hasattr(report, "wasxfail"):
            report.sections.append(("golden run", f"Not recorded, because {why}; {_recording_failures.kept(golden)}."))
        if hasattr(report, "starling") and (failed or expected):
            _report.attach(report, outcome)
