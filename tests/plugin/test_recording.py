"""Recording: what is saved, when, and that nothing else ever changes a fixture."""

import json
import os

import pytest

import starling.replay
from starling.replay import read_fixture, temporary_path
from tests.undeclared_kit import anybody_looks


def test_a_missing_fixture_fails_with_the_command_that_records_it(project):
    project.write(
        test_support="""
        import pytest, support

        answers = []

        @pytest.mark.golden_run
        def test_refund():
            answers.append(support.handle())

        def test_no_run_was_made():
            assert answers == []
        """
    )
    result = project.run("-vv", failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E   golden run not recorded: testdata/golden/test_support/test_refund.db does not exist",
            'E       pytest --record-golden "test_support.py::test_refund"',
            "1 missing; record with: pytest --record-golden",
            "FAILED test_support.py::test_refund - golden run not recorded: testdata/*",
        ]
    )
    assert not (project.path / "testdata").exists()


def test_a_missing_fixture_is_what_is_reported_even_if_a_fixture_of_the_test_runs_the_agent(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.fixture
        def answer():
            return support.handle()

        @pytest.mark.golden_run
        def test_refund(answer):
            assert answer
        """
    )
    project.run("-vv", failed=1).stdout.fnmatch_lines(["FAILED *test_refund - golden run not recorded: *"])
    project.record(passed=1)
    project.run(passed=1)


def test_a_skipped_test_needs_no_fixture(project):
    project.write(
        test_support="""
        import pytest

        @pytest.mark.golden_run
        @pytest.mark.skip
        def test_marked(): ...

        @pytest.mark.golden_run
        def test_skips_in_setup(tmp_path, request):
            pytest.fail("not reached")

        @pytest.fixture(autouse=True)
        def away():
            pytest.skip("not today")
        """
    )
    project.run(skipped=2)
    project.record(skipped=2)
    assert project.fixtures == []


def test_recording_writes_one_file_that_says_whose_it_is(recorded):
    assert recorded.fixtures == ["test_support/test_refund.db"]
    fixture = read_fixture(recorded.fixture())
    assert fixture.test_id == "test_support.py::test_refund"
    assert set(fixture.versions) >= {"pytest-starling", "python"}
    assert [len(run.events) for run in fixture.runs] == [14]


def test_recording_says_what_it_recorded(project):
    project.write(test_support="import pytest, support\n@pytest.mark.golden_run\ndef test_a(): support.handle()\n")
    result = project.record("-q", passed=1)
    result.stdout.fnmatch_lines(["*= golden runs =*", "recorded  testdata/golden/test_support/test_a.db"])


def test_the_flag_leaves_what_replays_and_records_what_diverges(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_a():
            support.handle()

        @pytest.mark.golden_run
        def test_b():
            support.handle("another question")
        """
    )
    project.record(passed=2)
    before = project.state
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_a():
            support.handle()

        @pytest.mark.golden_run
        def test_b():
            support.handle("a changed question")
        """
    )
    result = project.record(passed=2)
    assert "recorded  testdata/golden/test_support/test_b.db" in result.stdout.str()
    assert "test_a.db" not in result.stdout.str()
    after = project.state
    assert after["test_support/test_a.db"] == before["test_support/test_a.db"]
    assert after["test_support/test_b.db"] != before["test_support/test_b.db"]
    project.run(passed=2)


@pytest.mark.parametrize(
    ("mode", "recorded_anew"),
    [("replay", set()), ("new", {"c"}), ("changed", {"b", "c"}), ("all", {"a", "b", "c"})],
)
def test_each_mode_records_what_it_says(project, mode, recorded_anew):
    source = """
    import pytest, support

    @pytest.mark.golden_run
    def test_a():
        support.handle()

    @pytest.mark.golden_run
    def test_b():
        support.handle("{question}")
    """
    project.write(test_support=source.format(question="first"))
    project.record(passed=2)
    before = project.state
    third = "\n\n    @pytest.mark.golden_run\n    def test_c():\n        support.handle()\n"
    project.write(test_support=source.format(question="second") + third)
    project.run(f"--golden-mode={mode}")
    changed = {name for name, data in project.state.items() if before.get(name) != data}
    assert changed == {f"test_support/test_{name}.db" for name in recorded_anew}


BROKEN = {
    "the test fails": ("assert False, 'own failure'", "own failure", {"failed": 1}),
    "an expected failure": ("pytest.xfail('later')", "", {"xfailed": 1}),
    "a skip": ("pytest.skip('later')", "", {"skipped": 1}),
    "another exception": ("raise RuntimeError('boom')", "boom", {"failed": 1}),
}


@pytest.mark.parametrize("mode", ["changed", "all"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_test_that_does_not_pass_is_not_recorded(recorded, case, mode):
    line, text, outcome = BROKEN[case]
    before = recorded.state
    recorded.write(
        test_support=f"""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            support.handle("another question")
            {line}
        """
    )
    result = recorded.run(f"--golden-mode={mode}", **outcome)
    assert text in result.stdout.str()
    assert recorded.state == before


@pytest.mark.parametrize("place", ["setup", "teardown"])
def test_an_error_around_the_test_keeps_the_old_fixture(recorded, place):
    before = recorded.state
    recorded.write(
        test_support=f"""
        import pytest, support

        @pytest.fixture
        def around():
            if "{place}" == "setup":
                raise RuntimeError("broken setup")
            yield
            raise RuntimeError("broken teardown")

        @pytest.mark.golden_run
        def test_refund(around):
            support.handle("another question")
        """
    )
    result = recorded.run("--golden-mode=all")
    assert result.parseoutcomes()["errors"] == 1
    assert f"broken {place}" in result.stdout.str()
    assert recorded.state == before


def test_a_failure_that_is_no_divergence_is_reported_and_not_recorded(recorded):
    before = recorded.state
    recorded.write(
        test_support="""
        import pytest, support

        calls = []

        @pytest.mark.golden_run
        def test_refund():
            calls.append(1)
            assert support.handle() == "something else", f"body ran {len(calls)} times"
        """
    )
    result = recorded.record(failed=1)
    assert "body ran 1 times" in result.stdout.str()
    assert recorded.state == before


def test_only_the_recording_run_is_reported_with_fresh_fixtures(recorded):
    recorded.turn(total=43)
    recorded.write(
        conftest="""
        import pytest

        made = {"module": 0, "function": 0}

        @pytest.fixture(scope="module")
        def wide():
            made["module"] += 1
            yield
            made["module"] += 100

        @pytest.fixture
        def narrow():
            made["function"] += 1
            return made["function"]
        """,
        test_support="""
        import pytest, support
        from conftest import made

        class TestFirst:
            @pytest.mark.golden_run(path="testdata/golden/test_support/test_refund.db")
            def test_refund(self, wide, narrow, record_property, golden_run):
                assert not hasattr(self, "seen")
                self.seen = True
                record_property("run", narrow)
                print(f"{golden_run.mode} {narrow}")
                support.handle()

        def test_counts(wide):
            assert made == {"module": 1, "function": 3}

        def test_reported(request):
            assert made["module"] == 1
        """,
    )
    # The recorded file is of another node id: replay (adopting) diverges, then recording, then verification.
    result = recorded.record("-rP", "-v", passed=3)
    output = result.stdout.str()
    assert "record 2" in output
    assert "replay 1" not in output
    assert "replay 3" not in output
    assert output.count("TestFirst::test_refund PASSED") == 1
    assert read_fixture(recorded.fixture()).test_id == "test_support.py::TestFirst::test_refund"


def test_what_does_not_replay_is_not_saved(project):
    project.write(
        test_support="""
        import itertools, pytest, support

        counter = itertools.count()

        @pytest.mark.golden_run
        def test_refund():
            support.handle(f"question {next(counter)}")
        """
    )
    result = project.record("-vv", failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   the recording does not replay: golden run diverged at seq 1 of 14 (RunStarted): payload",
            "*no fixture was written*",
            'E       goal: "question 0" → "question 1"',
            "FAILED *::test_refund - the recording does not replay: golden run diverged at seq 1 *",
        ]
    )
    assert "fixture  " not in result.stdout.str()
    assert project.fixtures == []


@pytest.mark.parametrize("mode", ["--record-golden", "--golden-mode=all"])
def test_a_recording_that_does_not_replay_is_not_counted_as_a_diverged_one(project, mode):
    project.write(
        test_support="""
        import itertools, pytest, support

        counter = itertools.count()

        @pytest.mark.golden_run
        def test_refund():
            support.handle(f"question {next(counter)}")
        """
    )
    result = project.run(mode, "--golden-report=report.json", failed=1)
    assert "1 not saved because the recording does not replay" in result.outlines
    (test,) = json.loads((project.path / "report.json").read_text())["tests"]
    assert (test["outcome"], test["mode"]) == ("unstable", "record")


def test_a_rejected_recording_is_not_said_to_be_the_old_fixture(recorded):
    before = recorded.state
    recorded.write(
        test_support="""
        import itertools, pytest, support

        counter = itertools.count()

        @pytest.mark.golden_run
        def test_refund():
            support.handle(f"question {next(counter)}")
        """
    )
    output = recorded.run("--golden-mode=all", "-vv", failed=1).stdout.str()
    assert "thrown away; testdata/golden/test_support/test_refund.db is as it was" in output
    assert "fixture  " not in output
    assert recorded.state == before


def test_a_test_that_fails_on_replay_alone_is_not_saved(project):
    project.write(
        test_support="""
        import pytest, support

        runs = []

        @pytest.mark.golden_run
        def test_refund():
            support.handle()
            runs.append(1)
            assert len(runs) == 1
        """
    )
    output = project.record("-vv", failed=1).stdout.str()
    assert "the recording does not replay: the test passed while it was recorded, but not on replay" in output
    assert "assert 2 == 1" in output
    assert "1 not saved because the recording does not replay" in output
    assert "without a run" not in output
    assert project.fixtures == []


@pytest.mark.parametrize("switch", [["--golden-verify=off"], ["-o", "golden_verify=false"]])
def test_verification_can_be_turned_off(project, switch):
    project.write(
        test_support="""
        import pytest, support

        runs = []

        @pytest.mark.golden_run
        def test_refund():
            runs.append(1)
            support.handle(f"question {len(runs)}")

        def test_ran_once():
            assert len(runs) == 1
        """
    )
    project.record(*switch, passed=2)
    assert project.fixtures == ["test_support/test_refund.db"]


@pytest.mark.parametrize("mode", ["replay", "changed"])
def test_no_interception_no_fixture(recorded, mode):
    before = recorded.state
    recorded.write(
        test_support="""
        import pytest

        @pytest.mark.golden_run
        def test_refund(): ...

        @pytest.mark.golden_run
        def test_never_recorded(): ...
        """
    )
    output = recorded.run(f"--golden-mode={mode}", "-vv", failed=2).stdout.str()
    if mode == "changed":
        assert "test_never_recorded - no run was seen: nothing in this golden test went through" in output
        assert "test_refund - no run was seen" in output
    else:
        assert "test_refund - golden run diverged: recorded run 1 of 1 was not asked for" in output
    assert recorded.state == before


def test_a_run_that_is_not_over_is_not_saved(project):
    project.write(
        test_support="""
        import pytest, support, threading
        from starling import Agent, Config, MemoryLog
        from starling.testing import ScriptedProvider

        @pytest.mark.golden_run
        def test_refund():
            reached = threading.Event()
            provider = ScriptedProvider().do(reached.set).hang()
            agent = Agent(provider, Config(model="m"), MemoryLog())
            threading.Thread(target=lambda: agent.run_sync("go"), daemon=True).start()
            assert reached.wait(10)
        """
    )
    output = project.record("-vv", failed=1).stdout.str()
    assert "golden run not recorded: a run was not over when the test ended" in output
    assert "1 with a run that was not over" in output
    assert project.fixtures == []
    assert not anybody_looks(), "the run goes on in this process, and nobody looks at it any more"


def test_a_leftover_temporary_is_removed_by_the_next_recording(recorded):
    leftover = temporary_path(recorded.fixture())
    leftover.write_bytes(b"half a fixture")
    recorded.run("--golden-mode=all", passed=1)
    assert recorded.fixtures == ["test_support/test_refund.db"]


SPENDING = """
import os, pytest, support

@pytest.mark.golden_run
def test_a():
    if "STARLING_REPLAY" not in os.environ:
        open("spent", "w").close()
    support.handle()
"""


def _not_a_folder(project):
    (project.path / "testdata").write_text("a file where the folder should be")
    return "testdata is a file where a folder is needed"


def _a_folder_in_its_place(project):
    (project.path / "testdata/golden/test_support/test_a.db").mkdir(parents=True)
    return "testdata/golden/test_support/test_a.db is a folder"


def _read_only(project):
    folder = project.path / "testdata"
    folder.mkdir()

    def access(path, mode):  # the superuser may write anywhere, whatever chmod says
        return path != folder or not mode & os.W_OK

    project.monkeypatch.setattr(os, "access", access)
    return "the folder testdata is not writable"


@pytest.mark.parametrize("mode", ["changed", "all"])
@pytest.mark.parametrize("obstacle", [_not_a_folder, _a_folder_in_its_place, _read_only])
def test_what_could_not_be_saved_is_not_made(project, obstacle, mode):
    project.write(test_support=SPENDING)
    wrong = obstacle(project)
    output = project.run(f"--golden-mode={mode}", "-vv", failed=1).stdout.str()
    assert f"FAILED test_support.py::test_a - golden run not recorded: {wrong}" in output
    assert "Nothing was run, so no tokens were spent." in output
    assert "1 not saved" in output
    assert "because the test failed" not in output
    assert not (project.path / "spent").exists()


def test_what_could_not_be_saved_is_not_made_by_a_fixture_either(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.fixture
        def answer():
            answer = support.handle()
            open("spent", "w").close()
            return answer

        @pytest.mark.golden_run
        def test_a(answer): ...
        """
    )
    wrong = _not_a_folder(project)
    output = project.record("-vv", failed=1).stdout.str()
    assert f"FAILED test_support.py::test_a - golden run not recorded: {wrong}" in output
    assert not (project.path / "spent").exists()


def test_a_failed_recording_says_what_is_left(project):
    project.write(test_support="import pytest\n@pytest.mark.golden_run\ndef test_refund(): assert False\n")
    output = project.record(failed=1).stdout.str()
    assert "Not recorded, because the test failed; no fixture was written." in output
    project.write(test_support="import pytest, support\n@pytest.mark.golden_run\ndef test_refund(): support.handle()\n")
    project.record(passed=1)
    project.write(test_support="import pytest\n@pytest.mark.golden_run\ndef test_refund(): assert False\n")
    output = project.run("--golden-mode=all", failed=1).stdout.str()
    assert "the test failed; testdata/golden/test_support/test_refund.db is as it was." in output


@pytest.mark.parametrize("mode", ["new", "changed"])
def test_where_nothing_had_to_be_recorded_the_summary_says_so(recorded, mode):
    line = "nothing recorded: every recording still holds (pytest --golden-mode=all records anew)"
    assert line in recorded.run(f"--golden-mode={mode}", passed=1).outlines
    assert line not in recorded.run(passed=1).outlines
    assert line not in recorded.run("--golden-mode=all", passed=1).outlines
    recorded.turn(total=43)
    assert line not in recorded.run("--golden-mode=new", failed=1).outlines


def test_the_summary_tells_what_is_missing_from_what_diverged(recorded):
    source = (recorded.path / "test_support.py").read_text()
    recorded.turn(total=43)
    recorded.write(test_support=source + "\n" + source.replace("test_refund", "test_new"))
    assert (
        "1 diverged, 1 missing; record what is missing, and what diverged where that is meant, with: "
        "pytest --record-golden"
    ) in recorded.run(failed=2).outlines


def test_a_moved_test_is_told_where_its_fixture_is(recorded):
    recorded.run("--golden-dir=elsewhere", failed=1)
    (recorded.path / "elsewhere").mkdir()
    recorded.fixture().rename(recorded.path / "elsewhere" / "old.db")
    output = recorded.run("--golden-dir=elsewhere", failed=1).stdout.str()
    assert "elsewhere/old.db was recorded for this test" in output


def test_fixtures_are_looked_through_once_however_many_tests_miss_theirs(recorded, monkeypatch):
    source = (recorded.path / "test_support.py").read_text()
    parametrised = "@pytest.mark.parametrize('n', '123')\ndef test_x(n):"
    recorded.write(test_support=source.replace("def test_refund():", parametrised))
    read = []
    monkeypatch.setattr(starling.replay, "read_fixture", lambda path: read.append(path) or read_fixture(path))
    recorded.run("--golden-unused=off", failed=3)
    assert read == [recorded.fixture()]


def test_a_fixture_of_another_test_is_refused_and_adopted_without_a_provider(recorded):
    source = (recorded.path / "test_support.py").read_text()
    recorded.write(test_support=source.replace("test_refund", "test_renamed"))
    recorded.fixture().rename(recorded.fixture("test_renamed"))
    output = recorded.run("-vv", failed=1).stdout.str()
    assert "test_support/test_renamed.db was recorded for another test" in output
    assert "It was recorded for  test_support.py::test_refund" in output
    assert "and this is          test_support.py::test_renamed" in output
    runs = read_fixture(recorded.fixture("test_renamed")).runs
    result = recorded.record(passed=1)
    assert "adopted   testdata/golden/test_support/test_renamed.db" in result.stdout.str()
    adopted = read_fixture(recorded.fixture("test_renamed"))
    assert adopted.test_id == "test_support.py::test_renamed"
    assert adopted.runs == runs
    recorded.run(passed=1)


def test_git_ignoring_the_fixture_is_a_warning_with_the_line_to_add(project):
    project.pytester.run("git", "init", "-q")
    (project.path / ".gitignore").write_text("*.db\n")
    project.write(test_support="import pytest, support\n@pytest.mark.golden_run\ndef test_a(): support.handle()\n")
    output = project.record(passed=1, warnings=1).stdout.str()
    assert "git ignores testdata/golden/test_support/test_a.db" in output
    assert "!testdata/golden/**/*.db" in output
    (project.path / ".gitignore").write_text("*.db\n!testdata/golden/**/*.db\n")
    project.run("--golden-mode=all", passed=1, warnings=0)


def test_git_ignoring_the_fixture_fails_where_warnings_are_errors(project):
    project.pytester.run("git", "init", "-q")
    (project.path / ".gitignore").write_text("*.db\n")
    project.write(test_support="import pytest, support\n@pytest.mark.golden_run\ndef test_a(): support.handle()\n")
    output = project.record("-vv", "-W", "error::pytest_starling.StarlingWarning", failed=1).stdout.str()
    assert "test_a - git ignores testdata/golden/test_support/test_a.db" in output


def test_a_stale_recording_is_a_warning(recorded):
    source = (recorded.path / "test_support.py").read_text()
    recorded.write(test_support=source.replace("golden_run\n", "golden_run(max_age=1e-9)\n"))
    output = recorded.run(passed=1, warnings=1).stdout.str()
    assert "was recorded 0 days ago, and max_age is 1e-09" in output
    recorded.write(test_support=source.replace("golden_run\n", "golden_run(max_age=1)\n"))
    recorded.run(passed=1, warnings=0)


def test_the_recorder_spends_no_second_run_on_what_passes(recorded):
    recorded.write(
        conftest="""
        def pytest_runtest_call(item):
            print("CALL", item.nodeid)
        """
    )
    assert recorded.record("-s", passed=1).stdout.str().count("CALL") == 1


def test_wider_fixtures_are_torn_down_once_and_at_their_time(project):
    project.write(
        test_support="""
        import pytest, support

        events = []

        @pytest.fixture(scope="class")
        def wide():
            events.append("up")
            yield
            events.append("down")

        class TestGolden:
            @pytest.mark.golden_run
            def test_a(self, wide):
                support.handle()

            @pytest.mark.golden_run
            def test_b(self, wide):
                support.handle()

        def test_order():
            assert events == ["up", "down"]
        """
    )
    project.record(passed=3)
    project.turn(total=43)
    project.record(passed=3)
    project.run(passed=3)


def test_a_failing_module_teardown_is_reported_while_recording(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.fixture(scope="module")
        def wide():
            yield
            raise RuntimeError("broken for good")

        @pytest.mark.golden_run
        def test_a(wide):
            support.handle()
        """
    )
    output = project.record(passed=1, errors=1).stdout.str()
    assert "ERROR at teardown of test_a" in output
    assert "broken for good" in output
