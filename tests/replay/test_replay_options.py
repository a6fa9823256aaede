"""Options that say nothing, or not what was meant, are refused before anything runs."""

from __future__ import annotations

import pytest

from starling import ambient, replay, replay_all, tool
from starling.errors import AgentConfigError
from starling.replay import FixtureRun, ReplayingSession, ReplayOptions, ignorable_paths, replay_stream
from starling.testing import assert_diverges, assert_replays
from tests.agent_kit import agent, calls, record

WRONG = {
    "a policy that is none": ({"tools": "stubb"}, "tools", "'compare', 'run' or 'stub', or a mapping"),
    "one tool's that is none": ({"tools": {"pay": "stubb"}}, "tools", "got 'stubb' for the tool 'pay'"),
    "policies without tools": ({"tools": ["stub"]}, "tools", "got ['stub']"),
    "no policy": ({"tools": None}, "tools", "got None"),
    "a path below a field": (
        {"ignore": ("ToolCallCompleted.result.y",)},
        "ignore",
        "fields are ignored as a whole, so write 'ToolCallCompleted.result'",
    ),
    "an item of a field": ({"ignore": ["RunStarted.tools[0]"]}, "ignore", "so write 'RunStarted.tools'"),
    "a field that is none": ({"ignore": {"RunCompleted.nope"}}, "ignore", "RunCompleted has duration_ms, final_text, "),
    "a kind that is none": ({"ignore": ("Nope.x",)}, "ignore", "write Kind.field, such as"),
    "a kind alone": ({"ignore": ("RunResumed",)}, "ignore", "RunResumed has at_seq, "),
    "what is no path": ({"ignore": (3,)}, "ignore", "ignore names 3, which is no payload field"),
    "one text": ({"ignore": "ToolCallCompleted.result"}, "ignore", "got the text 'ToolCallCompleted.result'"),
    "nothing": ({"ignore": None}, "ignore", "in a list or a set, got None"),
    "paths in paths": ({"ignore": [["x"]]}, "ignore", "in a list or a set, got [['x']]"),
    "a tool's policies": ({"tools": {"pay": ["stub"]}}, "tools", "got ['stub'] for the tool 'pay'"),
    "a tool without a name": ({"tools": {1: "stub"}}, "tools", "got the name 1"),
    "yes": ({"compare_cost": "yes"}, "compare_cost", "compare_cost must be True or False, got 'yes'"),
    "no": ({"force_provider": "no"}, "force_provider", "force_provider must be True or False, got 'no'"),
}


@pytest.fixture
def paid():
    return []


@pytest.fixture
def wired(paid):
    @tool
    def pay() -> str:
        """Pay."""
        paid.append("paid")
        return "paid"

    return lambda: agent(calls("pay"), pay)


async def by_stream(log, run_id, today, **options):
    return [each async for each in replay_stream(log, run_id, today, **options)]


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_option_is_refused_before_any_tool_runs(wired, paid, case):
    options, field, words = WRONG[case]
    recorded = await record(wired())
    log, run_id = recorded.log, recorded.run_id
    paid.clear()
    ways = {
        "replay": lambda: replay(log, run_id, wired(), **options),
        "replay_all": lambda: replay_all(log, wired, **options),
        "replay_stream": lambda: by_stream(log, run_id, wired(), **options),
    }

    for way in ways.values():
        with pytest.raises(AgentConfigError) as raised:
            await way()
        assert words in raised.value.message
        assert raised.value.field == field
    for assertion in (assert_replays, assert_diverges):
        with pytest.raises(AgentConfigError):
            assertion(wired(), log, run_id, **options)
    assert paid == []


async def test_whatever_holds_paths_is_taken(wired):
    recorded = await record(wired())

    for paths in (["RunStarted.goal"], {"RunStarted.goal"}, iter(["RunStarted.goal"]), ignorable_paths()):
        assert await replay(recorded.log, "run", wired(), ignore=paths) == ()


def test_the_value_itself_is_checked():
    with pytest.raises(AgentConfigError, match="'x', which is no payload field"):
        ReplayOptions(ignore=frozenset("x"))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"ignore": None}, "ignore"),
        ({"ignore": ()}, "ignore"),
        ({"ignore": [["x"]]}, "ignore"),
        ({"ignore": "RunStarted.goal"}, "ignore"),
        ({"ignore": frozenset({("x",)})}, "ignore"),
        ({"collect": 1}, "collect"),
        ({"redact": 3}, "redact"),
        ({"tools": ["stub"]}, "tools"),
    ],
)
def test_whatever_it_is_given_is_refused_by_name(options, field):
    with pytest.raises(AgentConfigError) as raised:
        ReplayOptions(**options)
    assert raised.value.field == field
    assert f"{field} " in raised.value.message


async def test_collect_is_true_or_false(wired):
    recorded = await record(wired())
    for way in (replay, replay_all):
        run = (recorded.run_id, wired()) if way is replay else (wired,)
        with pytest.raises(AgentConfigError, match="collect must be True or False, got 1"):
            await way(recorded.log, *run, collect=1)


def test_ignored_paths_are_those_that_were_given_whatever_becomes_of_the_set():
    paths = {"RunStarted.app_version"}
    options = ReplayOptions(ignore=paths)
    paths.clear()

    assert options == ReplayOptions(ignore=frozenset({"RunStarted.app_version"}))


async def test_a_session_takes_any_set_of_ignored_paths():
    recorded = await record(agent(calls(), app_version="1"))
    run = FixtureRun(run_id=recorded.run_id, events=tuple(recorded.events), began=1, ended=2)
    session = ReplayingSession([run], ReplayOptions(ignore={"RunStarted.app_version"}))
    with ambient.activate(session):
        await agent(calls(), app_version="2").run("go")
    session.finish()

    assert session.failures == []
