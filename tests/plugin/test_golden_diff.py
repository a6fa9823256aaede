"""``--golden-diff``: how much of a divergence is printed, and that no payload is too much for any form of output."""

import xml.etree.ElementTree as ET

import pytest

LONG = "\n".join(f"Rule {number}: be kind." for number in range(200))
MORE = "E       (--golden-diff=full or -vv shows what is left out here)"
LAST = "E           - Rule 199: be kind."


@pytest.fixture
def rewritten(project):
    """A prompt of 200 lines, each of which is different today."""
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            support.handle()
        """
    )
    project.turn(prompt=LONG)
    project.record(passed=1)
    project.turn(prompt=LONG.replace("kind", "firm"))
    return project


def test_a_long_diff_is_cut_and_says_how_to_see_more(rewritten):
    result = rewritten.run(failed=1)
    result.stdout.fnmatch_lines(["E           - Rule 0: be kind.", "E           - … 188 more lines", MORE])
    assert LAST not in result.outlines


@pytest.mark.parametrize("asked", [["--golden-diff=full"], ["-vv"], ["-vv", "-n1"]])
def test_the_whole_diff_is_shown_if_asked_for(rewritten, asked):
    result = rewritten.run(*asked, failed=1)
    result.stdout.fnmatch_lines(["E           - Rule 0: be kind.", LAST, "E           + Rule 199: be firm."])
    assert MORE not in result.outlines


@pytest.mark.parametrize(
    ("options", "key", "whole"),
    [
        ([], "full", True),
        (["-vv"], "short", False),
        (["--golden-diff=short"], "full", False),
        (["--golden-diff=full"], "short", True),
        (["--golden-diff=short", "-vv"], "", False),
    ],
)
def test_the_command_line_wins_over_the_ini_key_and_both_over_the_verbosity(rewritten, options, key, whole):
    result = rewritten.run("-o", f"golden_diff={key}", *options, failed=1)
    assert (LAST in result.outlines) == whole


def test_another_value_is_a_usage_error(rewritten):
    assert rewritten.run("--golden-diff=long").ret == pytest.ExitCode.USAGE_ERROR
    result = rewritten.run("-o", "golden_diff=long")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: golden_diff = 'long' is none of short, full"])


AGENT = """
from pathlib import Path
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider

@tool
def fetch() -> object:
    "Fetch."
    return eval(Path(__file__).with_name("result.txt").read_text(encoding="utf-8"))

def handle():
    script = ScriptedProvider().tool_call("fetch").turn().text("done")
    return Agent(script, Config(model="m"), MemoryLog(), tools=[fetch]).run_sync("go")
"""
TEST = """
import agents, pytest

@pytest.mark.golden_run
def test_fetch():
    agents.handle()
"""
HOSTILE = {
    "a text of 10 MB": ("'x' * 10_000_000", "'x' * 9_999_999 + 'y'"),
    "10,000 changed lines": (r"'\n'.join(map(str, range(10_000)))", r"'\n'.join(map(str, range(1, 20_000, 2)))"),
    "deep nesting": ("[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "[[[[[[[[[[[[[[[[[[2]]]]]]]]]]]]]]]]]]"),
    "control characters": (r"'\x1b[31mred\x00\x07\x9b5n'", r"'\x1b[32mred\x00\x07\x9b5n'"),
    "marks of direction": (r"'a\u202eb\u2066'", r"'a\u202ec\u2066'"),
    "what begins like a diff": (r"'- a\n+ b'", r"'- a\n+ c'"),
}


OUTPUTS = [
    *((case, [f"--golden-diff={how}"]) for case in HOSTILE for how in ("short", "full")),
    ("control characters", ["-n1"]),
    ("a text of 10 MB", ["-n1"]),
]


@pytest.mark.parametrize(("case", "output"), OUTPUTS)
def test_no_payload_is_too_much(project, case, output):
    project.write(agents=AGENT, test_fetch=TEST)
    result_file = project.path / "result.txt"
    result_file.write_text(HOSTILE[case][0], encoding="utf-8")
    project.record("--golden-verify=off", passed=1)
    result_file.write_text(HOSTILE[case][1], encoding="utf-8")

    result = project.run("--junitxml=junit.xml", "--color=no", *output, failed=1)

    headline = "golden run diverged at seq 5 of 8 (ToolCallCompleted): payload"
    result.stdout.fnmatch_lines([f"E   {headline}", f"FAILED test_fetch.py::test_fetch - {headline}"])
    shown = [line for line in result.outlines if line.startswith("E ")]
    assert all(line.isprintable() for line in shown)
    assert sum(map(len, shown)) < (500_000 if "--golden-diff=full" in output else 10_000)
    failure = ET.parse(project.path / "junit.xml").find(".//testcase/failure")
    assert failure.get("message") == headline
    assert "The tool fetch returned something else than recorded" in failure.text


def test_a_diff_has_its_colours_where_pytest_has_colours(rewritten):
    result = rewritten.run("--color=yes", "--junitxml=junit.xml", failed=1)
    assert "\x1b[31mE           - Rule 0: be kind.\x1b[0m" in result.outlines
    assert "\x1b[32mE           + Rule 0: be firm.\x1b[0m" in result.outlines
    failure = ET.parse(rewritten.path / "junit.xml").find(".//testcase/failure")
    assert "\nE           - Rule 0: be kind.\n" in failure.text


def test_no_color_is_heeded(rewritten, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in rewritten.run(failed=1).stdout.str()


def test_with_workers_a_diff_is_coloured_as_any_failure(rewritten):
    output = rewritten.run("--color=yes", "-n1", failed=1).stdout.str()
    assert "\x1b[1m\x1b[31mE           - Rule 0: be kind.\x1b[0m" in output
