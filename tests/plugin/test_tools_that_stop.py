"""A tool that ends the test, or everything, while the recording is replayed."""

import pytest

TEST = """
import json
from pathlib import Path

import pytest
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider

@tool
def look() -> str:
    says = Path(__file__).with_name("says.txt")
    if says.exists():
        {statement}
    return "found"

@pytest.mark.golden_run
def test_look():
    script = ScriptedProvider().tool_call("look").turn().text("done")
    Agent(script, Config(model="gpt-4o-mini"), MemoryLog(), [look]).run_sync("go")

def test_another(): ...
"""


def recorded_with(project, statement):
    """A recorded test whose tool does that from now on."""
    project.write(test_stop=TEST.replace("{statement}", statement))
    project.record(passed=2)
    (project.path / "says.txt").touch()


@pytest.mark.parametrize(
    ("statement", "said"),
    [("pytest.fail('no orders')", "Failed: no orders"), ("pytest.skip('no orders')", "Skipped: no orders")],
)
def test_its_words_are_in_the_failure(project, statement, said):
    recorded_with(project, statement)
    lines = project.run("-vv", failed=1, passed=1).stdout
    lines.fnmatch_lines(
        [
            "E   golden run diverged at seq 5 of 8 (ToolCallCompleted): kind",
            f"E       {said} (test_stop.py:*, in look)",
            "E*today RunCancelled*interrupted by *",
        ]
    )


def test_an_interrupt_stops_pytest(project):
    recorded_with(project, "raise KeyboardInterrupt")
    result = project.run_apart()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*test_stop.py:*: KeyboardInterrupt"])
    result.stdout.no_fnmatch_line("*passed*")


STOPPED = ["*Exit: enough !*"]


@pytest.mark.parametrize("tool_errors", ["fail", "report"])
def test_an_exit_stops_pytest(project, tool_errors):
    recorded_with(project, "pytest.exit('enough')")
    source = (project.path / "test_stop.py").read_text()
    changed = source.replace('model="gpt-4o-mini"', f'model="gpt-4o-mini", tool_errors="{tool_errors}"')
    (project.path / "test_stop.py").write_text(changed)
    result = project.run_apart()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(STOPPED)
    result.stdout.no_fnmatch_line("*passed*")


def test_an_exit_while_recording_stops_pytest_and_keeps_nothing(project):
    project.write(test_stop=TEST.replace("{statement}", "pytest.exit('enough')"))
    (project.path / "says.txt").touch()
    result = project.run_apart("--record-golden")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(STOPPED)
    assert project.fixtures == []


def test_an_exit_in_a_fixture_is_no_golden_failure(project):
    recorded_with(project, "return 'changed'")
    fixture = """
    import pytest

    @pytest.fixture{scope}
    def leaves():
        {before}
        yield
        pytest.exit('enough')
    """
    for scope, before in (("", "pytest.exit('enough')"), ("", ""), ("(scope='module')", "")):
        project.pytester.makeconftest(fixture.replace("{scope}", scope).replace("{before}", before))
        result = project.run_apart("-o", "usefixtures=leaves")
        assert result.ret == pytest.ExitCode.INTERRUPTED
        result.stdout.fnmatch_lines(STOPPED)


def test_an_interrupt_that_the_test_catches_fails_it(project):
    recorded_with(project, "raise KeyboardInterrupt")
    caught = "    with pytest.raises(KeyboardInterrupt):\n        Agent(script"
    source = (project.path / "test_stop.py").read_text()
    (project.path / "test_stop.py").write_text(source.replace("    Agent(script", caught))
    project.run("-vv", failed=1, passed=1).stdout.fnmatch_lines(["*diverged at seq 5 of 8 (ToolCallCompleted): kind"])
