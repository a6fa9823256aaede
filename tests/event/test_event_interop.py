"""Every run that the original wrote: bytes, hashes, root, totals, projection and verdict."""

from __future__ import annotations

import pytest

from starling import merkle
from starling._cbor import READ_DEPTH
from starling.errors import LogCorruptError, UnencodableValueError
from starling.event import (
    TERMINAL_KINDS,
    Chain,
    RunTotals,
    decode_event,
    encode_event,
    encode_payload,
    event_hash,
    to_json,
    totals,
    validate,
)
from starling.event._schema import WRITERS
from tests.event.interop_vectors import event_of, events_of, lines, runs

# Runs that do not validate, there and here, and what we say of each.
NOT_VALID = {
    "05s67_args_deep_30": "index 2 (seq 3): AssistantMessageCompleted payload: CBOR that this format never holds",
    "05s69_args_deep_32": "index 2 (seq 3): AssistantMessageCompleted payload: CBOR that this format never holds",
    "05s75_args_deep_list_30": "index 2 (seq 3): AssistantMessageCompleted payload: CBOR that this format never holds",
    "15g_resume_partial_refused": "index 3 (seq 4): the last event, ToolCallScheduled, is not terminal",
    "16a_crash_after_run_started": "index 0 (seq 1): the last event, RunStarted, is not terminal",
    "16c_crash_after_reasoning": "index 2 (seq 3): the last event, ReasoningEmitted, is not terminal",
    "16e_crash_after_tool_scheduled": "index 4 (seq 5): the last event, ToolCallScheduled, is not terminal",
    "16g_crash_after_tool_completed": "index 6 (seq 7): the last event, ToolCallCompleted, is not terminal",
    "16i_crash_before_terminal": "index 14 (seq 15): the last event, AssistantMessageCompleted, is not terminal",
    "20m_invalid_utf8_text": "index 2 (seq 3): AssistantMessageCompleted payload: not canonical CBOR",
}
# The one payload that cannot be read at all: text that is not UTF-8.
UNREADABLE = ("20m_invalid_utf8_text", 3)
# Payloads that we would not have written: that one, and those nested deeper than the original can read back.
NOT_WRITTEN = {(scenario, 3) for scenario in NOT_VALID if scenario.startswith("05s")} | {UNREADABLE}

VERDICTS = {
    "last payload byte of event 3 flipped": "index 3 (seq 4): prev_hash is not the hash of seq 3",
    "merkle_root null": "index 7 (seq 8): merkle_root is not the root over the events before it",
    "terminal missing": "index 6 (seq 7): the last event, AssistantMessageCompleted, is not terminal",
    "events 4 and 5 swapped": "index 3 (seq 5): seq gap: 5 where 4 belongs",
    "run id of event 5 changed": "index 4 (seq 5): run_id is 'other'",
    "event 1 has an empty byte string": "index 1 (seq 2): prev_hash is not the hash of seq 1",
    "event 1 has seq 0": "index 0 (seq 0): seq is 0, the first must be 1",
    "terminal twice": "index 7 (seq 8): RunCompleted ends the run, but events follow it",
    "first event is TurnStarted": "index 0 (seq 1): TurnStarted at index 0 (seq 1): a run begins with RunStarted",
    "tool call left open": "RunCompleted at index 6 (seq 7): call 'c1', attempt 1, has no outcome",
    "ToolCallCompleted without schedule": "ToolCallCompleted at index 3 (seq 4): call 'c1', attempt 1, is not open",
    "schema_version 0": "index 0 (seq 1): schema_version 0 is not supported",
    "empty turn_id": "TurnStarted at index 1 (seq 2): turn_id is empty",
    "attempt 2 scheduled, attempt 1 completed": "ToolCallCompleted at index 4 (seq 5): call 'c1', attempt 1, is not open",
    "unknown kind 99": "TurnStarted at index 5 (seq 6): turn '01M7YE32GZQ00N0NYNH0CPM5EH' is still open",
}


@pytest.fixture(params=sorted(runs()))
def scenario(request):
    return request.param


@pytest.fixture
def run(scenario):
    return runs()[scenario]


def test_the_selection_is_complete():
    assert len(runs()) == 157
    assert sum(len(run["events"]) for run in runs().values()) > 2000


def test_envelopes_and_hashes(run):
    for event, recorded in zip(events_of(run), run["events"], strict=True):
        assert encode_event(event).hex() == recorded["envelope"]
        assert event_hash(event).hex() == recorded["hash"]
        assert str(event.kind) == recorded["kind_name"]


def test_payloads_are_read_and_written_again_byte_for_byte(scenario, run):
    for event, recorded in zip(events_of(run), run["events"], strict=True):
        if (scenario, event.seq) == UNREADABLE:
            with pytest.raises(LogCorruptError, match="seq 3: AssistantMessageCompleted payload: not canonical CBOR"):
                event.decode()
            with pytest.raises(LogCorruptError, match="not canonical CBOR"):
                decode_event(bytes.fromhex(recorded["envelope"]))
            continue
        payload = event.decode()
        assert WRITERS[type(payload)](payload, READ_DEPTH) == event.payload
        assert decode_event(bytes.fromhex(recorded["envelope"])) == event
        if recorded["json"] is not None:  # null where the original cannot read back what it wrote
            assert encode_payload(payload) == event.payload
            assert to_json(event) == recorded["json"]


def test_the_chain_can_be_built_again(scenario, run):
    chain = Chain(run["run_id"])
    for event in events_of(run):
        if (scenario, event.seq) in NOT_WRITTEN:
            with pytest.raises((UnencodableValueError, LogCorruptError)):
                chain.append(event.decode(), event.ts)
            return
        if event.kind in TERMINAL_KINDS:
            assert chain.root().hex() == run["merkle_root"]
        assert chain.append(event.decode(), event.ts) == event


def test_totals(run):
    aggregate = run["aggregate"]
    assert totals(events_of(run)) == RunTotals(
        turns=aggregate["turns"],
        tool_calls=aggregate["tools"],
        input_tokens=aggregate["input_tokens"],
        output_tokens=aggregate["output_tokens"],
        cost_usd=aggregate["cost_usd"],
        duration_ns=aggregate["duration_ns"],
    )


def test_verdicts(scenario, run):
    assert (run["validate"] is not None) == (scenario in NOT_VALID)
    if scenario not in NOT_VALID:
        validate(events_of(run))
        return
    with pytest.raises(LogCorruptError) as caught:
        validate(events_of(run))
    assert NOT_VALID[scenario] in str(caught.value)
    assert caught.value.run_id == run["run_id"]


@pytest.mark.parametrize("vector", lines("validate_vectors.ndjson"), ids=lambda vector: vector["desc"][:60])
def test_verdicts_on_damaged_logs(vector):
    events = [event_of(recorded) for recorded in vector["events"]]
    if vector["error"] is None:
        validate(events)
        return
    with pytest.raises(LogCorruptError) as caught:
        validate(events)
    (expected,) = (text for start, text in VERDICTS.items() if vector["desc"].startswith(start))
    assert expected in str(caught.value)
    assert caught.value.seq is not None


def test_merkle_roots():
    import json

    from starling._blake3 import digest
    from tests.event.interop_vectors import ROOT

    vectors = json.loads((ROOT / "merkle_vectors.json").read_text())
    leaves = [digest(f"leaf-{i}".encode()) for i in range(70)]
    assert [leaf.hex() for leaf in leaves] == vectors["leaves"]
    for vector in vectors["roots"]:
        assert merkle.root(leaves[: vector["n"]]).hex() == vector["root"]
    assert len(vectors["roots"]) == 71
