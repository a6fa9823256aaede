"""pytest's own options, with golden tests among the others."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

TESTS = """
import pytest, support

@pytest.mark.golden_run
@pytest.mark.parametrize("number", range(3))
def test_golden(number):
    support.handle(f"question {number}")

def test_plain():
    pass
"""
ALL = {"passed": 4}


@pytest.fixture
def mixed(project):
    project.write(test_support=TESTS)
    project.record(**ALL)
    return project


OPTIONS = {
    "--setup-show": ALL,
    "--durations=3": ALL,
    "--import-mode=importlib": ALL,
    "--import-mode=append": ALL,
    "-W error": ALL,
    "--strict-markers --strict-config": ALL,
    "--assert=plain": ALL,
    "--full-trace -l": ALL,
    "-s": ALL,
    "-p no:capture": ALL,
    "-p no:logging": ALL,
    "-p no:skipping": ALL,
    "-p no:tmpdir": ALL,
    "-p no:unittest": ALL,
    "-p no:warnings": ALL,
    "-p no:junitxml": ALL,
    "--noconftest": ALL,
    "--junitxml=out.xml": ALL,
    "-k 1": {"passed": 1, "deselected": 3},
    "-k golden": {"passed": 3, "deselected": 1},
    "-m golden_run": {"passed": 3, "deselected": 1},
    "--deselect=test_support.py::test_golden": {"passed": 1, "deselected": 3},
    "test_support.py::test_golden[2]": {"passed": 1},
    "-x": ALL,
    "-n0": ALL,
    "-rA": ALL,
}


def test_recordings_replay_with_each(mixed):
    before = mixed.state
    for option, expected in OPTIONS.items():
        result = mixed.run(*option.split(" "))
        found = {name: count for name, count in result.parseoutcomes().items() if name not in ("warning", "warnings")}
        assert (option, found) == (option, expected)
        assert "unused" not in result.stdout.str(), option
        assert mixed.state == before, option


LOOKING = ["--co", "--co -q", "--setup-plan", "--setup-only", "--fixtures-per-test", "--fixtures"]


@pytest.mark.parametrize("mode", [[], ["--golden-mode=all"]], ids=["replay", "all"])
def test_nothing_is_run_or_recorded_where_pytest_only_looks(mixed, mode):
    before = mixed.state
    mixed.turn(total=43)
    for option in LOOKING:
        result = mixed.run(*mode, *option.split(" "))
        assert result.ret == pytest.ExitCode.OK, option
        assert "diverged" not in result.stdout.str(), option
        assert mixed.state == before, option


def test_collecting_quietly_prints_nothing_but_the_names(mixed):
    lines = mixed.run("--co", "-q").outlines
    names = [*(f"test_support.py::test_golden[{number}]" for number in range(3)), "test_support.py::test_plain"]
    assert lines[:4] == names
    assert not any("golden:" in line for line in lines)


@pytest.mark.parametrize("mode", [[], ["--record-golden"]])
@pytest.mark.parametrize(("option", "failed"), [("-x", 1), ("--maxfail=2", 2)])
def test_the_session_stops_where_it_is_told_to(mixed, option, failed, mode):
    """While recording, a trial that is recorded after all is no failure; a test that fails is one."""
    mixed.turn(fails=True, total=43)
    before = mixed.state
    mixed.run(*mode, option, "--tb=no", failed=failed)
    assert mixed.state == before


def test_a_trial_is_no_reason_to_stop(mixed):
    mixed.turn(total=43)
    mixed.record("-x", **ALL)
    mixed.run("-x", **ALL)


def test_what_failed_comes_first_or_alone_or_next(mixed):
    def run(*arguments, **expected):
        return mixed.run_cached(*arguments, **expected).stdout.str()

    mixed.turn(total=43)
    run("--sw", "--tb=no", failed=1)
    mixed.turn()
    assert "1 unused" not in run("--sw", passed=4)
    mixed.turn(total=43)
    run("--tb=no", failed=3, passed=1)
    mixed.turn()
    first = [line for line in run("--ff", "-v", **ALL).splitlines() if "::" in line]
    assert "test_plain" in first[-1]
    mixed.turn(total=43)
    run("--tb=no", failed=3, passed=1)
    assert "1 unused" not in run("--lf", "--record-golden", passed=3)
    run("--lf", **ALL)
    run("--nf", **ALL)


@pytest.mark.parametrize("mode", ["replay", "changed"])
def test_the_debugger_is_entered_once_and_only_for_what_is_reported(mixed, mode):
    mixed.turn(total=43)
    child = forked.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pdb", "-x", f"--golden-mode={mode}"],
        cwd=mixed.path,
        input="c\n" * 9,
    )
    assert child.stdout.count("entering PDB") == (1 if mode == "replay" else 0)
    assert ("1 failed" if mode == "replay" else "4 passed") in child.stdout


def test_pytest_may_be_called_again_in_one_process(mixed):
    mixed.write(
        program="""
        import os, sys
        import pytest

        arguments = ["-p", "no:cacheprovider", "-q"]
        codes = [int(pytest.main([*arguments, *mode])) for mode in ([], ["--golden-mode=all"], [], ["--co"], [])]
        from starling import ambient
        print("CODES", codes, ambient.active(), "STARLING_REPLAY" in os.environ)
        """
    )
    result = forked.run([sys.executable, mixed.path / "program.py"])
    assert "CODES [0, 0, 0, 0, 0] None False" in result.stdout.splitlines()
    assert result.stdout.count("4 passed") == 4


class TestFolders:
    def test_an_ini_file_elsewhere_says_where_recordings_are(self, mixed):
        elsewhere = mixed.path / "elsewhere"
        elsewhere.mkdir()
        shutil.copy(mixed.path / "pytest.ini", elsewhere)
        (elsewhere / "pytest.ini").write_text(
            (elsewhere / "pytest.ini").read_text().replace("pythonpath = .", "pythonpath = ..")
        )
        chosen = ["-c", "elsewhere/pytest.ini"]
        mixed.run(*chosen, "test_support.py", failed=3, passed=1)
        output = mixed.run(*chosen, "--rootdir=.", "test_support.py", **ALL).stdout.str()
        assert "golden: 3 tests, replaying from testdata/golden" in output
        mixed.run(*chosen, "--golden-dir=../testdata/golden/..", "--co", "test_support.py")

    @pytest.mark.parametrize("arguments", [[".."], ["../test_support.py"], []])
    def test_a_folder_below_finds_the_same_recordings(self, mixed, arguments):
        below = mixed.path / "below"
        below.mkdir()
        (below / "test_below.py").write_text(
            "import pytest, support\n@pytest.mark.golden_run\ndef test_b(): support.handle()\n"
        )
        mixed.monkeypatch.chdir(below)
        if arguments:
            mixed.run("--golden-mode=new", *arguments)
            mixed.run("--rootdir=..", *arguments, passed=5 if arguments == [".."] else 4)
        else:
            mixed.record(passed=1)
            assert "below/test_below/test_b.db" in mixed.fixtures
            output = mixed.run("--golden-dir=other", failed=1).stdout.str()
            assert 'pytest --record-golden "test_below.py::test_b"' in output


class TestReadOnlyCheckout:
    """Nothing is written, so nothing fails. As root, modes bind nobody; a read-only mount does."""

    @pytest.fixture
    def mounted(self, mixed):
        if not shutil.which("unshare"):
            pytest.skip("needs unshare(1), for a read-only mount")
        path = str(mixed.path)
        script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && cd "$0" && exec "$@"'

        def run(*command):
            whole = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, path, *command]
            return subprocess.run(whole, capture_output=True, text=True, check=False)

        probe = run("touch", "probe")
        if "Read-only file system" not in probe.stderr:
            pytest.skip(f"no read-only mounts here: {probe.stderr.strip() or 'the mount is writable'}")
        return lambda *arguments: run(sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *arguments)

    def test_it_replays_without_a_word(self, mixed, mounted):
        done = mounted()
        assert done.returncode == pytest.ExitCode.OK, done.stdout
        assert "4 passed" in done.stdout
        assert "golden runs" not in done.stdout
        assert "StarlingWarning" not in done.stdout

    def test_a_divergence_is_told_without_the_line_that_needs_a_file(self, mixed, mounted):
        mixed.turn(total=43)
        done = mounted()
        assert done.returncode == pytest.ExitCode.TESTS_FAILED
        assert done.stdout.count("golden run diverged at seq 11 of 14 (ToolCallCompleted): payload") >= 3
        assert "starling diff" not in done.stdout

    @pytest.mark.parametrize("mode", ["all", "changed"])
    def test_a_recording_fails_before_a_token_is_spent_and_says_why(self, mixed, mounted, mode):
        mixed.turn(total=43)
        before = mixed.state
        done = mounted(f"--golden-mode={mode}")
        assert done.returncode == pytest.ExitCode.TESTS_FAILED
        assert "3 failed, 1 passed" in done.stdout
        assert "writ" in done.stdout
        assert "Traceback" not in done.stdout
        assert mixed.state == before


def test_a_file_where_the_folder_should_be_is_named(project):
    project.write(test_support=TESTS)
    (project.path / "testdata").write_text("a file")
    output = project.record(failed=3, passed=1).stdout.str()
    assert "testdata" in output
    assert "INTERNALERROR" not in output
    assert (project.path / "testdata").read_text() == "a file"


def test_odd_ids_have_files_of_their_own(project):
    project.write(
        test_support="""
        import pytest, support

        ODD = [
            "a/b::c[x]", "..", "", " ", "%s", "@group", "con", "A", "a", "a" * 300, "\\n", "\\x00", "na\\u00efve",
            "\\u2713", "[", "]", "C:\\\\x", "*?", "-", "~", "$HOME", "'\\"",
        ]

        @pytest.mark.golden_run
        @pytest.mark.parametrize("word", ODD)
        def test_odd(word):
            support.handle(f"say {word}")

        @pytest.mark.golden_run
        @pytest.mark.parametrize("one", [1.5, None, b"\\xff", "a@b"])
        @pytest.mark.parametrize("two", ["x", "y"])
        def test_two(one, two):
            support.handle(f"{one} and {two}")
        """
    )
    project.record(passed=30)
    assert len({name.casefold() for name in project.fixtures}) == 30
    assert all(name.startswith("test_support/") and name.count("/") == 1 for name in project.fixtures)
    project.run(passed=30)
    assert "unused" not in project.run("-k", "test_two").stdout.str()


def test_the_plugin_stays_out_where_it_is_told_to(mixed):
    result = mixed.run_anew("-p", "no:starling", "-W", "ignore::pytest.PytestUnknownMarkWarning", **ALL)
    assert "golden" not in result.stdout.str().replace("test_golden", "")
    assert not list(Path(mixed.path).rglob("*.tmp"))
