"""The eight invariants, and that no change to a run goes unseen."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling import _cbor
from starling._cbor import encode
from starling.errors import LogCorruptError
from starling.event import (
    RULES,
    TERMINAL_KINDS,
    ContextTruncated,
    Event,
    Kind,
    Lifecycle,
    ReasoningEmitted,
    TurnFailed,
    UserMessageAppended,
    _envelope,
    describe_rules,
    encode_event,
    encode_payload,
    event_hash,
    misstated,
    validate,
    validate_prefix,
    validate_recording,
)
from starling.event._codec import read_payload
from starling.event._shapes import forget_shapes, learn_shape
from starling.merkle import event_hashes, root
from starling.testing.strategies import runs
from tests.event.short_runs import (
    CANCELLED,
    COMPLETED,
    FAILED,
    SEAM,
    STARTED,
    call,
    chained,
    done,
    failed,
    message,
    trip,
    turn,
)

NOTE = UserMessageAppended(content="x")
THOUGHT = ReasoningEmitted(turn_id="T1", content="hm")
CUT = ContextTruncated(strategy="drop_oldest", tokens_before=9, tokens_after=5, messages_before=4, messages_after=2)
BROKE = TurnFailed(turn_id="T1", error="reset", error_type="provider")

ACCEPTED = {
    "nothing but the ends": [COMPLETED],
    "one turn": [turn("T1"), message("T1"), COMPLETED],
    "reasoning in a turn": [turn("T1"), THOUGHT, THOUGHT, message("T1"), COMPLETED],
    "reserved kinds": [turn("T1"), BROKE, CUT, message("T1"), COMPLETED],
    "open turn at RunFailed": [turn("T1"), FAILED],
    "open turn at RunCancelled": [turn("T1"), CANCELLED],
    "open call at RunFailed": [call("c"), FAILED],
    "open call at RunCancelled": [call("c"), CANCELLED],
    "budget trip closes the turn": [turn("T1"), trip("T1"), FAILED],
    "budget trip that names no turn closes it": [turn("T1"), trip(), turn("T2"), FAILED],
    "budget trip between turns": [trip("T9"), FAILED],
    "attempts of one call": [call("c"), failed("c"), call("c", 2), done("c", 2), COMPLETED],
    "nested calls": [call("a"), call("b"), done("b"), done("a"), COMPLETED],
    "outcomes in another order": [call("a"), call("b"), done("b"), failed("a"), COMPLETED],
    "a call id used again": [call("a"), done("a"), call("a"), done("a"), COMPLETED],
    "call without a turn": [call("a"), done("a"), COMPLETED],
    "seam forgets the turn": [turn("T1"), SEAM, turn("T2"), message("T2"), COMPLETED],
    "seam forgets the calls": [call("a"), SEAM, COMPLETED],
    "call reissued under its own id": [call("a"), SEAM, call("a"), done("a"), COMPLETED],
    "two seams": [SEAM, NOTE, SEAM, COMPLETED],
}
REFUSED = {
    "second turn while one is open": ([turn("T1"), turn("T2"), FAILED], 3, "turn 'T1' is still open"),
    "open turn at RunCompleted": ([turn("T1"), COMPLETED], 3, "turn 'T1' is still open"),
    "empty turn id": ([turn(""), FAILED], 2, "turn_id is empty"),
    "message of another turn": ([turn("T1"), message("T2"), FAILED], 3, "turn 'T2' is not the open one ('T1')"),
    "message without a turn": ([message("T1"), COMPLETED], 2, "turn 'T1' is not the open one ('')"),
    "second message": ([turn("T1"), message("T1"), message("T1"), FAILED], 4, "turn 'T1' is not the open one ('')"),
    "trip of another turn": ([turn("T1"), trip("T2"), FAILED], 3, "turn 'T2' is not the open one ('T1')"),
    "empty call id": ([call(""), FAILED], 2, "call_id is empty"),
    "call scheduled twice": ([call("a"), call("a"), FAILED], 3, "call 'a', attempt 1, is open already"),
    "outcome without schedule": ([done("a"), COMPLETED], 2, "call 'a', attempt 1, is not open"),
    "failure without schedule": ([failed("a"), FAILED], 2, "call 'a', attempt 1, is not open"),
    "outcome of another attempt": ([call("a"), done("a", 2), FAILED], 3, "call 'a', attempt 2, is not open"),
    "second outcome": ([call("a"), done("a"), failed("a"), FAILED], 4, "call 'a', attempt 1, is not open"),
    "outcome of an orphan after the seam": ([call("a"), SEAM, done("a"), FAILED], 4, "is not open"),
    "message of a turn before the seam": ([turn("T1"), SEAM, message("T1"), FAILED], 4, "not the open one"),
    "open call at RunCompleted": (
        [call("a"), call("b"), done("a"), COMPLETED],
        5,
        "call 'b', attempt 1, has no outcome",
    ),
    "two ends": ([FAILED, COMPLETED], 2, "RunFailed ends the run, but events follow it"),
    "no end": ([NOTE], 2, "the last event, UserMessageAppended, is not terminal"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_legal_sequences(name):
    validate(chained([STARTED, *ACCEPTED[name]]))


@pytest.mark.parametrize("name", REFUSED)
def test_illegal_sequences(name):
    payloads, seq, says = REFUSED[name]
    with pytest.raises(LogCorruptError) as caught:
        validate(chained([STARTED, *payloads]))
    assert says in str(caught.value)
    assert (caught.value.run_id, caught.value.seq) == ("run-1", seq)


def test_a_run_has_events_and_begins_with_run_started():
    with pytest.raises(LogCorruptError, match="no events"):
        validate([])
    with pytest.raises(LogCorruptError, match="a run begins with RunStarted"):
        validate(chained([NOTE, FAILED]))
    with pytest.raises(LogCorruptError, match="run_id is empty"):
        validate(chained([STARTED, FAILED], run_id=""))
    with pytest.raises(LogCorruptError, match="schema_version 2 is not supported"):
        validate(chained([replace(STARTED, schema_version=2), FAILED]))


def test_a_payload_that_cannot_be_read_is_corrupt_whatever_its_kind():
    events = chained([STARTED, NOTE, FAILED])
    broken = replace(events[1], payload=b"\xa1\x67content\x01")
    rechained = [events[0], broken, *chained_after([events[0], broken])]
    with pytest.raises(LogCorruptError, match=r"UserMessageAppended\.content: int where a text belongs") as caught:
        validate(rechained)
    assert caught.value.seq == 2


@given(runs(), st.data())
def test_what_is_decoded_in_batches_gets_the_verdict_that_it_would_get_alone(events, data):
    """Also where payloads are cut in the wrong places: together they are the same bytes then. And of a known shape."""
    bodies = [event.payload for event in events]
    at = data.draw(st.integers(0, len(bodies) - 2))
    change = data.draw(st.sampled_from(["moved", "removed", "unsorted", "odd", "no kind"]))
    if change == "moved":
        both, cut = bodies[at] + bodies[at + 1], data.draw(st.integers(0, len(bodies[at]) + len(bodies[at + 1])))
        bodies[at : at + 2] = both[:cut], both[cut:]
    elif change == "removed":
        bodies[at] = data.draw(st.sampled_from([b"", b"\xf6", b"\x80", bodies[at][:-1], bodies[at] * 2]))
    elif change == "unsorted":
        bodies[at] = cbor2.dumps(dict(reversed(cbor2.loads(bodies[at]).items())))
    elif change == "odd":
        name = data.draw(st.sampled_from(sorted(cbor2.loads(bodies[at]))))
        odd = data.draw(st.sampled_from([None, "", 0, 2**70, -1.5, b"", [], {}, [{}]]))
        bodies[at] = encode({**cbor2.loads(bodies[at]), name: odd})
    kinds = [99 if (change, number) == ("no kind", at) else event.kind for number, event in enumerate(events)]
    changed = relinked(events, kinds, bodies)
    verdicts = set()
    for known in ((), [event for event in changed if data.draw(st.booleans())], events, changed):
        learn(known)
        verdicts.add((verdict(changed), finding(changed)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_cbor, "load_many", lambda _: None)
            verdicts.add((verdict(changed), finding(changed)))
    assert len(verdicts) == 1


def learn(events: Iterable[Event]) -> None:
    """Have the payloads of these, as far as they are right, be of the only known shapes."""
    forget_shapes()
    for event in events:
        try:
            _, _, whole = read_payload(event.kind, event.payload, max_depth=_cbor.WRITE_DEPTH)
        except LogCorruptError:
            continue
        for _ in range(8 if whole else 0):
            learn_shape(event.kind, event.payload)


def finding(events: list[Event]) -> tuple[str, ...]:
    """What is wrong with a whole run, and with the beginning of one."""
    texts = []
    for check in (validate, validate_prefix):
        try:
            check(events)
            texts.append("")
        except LogCorruptError as error:
            texts.append(f"{error} ({error.seq}, {error.field})")
    return tuple(texts)


def test_events_too_large_to_be_decoded_together_are_as_exact_as_small_ones():
    large = UserMessageAppended(content="x" * 600_000)
    run = validate_recording(chained([STARTED, large, large, FAILED]))
    assert run.exact
    assert run.decode()[1:3] == (large, large)


@pytest.mark.parametrize("at", [1, 2])
def test_an_event_that_is_too_large_is_corrupt(monkeypatch, at):
    payloads = [STARTED, NOTE, FAILED]
    payloads[at - 1] = replace(payloads[at - 1], **{"goal" if at == 1 else "content": "x" * 5000})
    events = chained(payloads)
    monkeypatch.setattr(_cbor, "MAX_BYTES", 4000)
    monkeypatch.setattr(_envelope, "_MAX_BYTES", 4000)
    with pytest.raises(LogCorruptError, match=r"it is larger than an event may be \(4000 bytes\)") as caught:
        validate(events)
    assert (caught.value.run_id, caught.value.seq) == (events[0].run_id, at)


def relinked(events: list[Event], kinds: list[int], bodies: list[bytes]) -> list[Event]:
    linked: list[Event] = []
    for event, kind, body in zip(events, kinds, bodies, strict=True):
        previous = event_hash(linked[-1]) if linked else None
        linked.append(replace(event, kind=kind, payload=body, prev_hash=previous))
    last = linked[-1]
    if last.payload == events[-1].payload:
        ended = replace(last.decode(), merkle_root=root(event_hashes(linked[:-1])))
        linked[-1] = replace(last, payload=encode_payload(ended))
    return linked


def verdict(events: list[Event]) -> str:
    try:
        run = validate_recording(events)
    except LogCorruptError as error:
        return f"{error} ({error.seq}, {error.field})"
    return repr((run.exact, run.misstated, run.decode()))


def chained_after(events: list[Event]) -> list[Event]:
    from starling.event import Chain

    chain = Chain.resume(events)
    return [chain.append(replace(FAILED, merkle_root=chain.root()), 2000)]


def test_a_number_that_is_no_kind_is_let_pass():
    events = chained([STARTED, NOTE, FAILED])
    later = replace(events[1], kind=99, payload=b"\xf6")
    validate([events[0], later, *chained_after([events[0], later])])


@given(runs())
def test_whole_runs_validate(events):
    validate(events)


@given(runs(), st.data())
def test_every_prefix_is_refused(events, data):
    cut = data.draw(st.integers(0, len(events) - 1))
    with pytest.raises(LogCorruptError):
        validate(events[:cut])


@given(runs(), st.data())
def test_dropping_doubling_or_swapping_events_is_refused(events, data):
    at = data.draw(st.integers(0, len(events) - 2))
    other = data.draw(st.integers(at + 1, len(events) - 1))
    swapped = list(events)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    for damaged in (events[:at] + events[at + 1 :], events[: at + 1] + events[at:], swapped):
        with pytest.raises(LogCorruptError):
            validate(damaged)


# All that makes up an event before the terminal one is covered by the chain.
CHANGES = {
    "run_id": lambda event, n: replace(event, run_id=f"{event.run_id}{n}"),
    "seq": lambda event, n: replace(event, seq=event.seq + n),
    "ts": lambda event, n: replace(event, ts=event.ts + n),
    "kind": lambda event, n: replace(event, kind=Kind(event.kind % 16 + 1)),
    "prev_hash": lambda event, n: replace(event, prev_hash=bytes([n]) + (event.prev_hash or b"")[1:] + b""),
    "payload": lambda event, n: replace(event, payload=event.payload + bytes([n])),
}


@given(runs(), st.sampled_from(sorted(CHANGES)), st.integers(1, 200), st.data())
def test_any_change_before_the_terminal_event_is_refused(events, part, n, data):
    at = data.draw(st.integers(0, len(events) - 2))
    changed = CHANGES[part](events[at], n)
    if changed == events[at]:
        return
    with pytest.raises(LogCorruptError):
        validate([*events[:at], changed, *events[at + 1 :]])


@given(runs(), st.data())
def test_any_flipped_bit_of_a_payload_is_refused(events, data):
    at = data.draw(st.integers(0, len(events) - 2))
    payload = bytearray(events[at].payload)
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LogCorruptError):
        validate([*events[:at], replace(events[at], payload=bytes(payload)), *events[at + 1 :]])


@given(runs(), runs())
def test_a_tail_of_another_run_is_refused(events, others):
    if len(events) < 2 or len(others) < 2 or encode_event(events[0]) == encode_event(others[0]):
        others = [replace(event, run_id="another") for event in others]
    with pytest.raises(LogCorruptError):
        validate([events[0], *others[1:]])


def test_one_table_holds_every_kind_and_feeds_the_documentation():
    assert list(RULES) == list(Kind)
    assert {Kind.RunCompleted, Kind.RunFailed, Kind.RunCancelled} == TERMINAL_KINDS
    table = describe_rules().splitlines()
    assert len(table) == 2 + len(Kind)
    assert "| 3 | `TurnStarted` | opens | - | - |" in table
    assert "| 1 | `RunStarted` | - | - | first |" in table
    assert "| 12 | `RunCompleted` | none may be open | none may be open | last |" in table


def test_the_machine_tells_a_writer_where_the_run_stands():
    machine = Lifecycle()
    for seq, payload in enumerate([STARTED, turn("T1"), message("T1"), call("a"), call("b", 2), done("a")], start=1):
        machine.advance(payload.KIND, payload, seq=seq)
    assert (machine.open_turn, list(machine.open_calls), machine.ended) == ("", [("b", 2)], False)
    machine.advance(Kind.RunFailed, FAILED, seq=7)
    assert machine.ended
    with pytest.raises(LogCorruptError, match="the run ended before it, with RunFailed"):
        machine.advance(Kind.UserMessageAppended, NOTE, seq=8)


def test_a_run_found_whole_is_not_looked_at_again():
    events = chained([STARTED, turn("T1"), message("T1"), replace(COMPLETED, turn_count=7)])
    run = validate_recording(events)
    assert run == tuple(events)
    assert run.misstated == misstated(events, final_text=False)
    assert run.misstated[0] == "turn_count is 7, not 1"
    assert validate_recording(run) is run
    assert pickle.loads(pickle.dumps(run)).misstated == run.misstated


def test_what_a_run_holds_is_the_callers_own():
    run = validate_recording(chained([STARTED, call("c"), FAILED]))
    first, second = run.decode(), run.decode()
    assert first == second == tuple(event.decode() for event in run)
    first[1].args["n"] = "changed"
    assert run.decode() == second
