"""golden_nondeterminism: what a recording lacks is a warning, a failure, or nobody's business."""

import pytest

LEAKING = """
import time, uuid
from pathlib import Path
import pytest
from starling import Agent, Config, MemoryLog, step, tool
from starling.testing import ScriptedProvider

@tool
def stamp() -> int:
    time.time()
    with open(__file__) as file:
        file.read()
    return 1

@tool
async def declared() -> int:
    step.now()
    return await step.side_effect("both", lambda: len(Path(__file__).read_text()) + int(time.time()) * 0)

def handle(*names):
    provider = ScriptedProvider()
    for name in names:
        provider.tool_call(name)
    return Agent(provider.turn().text("done"), Config(model="m"), MemoryLog(), tools=[stamp, declared]).run_sync("go")
"""
TEST = """
import pytest, support

@pytest.mark.golden_run
def test_leaks():
    support.handle({names})
"""
PLACE = "*StarlingWarning: test_support.py::test_leaks: support.py:{}: {} in tool 'stamp' is not recorded, *: {}"
WARNINGS = [
    PLACE.format(9, "time.time()", "take the time from starling.step.now()"),
    PLACE.format(10, "open()", "do it inside starling.step.side_effect(name, fn), or side_effect_sync in a sync tool"),
]
RECORDED = "recorded  testdata/golden/test_support/test_leaks.db"
REFUSED = [
    "E   golden run not recorded: 2 places depend on something that is not recorded",
    "E   support.py:9: time.time() in tool 'stamp' is not recorded, *",
    "E   support.py:10: open() in tool 'stamp' is not recorded, *",
    "E   The recording was thrown away; no fixture was written.",
    "*1 not saved because of undeclared nondeterminism",
]


@pytest.fixture
def leaking(project):
    project.write(support=LEAKING, test_support=TEST.format(names="'stamp', 'declared'"))
    return project


def test_a_recording_warns_of_each_place_and_is_kept(leaking):
    result = leaking.record(passed=1, warnings=2)
    result.stdout.fnmatch_lines([*WARNINGS, f"{RECORDED} (undeclared nondeterminism in 2 places, see the warnings)"])
    assert leaking.fixtures == ["test_support/test_leaks.db"]


def test_a_replay_says_nothing_of_it(leaking):
    leaking.record(passed=1)
    assert "step" not in leaking.run(passed=1, warnings=0).stdout.str()


def test_what_is_declared_is_recorded_without_a_word(leaking):
    leaking.write(test_support=TEST.format(names="'declared'"))
    result = leaking.record(passed=1, warnings=0)
    result.stdout.fnmatch_lines([RECORDED])


@pytest.mark.parametrize("arguments", [["--golden-nondeterminism=error"], ["-o", "golden_nondeterminism=error"]])
def test_as_an_error_it_refuses_the_recording(leaking, arguments):
    result = leaking.record("-vv", *arguments, failed=1, warnings=0)
    result.stdout.fnmatch_lines(REFUSED)
    assert leaking.fixtures == []


def test_a_refused_recording_leaves_the_old_one_as_it_was(leaking):
    leaking.record(passed=1)
    before = leaking.state
    leaking.run("--golden-mode=all", "--golden-nondeterminism=error", failed=1).stdout.fnmatch_lines(
        ["E   The recording was thrown away; testdata/golden/test_support/test_leaks.db is as it was."]
    )
    assert leaking.state == before
    leaking.run("--golden-nondeterminism=error", passed=1)


@pytest.mark.parametrize("arguments", [["-W", "error"], ["-W", "error::pytest_starling.StarlingWarning"]])
def test_where_warnings_are_errors_so_is_this_one(leaking, arguments):
    """A project that takes warnings for errors expects to fail, and to see all places at once."""
    leaking.record("-vv", *arguments, failed=1).stdout.fnmatch_lines(REFUSED)
    assert leaking.fixtures == []


def test_the_warning_can_be_ignored_where_others_are_errors(leaking):
    options = ["-W", "error", "-W", "ignore::pytest_starling.StarlingWarning"]
    leaking.record(*options, passed=1, warnings=0)
    assert leaking.fixtures == ["test_support/test_leaks.db"]


PROFILED = """
import sys
import pytest, support
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider

seen = []

def observing():
    if sys.version_info >= (3, 12):
        return "starling" in map(sys.monitoring.get_tool, range(6))
    return sys.getprofile() is not None

@tool
async def look() -> str:
    seen.append(observing())
    return "done"

@pytest.mark.golden_run
def test_looks():
    agent = Agent(ScriptedProvider().tool_call("look").turn().text("done"), Config(model="m"), MemoryLog(), [look])
    agent.run_sync("go")
    assert not observing()

def test_was_looked_at():
    print("SEEN", seen)
"""


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["--record-golden"], [True, False]),  # recorded, then replayed once
        (["--record-golden", "--golden-nondeterminism=off"], [False, False]),
        (["--record-golden", "-o", "golden_nondeterminism=off"], [False, False]),
        (["--record-golden", "-o", "golden_nondeterminism=off", "--golden-nondeterminism=warn"], [True, False]),
    ],
)
def test_only_a_recording_is_looked_at_and_only_if_it_is_not_off(leaking, arguments, seen):
    leaking.write(test_support=PROFILED)
    leaking.run("-s", *arguments, passed=2).stdout.fnmatch_lines([f"*SEEN {seen}*".replace("[", "[[]", 1)])
    leaking.run("-s", passed=2).stdout.fnmatch_lines(["*SEEN [[]False]*"])


def test_off_records_without_a_word(leaking):
    leaking.record("--golden-nondeterminism=off", passed=1, warnings=0).stdout.fnmatch_lines([RECORDED])


def test_workers_tell_the_controller(leaking):
    result = leaking.run("--record-golden", "-n1", passed=1, warnings=2)
    result.stdout.fnmatch_lines_random(
        [*WARNINGS, f"{RECORDED} (undeclared nondeterminism in 2 places, see the warnings)"]
    )
    result = leaking.run("--golden-mode=all", "--golden-nondeterminism=error", "-vv", "-n1", failed=1)
    result.stdout.fnmatch_lines(REFUSED[:3])


UNSTABLE = """
import time
import pytest
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider

@tool
def stamp() -> int:
    return time.time_ns()

@pytest.mark.golden_run
def test_leaks():
    provider = ScriptedProvider().tool_call("stamp").turn().text("done")
    Agent(provider, Config(model="m"), MemoryLog(), tools=[stamp]).run_sync("go")
"""


def test_a_recording_that_does_not_replay_names_the_probable_cause(leaking):
    leaking.write(test_support=UNSTABLE)
    result = leaking.record("-vv", failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "E   the recording does not replay: *",
            "E   While it was recorded:",
            "E   test_support.py:8: time.time_ns() in tool 'stamp' is not recorded, *: take the time from *",
        ]
    )


def test_a_failing_test_is_not_judged(leaking):
    leaking.write(test_support=TEST.format(names="'stamp'") + "    assert False\n")
    leaking.record(failed=1, warnings=0)


def test_the_number_of_places_goes_to_the_properties(leaking):
    leaking.record("--junitxml=out.xml", passed=1)
    assert '<property name="starling.undeclared" value="2" />' in (leaking.path / "out.xml").read_text()


def test_a_word_that_is_none_of_the_three_is_refused(leaking):
    result = leaking.run("-o", "golden_nondeterminism=maybe")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*golden_nondeterminism = 'maybe' is none of warn, error, off"])
    assert leaking.run("--golden-nondeterminism=maybe").ret == pytest.ExitCode.USAGE_ERROR
    text = leaking.run("--help").stdout.str()
    assert "--golden-nondeterminism={warn,error,off}" in text
    assert "golden_nondeterminism (string)" in text
