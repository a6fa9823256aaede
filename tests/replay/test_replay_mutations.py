"""Every kind of change to an agent is found at the right event, in the right class, with the field that changed."""

from __future__ import annotations

import asyncio

import pytest

from starling import ambient, step, tool
from starling.errors import NondeterminismError, ProviderModelMismatchError, ToolError
from starling.event import Kind
from starling.replay import FixtureRun, ReplayingSession, replay
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, diverges, record, replays

SCHEMA = '{"properties":{"city":{"type":"string"}},"type":"object"}'


class Lookup:
    """The tool under change: one effect, one clock, one result."""

    name = "lookup"

    def __init__(
        self, *, description="Looks up.", schema=SCHEMA, result="rain", error=None, effects=("db",), after=()
    ) -> None:
        self.description, self.schema = description, schema
        self._result, self._error, self._effects, self._after = result, error, effects, after

    async def execute(self, args):
        step.now()
        for name in self._effects:
            await step.side_effect(name, lambda: {"city": args["city"], "mm": 3})
        if self._error:
            raise ToolError(self._error)
        return {"weather": self._result, "at": {"city": args["city"]}}


def support(*, turns=2, params=None, provider=None, config=None, **changes):
    script = ScriptedProvider() if provider is None else provider
    for number in range(1, turns):
        script.text(f"looking {number}").tool_call("lookup", {"city": "Oslo", "n": number}).turn()
    script.text("It rains.")
    options = {"system_prompt": "Be kind.\nBe brief.", "params": params or {"temperature": 0.5}, **(config or {})}
    return agent(script, Lookup(**changes), **options)


CASES = {
    "system prompt": ({"config": {"system_prompt": "Be kind.\nBe long."}}, 1, "payload", "system_prompt"),
    "model parameter": ({"params": {"temperature": 0.7}}, 1, "payload", "params.temperature"),
    "another parameter": ({"params": {"temperature": 0.5, "seed": 1}}, 1, "payload", "params.seed"),
    "a parameter's type": (
        {"params": {"temperature": 1}, "was": {"params": {"temperature": 1.0}}},
        1,
        "payload",
        "params.temperature",
    ),
    "tool description": ({"description": "Finds."}, 1, "payload", "tools.lookup.description"),
    "tool schema": (
        {"schema": SCHEMA.replace("string", "integer")},
        1,
        "payload",
        "tools.lookup.schema.properties.city.type",
    ),
    "app version": ({"config": {"app_version": "2"}}, 1, "payload", "app_version"),
    "tool result": ({"result": "snow"}, 7, "payload", "result.weather"),
    "tool error instead of result": ({"error": "no such city"}, 7, "kind", None),
    "tool result instead of error": ({"was": {"error": "no such city"}}, 7, "kind", None),
    "another tool error": ({"error": "gone", "was": {"error": "no such city"}}, 7, "payload", "error"),
    "an extra side effect": ({"effects": ("db", "audit")}, 7, "kind", None),
    "one side effect more of a name": ({"effects": ("db", "db")}, 7, "kind", None),
    "one side effect fewer": ({"effects": ()}, 6, "kind", None),
    "a renamed side effect": ({"effects": ("database",)}, 6, "payload", "name"),
    "a turn fewer": ({"config": {"max_turns": 1}}, 8, "kind", None),
    "an extra turn": ({"config": {"max_turns": 2}, "was": {"config": {"max_turns": 1}}}, 8, "kind", None),
    "an extra turn after an error": (
        {"error": "gone", "config": {"tool_errors": "report"}, "was": {"error": "gone"}},
        8,
        "kind",
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_change_is_found_where_it_happens(case):
    changes, seq, cls, field = CASES[case]
    changes = dict(changes)
    recorded = await record(support(**changes.pop("was", {})))

    divergence = await diverges(recorded, support(**changes))

    assert (divergence.seq, divergence.cls) == (seq, cls)
    assert divergence.expected_kind is recorded.events[seq - 1].kind
    assert divergence.run_id == recorded.run_id
    assert divergence.length == len(recorded.events)
    if cls == "payload":
        assert divergence.kind is divergence.expected_kind
        assert [change.path for change in divergence.changes] == [field]
    else:
        assert divergence.kind is not divergence.expected_kind


async def test_the_first_line_of_a_divergence_stands_alone():
    recorded = await record(support())

    divergence = await diverges(recorded, support(result="snow"))

    assert str(divergence) == "golden run diverged at seq 7 of 10 (ToolCallCompleted): payload"
    (change,) = divergence.changes
    assert (change.recorded, change.produced) == ("rain", "snow")
    assert str(change) == "result.weather: 'rain' -> 'snow'"


@pytest.mark.parametrize("case", [name for name, (changes, *_) in CASES.items() if "was" not in changes])
async def test_without_the_change_the_same_recording_replays(case):
    recorded = await record(support())

    await replays(recorded, support())
    await diverges(recorded, support(**CASES[case][0]))


@pytest.mark.parametrize(
    ("field", "options", "config"),
    [
        ("provider_id", {"provider_id": "other"}, {}),
        ("api_version", {"api_version": "v9"}, {}),
        ("model_id", {}, {"model": "gpt-4o"}),
    ],
)
async def test_another_provider_or_model_is_found_before_anything_runs(field, options, config):
    recorded = await record(support())
    ran = []
    today = support(provider=ScriptedProvider(**options), config=config)
    today.tools[0].execute = ran.append

    with pytest.raises(ProviderModelMismatchError) as raised:
        await replay(recorded.log, recorded.run_id, today)

    divergence = raised.value.divergence
    assert (divergence.seq, divergence.kind, divergence.cls) == (1, Kind.RunStarted, "payload")
    assert [change.path for change in divergence.changes] == [field]
    assert ran == []


async def test_another_provider_may_be_forced_but_another_model_is_still_a_change():
    recorded = await record(support())

    other = support(provider=ScriptedProvider(provider_id="other", api_version="v9"))
    await replays(recorded, other, force_provider=True)
    divergence = await diverges(recorded, support(config={"model": "gpt-4o"}), force_provider=True)

    assert [change.path for change in divergence.changes] == ["model_id"]
    assert not isinstance(divergence, ProviderModelMismatchError)


async def test_another_goal_is_a_payload_divergence_at_the_first_event():
    recorded = await record(support(), "refund me")
    session = ReplayingSession([FixtureRun(run_id=recorded.run_id, events=tuple(recorded.events), began=1, ended=2)])

    with ambient.activate(session), pytest.raises(NondeterminismError) as raised:
        await support().run("charge me")

    divergence = raised.value.divergence
    assert (divergence.seq, divergence.cls) == (1, "payload")
    assert [str(change) for change in divergence.changes] == ["goal: 'refund me' -> 'charge me'"]
    assert session.failures == [raised.value]


def fan(order):
    @tool
    async def fan_out() -> list:
        """Dispatches two calls of its own."""
        return sorted(await step.call_tools([step.ToolCall(name="leaf", args={"name": name}) for name in order]))

    @tool
    async def leaf(name: str) -> str:
        """Echoes."""
        return name

    return agent(calls("fan_out"), fan_out, leaf)


async def test_tools_reordered_in_the_codes_own_dispatch():
    recorded = await record(fan("ab"))
    await replays(recorded, fan("ab"))

    divergence = await diverges(recorded, fan("ba"))

    first_of_its_own = recorded.seqs("ToolCallScheduled", parent_call_id="call_1")[0]
    assert (divergence.seq, divergence.cls) == (first_of_its_own, "payload")
    assert [str(change) for change in divergence.changes] == ["args.name: 'a' -> 'b'"]
    assert divergence.call_id == "call_1"


@pytest.mark.parametrize(("order", "kind"), [("a", Kind.ToolCallCompleted), ("abc", Kind.ToolCallScheduled)])
async def test_a_dispatch_of_fewer_or_more_calls(order, kind):
    recorded = await record(fan("ab"))

    divergence = await diverges(recorded, fan(order))

    assert (divergence.cls, divergence.kind) == ("kind", kind)


async def test_a_changed_prompt_names_the_message_that_changed():
    """A result that is not compared flows on recorded; what the code itself puts into the prompt does not."""
    recorded = await record(support(config={"tool_errors": "report"}, error="gone"))

    today = support(config={"tool_errors": "report"}, error="gone")
    today.config.params["temperature"] = 0.1
    divergence = await diverges(recorded, today, ignore=["RunStarted.params", "RunStarted.params_hash"])

    assert (divergence.seq, divergence.expected_kind) == (2, Kind.TurnStarted)
    assert [str(change) for change in divergence.changes] == ["params.temperature: 0.5 -> 0.1"]


async def test_ignored_fields_are_not_compared_and_flow_on_as_recorded():
    recorded = await record(support(config={"app_version": "1"}))

    await replays(recorded, support(config={"app_version": "2"}), ignore=["RunStarted.app_version"])
    await replays(recorded, support(config={"app_version": "1"}, result="snow"), ignore=["ToolCallCompleted.result"])


@pytest.mark.parametrize("policy", ["run", {"lookup": "run"}])
async def test_a_tool_that_is_run_but_not_compared(policy):
    recorded = await record(support())

    await replays(recorded, support(result="snow"), tools=policy)
    await replays(recorded, support(error="gone"), tools=policy)


async def test_a_stubbed_tool_is_not_run():
    recorded = await record(support(effects=("db", "db", "audit")))
    today = support()
    today.tools[0].execute = None

    await replays(recorded, today, tools="stub")


async def test_the_calls_that_a_stubbed_tool_made_count_for_the_totals():
    @tool
    async def inner(n: int) -> int:
        return n

    @tool
    async def outer() -> list[int]:
        return await step.call_tools([step.ToolCall(name="inner", args={"n": n}) for n in range(2)])

    recorded = await record(agent(calls("outer"), outer, inner))
    today = agent(calls("outer"), outer, inner)

    assert recorded.payloads[-1].tool_call_count == 3
    await replays(recorded, today, tools={"outer": "stub"})
    await replays(recorded, today, tools={"outer": "run"})


async def test_policies_are_per_tool():
    recorded = await record(support())

    divergence = await diverges(recorded, support(result="snow"), tools={"other": "stub"})

    assert divergence.expected_kind is Kind.ToolCallCompleted


async def test_collecting_goes_on_after_a_payload_divergence():
    recorded = await record(support(turns=3))
    today = support(turns=3, result="snow", config={"app_version": "2"})

    divergences = await replay(recorded.log, recorded.run_id, today, collect=True)

    assert [(item.seq, item.cls) for item in divergences] == [(1, "payload"), (7, "payload"), (13, "payload")]
    assert divergences[0].changes[0].path == "app_version"


@tool
async def leaf(name: str = "") -> str:
    return name


async def effect_then_call():
    await step.side_effect("charge", lambda: 1)
    await step.call_tool(step.ToolCall(name="leaf", args={}))


async def call_then_effect():
    await step.call_tool(step.ToolCall(name="leaf", args={}))
    await step.side_effect("charge", lambda: 1)


def dispatching(*names, together=True):
    def one(name):
        return step.call_tool(step.ToolCall(name="leaf", args={"name": name}))

    async def body():
        if together:
            await asyncio.gather(*map(one, names))
        else:
            for name in names:
                await one(name)

    return body


@pytest.mark.parametrize(
    ("before", "after", "seq", "cls"),
    [
        (effect_then_call, call_then_effect, 5, "kind"),
        (dispatching("a", "b"), dispatching("b", "a"), 5, "payload"),
        (dispatching("a", "b", together=False), dispatching("b", "a", together=False), 5, "payload"),
    ],
    ids=["effect and call", "gathered calls", "calls in turn"],
)
async def test_a_dispatch_that_the_code_reorders_is_found(before, after, seq, cls):
    def made_of(body):
        @tool(name="outer")
        async def outer() -> None:
            await body()

        return agent(calls("outer"), outer, leaf)

    recorded = await record(made_of(before))
    await replays(recorded, made_of(before))

    divergence = await diverges(recorded, made_of(after))

    assert (divergence.seq, divergence.cls) == (seq, cls)
