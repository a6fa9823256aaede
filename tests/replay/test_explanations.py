"""What a person is told of a change: the field, the message or the schema property, never a hash alone."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest

from starling import Budget, CustomLoop, MemoryLog, ambient, step, tool
from starling.errors import NondeterminismError
from starling.event import Chain, Kind, RunStarted
from starling.provider import Message, Request
from starling.replay import NOT_RECORDED, FixtureRun, ReplayingSession, replay
from starling.step import ABSENT, Change, changes_between
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, diverges, record

SCHEMA = '{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}'
PROMPT = "You are kind.\nAnswer briefly.\nNever promise money."


class Lookup:
    """A tool whose every trait can be turned."""

    def __init__(self, name="lookup", description="Looks up.", schema=SCHEMA, error=""):
        self.name, self.description, self.schema, self._error = name, description, schema, error

    async def execute(self, args):
        if self._error:
            raise RuntimeError(self._error)
        return {"weather": "rain", "mm": 3}


LOOKUP_TOOL = Lookup()


def support(*, tools=(LOOKUP_TOOL,), params=None, budget=None, **config):
    script = ScriptedProvider().text("Let me look.").tool_call("lookup", {"city": "Oslo"}).turn().text("It rains.")
    options = {"system_prompt": PROMPT, "params": params or {"temperature": 0.5, "tags": ["a"]}, **config}
    return agent(script, *tools, budget=budget, **options)


def tools(**traits):
    return {"tools": (Lookup(**traits),)}


LOOKUP = {"description": "Looks up.", "schema": {"properties": {"city": {"type": "string"}}, "type": "object"}}
SMALL = '{"properties":{"city":{"type":"string"}},"type":"object"}'

EDITS = {
    "one line of the prompt": (
        {},
        {"system_prompt": PROMPT.replace("briefly", "at length")},
        [("system_prompt", PROMPT, PROMPT.replace("briefly", "at length"))],
    ),
    "a prompt where there was none": ({"system_prompt": ""}, {}, [("system_prompt", "", PROMPT)]),
    "a parameter": (
        {},
        {"params": {"temperature": 0.7, "tags": ["a"]}},
        [("params.temperature", 0.5, 0.7)],
    ),
    "a parameter more": (
        {},
        {"params": {"temperature": 0.5, "tags": ["a"], "seed": 7}},
        [("params.seed", ABSENT, 7)],
    ),
    "a list in the parameters": (
        {},
        {"params": {"temperature": 0.5, "tags": ["a", "b"]}},
        [("params.tags[1]", ABSENT, "b")],
    ),
    "a tool's description": (
        {},
        tools(description="Finds."),
        [("tools.lookup.description", "Looks up.", "Finds.")],
    ),
    "a property's type": (
        {},
        tools(schema=SCHEMA.replace("integer", "number")),
        [("tools.lookup.schema.properties.days.type", "integer", "number")],
    ),
    "a property fewer": (
        {},
        tools(schema=SMALL),
        [("tools.lookup.schema.properties.days", {"type": "integer"}, ABSENT)],
    ),
    "a schema that is written in another way": (
        {},
        tools(schema=SCHEMA.replace(",", ", ")),
        [("tools.lookup.schema (text)", SCHEMA, SCHEMA.replace(",", ", "))],
    ),
    "the keys of a schema in another order": (
        tools(schema=SMALL),
        tools(schema='{"type":"object","properties":{"city":{"type":"string"}}}'),
        [("tools.lookup.schema (text)", SMALL, '{"type":"object","properties":{"city":{"type":"string"}}}')],
    ),
    "a tool more": (
        {},
        {"tools": (Lookup(), Lookup("other", schema=SMALL))},
        [("tools.other", ABSENT, LOOKUP)],
    ),
    "the first tool": ({"tools": ()}, tools(schema=SMALL), [("tools.lookup", ABSENT, LOOKUP)]),
    "no tool any more": (tools(schema=SMALL), {"tools": ()}, [("tools.lookup", LOOKUP, ABSENT)]),
    "a tool's name": (
        tools(schema=SMALL),
        tools(name="search", schema=SMALL),
        [("tools.lookup", LOOKUP, ABSENT), ("tools.search", ABSENT, LOOKUP)],
    ),
    "the order of tools": (
        {"tools": (Lookup(), Lookup("other"))},
        {"tools": (Lookup("other"), Lookup())},
        [("tools (order)", ["lookup", "other"], ["other", "lookup"])],
    ),
    "a budget's cap": (
        {"budget": Budget(max_usd=1.0)},
        {"budget": Budget(max_usd=2.0)},
        [("budget.max_usd", 1.0, 2.0)],
    ),
    "the app's version": ({"app_version": "1"}, {"app_version": "2"}, [("app_version", "1", "2")]),
}


def told(divergence):
    return [(change.path, change.recorded, change.produced) for change in divergence.changes]


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_of_the_wiring_is_named_at_the_first_event(edit):
    was, today, expected = EDITS[edit]
    recorded = await record(support(**{"tool_errors": "report", **was}))

    divergence = await diverges(recorded, support(**{"tool_errors": "report", **today}))

    assert (divergence.seq, divergence.cls) == (1, "payload")
    assert told(divergence) == expected


async def test_a_budget_where_there_was_none_is_shown_whole():
    recorded = await record(support())

    (change,) = (await diverges(recorded, support(budget=Budget(max_usd=2.0)))).changes

    assert (change.path, change.recorded, change.produced.max_usd) == ("budget", None, 2.0)


async def test_the_goal():
    recorded = await record(support(), "refund me")
    session = ReplayingSession([FixtureRun(run_id="run", events=tuple(recorded.events), began=1, ended=2)])

    with ambient.activate(session), pytest.raises(NondeterminismError) as raised:
        await support().run("charge me")

    assert told(raised.value.divergence) == [("goal", "refund me", "charge me")]


async def test_the_text_of_the_error_says_what_differs_cut_to_a_readable_size():
    recorded = await record(support(system_prompt="x" * 10_000, params={f"p{number}": 0 for number in range(20)}))

    with pytest.raises(NondeterminismError) as raised:
        await replay(recorded.log, "run", support(system_prompt="y", params={f"p{number}": 1 for number in range(20)}))

    first, reason, *changes = raised.value.message.splitlines()
    assert first == "golden run diverged at seq 1 of 8 (RunStarted): payload"
    assert reason == "RunStarted differs from the recorded one"
    assert changes[0] == "  params.p0: 0 -> 1"
    assert changes[-1] == "  ... and 13 more"
    assert len(raised.value.message) < 5_000
    shown = await diverges(await record(support()), support(params={"temperature": 0.1, "tags": ["a"]}))
    assert shown.text.splitlines()[2:] == ["  params.temperature: 0.5 -> 0.1"]


# --- requests


PATHS = ["RunStarted.system_prompt", "RunStarted.params", "RunStarted.tools"]

REQUESTS = {
    "the system prompt": ({"system_prompt": "Be rude."}, "the system prompt", ["system_prompt"]),
    "a parameter": ({"params": {"temperature": 0.1}}, "the parameters", ["params.tags", "params.temperature"]),
    "a tool": (tools(description="Finds."), "the tools", ["tools.lookup.description"]),
    "several": (
        {"system_prompt": "Be rude.", **tools(description="Finds.")},
        "the system prompt, the tools",
        ["system_prompt", "tools.lookup.description"],
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
async def test_a_changed_request_is_told_by_its_parts_and_not_by_its_hash(case):
    today, part, paths = REQUESTS[case]
    recorded = await record(support())

    divergence = await diverges(recorded, support(**today), ignore=PATHS)

    assert (divergence.seq, divergence.expected_kind) == (2, Kind.TurnStarted)
    assert divergence.reason == f"the request of this turn differs from the recorded one in {part}"
    assert [change.path for change in divergence.changes] == paths


async def test_the_message_that_changed_is_told_with_its_role():
    recorded = await record(support(**tools(error="line 1\nline 2"), tool_errors="report"))
    today = support(**tools(error="line 1\nline 2"), tool_errors="report")

    async def edited(request):
        """Today's loop shows a tool's failure in another way."""
        *before, result = request.messages
        shown = replace(result, tool_result=replace(result.tool_result, content="Error: line 1\nline 2"))
        return replace(request, messages=(*before, shown))

    divergence = await _with_requests(recorded, today, edited)

    assert divergence.reason.endswith("differs from the recorded one in messages[2] (tool)")
    assert told(divergence) == [
        ("messages[2].tool_result.content", "line 1\nline 2", "Error: line 1\nline 2"),
    ]


@pytest.mark.parametrize(("count", "words"), [(2, "messages[2] (tool, which today's does not have)"), (4, "have)")])
async def test_a_message_more_or_fewer(count, words):
    recorded = await record(support())

    async def edited(request):
        extra = Message(role="user", content="hurry")
        return replace(request, messages=(*request.messages, extra)[:count])

    divergence = await _with_requests(recorded, support(), edited)

    assert words in divergence.reason
    (change,) = divergence.changes
    assert change.path == f"messages[{min(count, 3)}]"
    assert (ABSENT in (change.recorded, change.produced)) is True


async def _with_requests(recorded, today, edit):
    """Replay with another loop: the second request of the run is edited before it is made."""
    from starling.agent import _loop

    original, asked = _loop.llm_call, []

    async def llm_call(request):
        asked.append(request)
        return await original(await edit(request) if len(asked) == 2 else request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_loop, "llm_call", llm_call)
        divergence = await diverges(recorded, today)
    assert divergence.seq == recorded.seqs("TurnStarted")[1]
    return divergence


def asking(question, system_prompt=""):
    @tool
    async def ask() -> str:
        request = Request(
            model="gpt-4o-mini", system_prompt=system_prompt, messages=(Message(role="user", content=question),)
        )
        return (await step.llm_call(request)).message.text

    script = ScriptedProvider().tool_call("ask").turn().text("inner").turn().text("outer")
    return agent(script, ask)


async def test_a_request_that_a_tool_made_is_said_to_be_known_by_its_hash_alone():
    recorded = await record(asking("one"))

    divergence = await diverges(recorded, asking("two or three", "Be kind."))

    assert divergence.seq == recorded.seqs("TurnStarted")[1]
    assert "that a tool made with step.llm_call differs" in divergence.reason
    assert "a hash alone" in divergence.reason
    assert (divergence.call_id, divergence.tool) == ("call_1", "ask")
    estimate, *shown = told(divergence)
    assert estimate[0] == "input_tokens"
    assert shown == [
        ("system_prompt", NOT_RECORDED, "Be kind."),
        ("messages[0] (user)", NOT_RECORDED, "two or three"),
    ]


async def test_a_request_of_a_loop_of_the_users_own_is_known_by_its_hash_alone_too():
    def loop(question):
        async def body():
            return (
                await step.llm_call(Request(model="m", messages=(Message(role="user", content=question),)))
            ).message.text

        return CustomLoop(body=body, log=log, provider=ScriptedProvider().text("hi"))

    log = MemoryLog()
    await loop("one").run("run")

    with pytest.raises(NondeterminismError) as raised:
        await replay(log, "run", loop("two"))

    assert "a request that the loop's code made with step.llm_call differs" in raised.value.divergence.reason
    assert told(raised.value.divergence) == [("messages[0] (user)", NOT_RECORDED, "two")]


# --- older recordings


def rewritten(recorded, **changes):
    """The same run, its RunStarted changed and all hashes made anew: as an older version had recorded it."""
    chain, log = Chain("run"), MemoryLog()
    for payload, event in zip(recorded.payloads, recorded.events, strict=True):
        if isinstance(payload, RunStarted):
            new = replace(payload, **changes)
        else:
            new = replace(payload, merkle_root=chain.root()) if event is recorded.events[-1] else payload
        log.append_sync("run", [chain.append(new, event.ts)])
    return replace(recorded, log=log, events=log.read_sync("run"))


OLD = {
    "a schema": (
        tools(schema=SMALL.replace("string", "integer")),
        [
            (
                "tools.lookup.schema",
                NOT_RECORDED,
                {"properties": {"city": {"type": "integer"}}, "type": "object"},
            )
        ],
    ),
    "a tool more": (
        {"tools": (Lookup(schema=SMALL), Lookup("other", schema=SMALL))},
        [("tools.other", ABSENT, LOOKUP)],
    ),
    "a tool fewer": ({"tools": ()}, [("tools.lookup", {"description": NOT_RECORDED, "schema": NOT_RECORDED}, ABSENT)]),
}


@pytest.mark.parametrize("case", OLD)
async def test_a_recording_without_the_tools_text_names_the_tool_that_changed(case):
    today, expected = OLD[case]
    recorded = rewritten(await record(support(**tools(schema=SMALL))), tools=())

    assert await replay(recorded.log, "run", support(**tools(schema=SMALL))) == ()
    divergence = await diverges(recorded, support(**today))

    assert divergence.seq == 1
    assert told(divergence) == expected


async def test_a_recording_without_the_tools_text_says_that_a_description_may_have_changed():
    recorded = rewritten(await record(support()), tools=())

    divergence = await diverges(recorded, support(**tools(description="Finds.")))

    assert divergence.seq == 2
    assert "cannot be rebuilt from the log in full" in divergence.reason
    assert "descriptions of the tools, which this older recording lacks" in divergence.reason
    assert told(divergence) == [("tools.lookup.description", NOT_RECORDED, "Finds.")]


async def test_what_is_known_is_shown_even_if_the_recorded_request_cannot_be_rebuilt():
    recorded = rewritten(await record(support()), tools=())

    divergence = await diverges(
        recorded, support(**tools(description="Finds."), system_prompt="Be rude."), ignore=PATHS
    )

    assert "as far as it can be, it differs in the system prompt" in divergence.reason
    assert [change.path for change in divergence.changes] == [
        "input_tokens",
        "system_prompt",
        "tools.lookup.description",
    ]


# --- what a changed log, or another version of the library, leaves


def with_turn(recorded, seq=2, **changes):
    """The same run with this in the TurnStarted there."""
    chain, log = Chain("run"), MemoryLog()
    for payload, event in zip(recorded.payloads, recorded.events, strict=True):
        new = replace(payload, **changes) if event.seq == seq else payload
        new = replace(new, merkle_root=chain.root()) if event is recorded.events[-1] else new
        log.append_sync("run", [chain.append(new, event.ts)])
    return replace(recorded, log=log, events=log.read_sync("run"))


async def test_an_estimate_alone_is_told_with_both_numbers():
    recorded = await record(support())
    estimate = recorded.payloads[1].input_tokens

    divergence = await diverges(with_turn(recorded, input_tokens=1), support())

    assert (divergence.seq, divergence.cls) == (2, "payload")
    assert told(divergence) == [("input_tokens", 1, estimate)]
    assert "the request of this turn is the recorded one, and only the estimate" in divergence.reason


async def test_an_estimate_alone_of_a_request_that_a_tool_made_is_told_the_same_way():
    recorded = await record(asking("one"))
    seq = recorded.seqs("TurnStarted")[1]

    divergence = await diverges(with_turn(recorded, seq, input_tokens=99), asking("one"))

    assert told(divergence) == [("input_tokens", 99, recorded.payloads[seq - 1].input_tokens)]
    assert "the request of this turn is the recorded one" in divergence.reason


async def test_a_hash_that_no_request_has_is_said_to_be_just_that():
    recorded = await record(support())

    divergence = await diverges(with_turn(recorded, prompt_hash=b"z" * 32), support())

    assert (divergence.seq, divergence.cls) == (2, "payload")
    assert told(divergence) == [("prompt_hash", b"z" * 32, recorded.payloads[1].prompt_hash)]
    assert "belongs to no request that can be rebuilt from the log" in divergence.reason


# --- the rule


async def test_ignoring_a_field_ignores_its_hash():
    recorded = await record(agent(ScriptedProvider().text("hi"), budget=Budget(max_input_tokens=9), app_version="1"))
    today = agent(ScriptedProvider(), budget=Budget(max_input_tokens=9), app_version="2", params={"seed": 1})

    divergence = await diverges(recorded, today, ignore=["RunStarted.app_version", "RunStarted.params"])

    assert divergence.expected_kind is Kind.TurnStarted


@pytest.mark.parametrize("edit", EDITS)
async def test_no_divergence_shows_hashes_alone(edit):
    was, today, _ = EDITS[edit]
    recorded = await record(support(**{"tool_errors": "report", **was}))

    found = await replay(recorded.log, "run", support(**{"tool_errors": "report", **today}), collect=True)

    hashes = [change for one in found for change in one.changes if isinstance(change.recorded, bytes)]
    assert found
    assert hashes == []


def test_marks_are_themselves_however_they_travel():
    for mark in (ABSENT, NOT_RECORDED):
        assert pickle.loads(pickle.dumps(mark)) is copy.deepcopy(mark) is mark
    assert str(Change(path="x", recorded=NOT_RECORDED, produced=1)) == "x: (not recorded) -> 1"


def test_schemas_that_are_not_json_are_compared_as_text():
    before, after = (Lookup(schema=text) for text in ("{", "{}"))

    assert [change.path for change in changes_between((before,), (after,))] == ["lookup.schema"]
