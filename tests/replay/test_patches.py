"""`step.patched`: an intended change that recordings from before it survive."""

from __future__ import annotations

import asyncio
import threading

import pytest

from starling import replay_all, step, tool
from starling.errors import StepContextError, TransientToolError
from starling.replay import unneeded_patches
from starling.testing import ScriptedProvider
from tests.agent.test_resume import cut_at, resumed
from tests.agent_kit import agent, calls, diverges, record, replays


@tool(name="greet")
async def before(name: str) -> str:
    """Greet somebody."""
    return await step.side_effect("plain", lambda: f"hello {name}")


@tool(name="greet")
async def change(name: str) -> str:
    """Greet somebody."""
    if step.patched("polite"):
        return await step.side_effect("polite", lambda: f"good day {name}")
    return await step.side_effect("plain", lambda: f"hello {name}")


@tool(name="greet")
async def retired(name: str) -> str:
    """Greet somebody."""
    step.deprecate_patch("polite")
    return await step.side_effect("polite", lambda: f"good day {name}")


@tool(name="greet")
async def after(name: str) -> str:
    """Greet somebody."""
    return await step.side_effect("polite", lambda: f"good day {name}")


GREET = ("greet", {"name": "you"})


async def test_new_runs_go_the_new_way_and_say_so():
    recorded = await record(agent(calls(GREET), change))

    mark = recorded.one("SideEffectRecorded", name="starling/patch:polite")
    assert (mark.value, mark.call_id) == (True, "call_1")
    assert recorded.one("ToolCallCompleted").result == "good day you"
    await replays(recorded, agent(None, change))


async def test_a_recording_that_predates_the_change_replays_on_the_old_way():
    recorded = await record(agent(calls(GREET), before))

    await diverges(recorded, agent(None, after))
    await replays(recorded, agent(None, change))


async def test_a_deprecated_patch_accepts_both_the_mark_and_its_absence_and_leaves_none():
    marked = await record(agent(calls(GREET), change))
    fresh = await record(agent(calls(GREET), retired))

    assert fresh.seqs("SideEffectRecorded", name="starling/patch:polite") == []
    await replays(marked, agent(None, retired))
    await replays(fresh, agent(None, retired), agent(None, after))


async def test_a_patch_that_is_dropped_too_early_is_found_at_its_mark():
    recorded = await record(agent(calls(GREET), change))

    divergence = await diverges(recorded, agent(None, after))

    assert divergence.seq == recorded.seq("SideEffectRecorded", name="starling/patch:polite")
    assert "step.deprecate_patch('polite')" in divergence.reason


async def test_a_patch_that_is_asked_for_later_is_not_said_to_be_gone():
    @tool(name="greet")
    async def later(name: str) -> str:
        """Greet somebody."""
        await step.side_effect("look up", lambda: name)
        return await change.execute({"name": name})

    recorded = await record(agent(calls(GREET), change))

    divergence = await diverges(recorded, agent(None, later))

    assert divergence.seq == recorded.seq("SideEffectRecorded", name="starling/patch:polite")
    assert "does not ask for" not in divergence.reason
    assert "the code came to SideEffectRecorded 'look up' without it" in divergence.reason
    assert "step.deprecate_patch('polite')" in divergence.reason


async def test_a_patch_that_its_call_ends_without_is_said_to_be_gone():
    @tool(name="greet")
    async def gone(name: str) -> str:
        """Greet somebody."""
        return f"good day {name}"

    recorded = await record(agent(calls(GREET), change))

    assert "which the code does not ask for here any more" in (await diverges(recorded, agent(None, gone))).reason


async def test_a_patch_that_no_line_asked_for_is_named_without_one():
    @tool(name="greet")
    async def in_thread(name: str) -> str:
        """Greet somebody."""
        return "new" if await asyncio.to_thread(step.patched, "polite") else "old"

    recorded = await record(agent(calls(GREET), in_thread))
    uses = []
    await replay_all(recorded.log, lambda: agent(None, in_thread), on_patch=uses.append)

    (patch,) = unneeded_patches(uses)
    assert patch.where == ()
    assert str(patch).startswith("'polite': no recording predates it")


async def test_each_call_is_asked_for_itself_and_once():
    @tool
    async def twice() -> list:
        return [step.patched("a"), step.patched("a"), step.patched("b")]

    recorded = await record(agent(calls("twice", "twice"), twice))

    assert [effect.name for effect in recorded.all("SideEffectRecorded", call_id="call_1")] == [
        "starling/patch:a",
        "starling/patch:b",
    ]
    assert len(recorded.all("SideEffectRecorded")) == 4
    await replays(recorded, agent(None, twice))


async def test_a_call_goes_one_way_over_all_its_attempts():
    tries = []

    @tool(idempotent=True, max_attempts=3, backoff=lambda _: 0)
    async def flaky() -> bool:
        way = step.patched("a")
        if not step.side_effect_sync("tries", lambda: tries.append(1) or len(tries)) > 1:
            raise TransientToolError("again")
        return way

    recorded = await record(agent(calls("flaky"), flaky))

    assert len(recorded.seqs("SideEffectRecorded", name="starling/patch:a")) == 1
    assert recorded.one("ToolCallCompleted").result is True
    await replays(recorded, agent(None, flaky))


async def test_threads_of_one_call_leave_one_mark():
    @tool
    def racing() -> list:
        import contextvars

        go, said = threading.Barrier(4), []

        def ask():
            go.wait()
            said.append(step.patched("a"))

        threads = [threading.Thread(target=contextvars.copy_context().run, args=(ask,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return said

    recorded = await record(agent(calls("racing"), racing))

    assert recorded.one("ToolCallCompleted").result == [True] * 4
    assert len(recorded.seqs("SideEffectRecorded")) == 1
    await replays(recorded, agent(None, racing))


@pytest.mark.parametrize("use", [step.patched, step.deprecate_patch])
async def test_inside_an_effect_there_is_no_asking(use):
    @tool
    async def within() -> str:
        with pytest.raises(StepContextError, match="ask before the effect"):
            await step.side_effect("e", lambda: use("a"))
        return "refused"

    recorded = await record(agent(calls("within"), within))

    assert recorded.one("ToolCallCompleted").result == "refused"
    await replays(recorded, agent(None, within))


@pytest.mark.parametrize("use", [step.patched, step.deprecate_patch])
@pytest.mark.parametrize("patch_id", ["", None, 3])
async def test_a_patch_has_a_name(use, patch_id):
    refused = []

    @tool
    async def wrong() -> None:
        with pytest.raises(TypeError, match="named by a text") as raised:
            use(patch_id)
        refused.append(raised.value)

    recorded = await record(agent(calls("wrong"), wrong))

    assert len(refused) == 1
    assert recorded.seqs("SideEffectRecorded") == []


@pytest.mark.parametrize("use", [step.patched, step.deprecate_patch])
def test_outside_of_a_run_there_is_nothing_to_ask(use):
    with pytest.raises(StepContextError, match="outside of a run"):
        use("a")


# --- resume


async def test_what_stands_in_for_an_orphan_goes_the_orphans_way():
    """The old way's payment must be found, and not be made once more on the new one."""
    recorded = await record(agent(calls(GREET), before))
    cut = recorded.seq("SideEffectRecorded")

    whole = await resumed(agent(ScriptedProvider().text("done"), change, log=await cut_at(recorded, cut)))

    assert whole.one("ToolCallCompleted").result == "hello you"
    await replays(whole, agent(None, change))


async def test_an_orphan_that_had_got_nowhere_goes_the_new_way():
    recorded = await record(agent(calls(GREET), before))
    cut = recorded.seq("ToolCallScheduled")

    whole = await resumed(agent(ScriptedProvider().text("done"), change, log=await cut_at(recorded, cut)))

    assert whole.one("ToolCallCompleted").result == "good day you"
    await replays(whole, agent(None, change))


async def test_an_orphans_mark_is_carried_over():
    recorded = await record(agent(calls(GREET), change))
    cut = recorded.seqs("SideEffectRecorded")[-1]

    whole = await resumed(agent(ScriptedProvider().text("done"), change, log=await cut_at(recorded, cut)))

    assert len(whole.seqs("SideEffectRecorded", name="starling/patch:polite")) == 2
    assert whole.one("ToolCallCompleted").result == "good day you"
    await replays(whole, agent(None, change))


# --- what no recording needs any more


async def uses(*pairs):
    """What the replays of recordings asked for: (recorded with, replayed with) each."""
    found = []
    for was, today in pairs:
        recorded = await record(agent(calls(GREET), was))
        assert await replay_all(recorded.log, lambda today=today: agent(None, today), on_patch=found.append) == {}
    return found


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([(before, change), (change, change)], []),
        ([(change, change), (change, change)], ["no recording predates it; drop the old way"]),
        ([(change, retired), (retired, retired)], []),
        ([(retired, retired)], ["no recording has its mark; step.deprecate_patch can go"]),
        ([(before, before)], []),
    ],
)
async def test_patches_that_no_recording_needs_are_named(pairs, said):
    unneeded = unneeded_patches(await uses(*pairs))

    assert [text in str(patch) for text, patch in zip(said, unneeded, strict=True)] == [True] * len(said)
    assert all(patch.where[0].partition(":")[0].endswith("test_patches.py") for patch in unneeded)
