"""What a run costs grows with its length, not with the square of it: counted, not timed."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing

import pytest

from starling import SQLiteLog, step, tool
from starling.event import Chain, Event, Kind, _chain
from starling.provider import _request_hash as request_hash
from starling.step import _cursor
from starling.step._comparison import Comparison
from starling.step._frame import Frame
from starling.step._progress import Progress
from starling.step._replay import ReplayJournal
from starling.step._run import Run
from starling.step._tree import Node, build_tree
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, record, replays

COUNT = 200


class Counting(list):
    """A list that counts how often an element is looked at."""

    reads = 0

    def __getitem__(self, at):
        self.reads += 1
        return super().__getitem__(at)

    def __iter__(self):
        for at in range(len(self)):
            yield self[at]


def counting(node):
    """The same call; all that is read of it is counted."""
    node.own, node.calls = Counting(node.own), Counting(node.calls)
    for child in node.children.values():
        counting(child)
    return node


def reads(node):
    return node.own.reads + node.calls.reads + sum(reads(child) for child in node.children.values())


def call_of(count):
    """A node that dispatched so many calls, each of which has one event of its own; and how many events those are."""
    node = Node()
    for number in range(count):
        node.add_call(2 * number, Node(own=[2 * number + 1]))
    return counting(node), 2 * count


def test_the_next_child_is_found_without_looking_at_those_before_it():
    node, length = call_of(COUNT)
    progress = Progress(length)
    for number in range(COUNT):
        assert progress.next_child(node) == 2 * number
        progress.take(2 * number)
    assert progress.next_child(node) is None
    assert reads(node) <= 4 * COUNT


def test_children_taken_in_another_order_are_skipped():
    node, length = call_of(5)
    progress = Progress(length)
    progress.take(2)
    progress.take(6)
    assert list(progress.children_left(node)) == [0, 4, 8]
    progress.take(0)
    assert progress.next_child(node) == 4


def test_what_a_call_did_is_taken_with_its_nested_calls_up_to_its_end():
    node, length = call_of(4)
    progress = Progress(length)
    progress.take(0)
    assert sorted(progress.take_until(node, 4)) == [2, 3, 4, 5]
    assert [index for index in range(length) if not progress.is_taken(index)] == [1, 6, 7]


def test_a_call_that_ends_again_and_again_is_looked_at_once():
    node, length = call_of(COUNT)
    progress = Progress(length)
    for number in range(COUNT):
        assert progress.take_until(node, 2 * number) == [2 * number, 2 * number + 1]
    assert reads(node) <= 10 * COUNT


def nesting(count, **options):
    @tool
    async def inner() -> str:
        return "x"

    @tool
    async def outer() -> int:
        for _ in range(count):
            await step.call_tool(step.ToolCall(name="inner", args={}))
        return count

    return agent(ScriptedProvider().tool_call("outer").turn().text("done"), inner, outer, **options)


@pytest.mark.parametrize("policy", ["run", "stub"])
async def test_replaying_a_nested_call_does_not_look_at_all_the_others(monkeypatch, policy):
    recorded = await record(nesting(COUNT))
    roots, compared = [], []

    def tree(*args, **options):
        roots.append(counting(build_tree(*args, **options)))
        return roots[-1]

    equal = Comparison.are_equal
    monkeypatch.setattr(_cursor, "build_tree", tree)
    monkeypatch.setattr(Comparison, "are_equal", lambda *args: compared.append(args[1]) or equal(*args))

    await replays(recorded, nesting(COUNT), tools={"outer": policy})

    (root,) = roots
    assert reads(root) <= 32 * COUNT
    assert len(compared) <= 4 * COUNT


def turning(count, **options):
    @tool
    async def ping() -> str:
        return "pong"

    script = ScriptedProvider()
    for _ in range(count):
        script.tool_call("ping").turn()
    return agent(script.text("done"), ping, max_turns=0, **options)


async def test_each_message_of_a_run_is_encoded_once_live_and_on_replay(monkeypatch):
    encoded = []
    original = request_hash._plain_message_item
    monkeypatch.setattr(
        request_hash, "_plain_message_item", lambda message: encoded.append(message) or original(message)
    )

    recorded = await record(turning(COUNT))
    live = len(encoded)
    await replays(recorded, turning(COUNT))

    assert live == 1 + 2 * COUNT
    assert len(encoded) == 2 * live


async def test_a_run_keeps_few_leaves_of_its_tree(monkeypatch):
    kept, fold = [], Chain.fold
    monkeypatch.setattr(_chain, "_MANY_LEAVES", 8)
    monkeypatch.setattr(Chain, "fold", lambda chain: (fold(chain), kept.append(len(chain._leaves))))

    recorded = await record(turning(COUNT))

    assert recorded.error is None  # and its events are valid: `record` has seen to it
    assert 0 < max(kept) < 8


async def test_a_streamed_run_keeps_no_event_that_was_read(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        gc.collect()
        before = len(alive(Event))
        async with aclosing(turning(COUNT, log=log).stream("go")) as events:
            turns = 0
            kept = []
            async for event in events:
                turns += event.kind == Kind.TurnStarted
                if event.kind == Kind.TurnStarted and turns in {COUNT // 2, COUNT}:
                    kept.append(len(alive(Event)) - before)
    assert len(kept) == 2
    assert max(kept) < 20


def alive(kind):
    return [thing for thing in gc.get_objects() if type(thing) is kind]


async def test_a_replay_that_is_over_is_freed_without_the_garbage_collector():
    """It would otherwise cost a test suite more than some of what a replay does."""
    recorded = await record(turning(3))
    today = turning(3)
    gc.collect()
    before = {kind: len(alive(kind)) for kind in (Run, Frame, ReplayJournal, Node)}
    gc.disable()
    try:
        await replays(recorded, today)
        await asyncio.sleep(0)  # the loop lets go of what it ran last
        after = {kind: len(alive(kind)) for kind in before}
    finally:
        gc.enable()
    assert after == before
