"""Canonical CBOR: the original's bytes, the laws of the codec, and everything the decoder refuses."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from starling import _canonical_json, _cbor, _cbor_quick
from starling._cbor import Raw, decode, encode
from starling._cbor_quick import PUTS
from starling.errors import LogCorruptError, UnencodableValueError
from tests.event.interop_vectors import lines, plain

INT64 = range(-(1 << 63), 1 << 63)

# JSON that the original reads otherwise, and what we make of it: exact integers are checked by `as_the_original`.
REFUSED_JSON = {
    "1e400": "a number beyond the range of floats at character 0",
    "1}": "not JSON: unexpected '}' at character 1, where the end belongs",
    "[" * 40 + "]" * 40: "JSON nested too deeply at character 32",
    '{"a":' * 100 + "1" + "}" * 100: "JSON nested too deeply at character 160",
    '{"a":' * 40 + "1" + "}" * 40: "JSON nested too deeply at character 160",
}

# Values of the vectors for which there is no Python form, or which the original writes wrongly.
NOT_WRITTEN_HERE = {"text that is not valid UTF-8 (Go writes it as text unchecked)", "nested list depth 33"}

# What the original reads and we refuse: not canonical, or of a type that this format never holds.
REFUSED_CBOR = {
    "non-shortest int 0 in one extra byte",
    "non-shortest text length",
    "non-shortest map head",
    "unsorted map keys",
    "simple 255",
    "simple 16",
    "tag 1 int",
    "tag 2 small bignum",
    "tag 32 uri",
    "map key float 1.0 and int 1",  # one key in Python
}


def as_the_original(value: Any) -> Any:
    """Integers outside int64 become floats there."""
    match value:
        case bool() | str() | None | float():
            return value
        case int():
            return value if value in INT64 else float(value)
        case list():
            return [as_the_original(item) for item in value]
    return {key: as_the_original(item) for key, item in value.items()}


def json_source(vector: dict[str, Any]) -> str | bytes:
    return vector["json"] if "json" in vector else bytes.fromhex(vector["json_hex"])


def floats(value: Any) -> Any:
    """Numbers compared as floats: Go prints 1.0 as 1 and 6e17 as digits."""
    match value:
        case bool() | str() | None:
            return value
        case list():
            return [floats(item) for item in value]
        case dict():
            return {key: floats(item) for key, item in value.items()}
    return float(value)


def test_json_becomes_the_originals_bytes_and_integers_stay_exact():
    refused = {}
    for vector in lines("cbor_vectors.ndjson"):
        try:
            value = _canonical_json.loads(json_source(vector))
        except UnencodableValueError as exc:
            refused[vector["json"]] = str(exc)
            continue
        assert encode(as_the_original(value)).hex() == vector["cbor"], vector["json"]
        assert decode(encode(value)) == value
    assert refused == REFUSED_JSON


def test_the_originals_bytes_become_the_value_it_shows():
    shown = [vector for vector in lines("cbor_vectors.ndjson") if "resume_json" in vector]
    for vector in shown:
        text = _canonical_json.dumps(decode(bytes.fromhex(vector["cbor"])))
        assert floats(json.loads(text)) == floats(json.loads(vector["resume_json"]))
    assert len(shown) == 1255


def test_values_beyond_json_become_the_originals_bytes():
    written = 0
    for vector in lines("cbor_value_vectors.ndjson"):
        try:
            value = plain(vector["value"])
        except ValueError:
            continue  # a Go type; those of events are in test_event_payloads
        if vector["desc"] not in NOT_WRITTEN_HERE:
            assert encode(value).hex() == vector["cbor"], vector["desc"]
            assert encode(decode(bytes.fromhex(vector["cbor"]))).hex() == vector["cbor"], vector["desc"]
            written += 1
    assert written == 157


@pytest.mark.parametrize("vector", lines("cbor_decode_vectors.ndjson"), ids=lambda vector: vector["desc"])
def test_the_decoder_gives_the_originals_verdict_or_a_stricter_one(vector):
    data = bytes.fromhex(vector["cbor"])
    if vector["ok"] and vector["desc"] not in REFUSED_CBOR:
        assert encode(decode(data)) == data
    else:
        with pytest.raises(LogCorruptError):
            decode(data)


# Beside the vectors: each line is one way of not being canonical, and what the message says of it.
MALFORMED = [
    ("1900ff", "not canonical at byte 0"),
    ("1a0000ffff", "not canonical at byte 0"),
    ("1b00000000ffffffff", "not canonical at byte 0"),
    ("7818" + "61" * 24 + "00", "1 bytes follow the end"),
    ("fb3ff8000000000000", "not canonical at byte 0"),  # 1.5 fits a half
    ("fa3fc00000", "not canonical at byte 0"),
    ("f97e01", "not canonical at byte 2"),
    ("fb7ff8000000000000", "not canonical at byte 0"),
    ("a2616201616102", "not canonical at byte 2"),
    ("a2616101616102", "not canonical at byte 0"),
    ("a201020103", "not canonical at byte 0"),
    ("a2f97e0001f97e0002", "two keys become the same"),
    ("9f01ff", "not canonical at byte 0"),
    ("5f4101ff", "not canonical at byte 0"),
    ("c240", "not canonical at byte 0"),
    ("c2490001000000000000" + "0000", "not canonical"),
    ("c348ffffffffffffffff", "not canonical at byte 0"),
    ("d81c80", "not canonical CBOR"),
    ("d9010083616161626163", "not canonical CBOR"),
    ("d9d9f700", "not canonical CBOR"),
    ("f7", "never holds: UndefinedType"),
    ("a1f601", "never holds: a NoneType as a dict key"),
    ("a1" + "c1" + "01" + "01", "not canonical CBOR"),
    ("ff", "not canonical CBOR"),
    ("1c", "not canonical CBOR"),
    ("81" * 65 + "80", "nested too deeply"),
    ("81" * 5000 + "80", "not canonical CBOR"),
    ("9bffffffffffffffff", "not canonical CBOR"),
    ("bb00ffffffffffffff", "not canonical CBOR"),
    ("7bffffffffffffffff", "not canonical CBOR"),
    ("61", "not canonical CBOR"),
    ("d8236128", "not canonical CBOR"),  # a broken regular expression
    ("c482391388" + "01", "not canonical CBOR"),  # a decimal
]


@pytest.mark.parametrize(("data", "says"), MALFORMED)
def test_anything_not_canonical_is_corrupt(data, says):
    with pytest.raises(LogCorruptError, match=says):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize("tag", [*range(2), *range(4, 320), 1004, 43000, 55799, 1 << 40])
def test_only_bignum_tags_are_read(tag):
    for content in (b"\x00", b"\x40", b"\x60", b"\x80", b"\x82\x00\x01"):
        with pytest.raises(LogCorruptError):
            decode(_cbor.head(6, tag) + content)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    BIG = 300


class Pair(NamedTuple):
    left: int
    right: str


@pytest.mark.parametrize(
    ("value", "plain_value"),
    [
        ({Colour.RED: Size.BIG}, {"red": 300}),
        (Pair(1, "x"), [1, "x"]),
        (bytearray(b"ab"), b"ab"),
        ((1, (2,)), [1, [2]]),
        ("a\ud800b", "a\ufffdb"),
        ("\U0001f600", "\U0001f600"),
        ({"k\udfff": 1}, {"k\ufffd": 1}),
        (Raw(b"\x01"), 1),
        ([Raw.of({"a": [1.5]})], [{"a": [1.5]}]),
    ],
)
def test_relatives_of_the_plain_types_are_written_as_those(value, plain_value):
    assert decode(encode(value)) == plain_value


UNWRITABLE = [
    ({"items": [1, 2, {"when": datetime(2026, 1, 1, tzinfo=UTC)}]}, "items[2].when", "datetime"),
    (object(), "", "object"),
    ({"a": {1, 2}}, "a", "set"),
    ({(1, 2): 3}, "", "tuple as a dict key"),
    ({None: 3}, "", "NoneType as a dict key"),
    ({"x": {1: 1j}}, "x[1]", "complex"),
    ({"\ud800": 1, chr(0xFFFD): 2}, "", "two keys become the same text"),
]


@pytest.mark.parametrize(("value", "field", "what"), UNWRITABLE)
def test_what_is_not_plain_data_is_refused_with_its_place(value, field, what):
    with pytest.raises(UnencodableValueError, match=what) as caught:
        encode(value)
    assert caught.value.field == field


def nested(levels: int, leaf: Any = None) -> Any:
    value = [] if leaf is None else leaf
    for _ in range(levels - (leaf is None)):
        value = [value]
    return value


def test_nesting_is_bounded_when_writing_and_when_reading():
    assert encode(nested(32))
    with pytest.raises(UnencodableValueError, match="nested too deeply"):
        encode(nested(33))
    assert encode(nested(32, leaf=1))
    assert decode(encode(nested(64), max_depth=64)) == nested(64)
    with pytest.raises(LogCorruptError, match="nested too deeply"):
        decode(encode(nested(65), max_depth=65))


def test_a_value_that_contains_itself_is_refused():
    value: list[Any] = []
    value.append({"again": value})
    with pytest.raises(UnencodableValueError, match="containing itself"):
        encode(value)


def test_size_is_bounded(monkeypatch):
    monkeypatch.setattr(_cbor, "MAX_BYTES", 100)
    assert len(encode("x" * 98)) == 100
    with pytest.raises(UnencodableValueError, match="101 bytes is larger"):
        encode("x" * 99)
    with pytest.raises(LogCorruptError, match="101 bytes is larger"):
        decode(b"\x78\x63" + b"x" * 99)


def test_raw_is_encoded_once_and_is_idempotent():
    raw = Raw.of({"b": 1, "a": 2})
    assert raw.data == encode({"a": 2, "b": 1})
    assert Raw.of(raw) is raw
    assert raw.value() == {"a": 2, "b": 1}
    with pytest.raises(UnencodableValueError):
        Raw.of(nested(30))  # room for the payload around it


def test_keys_are_sorted_bytewise_by_their_encoded_form():
    # RFC 8949 §4.2.1's own example, as far as keys may be of these types; cbor2's canonical mode puts -1 before 100.
    value = {"aa": 1, False: 2, -1: 3, "z": 4, 100: 5, 10: 6}
    assert list(decode(encode(value))) == [10, 100, -1, "z", "aa", False]


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(1 << 70), max_value=1 << 70),
    st.floats(),
    st.floats(width=32),
    st.floats(width=16),
    st.text(),
    st.binary(max_size=40),
)
keys = st.one_of(st.text(max_size=30), st.integers(min_value=-1000, max_value=1 << 66), st.binary(max_size=5))
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def same(left: Any, right: Any) -> bool:
    """Equality that tells 1 from 1.0 from True, 0.0 from -0.0, and NaN from nothing."""
    match left:
        case list():
            return type(right) is list and len(left) == len(right) and all(map(same, left, right))
        case dict():
            return (
                type(right) is dict and left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
            )
        case float() if math.isnan(left):
            return math.isnan(right)
        case float():
            return type(right) is float and struct.pack(">d", left) == struct.pack(">d", right)
    return type(left) is type(right) and left == right


@given(values)
def test_decoding_gives_back_the_value(value):
    assert same(decode(encode(value)), value)


@given(json_values)
def test_with_text_keys_the_bytes_are_those_of_cbor2s_canonical_mode(value):
    assert encode(value) == cbor2.dumps(value, canonical=True)


@given(st.binary(max_size=60))
@example(bytes.fromhex("c249010000000000000000"))
@settings(max_examples=500)
def test_what_the_decoder_accepts_it_accepts_in_one_form_only(data):
    try:
        value = decode(data)
    except LogCorruptError:
        return
    assert encode(value, max_depth=64) == data


@given(values, st.data())
def test_a_changed_byte_is_refused_or_another_value(value, data):
    encoded = bytearray(encode(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode(bytes(encoded))
    except LogCorruptError:
        return
    assert not same(changed, value)


class Half(StrEnum):
    ONE = "\ud800"


surrogates = st.text(st.characters(), max_size=3)
odd_scalars = scalars | surrogates | st.sampled_from([Size.BIG, Half.ONE, bytearray(b"x"), Raw(b"\x01"), 1j, object()])
odd_values = st.recursive(
    odd_scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys | surrogates | st.none() | st.sampled_from([Half.ONE, "long" * 20]), inner, max_size=4)
    ),
    max_leaves=20,
)


def outcome(encoder, value, room):
    try:
        return encoder(value, room)
    except _cbor.Misfit as misfit:
        return misfit.what, misfit.path


@given(values | odd_values, st.integers(0, 6))
def test_the_quick_way_agrees_with_the_careful_one_in_bytes_and_in_faults(value, room):
    assert outcome(_cbor.item, value, room) == outcome(_cbor.careful_item, value, room)


@given(st.dictionaries(st.text("ab\0", max_size=4), st.integers(0, 3), max_size=4), st.data())
def test_keys_that_hold_the_separator_of_remembered_orders_are_told_apart(value, data):
    """Keys that come to the same when they are joined: the order of the others is remembered first."""
    joined = "\0".join(value)
    _cbor.item(dict.fromkeys(joined.split("\0"), 0), 2)
    shuffled = dict(data.draw(st.permutations(list(value.items()))))
    assert _cbor.item(shuffled, 2) == _cbor.careful_item(shuffled, 2)


def test_a_key_is_written_as_what_it_holds_whatever_it_claims_to_equal():
    class AnyCase(str):
        __slots__ = ()

        def __eq__(self, other):
            return self.lower() == other.lower()

        def __hash__(self):
            return hash(self.lower())

    assert decode(encode({"red": 1})) == {"red": 1}
    assert decode(encode({AnyCase("Red"): 1})) == {"Red": 1}


def test_remembered_orders_are_few_and_short():
    for number in range(3000):
        _cbor.item({f"key {number}": 1, "a": 2}, 1)
    _cbor.item({f"key {number}": number for number in range(500)}, 1)
    assert 0 < len(_cbor_quick._ORDERS) <= 1024
    assert max(map(len, _cbor_quick._ORDERS)) <= 256


@given(json_values.filter(lambda value: r"\u0000" not in json.dumps(value)))
def test_values_of_json_go_the_quick_way(value):
    chunks = []
    PUTS[list]([value], 32, chunks.append)
    assert b"".join(chunks) == _cbor.careful_item([value], 32)
