"""golden_redact and pytest_starling_redact: recordings are rewritten at saving, and replays are compared likewise."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_starling._redaction import read_rules
from starling.event import validate
from starling.replay import read_fixture

SUPPORT = """
import os
from starling import Agent, Config, MemoryLog, step, tool
from starling.provider import Message, Request
from starling.testing import ScriptedProvider


def mail():
    return os.environ["WHOM"]


@tool
async def look(whom: str) -> dict:
    "Look somebody up."
    seen = await step.side_effect("get", lambda: {"mail": mail(), mail(): [mail()]})
    asked = Request(model="m", system_prompt=f"About {mail()}.", messages=(Message(role="user", content=whom),))
    turn = await step.llm_call(asked)
    return {"seen": seen, "said": turn.message.text, "total": 1}


@tool
def refuse() -> str:
    raise ValueError(f"{mail()} is not known")


def handle(question=None, **config):
    script = ScriptedProvider().reasoning(f"{mail()}?").tool_call("look", {"whom": mail()}).turn()
    script.text(f"I know {mail()}").turn().tool_call("refuse").turn().text(f"Wrote to {mail()}.")
    config.setdefault("system_prompt", f"Write to {mail()}.")
    agent = Agent(script, Config(model="m", tool_errors="report", **config), MemoryLog(), tools=[look, refuse])
    return agent.run_sync(question or f"Greet {mail()}").final_text
"""
TEST = """
import pytest, support

@pytest.mark.golden_run
def test_greets():
    assert support.handle().startswith("Wrote to ")
"""
WHOM = "mayor@example.org"
HOOK = """
from dataclasses import replace
from starling.replay import map_content

def change(text):
    return text.replace("mayor@example.org", "MAYOR") if isinstance(text, str) else text

def pytest_starling_redact(kind, payload):
    assert payload.KIND is kind
    return map_content(payload, change)
"""


@pytest.fixture
def greeting(project):
    project.monkeypatch.setenv("WHOM", WHOM)
    project.write(support=SUPPORT, test_support=TEST)
    return project


def configure(project, *rules, key="golden_redact"):
    ini = project.path / "pytest.ini"
    ini.write_text("\n".join((ini.read_text().rstrip(), f"{key} =", *(f"    {rule}" for rule in rules), "")))


def recording(project, name="test_greets"):
    (run,) = read_fixture(project.fixture(name)).runs
    validate(run.events)
    return [event.decode() for event in run.events]


def no_file_holds(project, text):
    return not any(text.encode() in data for data in project.state.values())


def test_what_matches_is_in_no_recording_and_replays(greeting):
    configure(greeting, r"\w+@example\.org")
    greeting.record(passed=1)
    assert no_file_holds(greeting, WHOM)
    payloads = recording(greeting)
    assert payloads[0].goal == "Greet [redacted]"
    assert payloads[0].system_prompt == "Write to [redacted]."
    assert payloads[-1].final_text == "Wrote to [redacted]."
    greeting.run(passed=1)


def test_another_value_that_is_redacted_alike_is_no_change(greeting):
    """As on another desk, with another account."""
    configure(greeting, r"\w+@example\.org")
    greeting.record(passed=1)
    greeting.monkeypatch.setenv("WHOM", "somebody@example.org")
    greeting.run(passed=1)


def test_replacements_and_several_rules(greeting):
    configure(greeting, r"(\w)\w+@example\.org => \1***", "not known => unknown")
    greeting.record(passed=1)
    payloads = recording(greeting)
    assert payloads[0].goal == "Greet m***"
    assert [one.error for one in payloads if hasattr(one, "error_type")] == ["m*** is unknown"]
    greeting.run(passed=1)


def test_without_its_redaction_a_recording_diverges_where_the_values_come_in(greeting):
    configure(greeting, WHOM)
    greeting.record(passed=1)
    greeting.run("-o", "golden_redact=", failed=1).stdout.fnmatch_lines(
        ["E   golden run diverged at seq 1 of * (RunStarted): payload"]
    )


def test_a_divergence_shows_what_was_produced_redacted(greeting):
    configure(greeting, WHOM)
    greeting.record(passed=1)
    greeting.write(support=SUPPORT.replace('"total": 1', '"total": 2, "now": mail()').replace("Greet {", "Hello {"))
    result = greeting.run("-vv", failed=1)
    assert "Hello [redacted]" in result.stdout.str()
    assert WHOM not in result.stdout.str()


@pytest.mark.parametrize(
    ("old", "new"),
    [("About", "Of"), ('"total": 1', '"total": 2'), ("Greet", "Meet"), ("is not known", "is known")],
)
def test_changes_beside_it_are_found(greeting, old, new):
    configure(greeting, WHOM)
    greeting.record(passed=1)
    assert SUPPORT.count(old) == 1
    greeting.write(support=SUPPORT.replace(old, new))
    greeting.run(failed=1).stdout.fnmatch_lines(["E   golden run diverged at seq *"])


def test_a_hook_rewrites_payloads(greeting):
    greeting.write(conftest=HOOK)
    greeting.record(passed=1)
    assert no_file_holds(greeting, WHOM)
    assert recording(greeting)[0].goal == "Greet MAYOR"
    greeting.run(passed=1)


def test_hooks_and_rules_go_together(greeting):
    """Each sees what the others made of a payload, whatever the order in which they were registered."""
    greeting.write(conftest=HOOK)
    (greeting.path / "plugin_two.py").write_text(
        "from dataclasses import replace\n"
        "def pytest_starling_redact(kind, payload):\n"
        "    if kind.name == 'RunStarted' and 'MAYOR' in payload.goal:\n"
        "        return replace(payload, goal='hidden')\n"
    )
    configure(greeting, "Wrote => Sent")
    greeting.write(test_support=TEST.replace("Wrote", "").replace('" to "', '""'))
    greeting.record("-p", "plugin_two", passed=1)
    payloads = recording(greeting)
    assert (payloads[0].goal, payloads[0].system_prompt) == ("hidden", "Write to MAYOR.")
    assert payloads[-1].final_text == "Sent to MAYOR."
    greeting.run("-p", "plugin_two", passed=1)


def test_a_hook_in_a_folder_holds_for_that_folder(greeting):
    for folder in ("a", "b"):
        (greeting.path / folder).mkdir()
        (greeting.path / folder / f"test_{folder}.py").write_text(TEST)
    (greeting.path / "a" / "conftest.py").write_text(HOOK)
    (greeting.path / "test_support.py").unlink()
    greeting.record(passed=2)
    goals = {
        folder: read_fixture(greeting.fixture("test_greets", f"{folder}/test_{folder}")).runs[0].events[0].decode().goal
        for folder in "ab"
    }
    assert goals == {"a": "Greet MAYOR", "b": f"Greet {WHOM}"}
    greeting.run(passed=2)


def test_redaction_comes_before_the_gate(greeting):
    secret = "c0rrect-" + "horse"
    greeting.monkeypatch.setenv("WHOM", secret)
    greeting.monkeypatch.setenv("MAIL_PASSWORD", secret)
    greeting.record(failed=1).stdout.fnmatch_lines(["E   golden run not recorded: the value of MAIL_PASSWORD is in *"])
    configure(greeting, secret)
    greeting.record(passed=1)
    assert no_file_holds(greeting, secret)
    greeting.run(passed=1)


def test_a_test_that_sees_the_difference_is_told_why(greeting):
    configure(greeting, WHOM)
    greeting.write(test_support=TEST.replace('.startswith("Wrote to ")', f' == "Wrote to {WHOM}."'))
    greeting.record(failed=1).stdout.fnmatch_lines(
        [
            "E   the recording does not replay: the test passed while it was recorded, but not on replay",
            "E   The recording was redacted (golden_redact, pytest_starling_redact), so on replay code is given redacted *",
        ]
    )
    assert greeting.fixtures == []


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        (
            "raise ValueError(payload)",
            "pytest_starling_redact raised ValueError for a RunStarted payload (*conftest.py:*",
        ),
        ("return 'x'", "a redaction made str of a RunStarted payload*"),
        ("return replace(payload, goal=payload.goal + '!')", "*rewrite a payload over and over*"),
        ("return replace(payload, model_id='x')", "a redaction changed RunStarted.model_id, which holds the run *"),
    ],
    ids=["raises", "returns no payload", "never ends", "goes too far"],
)
def test_a_hook_that_is_wrong_refuses_the_recording(greeting, hook, why):
    body = f"from dataclasses import replace\ndef pytest_starling_redact(kind, payload):\n    {hook}\n"
    greeting.write(conftest=body.replace("    ", "    if kind.name != 'RunStarted':\n        return\n    ", 1))
    result = greeting.record("-l", failed=1)
    result.stdout.fnmatch_lines([f"E   golden run not recorded: *{why}"])
    assert WHOM not in result.stdout.str()
    assert greeting.fixtures == []


def test_a_hook_that_fails_on_replay_fails_the_test_even_if_that_is_swallowed(greeting):
    greeting.write(
        test_support="""
        import contextlib, pytest, support

        @pytest.mark.golden_run
        def test_greets():
            with contextlib.suppress(Exception):
                support.handle()
        """
    )
    greeting.write(conftest="def pytest_starling_redact(kind, payload):\n    pass\n")
    greeting.record(passed=1)
    greeting.write(conftest="def pytest_starling_redact(kind, payload):\n    raise ValueError(payload)\n")
    result = greeting.run_apart(failed=1)
    result.stdout.fnmatch_lines(
        ["E   golden run misused: *pytest_starling_redact raised ValueError for a *", "1 misused"]
    )
    assert WHOM not in result.stdout.str()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("(", "golden_redact: '(' is no regular expression*"),
        (r"(a) => \2", "*is no regular expression, or not with that replacement*"),
        ("a*", "*matches the empty text*"),
    ],
)
def test_a_rule_that_is_wrong_is_a_usage_error(greeting, rule, why):
    configure(greeting, rule)
    result = greeting.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {why}"])


def test_what_there_is_nothing_to_redact_in_is_recorded_as_ever(greeting):
    configure(greeting, "nobody at all")
    greeting.record(passed=1)
    assert recording(greeting)[0].goal == f"Greet {WHOM}"
    greeting.run("-o", "golden_redact=", passed=1)


@given(
    texts=st.lists(st.text("ab@.x ", max_size=12)),
    rules=st.lists(st.sampled_from([r"a+@", r"x(b+) => \1", "@ => at", r"\.\.+"]), max_size=3),
)
def test_a_rule_rewrites_bytes_as_it_rewrites_texts(texts, rules):
    for rule in read_rules(rules):
        for text in texts:
            assert rule.apply(text.encode()) == rule.apply(text).encode()
            assert rule.apply(text) == re.sub(rule.pattern, rule.replacement, text)


def test_bytes_that_are_no_text_keep_what_does_not_match():
    (rule,) = read_rules(["key-[0-9]+"])
    assert rule.apply(b"\xff\x00key-12\xfe") == b"\xff\x00[redacted]\xfe"
