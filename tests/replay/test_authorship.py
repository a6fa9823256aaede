"""A recording replays whatever version wrote it: the version alone does not make it a log of the original program."""

from __future__ import annotations

from dataclasses import replace

import pytest

from starling import MemoryLog, step, tool
from starling.agent._authorship import dialect_of
from starling.agent._explanations import rebuilt_request
from starling.agent._transcript import recorded_messages
from starling.event import Chain, RunCompleted, RunFailed
from starling.provider import prompt_hash
from starling.step._dialect import ORIGINAL, OURS
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, record, replays

VERSIONS = ["", "0.0.0", "9.9.9", "dev", "v1.2.3", "pytest-starling/9.9", "pytest-starling"]


@tool
async def look(where: str) -> str:
    """Look somewhere."""
    return f"{where} at {step.now().timestamp()}"


def with_tools():
    script = ScriptedProvider().reasoning("hm", b"signed").text("I look").tool_call("look", {"where": "here"})
    return agent(script.turn().text("done"), look)


def without_tools():
    return agent(ScriptedProvider().reasoning("hm").text("done"))


def with_a_tool_that_there_is_not():
    """Without tools the two dialects differ where a call's arguments are shown to the model, or reasoning is."""
    script = ScriptedProvider().reasoning("hm", b"signed").tool_call("nothing", {"n": 1e21, "s": "<"})
    return agent(script.turn().text("done"), tool_errors="report")


def written_by(version, recorded):
    """The same run with another version in it, its chain and its Merkle root anew."""
    chain, events = Chain(recorded.run_id), []
    for event, payload in zip(recorded.events, recorded.payloads, strict=True):
        now = replace(payload, starling_version=version) if event.seq == 1 else payload
        now = replace(now, merkle_root=chain.root()) if isinstance(now, RunCompleted | RunFailed) else now
        events.append(chain.append(now, event.ts))
    return events


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wired", [with_tools, without_tools, with_a_tool_that_there_is_not])
async def test_a_changed_version_alone_is_no_divergence(wired, version):
    recorded = await record(wired())
    events = written_by(version, recorded)
    log = MemoryLog()
    await log.append("run", events)

    await replays(replace(recorded, log=log, events=events), wired())


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_run_that_another_version_began_is_resumed_in_our_own_way(version):
    recorded = await record(agent(ScriptedProvider().reasoning("hm", b"signed").text("first life")))
    log = MemoryLog()
    await log.append("run", written_by(version, recorded)[:-1])
    again = lambda on=None: agent(ScriptedProvider().reasoning("hm").text("second life"), log=on)  # noqa: E731

    await again(log).resume("run")

    resumed = replace(recorded, log=log, events=await log.read("run"))
    assert dialect_of(resumed.payloads) is OURS
    await replays(resumed, again())


async def test_a_log_that_holds_but_hashes_of_its_tools_is_the_original_s():
    recorded = await record(agent(calls(("look", {"where": "here"})), look))
    started = replace(recorded.payloads[0], tools=(), starling_version="v0.1.0")

    assert dialect_of([started, *recorded.payloads[1:]]) is ORIGINAL


async def test_without_tools_the_request_tells_who_asked():
    log = MemoryLog()
    recorded = await record(agent(ScriptedProvider().reasoning("hm", b"signed").text("first life")))
    await log.append("run", written_by("v0.1.0", recorded)[:-1])
    await agent(ScriptedProvider().text("second life"), log=log).resume("run")
    *before, turn = [event.decode() for event in await log.read("run")][:-2]
    as_the_original_asks = prompt_hash(rebuilt_request(before[0], recorded_messages(before, ORIGINAL)))

    assert dialect_of([*before, turn]) is OURS
    assert as_the_original_asks != turn.prompt_hash
    assert dialect_of([*before, replace(turn, prompt_hash=as_the_original_asks)]) is ORIGINAL
