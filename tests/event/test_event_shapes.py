"""What a known shape proves is right: the bytes are canonical, of their kind, and name the turn and call that it says."""

from __future__ import annotations

import struct
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from starling import _cbor
from starling.errors import LogCorruptError
from starling.event import (
    EffectError,
    Kind,
    PlannedToolUse,
    RunFailed,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallFailed,
    TurnStarted,
    encode_payload,
)
from starling.event import _shapes as shapes
from starling.event._codec import read_payload
from starling.testing.strategies import payloads
from tests.event.short_runs import STARTED, call, message, trip, turn

FREE = {
    "texts": ["a", "", "é", {"é": "z", "": "y"}],
    "numbers": [0, 1, 15, 16, 23, 24, 127, 128, 255, 256, 2**15, 2**16, 2**31, 2**32, 2**55, 2**63, 2**64 - 1],
    "below": [-1, -2, -16, -17, -24, -25, -128, -129, -256, -257, -(2**16), -(2**32) - 1, -(2**63), -(2**64)],
    "others": [True, None, 1.5, 1e300, b"", b"ab", 2**64, -(2**64) - 1],
    "keys": {1: 1, -30: 2, 2.5: 3, b"k": 4},
}
SAMPLES = [
    STARTED,
    turn("T1"),
    replace(message("T1"), tool_uses=(PlannedToolUse(call_id="c", tool="t", args={"n": 300}),), cache_read_tokens=7),
    trip("T1"),
    replace(call("c"), args=FREE, attempt=30),
    ToolCallCompleted(call_id="c", result=[5, 500, "ok"], duration_ms=42, attempt=1),
    ToolCallFailed(call_id="c", error="e", error_type="tool", duration_ms=2**40, attempt=300, final=True),
    SideEffectRecorded(name="now", value=1_700_000_000_000_000_000, ordinal=1),
    SideEffectRecorded(name="x", value=None, error=EffectError(type="E", message="m", args=3, state=17)),
    RunFailed(error="e", error_type="tool", merkle_root=bytes(32), duration_ms=2**63 - 1),
]


@pytest.fixture(autouse=True)
def nothing_known():
    shapes.forget_shapes()
    yield
    shapes.forget_shapes()


def learn(kind: int, *bodies: bytes) -> None:
    shapes.forget_shapes()
    for body in bodies:
        for _ in range(8):
            shapes.learn_shape(kind, body)


def fits(kind: int, body: bytes) -> bool:
    """Whether the shape that is known takes it; if so, all that it claims holds."""
    shape = shapes.known_shape(kind, body)
    if shape is None:
        return False
    payload, _, whole = read_payload(kind, body, max_depth=_cbor.WRITE_DEPTH)
    assert whole
    for name, place in (("turn_id", shape.turn), ("call_id", shape.call)):
        assert place is None or body[place].decode() == getattr(payload, name)
    assert shape.call is None or shape.attempt == payload.attempt
    return True


@pytest.mark.parametrize("payload", SAMPLES, ids=lambda payload: payload.KIND.name)
def test_no_byte_can_be_changed_into_anything_wrong(payload):
    kind, body = payload.KIND, encode_payload(payload)
    learn(kind, body)
    assert fits(kind, body)
    for at in range(len(body)):
        for byte in range(256):
            fits(kind, body[:at] + bytes((byte,)) + body[at + 1 :])


@given(st.sampled_from(Kind), st.data())
def test_no_bytes_can_be_changed_into_anything_wrong(kind, data):
    body = encode_payload(data.draw(payloads(kind)))
    learn(kind, body)
    assert fits(kind, body) is (len(body) <= 1024)
    changed = bytearray(body)
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=8)):
        changed[at] = data.draw(st.sampled_from([0, 1, 15, 16, 23, 24, 31, 127, 128, 255]) | st.integers(0, 255))
    fits(kind, bytes(changed))


FILL = {"low": b"\0", "high": b"\xff", "edges": b"\0\x01\x0f\x10\x17\x18\x7f\x80\xff", "any": bytes(range(256))}


@given(st.sampled_from(Kind), st.sampled_from(sorted(FILL)), st.data())
def test_all_that_may_be_otherwise_may_be_so_at_once(kind, fill, data):
    """Also where what is added to one byte might carry into the next."""
    body = encode_payload(data.draw(payloads(kind)))
    learn(kind, body)
    shape = shapes.known_shape(kind, body)
    assume(shape is not None)
    random = Random(data.draw(st.integers(0, 2**32)))
    for _ in range(20):
        filled = int.from_bytes(bytes(random.choices(FILL[fill], k=len(body))))
        fits(kind, (filled & ~shape.mask | shape.fixed).to_bytes(len(body)))


NUMBERS = [
    n for power in (0, 4, 5, 7, 8, 15, 16, 23, 24, 31, 32, 47, 63, 64) for n in range(2**power - 2, 2**power + 2)
]


@pytest.mark.parametrize("negative", [False, True])
def test_a_number_in_another_than_its_shortest_form_is_never_taken(negative):
    """Every number in every form that holds it, against the shape of every other of that size."""
    kind, marker = Kind.SideEffectRecorded, 0xEEEE
    around = encode_payload(SideEffectRecorded(name="n", value=marker)).split(_cbor.int_item(marker))
    numbers = [n for n in (*NUMBERS, *range(24, 32)) if 0 <= n < 2**64]
    forms = {
        struct.pack(f">B{code}", (0x20 if negative else 0) + info, n)
        for n in numbers
        for info, code, bits in ((24, "B", 8), (25, "H", 16), (26, "I", 32), (27, "Q", 64))
        if n < 1 << bits
    } | {bytes(((0x20 if negative else 0) + n,)) for n in range(32)}
    for n in numbers:
        item = _cbor.int_item(-1 - n if negative else n)
        learn(kind, item.join(around))
        taken = {form for form in forms if fits(kind, form.join(around))}
        assert item in taken


def test_what_differs_in_values_alone_is_of_the_same_shape():
    def completed(call_id: str, order: int, ms: int) -> bytes:
        done = ToolCallCompleted(call_id=call_id, result={"order": order, "state": "ok"}, duration_ms=ms, attempt=1)
        return encode_payload(done)

    learn(Kind.ToolCallCompleted, completed("call_1", 300, 40))
    assert fits(Kind.ToolCallCompleted, completed("call_2", 9999, 127))
    assert not fits(Kind.ToolCallCompleted, completed("call_2", 9999, 128))
    assert not fits(Kind.ToolCallCompleted, completed("call_é", 9999, 20))
    assert not fits(Kind.ToolCallFailed, completed("call_2", 9999, 127))


def test_zero_is_a_shape_of_its_own_since_it_may_have_to_be_left_out():
    error = EffectError(type="E", message="m", args=3)
    body = encode_payload(SideEffectRecorded(name="x", value=None, error=error))
    learn(Kind.SideEffectRecorded, body)
    zero = body.replace(b"dargs\x03", b"dargs\x00")
    assert zero != body
    assert not fits(Kind.SideEffectRecorded, zero)
    assert fits(Kind.SideEffectRecorded, body.replace(b"dargs\x03", b"dargs\x0f"))


def test_what_is_nested_too_deeply_is_never_of_a_known_shape():
    deep = [1]
    for _ in range(29):
        deep = [deep]
    body = encode_payload(SideEffectRecorded(name="x", value=deep))
    learn(Kind.SideEffectRecorded, body)
    assert fits(Kind.SideEffectRecorded, body)
    deeper = body.replace(b"\x81\x01", b"\x81\x81")
    assert not fits(Kind.SideEffectRecorded, deeper)
    with pytest.raises(LogCorruptError):
        read_payload(Kind.SideEffectRecorded, deeper + b"\x01\x01", max_depth=_cbor.WRITE_DEPTH)


def test_a_shape_is_found_at_the_eighth_miss_and_only_the_last_ones_are_kept():
    bodies = [encode_payload(TurnStarted(turn_id="t" * n, prompt_hash=bytes(10 - n), input_tokens=1)) for n in range(7)]
    assert len({len(body) for body in bodies}) == 1
    for _ in range(7):
        shapes.learn_shape(3, bodies[0])
        assert not fits(3, bodies[0])
    shapes.learn_shape(3, bodies[0])
    assert fits(3, bodies[0])
    for body in bodies[1:]:
        for _ in range(8):
            shapes.learn_shape(3, body)
        assert fits(3, body)
    assert [fits(3, body) for body in bodies] == [False] * 3 + [True] * 4


def test_what_is_always_of_another_shape_is_looked_into_less_and_less(monkeypatch):
    looked: list[bytes] = []
    monkeypatch.setattr(shapes, "_shape_of", lambda _kind, body: looked.append(body))
    for n in range(1000):
        shapes.learn_shape(2, n.to_bytes(2))
    assert len(looked) == 7


def test_shapes_are_few_and_short():
    for size in range(3000):
        body = encode_payload(SideEffectRecorded(name="x", value="v" * size))
        for _ in range(8):
            shapes.learn_shape(9, body)
        assert fits(9, body) is (len(body) <= 1024)
    assert len(shapes._KNOWN) <= 256
