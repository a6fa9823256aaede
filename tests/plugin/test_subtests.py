"""Subtests are reported one by one, while a golden run is judged as a whole."""

import pytest

pytest.importorskip("_pytest.subtests", reason="pytest before 9 has no subtests")

BODIES = {
    "fixture": """
    import pytest, support
    from pathlib import Path

    @pytest.mark.golden_run
    def test_refund(subtests):
        for number in range(3):
            with subtests.test(number=number):
                support.handle(f"question {number}")
                assert not (Path("broken").exists() and number == 1)
    """,
    "unittest": """
    import unittest
    import pytest, support
    from pathlib import Path

    @pytest.mark.golden_run
    class TestIt(unittest.TestCase):
        def test_refund(self):
            for number in range(3):
                with self.subTest(number=number):
                    support.handle(f"question {number}")
                    self.assertFalse(Path("broken").exists() and number == 1)
    """,
}


@pytest.fixture(params=BODIES)
def parts(project, request):
    project.write(test_support=BODIES[request.param])
    return project


def _break(project):
    (project.path / "broken").touch()


def _counts(result):
    return {name: count for name, count in result.parseoutcomes().items() if name != "warnings"}


def test_each_is_reported_once_whatever_the_number_of_runs(parts):
    assert _counts(parts.record("-v")) == {"passed": 1, "subtests": 3}
    assert _counts(parts.run("-v")) == {"passed": 1, "subtests": 3}
    assert _counts(parts.record("-v")) == {"passed": 1, "subtests": 3}  # a trial that is reported
    parts.turn(total=43)
    assert _counts(parts.record("-v")) == {"passed": 1, "subtests": 3}  # a trial, a recording, a check of that


def test_a_recording_whose_subtest_fails_is_not_kept(parts):
    _break(parts)
    result = parts.record()
    assert _counts(result) == {"failed": 2}
    result.stdout.fnmatch_lines(
        ["Not recorded, because the test failed; no fixture was written.", "1 not recorded because the test failed"]
    )
    assert parts.fixtures == []


def test_the_old_recording_stays_if_a_subtest_of_the_new_one_fails(parts):
    parts.record(passed=1)
    before = parts.state
    parts.turn(total=43)
    _break(parts)
    assert _counts(parts.record()) == {"failed": 2}
    assert parts.state == before


def test_a_trial_that_fails_by_itself_is_reported_with_its_subtests(parts):
    parts.record(passed=1)
    _break(parts)
    for result in (parts.record(), parts.run()):
        assert _counts(result) == {"failed": 2}
        result.stdout.fnmatch_lines(["SUBFAILED(number=1) *", "FAILED * - contains 1 failed subtest"])


def test_a_divergence_is_told_in_its_own_words_in_each_and_fails_the_whole(parts):
    parts.record(passed=1)
    parts.turn(total=43)
    result = parts.run("--tb=no")
    assert _counts(result) == {"failed": 4}
    headline = "golden run diverged at seq 11 of 14 (ToolCallCompleted): payload"
    lines = [f"SUBFAILED(number={number}) * - {headline}" for number in range(3)]
    result.stdout.fnmatch_lines(["1 diverged; *", *lines, f"FAILED * - {headline}"])


def test_the_report_says_that_the_test_failed(parts):
    import json

    parts.record(passed=1)
    _break(parts)
    parts.run("--golden-report=report.json")
    (test,) = json.loads((parts.path / "report.json").read_text())["tests"]
    assert test["outcome"] == "failed"


def test_workers_report_them_too(parts):
    parts.turn(total=42)
    result = parts.run("-n1", "-v", "--record-golden")
    assert result.parseoutcomes()["passed"] == 1
    assert len(parts.fixtures) == 1
    parts.turn(total=43)
    result = parts.run("-n1", "--record-golden")
    assert _counts(result) == {"passed": 1}
    _break(parts)
    assert _counts(parts.run("-n1", "--record-golden")) == {"failed": 2}
