"""Texts → pytest's reports: the representation of a failure, properties, the collection line, the summary.

A failure is shown as pytest shows any other: the user's own frames, then lines marked ``E``. Only the text in place of
the exception's is ours, so that its first line is what short summaries, ``--tb=line``, JUnit files and annotations
show. The pieces are pytest's classes, because xdist can carry no others.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_starling import _patches
from pytest_starling._state import GOLDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from _pytest._code.code import ReprExceptionInfo
    from _pytest.terminal import TerminalReporter

    from pytest_starling._attempt import Attempt
    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem
    from pytest_starling._state import Golden

__all__ = ["announce", "attach", "collection_line", "dress", "fail", "summarise"]

_VERBS = {
    "replay": "replaying from",
    "new": "recording what is missing in",
    "changed": "recording what is missing or diverges in",
    "all": "recording all of them in",
}
_MARKER = "E   "


# --- one report


def dress(golden: GoldenItem, report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None) -> None:
    """Give a phase's report the golden failure's text, and say what became of the golden run."""
    attempt = golden.attempt
    if attempt is None:
        return
    failure = attempt.failure
    if failure and excinfo is not None and (report.when != "teardown" or attempt.is_ours(excinfo.value)):
        _insist(report)
    if report.failed and failure and excinfo is not None:
        if attempt.is_ours(excinfo.value):
            report.longrepr = _representation(golden.item, excinfo, failure)
        elif isinstance(report.longrepr, str):  # pytest.fail(pytrace=False) shows no notes
            report.longrepr = f"{report.longrepr}\n\n{failure.text}"
    if failure and report.failed and not attempt.trial:
        for divergence in attempt.divergences:
            golden.item.ihook.pytest_starling_divergence(item=golden.item, divergence=divergence)
    if report.when == "call" or (failure and report.failed):
        outcome = failure.outcome if failure else "replayed" if attempt.replaying else "recorded"
        _publish(golden, attempt, report, outcome if failure or report.passed else report.outcome)


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
    report.longrepr = _without_frames(golden.item, failure)
    attach(report, failure.outcome)


def _publish(golden: GoldenItem, attempt: Attempt, report: pytest.TestReport, outcome: str) -> None:
    properties = _properties(golden, attempt)
    for store in (golden.item.user_properties, report.user_properties):
        store[:] = [*(pair for pair in store if not str(pair[0]).startswith("starling.")), *properties.items()]
    state = golden.item.config.stash[GOLDEN]
    _tell(report, {**properties, "outcome": outcome, **_patches.told(state, attempt)})


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


# --- a failure's representation


def _representation(
    item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], failure: Failure
) -> ReprExceptionInfo:
    from _pytest._code.code import ReprExceptionInfo, ReprFileLocation

    own = item._traceback_filter(excinfo).filter(lambda entry: _is_users(Path(entry.path)))
    if not own:
        return _without_frames(item, failure)
    style = item.config.getoption("tbstyle", "auto")
    shown: Any = excinfo.getrepr(
        style="long" if style in ("auto", "long") else "short",
        showlocals=item.config.getoption("showlocals", False),
        tbfilter=lambda _: own,
        chain=False,
        abspath=Path.cwd() != item.config.invocation_params.dir,
    )
    last = shown.reprtraceback.reprentries[-1]
    last.lines = [*(line for line in last.lines if not line.startswith(_MARKER)), *_marked(failure)]
    crash = ReprFileLocation(str(own[-1].path), own[-1].lineno + 1, failure.headline)
    return ReprExceptionInfo(reprcrash=crash, reprtraceback=shown.reprtraceback)


def _without_frames(item: pytest.Item, failure: Failure) -> ReprExceptionInfo:
    from _pytest._code.code import ReprEntry, ReprExceptionInfo, ReprFileLocation, ReprTraceback

    path, line, _ = item.location
    crash = ReprFileLocation(path, (line or 0) + 1, failure.headline)
    shown_at = ReprFileLocation(path, (line or 0) + 1, "golden run")
    entry = ReprEntry(_marked(failure), None, None, shown_at, "long")
    return ReprExceptionInfo(reprcrash=crash, reprtraceback=ReprTraceback([entry], None, "long"))


def _marked(failure: Failure) -> list[str]:
    return [f"{_MARKER}{line}".rstrip() if index else f"{_MARKER}{line}" for index, line in enumerate(failure.lines)]


def _is_users(path: Path) -> bool:
    """Whether a frame is the user's: neither the runtime's, nor pytest's, nor Python's own."""
    return not any(path.is_relative_to(folder) for folder in _foreign_folders())


def _foreign_folders() -> Sequence[Path]:
    import sysconfig

    import _pytest

    import starling

    homes = (starling.__file__, __file__, _pytest.__file__)
    schemes = sysconfig.get_paths()
    return (
        *(Path(home).parent for home in homes),
        *(Path(schemes[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    )


# --- the terminal


def announce(golden: Golden, terminal: TerminalReporter) -> None:
    """Write the one line after collection."""
    if terminal.verbosity >= 0:
        terminal.write_line(collection_line(golden))


def collection_line(golden: Golden) -> str:
    """How many tests are golden, and what is going to happen to them."""
    settings, count = golden.settings, len(golden.items)
    tests = f"{count} test{'' if count == 1 else 's'}"
    return f"golden: {tests}, {_VERBS[settings.mode]} {settings.shown(settings.folder)}"


def summarise(golden: Golden, terminal: TerminalReporter) -> None:
    """The summary section: what was recorded, and how much diverged or is missing. Nothing if all just replayed."""
    lines = [*_changed_files(golden), *_in_need(golden)] or _nothing_recorded(golden)
    lines += _patches.lines(golden, terminal.config)
    if lines:
        terminal.write_sep("=", "golden runs")
        for line in lines:
            terminal.write_line(line)


_FILES = {
    "recorded": "recorded  {fixture}{undeclared}",
    "adopted": "adopted   {fixture} (it replays under its new name; no provider was called)",
}
_COUNTS = {
    "diverged": "{count} diverged",
    "missing": "{count} missing",
    "unusable": "{count} unusable",
    "live": "{count} went live",
    "unseen": "{count} without a run",
    "unfinished": "{count} with a run that was not over",
    "unstable": "{count} passed while recorded, but not on replay",
    "undeclared": "{count} not saved because of undeclared nondeterminism",
    "unsaved": "{count} not saved",
    "ignored": "{count} recorded, but ignored by git",
    "misused": "{count} misused",
    "discarded": "{count} not recorded because the test failed",
    "expected": "{count} not recorded because the test is expected to fail (xfail)",
}


def _changed_files(golden: Golden) -> list[str]:
    return [
        text.format(fixture=outcome.get("starling.fixture", ""), undeclared=_undeclared(outcome))
        for kind, text in _FILES.items()
        for outcome in golden.outcomes.values()
        if outcome["outcome"] == kind
    ]


def _undeclared(outcome: dict[str, Any]) -> str:
    """What to say beside a recording that may not hold."""
    count = outcome.get("starling.undeclared", 0)
    return (
        f" (undeclared nondeterminism in {count} place{'' if count == 1 else 's'}, see the warnings)" if count else ""
    )


def _in_need(golden: Golden) -> list[str]:
    counts = Counter(outcome["outcome"] for outcome in golden.outcomes.values())
    parts = [text.format(count=counts[kind]) for kind, text in _COUNTS.items() if counts[kind]]
    if not parts:
        return []
    return [", ".join(parts) + ("" if golden.settings.records else _cure(counts))]


def _cure(counts: Counter[str]) -> str:
    lost = counts["missing"] + counts["unusable"]
    if counts["diverged"]:
        what = (
            "record what is missing, and what diverged where that is meant," if lost else "where that is meant, record"
        )
    elif lost:
        what = "record"
    else:
        return ""
    return f"; {what} with: pytest --record-golden"


def _nothing_recorded(golden: Golden) -> list[str]:
    """What to say where recording was asked for and there was no need."""
    if not golden.settings.records or not any(one["outcome"] == "replayed" for one in golden.outcomes.values()):
        return []
    return ["nothing recorded: every recording still holds (pytest --golden-mode=all records anew)"]
