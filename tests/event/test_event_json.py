"""The JSON projection beyond what the recorded runs show: Go's floats and escapes, absent fields, what we add."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling._cbor import decode, encode
from starling.errors import LogCorruptError
from starling.event import (
    BudgetExceeded,
    EffectError,
    Event,
    Kind,
    RunStarted,
    SideEffectRecorded,
    ToolDescription,
    UserMessageAppended,
    encode_payload,
    to_json,
)
from starling.testing.strategies import payloads


def projected(payload: Any) -> str:
    return to_json(event(payload.KIND, encode_payload(payload)))


def event(kind: int, payload: bytes) -> Event:
    return Event(run_id="r", seq=4, prev_hash=None, ts=0, kind=kind, payload=payload)


FLOATS = [
    (0.0, "0"),
    (-0.0, "-0"),
    (1.0, "1"),
    (100.0, "100"),
    (1.5, "1.5"),
    (0.1, "0.1"),
    (1e-6, "0.000001"),
    (9.5e-7, "9.5e-7"),
    (1e-7, "1e-7"),
    (1.25e-10, "1.25e-10"),
    (5e-324, "5e-324"),
    (1e20, "100000000000000000000"),
    (123456789012345680000.0, "123456789012345680000"),
    (1e21, "1e+21"),
    (-1.2345e22, "-1.2345e+22"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
]


@pytest.mark.parametrize(("number", "text"), FLOATS)
def test_floats_in_gos_notation(number, text):
    payload = BudgetExceeded(limit="usd", cap=number, actual=0.0, where="w")
    assert projected(payload) == f'{{"limit":"usd","cap":{text},"actual":0,"where":"w"}}'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_as_itself(number):
    read = json.loads(projected(BudgetExceeded(limit="", cap=number, actual=0.0, where="")))["cap"]
    assert struct.pack(">d", float(read)) == struct.pack(">d", number) or number == read == 0


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_float_that_json_lacks_is_an_error(number):
    with pytest.raises(LogCorruptError, match=r"run r, seq 4: .* has no JSON form"):
        projected(BudgetExceeded(limit="", cap=number, actual=0.0, where=""))


def test_text_is_escaped_as_go_does():
    text = projected(UserMessageAppended(content='<a>&\u2028\u2029"\\/\b\f\n\r\t\x01\x7fé😀'))
    assert text == ('{"content":"\\u003ca\\u003e\\u0026\\u2028\\u2029\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7fé😀"}')


ABSENT = {
    Kind.UserMessageAppended: '{"content":""}',
    Kind.TurnStarted: '{"turn_id":"","prompt_hash":null,"input_tokens":0}',
    Kind.ToolCallCompleted: '{"call_id":"","result":null,"duration_ms":0,"attempt":0}',
    Kind.BudgetExceeded: '{"limit":"","cap":0,"actual":0,"where":""}',
    Kind.RunResumed: '{"at_seq":0,"reissue_tools":false,"pending_calls":0}',
}


@pytest.mark.parametrize("kind", ABSENT)
def test_absent_fields_show_their_zero_values(kind):
    assert to_json(event(kind, encode({}))) == ABSENT[kind]


def test_an_absent_value_is_null_and_a_null_value_is_its_cbor():
    assert to_json(event(Kind.SideEffectRecorded, encode({"name": "n"}))) == '{"name":"n","value":null}'
    assert projected(SideEffectRecorded(name="n", value=None)) == '{"name":"n","value":"9g=="}'


def test_an_empty_list_is_told_from_an_absent_one():
    assert '"tool_schemas":null' in to_json(event(Kind.RunStarted, encode({"schema_version": 1})))
    assert '"tool_schemas":[]' in to_json(event(Kind.RunStarted, encode({"tool_schemas": []})))


def test_what_we_add_comes_after_the_originals_fields():
    effect = SideEffectRecorded(
        name="n", value=None, call_id="c", error=EffectError(type="T", message="<m>"), ordinal=3
    )
    assert projected(effect).endswith(
        '"value":"9g==","call_id":"c","error":{"type":"T","message":"\\u003cm\\u003e"},"ordinal":3}'
    )
    started = RunStarted(
        goal="g",
        provider_id="p",
        model_id="m",
        api_version="v",
        params_hash=None,
        params=None,
        system_prompt_hash=None,
        system_prompt="",
        tool_registry_hash=None,
        tool_schemas=(),
        tools=(ToolDescription(name="a", description="b", schema="{}"),),
    )
    assert projected(started).endswith('"tool_schemas":[],"tools":[{"name":"a","description":"b","schema":"{}"}]}')


def test_what_cannot_be_read_is_an_error_that_names_the_event():
    with pytest.raises(LogCorruptError, match=r"run r, seq 4: Kind\(99\)") as caught:
        to_json(event(99, encode({})))
    assert (caught.value.run_id, caught.value.seq) == ("r", 4)


@given(payloads())
def test_every_payload_has_a_projection_with_the_fields_that_are_set(payload):
    fields = decode(encode_payload(payload))
    if any(isinstance(value, float) and math.isinf(value) for value in _leaves(payload)):
        with pytest.raises(LogCorruptError, match="has no JSON form"):
            projected(payload)
    else:
        assert json.loads(projected(payload)).keys() == fields.keys()


def _leaves(payload: Any) -> list[Any]:
    budget = getattr(payload, "budget", None)
    names = [item.name for item in dataclasses.fields(payload) if str(item.type) == "float"]
    return [getattr(payload, name) for name in names] + ([budget.max_usd] if budget else [])
