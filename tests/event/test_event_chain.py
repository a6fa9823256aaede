"""Appending, the Merkle tree, and totals."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling import merkle
from starling._blake3 import digest
from starling.errors import UnencodableValueError
from starling.event import (
    Chain,
    Event,
    Kind,
    RunTotals,
    SideEffectRecorded,
    _envelope,
    encode_event,
    encode_payload,
    event_hash,
    totals,
    validate,
)
from starling.event._envelope import Linker
from starling.event._merkle import Frontier
from starling.testing.strategies import runs
from tests.event.short_runs import FAILED, STARTED, call, chained, done, message, turn


def test_a_new_chain_is_empty():
    chain = Chain("r")
    assert (chain.run_id, chain.next_seq, chain.head_hash) == ("r", 1, None)
    assert chain.root() == bytes(32)


def test_each_event_is_linked_to_the_one_before():
    chain = Chain("r")
    first, second = chain.append(STARTED, 5), chain.append(turn("T"), 6)
    assert (first.seq, first.prev_hash, first.ts, first.run_id) == (1, None, 5, "r")
    assert (second.seq, second.prev_hash) == (2, digest(encode_event(first)))
    assert chain.head_hash == digest(encode_event(second))
    assert chain.root() == digest(event_hash(first) + event_hash(second))


def test_the_hash_that_an_event_keeps_is_no_part_of_its_value():
    event = Chain("r").append(STARTED, 5)
    anew = Event(run_id="r", seq=1, prev_hash=None, ts=5, kind=Kind.RunStarted, payload=event.payload)
    assert (anew, repr(anew), hash(anew), pickle.dumps(anew)) == (event, repr(event), hash(event), pickle.dumps(event))
    other = replace(event, ts=6)
    assert event_hash(other) == digest(encode_event(other)) != event_hash(event)
    for same in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert event_hash(same) == event_hash(event) == event_hash(anew) == digest(encode_event(anew))


@given(
    st.text(max_size=40),
    st.integers(1, 2**32),
    st.none() | st.binary(min_size=32, max_size=32),
    st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 2**32 - 1, 2**32, 2**64 - 1]),
    st.sampled_from(Kind),
)
def test_what_is_emitted_has_the_envelope_that_its_event_has(run_id, seq, prev_hash, ts, kind):
    payload = encode_payload(STARTED)
    event, found = Linker(run_id).link(seq, prev_hash, ts, kind, payload)
    assert event == Event(run_id=run_id, seq=seq, prev_hash=prev_hash, ts=ts, kind=kind, payload=payload)
    assert found == digest(encode_event(event)) == event_hash(event)


def test_an_event_too_large_is_not_emitted(monkeypatch):
    monkeypatch.setattr(_envelope, "_MAX_BYTES", 1000)
    with pytest.raises(
        UnencodableValueError, match=r"run r, seq 1: an event of .* bytes is larger than may be written"
    ):
        Linker("r").link(1, None, 0, Kind.RunStarted, b"\xf6" * 1000)


def test_a_payload_that_cannot_be_written_leaves_the_chain_as_it_was():
    chain = Chain("r")
    chain.append(STARTED, 5)
    before = (chain.next_seq, chain.head_hash, chain.root())
    with pytest.raises(UnencodableValueError, match=r"SideEffectRecorded\.value"):
        chain.append(SideEffectRecorded(name="x", value=object()), 6)
    assert (chain.next_seq, chain.head_hash, chain.root()) == before


@given(runs(), st.data())
def test_a_chain_taken_up_anywhere_goes_on_as_if_it_had_not_stopped(events, data):
    cut = data.draw(st.integers(1, len(events)))
    for chain in (
        Chain.resume(events[:cut]),
        Chain(events[0].run_id, head=events[cut - 1], leaves=merkle.event_hashes(events[:cut])),
    ):
        again = [chain.append(event.decode(), event.ts) for event in events[cut:]]
        assert again == events[cut:]
        assert chain.root() == merkle.root(merkle.event_hashes(events))


def test_a_chain_is_taken_up_only_from_all_that_came_before():
    events = chained([STARTED, turn("T"), FAILED])
    with pytest.raises(ValueError, match="no events"):
        Chain.resume([])
    with pytest.raises(ValueError, match="not seq 1 to 2"):
        Chain.resume(events[1:])
    with pytest.raises(ValueError, match="1 leaves for a chain of 2 events"):
        Chain(events[0].run_id, head=events[1], leaves=[bytes(32)])
    with pytest.raises(ValueError, match="head is of run 'run-1', not 'r'"):
        Chain("r", head=events[0], leaves=[bytes(32)])


def test_leaves_are_copied():
    events = chained([STARTED, FAILED])
    leaves = merkle.event_hashes(events[:1])
    chain = Chain(events[0].run_id, head=events[0], leaves=leaves)
    leaves.clear()
    assert chain.root() == event_hash(events[0])


def test_a_chain_that_is_folded_now_and_then_has_the_same_root():
    chain, leaves = Chain("r"), []
    for number in range(1000):
        leaves.append(event_hash(chain.append(STARTED, number)))
        if number % 7 == 0:
            chain.fold()
        if number % 50 == 0:
            assert chain.root() == merkle.root(leaves)
    assert chain.root() == merkle.root(leaves)


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(0, 40))
def test_a_frontier_has_the_root_of_all_that_was_folded(sizes, behind):
    leaves = [digest(bytes([number % 256, number // 256])) for number in range(sum(sizes) + behind)]
    frontier, at = Frontier(), 0
    for size in sizes:
        frontier.fold(leaves[at : at + size])
        at += size
        assert frontier.root() == merkle.root(leaves[:at])
    assert frontier.root(leaves[at:]) == merkle.root(leaves)


hashes = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


@given(hashes)
def test_an_odd_level_repeats_its_last_node(leaves):
    odd = leaves if len(leaves) % 2 else leaves[1:]
    if len(odd) > 1:
        assert merkle.root(odd) == merkle.root([*odd, odd[-1]])


@given(hashes, hashes)
def test_two_full_subtrees_join_at_the_top(left, right):
    size = 1 << (min(len(left), len(right)).bit_length() - 1)
    left, right = left[:size], right[:size]
    assert merkle.root(left + right) == digest(merkle.root(left) + merkle.root(right))


@given(hashes, st.data())
def test_changing_a_leaf_changes_the_root(leaves, data):
    at = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves[:at], digest(leaves[at]), *leaves[at + 1 :]]
    assert merkle.root(changed) != merkle.root(leaves)


def test_the_tree_leaves_its_input_alone():
    leaves = [bytes([n]) * 32 for n in range(3)]
    merkle.root(leaves)
    assert len(leaves) == 3
    assert merkle.root([]) == bytes(32)
    assert merkle.root(leaves[:1]) == leaves[0]


def test_totals_count_starts_and_attempts_and_add_up_messages():
    events = chained([STARTED, turn("a"), message("a"), call("c"), done("c"), call("c", 2), turn("b"), message("b")])
    assert totals(events) == RunTotals(
        turns=2, tool_calls=2, input_tokens=4, output_tokens=6, cost_usd=1.0, duration_ns=7
    )
    assert totals([]) == RunTotals()


def test_totals_skip_a_message_that_cannot_be_read_and_a_clock_that_went_back():
    events = chained([STARTED, turn("a"), message("a"), turn("b"), message("b")])
    broken = replace(events[2], payload=b"\xff")
    last = replace(events[-1], ts=0)
    assert totals([*events[:2], broken, events[3], last]) == RunTotals(
        turns=2, input_tokens=2, output_tokens=3, cost_usd=0.5
    )


@given(runs())
def test_the_terminals_root_is_that_of_the_public_functions(events):
    terminal = events[-1].decode()
    assert getattr(terminal, "merkle_root", None) == merkle.root(merkle.event_hashes(events[:-1]))
    validate(iter(events))
