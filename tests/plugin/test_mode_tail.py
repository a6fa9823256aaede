"""--golden-mode=tail: what diverges is recorded from there on; the turns before it are those of the old recording."""

import sys

import pytest

from starling.event import Kind, validate
from starling.replay import read_fixture

DESK = """
from pathlib import Path

from starling import Agent, Config, MemoryLog, step, tool
from starling.provider import Capabilities, ProviderInfo
from starling.testing import ScriptedProvider

HERE = Path(__file__).parent
EDIT = (HERE / "edit.txt").read_text() if (HERE / "edit.txt").exists() else ""


def note(file, what):
    with (HERE / file).open("a") as lines:
        lines.write(f"{what}\\n")


class Model:
    "Calls the tool until it has done so often enough; writes down which turns it was asked for."

    def __init__(self, turns):
        self.turns = turns

    def info(self):
        return ProviderInfo(id="model", api_version="v0")

    def capabilities(self):
        return Capabilities(tools=True)

    def stream(self, request):
        number = sum(message.role == "assistant" for message in request.messages) + 1
        note("asked.txt", number)
        script = ScriptedProvider()
        if number < self.turns:
            script.tool_call("look", {"n": number}, f"call_{number}")
        else:
            script.text("done")
        return script.stream(request)


@tool
async def look(n: int) -> str:
    await step.side_effect("pay", lambda: note("paid.txt", n))
    return f"{n} {EDIT if n == 3 else ''}"


def handle(goal="go", turns=5):
    return Agent(Model(turns), Config(model="gpt-4o-mini"), MemoryLog(), tools=[look]).run_sync(goal).final_text
"""

TEST = """
import pytest, desk

@pytest.mark.golden_run
def test_handle():
    assert desk.handle() == "done"
"""


class Desk:
    """The project, and what its model was asked for and its tool paid since one last looked."""

    def __init__(self, project):
        self.project = project
        self.path = project.path

    def edit(self, text="changed"):
        (self.path / "edit.txt").write_text(text)

    def lines(self, name):
        file = self.path / name
        lines = [int(line) for line in file.read_text().split()] if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    @property
    def asked(self):
        return self.lines("asked.txt")

    @property
    def paid(self):
        return self.lines("paid.txt")

    def tail(self, *arguments, **expected):
        return self.project.run("--golden-mode=tail", *arguments, **expected)

    def fixture(self, name="test_handle"):
        return self.project.fixture(name, "test_desk")


@pytest.fixture
def desk(project, monkeypatch):
    monkeypatch.delitem(sys.modules, "desk", raising=False)
    monkeypatch.delitem(sys.modules, "test_desk", raising=False)
    project.write(desk=DESK, test_desk=TEST)
    return Desk(project)


@pytest.fixture
def taped(desk):
    """One golden test, recorded."""
    desk.project.record(passed=1)
    assert desk.asked == [1, 2, 3, 4, 5]
    assert desk.paid == [1, 2, 3, 4]
    return desk


def test_an_edit_costs_what_comes_behind_it(taped):
    before = read_fixture(taped.fixture())
    taped.edit()

    result = taped.tail(passed=1)

    assert taped.asked == [4, 5]
    assert taped.paid == [4]
    result.stdout.fnmatch_lines(
        [
            "golden: 1 test, recording what is missing, and what diverges from there on, in testdata/golden",
            "*= golden runs =*",
            "recorded  testdata/golden/test_desk/test_handle.db (kept 3 of 5 turns)",
        ]
    )
    after = read_fixture(taped.fixture())
    (run,) = after.runs
    validate(run.events)
    assert run.run_id != before.runs[0].run_id
    assert [event.kind for event in run.events] == [event.kind for event in before.runs[0].events]
    assert after.test_id == before.test_id

    taped.project.run(passed=1)
    assert taped.asked == taped.paid == []


def test_where_nothing_diverges_nothing_is_recorded(taped):
    before = taped.project.state

    result = taped.tail(passed=1)

    assert taped.project.state == before
    assert taped.asked == []
    result.stdout.fnmatch_lines(["nothing recorded: every recording still holds*"])


def test_what_is_missing_is_recorded_as_ever(desk):
    result = desk.tail(passed=1)

    assert desk.asked == [1, 2, 3, 4, 5]
    result.stdout.fnmatch_lines(["recorded  testdata/golden/test_desk/test_handle.db"])
    desk.project.run(passed=1)


def test_what_cannot_be_used_is_recorded_as_ever(taped):
    taped.fixture().write_bytes(b"no database")

    taped.tail(passed=1)

    assert taped.asked == [1, 2, 3, 4, 5]
    taped.project.run(passed=1)


def test_a_test_that_makes_one_run_more_keeps_the_others(taped):
    more = TEST + '    assert desk.handle("and this", turns=2) == "done"\n'
    (taped.path / "test_desk.py").write_text(more)

    result = taped.project.run("--golden-mode=tail", passed=1)

    assert taped.asked == [1, 2]
    result.stdout.fnmatch_lines(["recorded *(kept 5 of 7 turns)"])
    assert len(read_fixture(taped.fixture()).runs) == 2
    taped.project.run(passed=1)


def test_a_test_that_makes_one_run_fewer_costs_nothing(taped):
    more = TEST + '    assert desk.handle("and this", turns=2) == "done"\n'
    (taped.path / "test_desk.py").write_text(more)
    taped.project.run("--record-golden", passed=1)
    assert taped.asked
    (taped.path / "test_desk.py").write_text(TEST)

    result = taped.project.run("--golden-mode=tail", passed=1)

    assert taped.asked == []
    result.stdout.fnmatch_lines(["recorded *(kept 5 of 5 turns)"])
    assert len(read_fixture(taped.fixture()).runs) == 1


def test_code_that_swallows_the_divergence_is_recorded_too(taped):
    (taped.path / "desk.py").write_text(
        DESK.replace(
            '    await step.side_effect("pay", lambda: note("paid.txt", n))\n',
            '    try:\n        await step.side_effect("paid" if n == 3 else "pay", lambda: note("paid.txt", n))\n'
            "    except Exception:\n        pass\n",
        )
    )

    taped.project.run("--golden-mode=tail", passed=1)

    assert taped.asked == [4, 5]
    assert taped.paid == [3, 4]
    taped.project.run(passed=1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("assert False, desk.handle()", "*1 not recorded because the test failed*"),
        (
            "import os; desk.handle(); assert os.environ['STARLING_REPLAY'] == 'ready'",
            "*1 not saved because the recording does not replay",
        ),
    ],
)
def test_the_old_recording_stays_where_the_new_one_is_refused(taped, body, why):
    before = taped.project.state
    taped.edit()
    (taped.path / "test_desk.py").write_text(TEST.replace('assert desk.handle() == "done"', body))

    result = taped.project.run("--golden-mode=tail", failed=1)

    assert taped.project.state == before
    assert taped.asked == [4, 5]
    result.stdout.fnmatch_lines([why])


def test_a_provider_that_fails_once_it_is_live_leaves_the_old_recording(taped):
    before = taped.project.state
    taped.edit()
    (taped.path / "desk.py").write_text(
        DESK.replace('        note("asked.txt", number)\n', '        raise RuntimeError("no such luck")\n')
    )

    taped.project.run("--golden-mode=tail", failed=1)

    assert taped.project.state == before


def test_a_key_is_asked_for_where_the_first_live_turn_needs_it(desk, monkeypatch):
    """Neither to build the agent, nor for the turns that are kept."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    desk.project.write(
        desk=DESK.replace("Agent(Model(turns)", "Agent(provider(turns)")
        + "\n\ndef provider(turns):\n"
        + "    model = Model(turns)\n"
        + "    from starling.provider.openai import OpenAI\n"
        + "    real = OpenAI(provider_id='model', api_version='v0')\n"
        + "    return real if (HERE / 'real.txt').exists() else model\n"
    )
    monkeypatch.setenv("OPENAI_API_KEY", "x" * 4)
    desk.project.run("--record-golden", passed=1)
    monkeypatch.delenv("OPENAI_API_KEY")
    (desk.path / "real.txt").write_text("")
    desk.edit()

    result = desk.project.run("--golden-mode=tail", failed=1)

    assert desk.paid == [1, 2, 3, 4]  # while everything was recorded
    result.stdout.fnmatch_lines(["*no API key: set OPENAI_API_KEY*"])


def test_in_ci_it_is_refused_like_any_recording(taped, monkeypatch):
    monkeypatch.setenv("CI", "true")
    taped.edit()

    refused = taped.tail()
    refused.stderr.fnmatch_lines(["*--golden-mode=tail is refused in CI*"])
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert taped.asked == []

    taped.tail("--golden-allow-ci-record", passed=1)
    assert taped.asked == [4, 5]


def test_as_an_ini_key_it_falls_back_to_replaying_in_ci(taped, monkeypatch):
    ini = taped.path / "pytest.ini"
    ini.write_text(ini.read_text() + "\ngolden_mode = tail\n")
    taped.edit()
    monkeypatch.setenv("CI", "true")
    taped.project.run(failed=1)
    assert taped.asked == []

    monkeypatch.delenv("CI")
    taped.project.run(passed=1)
    assert taped.asked == [4, 5]


def test_it_contradicts_the_flag(taped):
    result = taped.tail("--record-golden")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--record-golden means --golden-mode=changed and contradicts --golden-mode=tail*"])


def test_unverified_recordings_keep_their_turns_too(taped):
    taped.edit()

    taped.tail("--golden-verify=off", passed=1)

    assert taped.asked == [4, 5]
    taped.project.run(passed=1)


def test_what_was_kept_goes_to_junit_files(taped):
    taped.edit()

    taped.tail("--junitxml=out.xml", passed=1)

    text = (taped.path / "out.xml").read_text()
    assert '<property name="starling.turns_kept" value="3" />' in text
    assert '<property name="starling.turns" value="5" />' in text


def test_in_worker_processes(taped):
    taped.edit()

    result = taped.project.run("--golden-mode=tail", "-n", "1", passed=1)

    assert taped.asked == [4, 5]
    result.stdout.fnmatch_lines(["recorded *(kept 3 of 5 turns)"])


def test_a_moved_test_takes_its_recording_along(taped):
    """As with the flag: the file that lies at its new place was recorded for it under another name."""
    text = TEST.replace("test_handle", "test_moved")
    (taped.path / "test_desk.py").write_text(text)
    taped.fixture().rename(taped.fixture("test_moved"))
    taped.edit()

    taped.project.run("--golden-mode=tail", passed=1)

    assert taped.asked == [4, 5]
    assert read_fixture(taped.fixture("test_moved")).test_id == "test_desk.py::test_moved"
    taped.project.run(passed=1)


def test_a_redacted_recording_is_kept_as_far_as_any(project, monkeypatch):
    """Also where the text that goes has other characters in the request than in the result."""
    monkeypatch.delitem(sys.modules, "desk", raising=False)
    monkeypatch.delitem(sys.modules, "test_desk", raising=False)
    told = DESK.replace("async def look(n: int) -> str", "async def look(n: int) -> dict")
    told = told.replace(
        "return f\"{n} {EDIT if n == 3 else ''}\"", "return {'of': '\"kim\"@example.org', 'n': n, 'x': EDIT * (n == 3)}"
    )
    project.write(desk=told, test_desk=TEST)
    ini = project.path / "pytest.ini"
    ini.write_text(ini.read_text() + '\ngolden_redact = "kim"@example.org => <address>\n')
    desk = Desk(project)
    project.record(passed=1)
    assert desk.asked == [1, 2, 3, 4, 5]
    assert desk.paid
    desk.edit()

    desk.tail(passed=1)

    assert desk.asked == [4, 5]
    assert desk.paid == [4]
    (run,) = read_fixture(desk.fixture()).runs
    results = [event.decode().result for event in run.events if event.kind is Kind.ToolCallCompleted]
    assert results[0] == {"of": "<address>", "n": 1, "x": ""}
    assert "kim" not in repr(run.events)
    project.run(passed=1)
