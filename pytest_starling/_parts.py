"""Subtests: parts of a test that are reported while its own function is still under way.

pytest logs such a report as soon as it is made. Of a trial's that is too early, since the trial is what people see only
if no further run follows it. So the report is logged as something of which nobody is told, a setup that passed, and
what it was is kept until that is known.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from pytest_starling._disclosure import scrub
from pytest_starling._representation import representation

if TYPE_CHECKING:
    import pytest

    from pytest_starling._attempt import Attempt
    from pytest_starling._session import GoldenItem

__all__ = ["dress_part", "fail_whole", "release", "withheld"]

_KEPT = "starling_part"
_TOLD = ("when", "outcome", "longrepr", "wasxfail")


def dress_part(
    golden: GoldenItem, attempt: Attempt, report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None
) -> None:
    """Give a part's report the golden failure's text, and withhold it if it is a trial's."""
    if report.failed:
        attempt.failed_parts += 1
        failure = attempt.judge(passed=False)
        if failure and excinfo is not None and attempt.is_ours(excinfo.value):
            report.longrepr = representation(golden.item, excinfo, failure)
    if not report.passed:
        scrub(golden, [report])
    if attempt.trial:
        _withhold(attempt, report)


def fail_whole(attempt: Attempt, report: pytest.TestReport) -> None:
    """Fail a test of which parts failed. pytest does so as well, but only when a recording is in its place already."""
    count = attempt.failed_parts
    if count and report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"contains {count} failed subtest{'' if count == 1 else 's'}"


def _withhold(attempt: Attempt, report: pytest.TestReport) -> None:
    values = {name: report.__dict__.pop(name) for name in _TOLD if name in report.__dict__}
    report.__dict__.update({"when": "setup", "outcome": "passed", "longrepr": None, _KEPT: (attempt.parts, values)})


def withheld(report: pytest.TestReport) -> None:
    """Keep a report that is logged though it is withheld; others are none of our business.

    It is kept here and not where it is made, because pytest makes another one of it, with the part's name.
    """
    parts: list[pytest.TestReport]
    values: dict[str, Any]
    parts, values = report.__dict__.pop(_KEPT, ([], {}))
    if values:
        whole = copy(report)
        whole.__dict__.update(values)
        parts.append(whole)


def release(golden: GoldenItem, attempt: Attempt | None) -> None:
    """Log what was withheld: this run is the one that is reported after all."""
    for report in attempt.parts if attempt else ():
        golden.item.ihook.pytest_runtest_logreport(report=report)
