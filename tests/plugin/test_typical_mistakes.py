"""The whole text of typical mistakes, kept as files, so that a change of its wording is read by somebody.

``STARLING_SNAPSHOTS=update pytest tests/plugin/test_typical_mistakes.py`` writes them anew: read the diff as one who sees
such a text for the first time.
"""

import os
import re
from pathlib import Path

import pytest

SNAPSHOTS = Path(__file__).with_name("snapshots")

SHOP = '''
import random
from datetime import UTC, datetime

from starling import Agent, Config, MemoryLog, step, tool
from starling.errors import ToolError
from starling.provider import Message, Request
from starling.testing import ScriptedProvider

PROMPT = """You answer customers of a web shop.
Look an order up before you answer.
Be brief, and call the customer by name.
Never promise money.
Sign with "Your shop"."""


@tool
def fetch_invoice(order: int) -> dict:
    "Fetch the invoice of an order."
    return {"paid": 42, "currency": "EUR"}


@tool
def fetch_parcel(order: int) -> dict:
    "Fetch where a parcel is."
    return {"state": "lost"}


@tool
async def look_up(order: int) -> dict:
    "Look an order up."
    rate = await step.side_effect("rate", lambda: 11.5)
    invoice = await step.call_tool(step.ToolCall(name="fetch_invoice", args={"order": order}))
    parcel = await step.call_tool(step.ToolCall(name="fetch_parcel", args={"order": order}))
    return {"order": order, "invoice": invoice, "parcel": parcel, "rate": rate}


def answers():
    asked = ScriptedProvider().text("Let me look.").tool_call("look_up", {"order": 7})
    return asked.turn().text("Your parcel is lost, Ada. Your shop").turn().text("It is lost indeed.")


def handle(question):
    config = Config(model="gpt-4o-mini", system_prompt=PROMPT, params={"temperature": 0.2})
    agent = Agent(answers(), config, MemoryLog(), tools=[look_up, fetch_invoice, fetch_parcel])
    return agent.run_sync(question).final_text
'''

TEST = """
import pytest, shop

@pytest.mark.golden_run
def test_lost_parcel():
    assert "lost" in shop.handle("Where is my parcel?")
    shop.handle("And my money?")
"""

SWALLOWING = """try:
        return agent.run_sync(question).final_text
    except Exception:
        return "lost"
"""
LONG = "\\n".join(f"Day {day}: the parcel is in Kiel." for day in range(1, 31))
NESTED = '    return {"order": order'


def edit(*pairs):
    """What is different in the shop, or in its test, as pairs of old and new text."""
    return pairs


def before(new):
    """Something more for the tool to do."""
    return edit((NESTED, f"    {new}\n{NESTED}"))


def parcel(value):
    """What another parcel tool returns."""
    return edit(('return {"state": "lost"}', f"return {value}"))


MISTAKES = {
    # the mistake: how the code was when it was recorded, how it is today
    "prompt_edited": ((), edit(("Be brief, and call", "Be friendly, and call"))),
    "goal_changed": ((), edit(("Where is my parcel?", "Where is my lamp?"))),
    "model_changed": ((), edit(('model="gpt-4o-mini"', 'model="gpt-4o"'))),
    "parameter_changed": ((), edit(('"temperature": 0.2', '"temperature": 0.7'))),
    "tool_renamed": ((), edit(("fetch_parcel", "track_parcel"))),
    "tool_argument_added": ((), edit(("fetch_parcel(order: int)", 'fetch_parcel(order: int, carrier: str = "post")'))),
    "tool_result_gained_a_field": ((), edit(('"state": "lost"', '"state": "lost", "since": "Monday"'))),
    "tool_result_changed_its_type": ((), edit(('"paid": 42', '"paid": 42.0'))),
    "tool_result_is_a_long_text": (parcel(f'"{LONG}"'), parcel(f'"{LONG.replace("Day 20: the", "Day 20: The")}"')),
    "tool_fails": ((), edit(('return {"state": "lost"}', 'raise ToolError("no such parcel")'))),
    "tool_call_added": ((), before("await step.call_tool(step.ToolCall(name='fetch_parcel', args={'order': 8}))")),
    "tool_call_missing": (before("await step.call_tool(step.ToolCall(name='fetch_parcel', args={'order': 8}))"), ()),
    "tool_calls_reordered": (
        (),
        edit(
            ('name="fetch_invoice"', 'name="first"'),
            ('name="fetch_parcel"', 'name="fetch_invoice"'),
            ('name="first"', 'name="fetch_parcel"'),
        ),
    ),
    "tool_arguments_changed": ((), edit(('fetch_parcel", args={"order": order}', 'fetch_parcel", args={"order": 8}'))),
    "side_effect_renamed": ((), edit(('side_effect("rate"', 'side_effect("exchange rate"'))),
    "model_asked_once_more": (
        (),
        before(
            "await step.llm_call(Request(model='gpt-4o-mini', messages=(Message(role='user', content='Fragile?'),)))"
        ),
    ),
    "model_asked_something_else_in_a_tool": (
        before("await step.llm_call(Request(model='m', messages=(Message(role='user', content='Fragile?'),)))"),
        before("await step.llm_call(Request(model='m', messages=(Message(role='user', content='Heavy?'),)))"),
    ),
    "fewer_turns_allowed": ((), edit(('"temperature": 0.2}', '"temperature": 0.2}, max_turns=1'))),
    "time_leaked_in": (
        parcel('{"state": "lost", "asked": "2026-11-20T09:31:02.123456+00:00"}'),
        parcel('{"state": "lost", "asked": "2026-11-21T07:02:11.654321+00:00"}'),
    ),
    "random_number_leaked_in": (
        parcel('{"state": "lost", "luck": 0.6190956764672094}'),
        parcel('{"state": "lost", "luck": 0.4358628826852112}'),
    ),
    "random_id_leaked_in": (
        parcel('{"state": "lost", "ticket": "9b2f6a0e-58a2-4b0e-9d6c-0b8e4e1d2c3b"}'),
        parcel('{"state": "lost", "ticket": "0c9e7f61-0b52-4a34-8c0f-8d6a5e4f3b21"}'),
    ),
    "clock_taken_past_step": (before("step.now()"), before("datetime.now(UTC)")),
    "date_in_the_prompt": (
        edit(("You answer customers", "Today is 2026-11-20. You answer customers")),
        edit(("You answer customers", "Today is 2026-11-21. You answer customers")),
    ),
    "run_no_longer_asked_for": ((), edit(('    shop.handle("And my money?")\n', ""))),
    "run_added": ((), edit(('shop.handle("And my money?")', 'shop.handle("And my money?"); shop.handle("And me?")'))),
    "no_run_at_all": (
        (),
        edit(('shop.handle("Where is my parcel?")', '"lost"'), ('shop.handle("And my money?")', "pass")),
    ),
    "divergence_swallowed": (
        (),
        edit(("gpt-4o-mini", "gpt-4o"), ("return agent.run_sync(question).final_text", SWALLOWING)),
    ),
}


def write(project, edits):
    shop, test = SHOP, TEST
    for old, new in edits:
        assert old in shop or old in test, old
        shop, test = shop.replace(old, new), test.replace(old, new)
    project.write(shop=shop, test_shop=test)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_text_of_a_mistake_is_the_one_that_was_reviewed(project, mistake):
    was, today = MISTAKES[mistake]
    write(project, was)
    project.record(passed=1)
    write(project, today)
    assert_reviewed(mistake, project.run_cached(failed=1))


def test_what_is_said_of_a_recording_that_changes_from_run_to_run(project):
    write(project, parcel('{"state": "lost", "luck": random.random()}'))
    assert_reviewed("recording_does_not_replay", project.record(failed=1), (r"\b0\.\d{3,}", "0.5"))


def test_what_is_said_of_a_test_that_was_never_recorded(project):
    write(project, ())
    assert_reviewed("never_recorded", project.run_cached(failed=1))


def test_what_is_said_of_a_test_that_was_renamed(project):
    write(project, ())
    project.record(passed=1)
    write(project, edit(("test_lost_parcel", "test_missing_parcel")))
    assert_reviewed("test_renamed", project.run_cached(failed=1))


def assert_reviewed(name, result, *varying):
    """The text of the one failure, and what the summary says of it, are those of the snapshot."""
    file = SNAPSHOTS / f"{name}.txt"
    text = shown(result.outlines, varying)
    if os.environ.get("STARLING_SNAPSHOTS") == "update":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def shown(lines, varying):
    """From the user's own line to the end, without what is different every time, or from one Python to another."""
    start = next(at for at, line in enumerate(lines) if re.match(r"_{5,} .* _{5,}", line))
    kept = [line for line in lines[start + 1 : -1] if not re.match(r"=====|[ ^]+\Z", line)]
    text = "\n".join(line.rstrip() for line in kept).strip() + "\n"
    for pattern, constant in (*CONSTANTS, *varying):
        text = re.sub(pattern, constant, text)
    return text


CONSTANTS = (
    (r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b", "01K00000000000000000000000"),
    (r"now = 20\S+", "now = 2026-11-21T07:02:11.654321+00:00"),
    (r"recorded \d{4}-\d\d-\d\d", "recorded 2026-11-21"),
)


def test_every_snapshot_is_of_a_mistake():
    written = {"recording_does_not_replay", "never_recorded", "test_renamed", *MISTAKES}
    assert {file.stem for file in SNAPSHOTS.glob("*.txt")} == written
