"""What is no whole, untouched run is refused before anything runs: by an error that says where and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from dataclasses import dataclass, replace

import pytest

from starling import MemoryLog, SQLiteLog, step, tool
from starling import replay as replay_run
from starling._cbor import decode, encode
from starling.errors import (
    FixtureError,
    LogCorruptError,
    NondeterminismError,
    RunNotFoundError,
    SchemaVersionMismatchError,
)
from starling.event import Kind, ReasoningEmitted, encode_payload, validate, validate_recording
from starling.provider import Capabilities, ProviderInfo
from starling.replay import FixtureRun, ReplayingSession, read_fixture
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, record
from tests.damaged_runs import install_unchecked, relinked, with_fields, with_payload, with_terminal

TOO_LONG_S = 20
UPGRADE, RESTORE, RESUME = "upgrade pytest-starling", "estore", "Agent.resume"


@tool
async def t() -> int:
    return step.random() % 2


class OutOfBounds:
    """A provider that must not be reached."""

    def info(self):
        return ProviderInfo(id="scripted", api_version="v0")

    def capabilities(self):
        return Capabilities(tools=True)

    def stream(self, request):
        raise AssertionError("the provider was reached")


def todays():
    return agent(OutOfBounds(), t)


@pytest.fixture(scope="module")
def whole():
    """A sound recording."""
    script = ScriptedProvider().tool_call("t").usage(10, 2).turn().text("You get a refund.").usage(20, 3)
    events = asyncio.run(record(agent(script, t))).events
    assert [event.kind.name for event in events] == [
        "RunStarted",
        "TurnStarted",
        "AssistantMessageCompleted",
        "ToolCallScheduled",
        "SideEffectRecorded",
        "ToolCallCompleted",
        "TurnStarted",
        "AssistantMessageCompleted",
        "RunCompleted",
    ]
    return events


# --- ways to damage it


def changed_map(events, seq, **fields):
    """Fields that no payload could be written with."""
    return with_payload(events, seq, encode({**decode(events[seq - 1].payload), **fields}))


def without_field(events, seq, name):
    found = decode(events[seq - 1].payload)
    del found[name]
    return with_payload(events, seq, encode(found))


def reasoning(events, turn_id):
    payload = encode_payload(ReasoningEmitted(turn_id=turn_id, content="hm"))
    return replace(events[1], kind=Kind.ReasoningEmitted, payload=payload)


def other_kind_at_the_end(events):
    from_the_future = with_fields(events, 1, schema_version=7)
    return [*from_the_future[:-1], replace(from_the_future[-1], kind=99)]


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A damage, the error it makes, and what that must say."""

    do: object
    seq: int
    says: str
    advice: str = RESTORE
    error: type = LogCorruptError
    field: str = ""


DAMAGES = {
    "the tail is missing": Damage(do=lambda e: e[:-1], seq=8, says="never ended", advice=RESUME),
    "most of it is missing": Damage(do=lambda e: e[:2], seq=2, says="never ended", advice=RESUME),
    "the middle is missing": Damage(do=lambda e: [*e[:3], *e[5:]], seq=6, says="seq gap"),
    "the middle is missing, closed up": Damage(
        do=lambda e: [*e[:3], *(replace(event, seq=event.seq - 2) for event in e[5:])], seq=4, says="prev_hash"
    ),
    "the start is missing": Damage(do=lambda e: e[1:], seq=2, says="the first must be 1"),
    "a byte has changed": Damage(
        do=lambda e: [*e[:4], replace(e[4], payload=e[4].payload[:-1] + b"!"), *e[5:]], seq=6, says="prev_hash"
    ),
    "two are swapped": Damage(do=lambda e: [*e[:2], e[3], e[2], *e[4:]], seq=4, says="seq gap"),
    "it goes on after its end": Damage(
        do=lambda e: relinked([*e, e[-1]]), seq=9, says="ends the run, but events follow it"
    ),
    "an event is another run's": Damage(
        do=lambda e: [*e[:3], replace(e[3], run_id="other"), *e[4:]], seq=4, says="run_id is 'other'"
    ),
    "a call has no outcome": Damage(do=lambda e: relinked([*e[:5], *e[6:]]), seq=8, says="has no outcome"),
    "a turn has no start": Damage(do=lambda e: relinked([e[0], *e[2:]]), seq=2, says="is not the open one"),
    "reasoning of another turn": Damage(
        do=lambda e: relinked([*e[:2], reasoning(e, "T"), *e[2:]]), seq=3, says="turn 'T' is not the open one"
    ),
    "reasoning outside of a turn": Damage(
        do=lambda e: relinked([*e[:3], reasoning(e, e[1].decode().turn_id), *e[3:]]),
        seq=4,
        says="is not the open one ('')",
    ),
    "the Merkle root lies": Damage(
        do=lambda e: with_terminal(e, merkle_root=bytes(32)), seq=9, says="merkle_root is not the root"
    ),
    "the number of turns lies": Damage(
        do=lambda e: with_terminal(e, turn_count=3), seq=9, says="turn_count is 3, not 2"
    ),
    "the number of calls lies": Damage(
        do=lambda e: with_terminal(e, tool_call_count=0), seq=9, says="tool_call_count is 0, not 1"
    ),
    "the tokens lie": Damage(
        do=lambda e: with_terminal(e, total_input_tokens=31, total_output_tokens=4),
        seq=9,
        says="total_input_tokens is 31, not 30; total_output_tokens is 4, not 5",
    ),
    "the cost lies": Damage(
        do=lambda e: with_terminal(e, total_cost_usd=1.5), seq=9, says="total_cost_usd is 1.5, not"
    ),
    "a field has another type": Damage(
        do=lambda e: with_payload(e, 2, encode({"turn_id": 7, "prompt_hash": None, "input_tokens": 1})),
        field="turn_id",
        seq=2,
        says="turn_id: int where a text belongs",
    ),
    "a field is out of range": Damage(
        do=lambda e: with_payload(
            e, 4, encode({"call_id": "c", "turn_id": "", "tool": "t", "args": {}, "attempt": -1})
        ),
        seq=4,
        says="attempt",
    ),
    "a field is missing": Damage(
        do=lambda e: without_field(e, 6, "result"), seq=6, says="ToolCallCompleted.result: missing", field="result"
    ),
    "a field of the last event is missing": Damage(
        do=lambda e: [*e[:-1], *without_field(e, 9, "total_cost_usd")[-1:]],
        seq=9,
        says="RunCompleted.total_cost_usd: missing",
        field="total_cost_usd",
    ),
    "a field inside a field is missing": Damage(
        do=lambda e: changed_map(e, 3, tool_uses=[{"tool": "t", "args": {}}]),
        seq=3,
        says="AssistantMessageCompleted.tool_uses[0].call_id: missing",
        field="tool_uses[0].call_id",
    ),
    "a number is null": Damage(
        do=lambda e: changed_map(e, 6, attempt=None),
        seq=6,
        says="ToolCallCompleted.attempt: null where",
        field="attempt",
    ),
    "a float is an integer": Damage(
        do=lambda e: changed_map(e, 3, cost_usd=0), seq=3, says="cost_usd: int where a float belongs", field="cost_usd"
    ),
    "a payload is that of another kind": Damage(
        do=lambda e: with_payload(e, 5, e[3].payload), seq=5, says="SideEffectRecorded.name: missing", field="name"
    ),
    "a last event that is of another kind": Damage(
        do=lambda e: [*e[:-1], replace(e[-1], payload=e[2].payload)],
        seq=9,
        says="RunCompleted.final_text: missing",
        field="final_text",
    ),
    "a payload of another kind, which shows later as well": Damage(
        do=lambda e: with_payload(e, 4, e[5].payload),
        seq=4,
        says="ToolCallScheduled.turn_id: missing",
        field="turn_id",
    ),
    "it begins once more": Damage(do=lambda e: relinked([*e[:3], e[0], *e[3:]]), seq=4, says="a run begins once"),
    "a payload is a list": Damage(
        do=lambda e: with_payload(e, 3, encode([1, 2])), seq=3, says="list where a map belongs"
    ),
    "a payload is not CBOR": Damage(do=lambda e: with_payload(e, 3, b"\xff\x00"), seq=3, says="not canonical CBOR"),
    "a payload is empty": Damage(do=lambda e: with_payload(e, 3, b""), seq=3, says="not canonical CBOR"),
    "a payload goes on": Damage(do=lambda e: with_payload(e, 3, e[2].payload + b"\x00"), seq=3, says="bytes follow"),
    "a newer schema": Damage(
        do=lambda e: with_fields(e, 1, schema_version=2),
        seq=1,
        says="schema_version 2 is not supported",
        advice=UPGRADE,
        error=SchemaVersionMismatchError,
    ),
    "a newer schema without a field of this one": Damage(
        do=lambda e: without_field(with_fields(e, 1, schema_version=2), 1, "params"),
        seq=1,
        says="schema_version 2 is not supported",
        advice=UPGRADE,
        error=SchemaVersionMismatchError,
    ),
    "a newer schema with kinds of its own": Damage(
        do=other_kind_at_the_end,
        seq=1,
        says="schema_version 7 is not supported",
        advice=UPGRADE,
        error=SchemaVersionMismatchError,
    ),
    "not a run": Damage(
        do=lambda e: relinked(e[1:]), seq=1, says="a run begins with RunStarted", advice="Agent.run` recorded"
    ),
    "one event that is no start": Damage(do=lambda e: relinked(e[-1:]), seq=1, says="RunStarted", advice="Agent.run`"),
    "no events": Damage(do=lambda _: [], seq=1, says="there are no events", advice="Agent.run`"),
}


def damages(*but):
    """The table for a test, without what cannot happen to it."""
    kept = {name: damage for name, damage in DAMAGES.items() if name not in but}
    return pytest.mark.parametrize("damage", kept.values(), ids=kept)


class Shelf:
    """A log that holds whatever it is given."""

    def __init__(self, events):
        self._events = events

    async def read(self, _):
        return list(self._events)


def check(error, damage, run_id="run"):
    assert type(error) is damage.error
    assert (error.run_id, error.seq) == (run_id, damage.seq)
    assert damage.says in str(error)
    assert damage.advice in str(error)
    assert damage.field in ("", error.field)


def test_the_recording_is_sound_and_relinking_keeps_it_so(whole):
    validate(whole)
    assert relinked(whole) == list(whole)


@damages("no events")
async def test_a_replay_by_hand_refuses_it(whole, damage):
    today = todays()
    with pytest.raises(LogCorruptError) as raised:
        async with asyncio.timeout(TOO_LONG_S):
            await replay_run(Shelf(damage.do(whole)), "run", today)

    check(raised.value, damage)
    assert await today.log.read("run") == []


async def test_a_run_that_the_log_does_not_hold():
    with pytest.raises(RunNotFoundError, match="'run' is not in the log") as raised:
        await replay_run(MemoryLog(), "run", todays())

    assert raised.value.run_id == "run"


@damages()
def test_a_session_refuses_it_before_anything_runs(whole, damage):
    run = FixtureRun(run_id="run", events=tuple(damage.do(whole)), began=1, ended=2)

    with pytest.raises(LogCorruptError) as raised:
        ReplayingSession([run])

    check(raised.value, damage)


@damages("no events", "an event is another run's", "two are swapped")  # the rows of a run cannot be that
def test_a_fixture_that_holds_it_is_refused(whole, damage, tmp_path, monkeypatch):
    path = install_unchecked(tmp_path / "f.db", damage.do(whole), monkeypatch)

    with pytest.raises(LogCorruptError) as raised:
        read_fixture(path)

    check(raised.value, replace(damage, advice=UPGRADE if damage.advice == UPGRADE else RESTORE))
    assert raised.value.path == str(path)
    assert "pytest --record-golden" in str(raised.value)


def test_a_fixture_of_runs_that_are_elsewhere(whole, tmp_path, monkeypatch):
    """Its list of runs and its events do not belong together."""
    path = install_unchecked(tmp_path / "f.db", whole, monkeypatch)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE eventlog_events SET run_id = 'other'")
        database.commit()

    with pytest.raises(LogCorruptError, match="its events are missing") as raised:
        read_fixture(path)

    assert raised.value.run_id == "run"


def test_an_event_log_is_no_fixture(whole, tmp_path):
    with SQLiteLog(tmp_path / "log.db") as log:
        log.append_sync("run", whole)

    with pytest.raises(FixtureError, match="is an event log, but no golden fixture"):
        read_fixture(tmp_path / "log.db")


async def test_rows_that_another_program_wrote(whole, tmp_path):
    """Bytes that are not CBOR, in a real database."""
    path = tmp_path / "log.db"
    with SQLiteLog(path) as log:
        log.append_sync("run", whole)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE eventlog_events SET payload = x'ff00' WHERE seq = 9")
        database.execute("DELETE FROM starling_seals")  # another program writes none
        database.commit()

    with SQLiteLog(path, read_only=True) as log, pytest.raises(LogCorruptError, match="not canonical CBOR") as raised:
        await replay_run(log, "run", todays())

    assert (raised.value.run_id, raised.value.seq) == ("run", 9)


async def test_a_final_text_that_lies_is_found_by_the_replay(whole):
    """A loop of a user's own may end with any text, so only the code can tell; it comes to another one."""
    events = with_terminal(whole, final_text="You get nothing.")

    with pytest.raises(NondeterminismError) as raised:
        async with asyncio.timeout(TOO_LONG_S):
            await replay_run(Shelf(events), "run", todays())

    divergence = raised.value.divergence
    assert (raised.value.run_id, raised.value.seq, divergence.expected_kind) == ("run", 9, Kind.RunCompleted)
    assert [str(change) for change in divergence.changes] == ["final_text: 'You get nothing.' -> 'You get a refund.'"]


@pytest.mark.parametrize("version", [0, 2])
def test_a_version_that_is_not_known_is_also_a_corrupt_log(whole, version):
    """What `validate` says of it stays what the original says."""
    events = with_fields(whole, 1, schema_version=version)

    with pytest.raises(LogCorruptError, match="is not supported") as raised:
        validate(events)

    assert isinstance(raised.value, SchemaVersionMismatchError)
    assert (raised.value.found, raised.value.known) == (version, 1)
    assert (raised.value.run_id, raised.value.seq) == ("run", 1)


async def test_an_answer_with_a_field_that_is_not_known_is_not_taken_for_todays(whole):
    """A payload is only known to be written as the same bytes again if nothing in it is unknown."""
    assert validate_recording(whole).exact
    events = changed_map(whole, 3, novelty=1)
    assert not validate_recording(events).exact
    log = MemoryLog()
    await log.append("run", events)
    with pytest.raises(NondeterminismError) as raised:
        await replay_run(log, "run", todays())
    assert raised.value.divergence.seq == 3
