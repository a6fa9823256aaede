"""`collect=True`: all independent changes are returned, what merely repeats one of them is marked as that."""

from __future__ import annotations

import asyncio

import pytest

from starling import Budget, MemoryLog, replay, step, tool
from starling.errors import ToolError, TransientToolError
from starling.event import Kind
from starling.replay import Change, Divergence, fold_consequences
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, record


def worker(name, *, result="ok", effects=("db",), dispatch=(), error="", waits_for=None, signals=None, **traits):
    """A tool of this name that takes effects, dispatches calls and returns or fails."""

    @tool(name=name, **traits)
    async def work() -> str:
        for effect in effects:
            await step.side_effect(effect, lambda: 1)
        for called in dispatch:
            await step.call_tool(step.ToolCall(name=called, args={}))
        if waits_for:
            await waits_for.wait()
        if signals:
            signals.set()
        if error:
            raise ToolError(error)
        return result

    return work


def made(a=(), b=(), c=(), *, turns=2, budget=None, **config):
    """An agent that calls a and b together, in each turn but the last; a may call c."""
    script = ScriptedProvider()
    for _ in range(1, turns):
        script.tool_call("a").tool_call("b").turn()
    script.text("done")
    tools = [worker("a", **dict(a)), worker("b", **dict(b)), worker("c", **dict(c))]
    return agent(script, *tools, budget=budget, **{"tool_errors": "report", **config})


async def collected(was, today, **options):
    """What is found: (seq, class, cause)."""
    recorded = await record(was)
    found = await replay(recorded.log, "run", today, collect=True, **options)
    return recorded, found


def summary(found):
    return [(one.seq, one.cls, one.cause_seq) for one in found]


async def test_nothing_is_found_where_nothing_changed():
    assert (await collected(made(turns=3), made(turns=3)))[1] == ()


ONE_CHANGE = {
    "a system prompt": {"system_prompt": "new"},
    "a parameter": {"params": {"seed": 1}},
    "a tool's description": {"a": {"description": "new"}},
}


@pytest.mark.parametrize("change", ONE_CHANGE)
async def test_one_change_of_the_wiring_is_one_cause(change):
    recorded, found = await collected(made(turns=4), made(turns=4, **ONE_CHANGE[change]))

    turns = recorded.seqs("TurnStarted")
    assert len(turns) == 4
    assert summary(found) == [(1, "payload", 0), *((seq, "payload", 1) for seq in turns)]


@pytest.mark.parametrize("today_has_tools", [False, True])
async def test_the_first_tool_added_and_the_last_one_removed_is_one_cause(today_has_tools):
    def wired(*, has_tools):
        return agent(ScriptedProvider().text("done"), *([worker("a")] if has_tools else []))

    _, found = await collected(wired(has_tools=not today_has_tools), wired(has_tools=today_has_tools))

    assert summary(found) == [(1, "payload", 0), (2, "payload", 1)]
    assert [change.path for one in found for change in one.changes] == ["tools.a", "tools.a"]


async def test_one_change_of_a_tool_is_one_cause_however_often_it_is_called():
    recorded, found = await collected(made(turns=4), made(turns=4, a={"result": "new"}))

    first, *others = [
        seq
        for seq in recorded.seqs("ToolCallCompleted")
        if recorded.payloads[seq - 1].call_id in {s.call_id for s in recorded.all("ToolCallScheduled", tool="a")}
    ]
    assert summary(found) == [(first, "payload", 0), *((seq, "payload", first) for seq in others)]
    assert {one.tool for one in found} == {"a"}


async def test_the_same_change_in_another_tool_is_a_cause_of_its_own():
    _, found = await collected(made(), made(a={"result": "new"}, b={"result": "new"}))

    assert sorted((one.tool, one.cause_seq) for one in found) == [("a", 0), ("b", 0)]


async def test_changes_that_do_not_depend_on_each_other_are_all_reported():
    today = made(
        turns=3,
        system_prompt="new",
        app_version="2",
        a={"effects": ("db", "audit")},
        b={"result": "new"},
    )
    recorded, found = await collected(made(turns=3), today)

    causes = [one for one in found if not one.cause_seq]
    first_calls = {call: recorded.seqs("ToolCallCompleted", call_id=call)[0] for call in ("call_1", "call_2")}
    assert {(one.seq, one.cls) for one in causes} >= {
        (1, "payload"),
        (first_calls["call_1"], "kind"),
        (first_calls["call_2"], "payload"),
    }
    assert {one.tool for one in causes} == {"", "a", "b"}
    assert found[0].seq == 1
    assert [one.cause_seq for one in found if one.expected_kind is Kind.TurnStarted] == [1, 1, 1]


WAYS = {
    "an effect more": ({}, {"effects": ("db", "audit")}, "ToolCallCompleted"),
    "an effect fewer": ({}, {"effects": ()}, "SideEffectRecorded"),
    "an effect renamed": ({}, {"effects": ("database",)}, "SideEffectRecorded"),
    "a call more": ({}, {"dispatch": ("c",)}, "ToolCallCompleted"),
    "a call fewer": ({"dispatch": ("c",)}, {}, "ToolCallScheduled"),
    "a failure": ({}, {"error": "gone"}, "ToolCallCompleted"),
    "no failure any more": ({"error": "gone"}, {}, "ToolCallFailed"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_behind_a_call_that_took_another_way_the_rest_is_still_compared(way):
    was, today, kind = WAYS[way]
    recorded, found = await collected(made(a=was), made(a=today, b={"result": "new"}, turns=2))

    first, second = sorted(found, key=lambda one: one.tool)
    assert (first.tool, first.expected_kind.name, first.cause_seq) == ("a", kind, 0)
    assert (second.seq, second.tool) == (recorded.seq("ToolCallCompleted", call_id="call_2"), "b")


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_that_takes_the_same_other_way_in_every_call_is_one_cause(way):
    was, today, _ = WAYS[way]

    _, found = await collected(made(turns=4, a=was), made(turns=4, a=today))

    assert [one.cause_seq for one in found] == [0, found[0].seq, found[0].seq]


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_took_another_way_has_no_consequences(way):
    was, today, _ = WAYS[way]

    _, found = await collected(made(a=was), made(a=today))

    assert len(found) == 1


async def test_a_nested_call_that_took_another_way_leaves_the_one_around_it_whole():
    _, found = await collected(
        made(a={"dispatch": ("c",)}),
        made(a={"dispatch": ("c",), "result": "new"}, c={"effects": ("db", "audit")}),
    )

    assert [(one.tool, one.cls) for one in found] == [("c", "kind"), ("a", "payload")]
    assert [one.seq for one in found] == sorted(one.seq for one in found)


async def test_a_retry_that_is_not_needed_any_more():
    def flaky(failures):
        left = [failures]

        @tool(idempotent=True, max_attempts=3, backoff=lambda _: 0.0)
        async def a() -> str:
            if left[0]:
                left[0] -= 1
                raise TransientToolError("not yet")
            return "ok"

        return agent(calls("a", "b"), a, worker("b"))

    recorded, found = await collected(flaky(2), flaky(0))

    assert summary(found) == [(recorded.seqs("ToolCallFailed")[0], "kind", 0)]


async def test_parallel_calls_are_reported_in_recorded_order_whoever_is_first_today():
    recorded = await record(made())
    seqs = sorted(recorded.seqs("ToolCallCompleted"))
    for first_today in ("a", "b"):
        gate = asyncio.Event()
        traits = [{"result": "new", "waits_for": gate}, {"result": "new", "signals": gate}]
        a, b = traits if first_today == "b" else traits[::-1]
        found = await replay(recorded.log, "run", made(a=a, b=b), collect=True)
        assert [one.seq for one in found] == seqs


async def test_the_runs_own_code_ends_the_collection():
    recorded, found = await collected(made(turns=3), made(turns=3, app_version="2", max_turns=1))

    assert summary(found) == [(1, "payload", 0), (recorded.seqs("TurnStarted")[1], "kind", 0)]


async def test_a_run_that_stops_for_a_failure_of_a_tool_ends_it_too():
    was, today = made(tool_errors="fail"), made(a={"error": "gone"}, tool_errors="fail")

    _, found = await collected(was, today)

    assert [one.cls for one in found] == ["kind"]


async def test_a_changed_cap_shows_again_where_it_trips():
    def capped(cap):
        return agent(ScriptedProvider(), budget=Budget(max_input_tokens=cap), system_prompt="x" * 99)

    recorded, found = await collected(capped(10), capped(20))

    assert summary(found) == [(1, "payload", 0), (recorded.seq("BudgetExceeded"), "payload", 1)]


async def test_requests_that_cannot_be_rebuilt_follow_from_what_changed_before_them():
    def outer(prompt):
        @tool
        async def ask() -> str:
            from starling.provider import Message, Request

            asked = Request(model="m", messages=(Message(role="user", content=prompt),))
            return (await step.llm_call(asked)).message.text

        script = ScriptedProvider().tool_call("ask").turn().text("inner").turn().text("outer")
        return agent(script, ask, system_prompt=prompt)

    _, alone = await collected(outer("one"), outer("two"), ignore=["RunStarted.system_prompt"])
    recorded, found = await collected(outer("one"), outer("two"))

    inner = recorded.seqs("TurnStarted")[1]
    assert summary(found) == [
        (1, "payload", 0),
        *((seq, "payload", 1) for seq in recorded.seqs("TurnStarted")),
    ]
    assert [one.cause_seq for one in alone if one.seq == inner] == [0]


async def test_a_nested_run_is_collected_as_well_and_stands_at_its_call():
    def outer(log, *, prompt="", app="1", after="ok"):
        @tool
        async def ask() -> str:
            sub = agent(ScriptedProvider().tool_call("a").turn().text("hi"), worker("a"), log=log, system_prompt=prompt)
            return (await sub.run("hello")).final_text

        script = ScriptedProvider().tool_call("ask").turn().tool_call("b").turn().text("done")
        return agent(script, ask, worker("b", result=after), log=log, app_version=app)

    log = MemoryLog()
    recorded = await record(outer(log))

    found = await replay(log, "run", outer(log, prompt="new", app="2", after="new"), collect=True)

    nested = {run.run_id for run in await log.list_runs()} - {"run"}
    assert [(one.run_id in nested, one.seq, one.cause_seq) for one in found] == [
        (False, 1, 0),
        (True, 1, 0),
        (True, 2, 1),
        (True, 7, 1),
        (False, recorded.seqs("ToolCallCompleted")[1], 0),
    ]


async def test_without_collect_the_first_one_is_raised_and_has_no_cause():
    from tests.agent_kit import diverges

    divergence = await diverges(await record(made()), made(system_prompt="new"))

    assert (divergence.seq, divergence.cause_seq) == (1, 0)


# --- the fold alone


def at(seq, *changes, tool="", kind=Kind.ToolCallCompleted):
    return Divergence(
        run_id="run",
        seq=seq,
        kind=kind,
        expected_kind=kind,
        cls="payload",
        reason="",
        changes=tuple(Change(path=path, recorded=old, produced=new) for path, old, new in changes),
        tool=tool,
    )


FOLDS = {
    "the same": ([at(1, ("x", 1, 2)), at(2, ("x", 1, 2))], [0, 1]),
    "another value": ([at(1, ("x", 1, 2)), at(2, ("x", 1, 3))], [0, 0]),
    "another type": ([at(1, ("x", 1, 2)), at(2, ("x", True, 2))], [0, 0]),
    "another field": ([at(1, ("x", 1, 2)), at(2, ("y", 1, 2))], [0, 0]),
    "more than before": ([at(1, ("x", 1, 2)), at(2, ("x", 1, 2), ("y", 1, 2))], [0, 0]),
    "less than before": ([at(1, ("x", 1, 2), ("y", 1, 2)), at(2, ("y", 1, 2))], [0, 1]),
    "of two causes": ([at(1, ("x", 1, 2)), at(2, ("y", 1, 2)), at(3, ("x", 1, 2), ("y", 1, 2))], [0, 0, 1]),
    "of a consequence": ([at(1, ("x", 1, 2)), at(2, ("x", 1, 2)), at(3, ("x", 1, 2))], [0, 1, 1]),
    "another tool": ([at(1, ("x", 1, 2), tool="a"), at(2, ("x", 1, 2), tool="b")], [0, 0]),
    "no field": ([at(1), at(2)], [0, 0]),
    "under another name": (
        [
            at(1, ("model_id", "a", "b"), ("goal", "c", "d")),
            at(2, ("model", "a", "b"), ("messages[0].content", "c", "d")),
        ],
        [0, 1],
    ),
}


@pytest.mark.parametrize("case", FOLDS)
def test_what_follows_from_what(case):
    divergences, causes = FOLDS[case]

    assert [one.cause_seq for one in fold_consequences(divergences)] == causes
    assert [one.cause_seq for one in fold_consequences(fold_consequences(divergences))] == causes
