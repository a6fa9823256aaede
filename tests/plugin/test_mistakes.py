"""Every mistake of the list fails at the right event, with the right class and the changed field named."""

import sqlite3
from contextlib import closing

import pytest

# The recorded run: 1 RunStarted, 2 TurnStarted, 3 AssistantMessageCompleted, 4 ToolCallScheduled lookup,
# 5 SideEffectRecorded rate, 6 stock, 7/8 alpha, 9/10 beta, 11 ToolCallCompleted lookup, 12 TurnStarted,
# 13 AssistantMessageCompleted, 14 RunCompleted.
LENGTH = 14
CASES = {
    "system prompt": (
        {"prompt": "You are kind.\nAnswer at length.\nNever promise money."},
        f"at seq 1 of {LENGTH} (RunStarted): payload",
        ["    system_prompt:", "- Answer briefly.", "+ Answer at length."],
    ),
    "goal": (
        {"goal": "I was charged thrice"},
        f"at seq 1 of {LENGTH} (RunStarted): payload",
        ['goal: "I was charged twice" → "I was charged thrice"'],
    ),
    "model parameter": (
        {"temperature": 0.7},
        f"at seq 1 of {LENGTH} (RunStarted): payload",
        ["params.temperature: 0.5 → 0.7"],
    ),
    "tool description": (
        {"description": "Find an order."},
        f"at seq 1 of {LENGTH} (RunStarted): payload",
        ['tools.lookup.description: "Look an order up." → "Find an order."'],
    ),
    "tool schema": (
        {"wide": True},
        f"at seq 1 of {LENGTH} (RunStarted): payload",
        ["tools.lookup.schema.properties.country: (absent) → "],
    ),
    "tool result": (
        {"total": 43},
        f"at seq 11 of {LENGTH} (ToolCallCompleted): payload",
        ["The tool lookup returned something else", "result.total: 42 → 43", 'lookup → {"order": 7, "total": 42}'],
    ),
    "tool error instead of a result": (
        {"fails": True},
        f"at seq 11 of {LENGTH} (ToolCallCompleted): kind",
        ["today ToolCallFailed", "lookup failed (tool): no such order"],
    ),
    "a turn fewer": (
        {"max_turns": 1},
        f"at seq 12 of {LENGTH} (TurnStarted): kind",
        ["today RunFailed", "max_turns"],
    ),
    "tools reordered by the code": (
        {"dispatch": ["beta", "alpha"]},
        f"at seq 7 of {LENGTH} (ToolCallScheduled): payload",
        ['tool: "alpha" → "beta"'],
    ),
    "an extra side effect": (
        {"effects": ["rate", "stock", "weather"]},
        f"at seq 7 of {LENGTH} (ToolCallScheduled): kind",
        ["today SideEffectRecorded", "weather"],
    ),
    "one side effect fewer": (
        {"effects": ["rate"]},
        f"at seq 6 of {LENGTH} (SideEffectRecorded): kind",
        [">    6  SideEffectRecorded        stock = 1", "today ToolCallScheduled"],
    ),
    "a renamed side effect": (
        {"effects": ["rate", "shelf"]},
        f"at seq 6 of {LENGTH} (SideEffectRecorded): payload",
        ['name: "stock" → "shelf"'],
    ),
    "another model": (
        {"model": "gpt-4o"},
        f"at seq 1 of {LENGTH} (RunStarted): payload",
        ['model_id: "gpt-4o-mini" → "gpt-4o"', "nothing was run"],
    ),
    "another provider": (
        {"provider": "openai"},
        f"at seq 1 of {LENGTH} (RunStarted): payload",
        ['provider_id: "scripted" → "openai"', "or set force_provider=True in the golden_run marker if"],
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_a_mistake_fails_at_its_event_and_names_the_field(recorded, mistake):
    knobs, headline, texts = CASES[mistake]
    recorded.turn(**knobs)
    before = recorded.state
    result = recorded.run("-vv", failed=1)
    output = result.stdout.str()
    assert f"FAILED test_support.py::test_refund - golden run diverged {headline}" in output
    for text in texts:
        assert text in output
    assert "fixture  testdata/golden/test_support/test_refund.db, recorded 20" in output
    assert 'pytest --record-golden "test_support.py::test_refund"' in output
    assert recorded.state == before


def test_an_extra_turn_diverges_where_the_recording_ended(project):
    project.write(
        test_support="""
        import pytest, support
        from starling.errors import MaxTurnsExceededError

        @pytest.mark.golden_run
        def test_refund():
            try:
                support.handle()
            except MaxTurnsExceededError:
                pass
        """
    )
    project.turn(max_turns=1)
    project.record(passed=1)
    project.turn(max_turns=2)
    result = project.run("-vv", failed=1)
    result.stdout.fnmatch_lines(["*golden run diverged at seq 12 of 12 (RunFailed): kind", "*today TurnStarted*"])


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE eventlog_events SET payload = zeroblob(length(payload)) WHERE seq = 11",
        "DELETE FROM eventlog_events WHERE seq = 14",
        "UPDATE starling_fixture SET value = 'tests/other.py::test_x' WHERE key = 'test_id'",
    ],
)
def test_a_fixture_edited_by_hand_is_corrupt_and_not_diverged(recorded, edit):
    with closing(sqlite3.connect(recorded.fixture())) as database:
        assert database.execute(edit).rowcount == 1
        database.commit()
    output = recorded.run("-vv", failed=1).stdout.str()
    assert "FAILED test_support.py::test_refund - golden fixture cannot be used: " in output
    assert "diverged at" not in output
    assert "record the test again" not in output


UNUSABLE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-700]),
    "not a database": lambda path: path.write_bytes(b"hello"),
    "empty": lambda path: path.write_bytes(b""),
    "Git LFS": lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
}


@pytest.mark.parametrize("damage", UNUSABLE)
def test_a_file_that_is_no_fixture_is_said_to_be_so(recorded, damage):
    UNUSABLE[damage](recorded.fixture())
    output = recorded.run("-vv", failed=1).stdout.str()
    assert "FAILED test_support.py::test_refund - golden fixture cannot be used: testdata/golden/" in output
    assert str(recorded.path / "testdata") not in output
    lines = [line for line in output.splitlines() if line.startswith("E   ")]
    restoring = [line for line in lines if "restore" in line.lower()]
    assert (len(restoring), "git lfs pull" in output) == ((0, True) if damage == "Git LFS" else (1, False))
    assert ("E       pytest --record-golden" in output) == (damage != "Git LFS")
    (counted,) = [line for line in lines_of_the_summary(output) if line.startswith("1 unusable; ")]
    cure = "fetch Git LFS pointers with: git lfs pull" if damage == "Git LFS" else "record with: pytest --record-golden"
    assert counted == f"1 unusable; {cure}"


def lines_of_the_summary(output):
    return output.partition("= golden runs =")[2].splitlines()


def test_a_foreign_database_and_a_newer_fixture_are_told_apart(recorded):
    with closing(sqlite3.connect(recorded.fixture())) as database:
        database.execute("UPDATE starling_fixture SET value = '99' WHERE key = 'format_version'")
        database.commit()
    assert "99" in recorded.run("-vv", failed=1).stdout.str()
    recorded.fixture().unlink()
    with closing(sqlite3.connect(recorded.fixture())) as database:
        database.execute("CREATE TABLE albums (title TEXT)")
        database.commit()
    assert "another program wrote it" in recorded.run("-vv", failed=1).stdout.str()


@pytest.mark.parametrize(
    ("asked", "instead", "hint"),
    [
        (
            "step.now().isoformat()",
            "datetime.now(UTC).isoformat()",
            "step.now() is gone: was it replaced by the real clock?",
        ),
        ("step.random()", "secrets.randbits(64)", "step.random() is gone: was it replaced by real random numbers?"),
    ],
)
def test_a_clock_put_in_the_place_of_a_recorded_one_is_named(project, asked, instead, hint):
    source = """
    import pytest, secrets
    from datetime import UTC, datetime
    from starling import Agent, Config, MemoryLog, step, tool
    from starling.testing import ScriptedProvider

    @tool
    def look() -> str:
        "Look."
        return str({value})

    @pytest.mark.golden_run
    def test_clock():
        provider = ScriptedProvider().tool_call("look", {{}}).turn().text("done")
        Agent(provider, Config(model="m"), MemoryLog(), tools=[look]).run_sync("go")
    """
    project.write(test_clock=source.format(value=asked))
    project.record(passed=1)
    project.run(passed=1)
    project.write(test_clock=source.format(value=instead))
    assert f"E   The recorded call of {hint}" in project.run("-vv", failed=1).stdout.str()


def test_the_unchanged_agent_passes_and_the_fixture_is_not_touched(recorded):
    before = recorded.state
    stat = recorded.fixture().stat()
    recorded.run(passed=1)
    assert recorded.state == before
    assert recorded.fixture().stat() == stat


RAISING = """
import os

import pytest
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider

RATES = {"usd": 1.1}
TODAY = {}

@tool
def rate(currency: str) -> float:
    "Look a rate up."
    return looked_up(currency)

def looked_up(currency):
    return RATES[currency]

@pytest.mark.golden_run
def test_refund():
    script = ScriptedProvider().tool_call("rate", {"currency": "usd"}).turn().text("done")
    try:
        Agent(script, Config(model="m"), MemoryLog(), tools=[rate]).run_sync("go")
    except Exception:
        pass
"""


def raising(today):
    return RAISING.replace("return RATES[currency]", today)


def test_a_tool_that_fails_today_shows_class_text_and_line(project):
    project.write(test_support=RAISING)
    project.record(passed=1)
    project.write(test_support=raising("return TODAY[currency]"))
    result = project.run("-vv", failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   golden run diverged at seq 5 of 8 (ToolCallCompleted): kind",
            "E*the code with a failure of rate (call *)",
            "E       KeyError: 'usd' (test_support.py:16, in looked_up)",
        ]
    )


def test_a_tool_that_fails_in_another_way_shows_it_too(project):
    project.write(test_support=raising("raise ValueError('closed')"))
    project.record(passed=1)
    project.write(test_support=raising("return TODAY[currency]"))
    project.run("-vv", failed=1).stdout.fnmatch_lines(
        [
            "E   The tool rate failed in another way than recorded (call *)",
            "E       KeyError: 'usd' (test_support.py:16, in looked_up)",
            'E       error: "closed" → "\'usd\'"',
        ]
    )


def test_a_failure_in_no_line_of_the_users_shows_its_class(project):
    project.write(test_support=RAISING)
    project.record(passed=1)
    project.write(test_support=raising("return object()"))
    result = project.run("-vv", failed=1)
    assert [
        line for line in result.outlines if line.startswith("E       UnencodableValueError: ") and ".py" not in line
    ]


def test_what_a_tool_raised_is_shown_without_secrets_and_redacted(project):
    project.write(test_support=RAISING)
    project.record(passed=1)
    secret = "c0rrect-" + "horse-b4ttery"
    project.monkeypatch.setenv("SHOP_API_KEY", secret)
    project.write(test_support=raising("raise ValueError('Ada ' + os.environ['SHOP_API_KEY'])"))
    output = project.run("-vv", "-o", "golden_redact=Ada => [name]", failed=1).stdout.str()
    assert "ValueError: [name] <SHOP_API_KEY> (test_support.py:16, in looked_up)" in output
    assert secret not in output
