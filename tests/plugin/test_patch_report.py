"""The summary names patches that no recording needs any more, if it has seen them all."""

from __future__ import annotations

import pytest

AGENT = """
import pytest
from starling import Agent, Config, MemoryLog, step, tool
from starling.testing import ScriptedProvider


@tool
async def greet() -> str:
    BODY


def run():
    script = ScriptedProvider().tool_call("greet").turn().text("done")
    Agent(script, Config(model="m"), MemoryLog(), [greet]).run_sync("go")


@pytest.mark.golden_run
def test_one():
    run()


@pytest.mark.golden_run
def test_two():
    run()
"""
BODIES = {
    "plain": "return 'hello'",
    "patched": "return 'good day' if step.patched('polite') else 'hello'",
    "deprecated": "step.deprecate_patch('polite'); return 'good day'",
}


@pytest.fixture
def project(pytester, monkeypatch):
    """Write the agent with one of the bodies and run pytest on it."""
    monkeypatch.delenv("CI", raising=False)

    def run(body, *args):
        pytester.makepyfile(test_greet=AGENT.replace("BODY", BODIES[body]))
        return pytester.runpytest("-p", "no:cacheprovider", "-p", "no:asyncio", *args)

    return run


def patch_lines(result):
    return [line for line in result.outlines if line.startswith("patch ")]


def test_a_patch_that_every_recording_has_is_ready_to_be_deprecated(project):
    project("patched", "--golden-mode=all").assert_outcomes(passed=2)

    result = project("patched")

    result.assert_outcomes(passed=2)
    (line,) = patch_lines(result)
    assert line.startswith("patch 'polite' (test_greet.py:")
    assert line.endswith(
        "no recording predates it; drop the old way and put step.deprecate_patch in the place of step.patched"
    )


def test_a_deprecated_patch_whose_mark_is_gone_can_be_deleted(project):
    project("patched", "--golden-mode=all")
    assert patch_lines(project("deprecated")) == []

    project("deprecated", "--golden-mode=all")

    (line,) = patch_lines(project("deprecated"))
    assert "no recording has its mark; step.deprecate_patch can go" in line


def test_a_patch_that_one_recording_needs_is_kept(project):
    project("plain", "--golden-mode=all", "test_greet.py::test_one").assert_outcomes(passed=1)
    project("patched", "--golden-mode=new").assert_outcomes(passed=2)

    result = project("patched")

    result.assert_outcomes(passed=2)
    assert patch_lines(result) == []


@pytest.mark.parametrize(
    "part", [["-k", "one"], ["test_greet.py::test_one"], ["--deselect", "test_greet.py::test_two"]]
)
def test_nothing_is_said_of_a_part_of_the_recordings(project, part):
    project("patched", "--golden-mode=all")

    result = project("patched", *part)

    result.assert_outcomes(passed=1, deselected=0 if part[0].startswith("test") else 1)
    assert patch_lines(result) == []


def test_workers_tell_the_controller(project):
    project("patched", "--golden-mode=all")

    (line,) = patch_lines(project("patched", "-n", "2"))

    assert line.startswith("patch 'polite' (test_greet.py:")


def test_workers_tell_the_controller_that_they_deselected(project):
    project("patched", "--golden-mode=all")

    assert patch_lines(project("patched", "-n", "1", "-k", "one")) == []
