"""Texts → pytest's reports: what stands in them, properties, what the controller is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_starling import _parts, _patches
from pytest_starling._disclosure import hide_frames, scrub
from pytest_starling._hook_calls import tell_divergences
from pytest_starling._representation import representation, without_frames
from pytest_starling._state import GOLDEN

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionRepr

    from pytest_starling._attempt import Attempt
    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem

__all__ = ["attach", "dress", "fail", "prepare"]


def prepare(golden: GoldenItem, call: pytest.CallInfo[None]) -> None:
    """Make what a golden test raised fit to be shown, before pytest makes a report of it."""
    raised = call.excinfo is not None or getattr(golden.item, "_excinfo", None)
    if raised and golden.attempt is not None:
        hide_frames(golden.item, golden.attempt, call)


def dress(golden: GoldenItem, report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None) -> None:
    """Give a phase's report the golden failure's text, and say what became of the golden run."""
    attempt = golden.attempt
    if attempt is None:
        return
    if attempt.in_body:
        _parts.dress_part(golden, attempt, report, excinfo)
        return
    _parts.fail_whole(attempt, report)
    _dress_whole(golden, attempt, report, excinfo)
    attempt.passed = attempt.passed and report.passed
    if not attempt.passed:
        scrub(golden, [report])


def _dress_whole(
    golden: GoldenItem,
    attempt: Attempt,
    report: pytest.TestReport,
    excinfo: pytest.ExceptionInfo[BaseException] | None,
) -> None:
    failure = attempt.failure
    if failure and excinfo is not None and (report.when != "teardown" or attempt.is_ours(excinfo.value)):
        _insist(report)
    if report.failed and failure and excinfo is not None:
        if attempt.is_ours(excinfo.value):
            report.longrepr = representation(golden.item, excinfo, failure)
        elif isinstance(excinfo.value, pytest.fail.Exception) and not excinfo.value.pytrace:
            _tell_beside(report, failure.text)
    if failure and report.failed and not attempt.trial:
        wrong = tell_divergences(golden.item, attempt.divergences)
        if wrong:
            _tell_beside(report, wrong)
    if report.when == "call" or (failure and report.failed) or (report.when == "setup" and not report.passed):
        outcome = failure.outcome if failure else "replayed" if attempt.replaying else "recorded"
        _publish(golden, attempt, report, outcome if failure or report.passed else report.outcome)


def _tell_beside(report: pytest.TestReport, text: str) -> None:
    """Show a text beside a failure that shows no notes, such as that of ``pytest.fail(pytrace=False)``."""
    if isinstance(report.longrepr, str):
        report.longrepr = f"{report.longrepr}\n\n{text}"
    else:
        cast("ExceptionRepr", report.longrepr).addsection("golden run", text)


def _insist(report: pytest.TestReport) -> None:
    """Fail a test that is marked as failing: that its recording is missing or diverged is not what was expected."""
    if hasattr(report, "wasxfail"):
        report.outcome = "failed"
        del report.wasxfail


def attach(report: pytest.TestReport, outcome: str) -> None:
    """Correct what became of the golden run."""
    _tell(report, {**getattr(report, "starling", {}), "outcome": outcome})


def fail(golden: GoldenItem, report: pytest.TestReport, failure: Failure) -> None:
    """Turn a report into a failure: what is wrong was found out after the test was over."""
    report.outcome = "failed"
    report.longrepr = without_frames(golden.item, failure)
    _tell(report, {**getattr(report, "starling", {}), "outcome": failure.outcome, **_texts(failure)})


def _publish(golden: GoldenItem, attempt: Attempt, report: pytest.TestReport, outcome: str) -> None:
    properties = _properties(golden, attempt)
    for store in (golden.item.user_properties, report.user_properties):
        store[:] = [*(pair for pair in store if not str(pair[0]).startswith("starling.")), *properties.items()]
    state = golden.item.config.stash[GOLDEN]
    told = {"test": golden.name.text, "outcome": outcome, "command": golden.command, **_texts(attempt.failure)}
    told["excuse"] = golden.excuse
    _tell(report, {**properties, **told, **_patches.told(state, attempt)})


def _texts(failure: Failure | None) -> dict[str, Any]:
    """What is wrong, for the summary and for the file of ``--golden-report``."""
    if failure is None:
        return {"headline": "", "text": ""}
    return {"headline": failure.headline, "text": failure.text, "unfetched": failure.unfetched}


def _tell(report: pytest.TestReport, told: dict[str, Any]) -> None:
    """Give a report what the controller is to know; attributes of plain data travel with it."""
    report.__dict__["starling"] = told


def _properties(golden: GoldenItem, attempt: Attempt) -> dict[str, Any]:
    """What goes to JUnit files and to the report."""
    divergences, runs = attempt.divergences, attempt.runs
    properties: dict[str, Any] = {
        "starling.mode": "replay" if attempt.replaying else "record",
        "starling.fixture": golden.shown_path,
        "starling.run_id": divergences[0].run_id if divergences else runs[0].run_id if runs else "",
        "starling.divergences": len(divergences),
    }
    if attempt.turns_kept:
        properties["starling.turns_kept"], properties["starling.turns"] = attempt.turns_kept
    if attempt.undeclared:
        properties["starling.undeclared"] = len(attempt.undeclared)
    if divergences:
        first = divergences[0]
        kind = first.expected_kind or first.kind
        properties |= {
            "starling.first_seq": first.seq,
            "starling.first_kind": kind.name if kind else "",
            "starling.first_class": first.cls,
        }
    return properties
