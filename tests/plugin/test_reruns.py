"""pytest-rerunfailures: a replay comes to the same again, while a recording is made anew each time."""

import json

import pytest

pytest_rerunfailures = pytest.importorskip("pytest_rerunfailures")

WITH = ["-p", "rerunfailures"]
"""The other tests do without it."""

FLAKY = """
import pytest, support
from pathlib import Path

attempts = Path("attempts")

{marker}
@pytest.mark.golden_run
def test_refund():
    attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
    support.handle()
    assert len(attempts.read_text()) >= {needed}
"""
OPTION = ("--reruns=2", "")
MARKER = ("", "@pytest.mark.flaky(reruns=2)")


@pytest.fixture(params=[OPTION, MARKER], ids=["option", "marker"])
def flaky(project, request):
    option, marker = request.param

    def write(needed):
        (project.path / "attempts").unlink(missing_ok=True)
        project.write(test_support=FLAKY.format(marker=marker, needed=needed))
        return [*WITH, *([option] if option else [])]

    return project, write


def _counts(result):
    return {name: count for name, count in result.parseoutcomes().items() if name != "warnings"}


def _report(project):
    return [one["outcome"] for one in json.loads((project.path / "report.json").read_text())["tests"]]


def test_a_recording_is_made_anew_until_the_test_passes(flaky):
    project, write = flaky
    result = project.record(*write(needed=3), "--golden-report=report.json")
    assert _counts(result) == {"passed": 1, "rerun": 2}
    assert _report(project) == ["recorded"]
    assert "not recorded" not in result.stdout.str()
    assert project.fixtures == ["test_support/test_refund.db"]
    assert _counts(project.run(*write(needed=0))) == {"passed": 1}


def test_after_the_last_attempt_nothing_is_kept(flaky):
    project, write = flaky
    result = project.record(*write(needed=9), "--golden-report=report.json")
    assert _counts(result) == {"failed": 1, "rerun": 2}
    assert _report(project) == ["discarded"]
    assert project.fixtures == []


def test_each_attempt_replays_first_and_keeps_the_old_recording_until_one_passes(flaky):
    project, write = flaky
    project.record(*write(needed=0), passed=1)
    before = project.state
    project.turn(total=43)
    assert _counts(project.record(*write(needed=9))) == {"failed": 1, "rerun": 2}
    assert project.state == before
    # The first attempt diverges and is recorded in vain, and so is the second one's; of each the body runs twice.
    assert _counts(project.record(*write(needed=4))) == {"passed": 1, "rerun": 1}
    assert project.state != before


def test_a_divergence_is_the_same_each_time(flaky):
    project, write = flaky
    project.record(*write(needed=0), passed=1)
    project.turn(total=43)
    result = project.run(*write(needed=0), "--golden-report=report.json", "--tb=no")
    assert _counts(result) == {"failed": 1, "rerun": 2}
    assert _report(project) == ["diverged"]
    result.stdout.fnmatch_lines(["1 diverged; *", "FAILED * - golden run diverged at seq 11 of 14*"])


def test_a_replayed_test_that_is_flaky_by_itself_passes_in_the_end(flaky):
    project, write = flaky
    project.record(*write(needed=0), passed=1)
    result = project.run(*write(needed=3), "--golden-report=report.json")
    assert _counts(result) == {"passed": 1, "rerun": 2}
    assert _report(project) == ["replayed"]


def test_what_reruns_only_some_errors_is_asked(project):
    project.write(test_support=FLAKY.format(marker="", needed=9))
    result = project.record(*WITH, "--reruns=2", "--only-rerun=ZeroDivisionError")
    assert _counts(result) == {"failed": 1}


def test_fixtures_of_wider_scope_are_there_in_every_attempt(project):
    project.write(
        test_support="""
        import pytest, support

        seen = []

        @pytest.fixture(scope="module")
        def wide():
            alive = ["yes"]
            yield alive
            alive.clear()

        @pytest.fixture
        def narrow():
            return object()

        @pytest.mark.golden_run
        def test_refund(wide, narrow):
            assert wide == ["yes"]
            seen.append(narrow)
            support.handle()
            assert len(set(seen)) > 2
        """
    )
    assert _counts(project.record(*WITH, "--reruns=2")) == {"passed": 1, "rerun": 2}


def test_workers_rerun_too(project):
    project.write(test_support=FLAKY.format(marker="", needed=3))
    result = project.run("-n1", "--record-golden", *WITH, "--reruns=2")
    assert result.parseoutcomes()["passed"] == 1
    assert result.parseoutcomes()["rerun"] == 2
    assert project.fixtures == ["test_support/test_refund.db"]


def test_the_plugin_is_left_as_it_was(project):
    from _pytest.runner import runtestprotocol

    project.write(test_support=FLAKY.format(marker="", needed=3))
    project.record(*WITH, "--reruns=2")
    assert pytest_rerunfailures.runtestprotocol is runtestprotocol
