"""Canonical JSON out, strict JSON in."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling import _canonical_json
from starling._canonical_json import dumps, loads
from starling._json_quick import quick_text
from starling.errors import UnencodableValueError
from tests.event.interop_vectors import lines

WRITTEN = [
    ({"b": 1, "a": [1.0, 2]}, '{"a":[1.0,2],"b":1}'),
    ("é\u2028<>&/", '"é\u2028<>&/"'),
    ('"\\\b\f\n\r\t\x00\x1f\x7f', '"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"'),
    ("\ud800x", '"\ufffdx"'),
    (1e21, "1e+21"),
    (1e16, "1e+16"),
    (0.1, "0.1"),
    (-0.0, "-0.0"),
    (1 << 70, str(1 << 70)),
    ((1, None, True), "[1,null,true]"),
    (b"\x00\xff", '"AP8="'),
    ({"x": bytearray(b"hi")}, '{"x":"aGk="}'),
    ({10: "a", 9: "b", "x": "c"}, '{"10":"a","9":"b","x":"c"}'),
    ({True: 1, None: 2, 1.5: 3}, '{"1.5":3,"null":2,"true":1}'),
    ({"\U00010000": 1, "\uffff": 2}, '{"\uffff":2,"\U00010000":1}'),  # by code point, not by UTF-16 unit
    ({}, "{}"),
]


@pytest.mark.parametrize(("value", "text"), WRITTEN)
def test_one_value_has_one_text(value, text):
    assert dumps(value) == text


UNWRITABLE = [
    ({"a": [1, math.inf]}, "a[1]", "inf has no JSON form"),
    (math.nan, "", "nan has no JSON form"),
    ({"a": {"b": object()}}, "a.b", "object has no JSON form"),
    ({1: 2, "1": 3}, "", "two keys become the same text"),
    ({"x": {(1,): 2}}, "x", "tuple as a key"),
]


@pytest.mark.parametrize(("value", "field", "says"), UNWRITABLE)
def test_what_json_lacks_is_refused_with_its_place(value, field, says):
    with pytest.raises(UnencodableValueError, match=says) as caught:
        dumps(value)
    assert caught.value.field == field


def test_a_value_that_contains_itself_is_refused():
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnencodableValueError, match="contains itself"):
        dumps(value)


def test_an_integer_with_more_digits_than_python_prints_is_refused():
    with pytest.raises(UnencodableValueError, match="too many digits"):
        dumps({"n": 10**5000})
    with pytest.raises(UnencodableValueError, match="too many digits at character 5"):
        loads('{"n":' + "9" * 5000 + "}")


READ = [
    ("1", 1),
    ("-0", 0),
    ("-0.0", -0.0),
    ("1.0", 1.0),
    ("1e2", 100.0),
    ("123456789012345678901234567890", 123456789012345678901234567890),
    ('{"a":1,"a":2}', {"a": 2}),
    ('{"\\ud800":1,"\\ufffd":2}', {"\ufffd": 2}),
    ('["\\ud800\\ud800",["\\uD83D\\uDE00"]]', ["\ufffd\ufffd", ["\U0001f600"]]),
    ('"a\ud800"', "a\ufffd"),
    (b'"\xff"', "\ufffd"),
    (b'"\xc0\xaf\xe2\x82"', "\ufffd\ufffd\ufffd\ufffd"),
    (" \t\r\n[] \n", []),
    ("[" * 32 + "]" * 32, "nested"),
    ('"' + "[{" * 100 + '"', "[{" * 100),
]


@pytest.mark.parametrize(("text", "value"), READ, ids=range(len(READ)))
def test_json_is_read_exactly(text, value):
    read = loads(text)
    assert value == "nested" or (read == value and repr(read) == repr(value))


REFUSED = [
    ("", "the text ends at character 0, where a value belongs"),
    ('{"a":', "the text ends at character 5, where a value belongs"),
    ("[1,]", "unexpected ']' at character 3, where a value belongs"),
    ('{"a":1,}', "unexpected '}' at character 7, where a key belongs"),
    ('{"a" 1}', "unexpected '1' at character 5, where a colon belongs"),
    ("[1 2]", "unexpected '2' at character 3, where a comma or ] belongs"),
    ('{"a":1 "b":2}', "unexpected '\"b\"' at character 7, where a comma or } belongs"),
    ("1 2", "unexpected '2' at character 2, where the end belongs"),
    ('{"a":1}]', "unexpected ']' at character 7, where the end belongs"),
    ("[1}", "unexpected '}' at character 2, where a comma or ] belongs"),
    ("[NaN]", "'N' at character 1"),
    ("-Infinity", "'-' at character 0"),
    ("\ufeff1", "at character 0"),
    ('["ok","a\tb"]', "a string that is not closed, or holds a control character or a bad escape, at character 6"),
    ('{"1e999":-1e400}', "a number beyond the range of floats at character 9"),
    ("[" * 33 + "]" * 33, "nested too deeply at character 32"),
    ("[" * 100_000, "nested too deeply at character 32"),
    ("1\u00a0", "at character 1, where the end belongs"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=range(len(REFUSED)))
def test_faults_are_named_in_our_own_words(text, says):
    with pytest.raises(UnencodableValueError) as caught:
        loads(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("vector", lines("cbor_json_errors.ndjson"), ids=lambda vector: vector["json"])
def test_what_the_original_refuses_is_refused_and_so_is_trailing_data(vector):
    with pytest.raises(UnencodableValueError, match="character") as caught:
        loads(vector["json"])
    assert str(caught.value).startswith(("not JSON: ", "a number ", "an integer ", "JSON nested "))


@given(st.text(alphabet='[]{}:,"0123456789.eE+-\\ truefalsn', max_size=20))
def test_acceptance_is_the_standard_librarys_but_for_what_json_lacks(text):
    try:
        expected = json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises(UnencodableValueError, match=r"not JSON|beyond the range"):  # whichever fault comes first
            loads(text)
        return
    if "inf" in repr(expected):
        with pytest.raises(UnencodableValueError, match="beyond the range"):
            loads(text)
    else:
        assert loads(text) == expected


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(trees)
def test_reading_gives_back_the_value_and_the_text_is_canonical(value):
    text = dumps(value)
    assert loads(text) == value
    assert dumps(loads(text)) == text
    assert loads(text.encode()) == value


class Backwards(str):
    """Text that sorts the other way round."""

    __slots__ = ()

    def __lt__(self, other):
        return str.__gt__(self, other)


surrogates = st.text(st.characters(), max_size=3)
odd_keys = surrogates | st.sampled_from(["a", "b", "a\0b", "\0"]).flatmap(
    lambda key: st.sampled_from([key, Backwards(key)])
)
odd_values = st.recursive(
    st.none() | st.integers() | st.floats() | surrogates | st.binary(max_size=2) | st.just(1j),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(odd_keys | st.integers() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=10,
)


def text_or_fault(write, value):
    try:
        return write(value)
    except UnencodableValueError as error:
        return str(error), error.field


@given(trees | odd_values)
def test_the_short_ways_agree_with_the_long_one_in_texts_and_in_faults(value):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_canonical_json, "quick_text", lambda _: "")
        without_the_quick_one = text_or_fault(dumps, value)
        patched.setattr(_canonical_json, "is_json", lambda _: False)
        long_way = text_or_fault(dumps, value)
    assert text_or_fault(dumps, value) == without_the_quick_one == long_way


class Shouted(str):
    """Equal to no text but itself."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return self is other


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": "æ\n", "a": [1, -2.5, None, True, {}]}, '{"a":[1,-2.5,null,true,{}],"b":"æ\\n"}'),
        ('say "\\"', '"say \\"\\\\\\""'),
        ({'"': "\u2028"}, '{"\\"":"\u2028"}'),
        ([[[[[[[1]]]]]]], "[[[[[[[1]]]]]]]"),
    ],
)
def test_what_is_small_and_plain_goes_the_quick_way(value, text):
    assert quick_text(value) == text == json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    "value",
    [
        {1: 2},
        {"a": 1, 2: 3},
        {"a\0b": 1, "a": 2, "b": 3},
        {"a\0b": 1},
        {"a\0c": 1, "a": 2},
        {Shouted("a"): 1},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": (1, 2)},
        [math.nan],
        [b""],
        [[[[[[[[[]]]]]]]]],
        list(range(17)),
        {"a": [10**5000]},
    ],
)
def test_what_is_unusual_or_large_does_not(value):
    assert quick_text(value) == ""


@pytest.mark.parametrize("size", [2, 20])
def test_keys_are_sorted_by_what_they_hold_whatever_their_class_says(size):
    keys = [f"k{number:02}" for number in range(size)]
    assert dumps({Backwards(key): 0 for key in keys}) == dumps(dict.fromkeys(keys, 0))


def test_two_keys_of_the_same_text_are_refused_whatever_their_class_says():
    with pytest.raises(UnencodableValueError, match="two keys become the same text"):
        dumps({Shouted("a"): 1, Shouted("a"): 2})


@pytest.mark.parametrize(
    ("value", "is_json"),
    [
        ({"a": [1, 2.5, None, True, "x", {}]}, True),
        ({1: 2}, False),
        ((1, 2), False),
        ([[math.inf]], False),
        ({"a": b"x"}, False),
        (OrderedDict(a=1), False),
        ([[[1]]], True),
    ],
)
def test_what_is_json_as_it_stands(value, is_json):
    assert _canonical_json.is_json(value) is is_json
    assert not _canonical_json.is_json([[[]]], room=2)
