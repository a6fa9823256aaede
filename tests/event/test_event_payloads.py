"""Payloads and envelopes: fields as in the format's table, bytes as the original's, laws of the codec."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling import _cbor, event
from starling._cbor import Raw, decode, encode
from starling.errors import LogCorruptError, UnencodableValueError
from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    BudgetLimits,
    EffectError,
    Event,
    Kind,
    Payload,
    PlannedToolUse,
    ReasoningEmitted,
    RunStarted,
    SideEffectRecorded,
    ToolCallCompleted,
    ToolCallScheduled,
    ToolSchema,
    TurnFailed,
    TurnStarted,
    UserMessageAppended,
    decode_event,
    decode_payload,
    encode_event,
    encode_payload,
    event_hash,
    kind_name,
    params_hash,
    registry_hash,
    schema_hash,
    text_hash,
)
from starling.event._codec import is_whole, load_payload
from starling.event._schema import READERS, RECORDS, WRITERS, WrongTypeError
from starling.testing.strategies import payloads
from tests.event.interop_vectors import events_of, lines, runs

# The table of the wire format page, `?` marking what is left out while empty.
FIELDS = {
    Kind.RunStarted: "schema_version goal provider_id model_id api_version params_hash params system_prompt_hash "
    "system_prompt tool_registry_hash tool_schemas budget? starling_version? app_version? tools?",
    Kind.UserMessageAppended: "content",
    Kind.TurnStarted: "turn_id prompt_hash input_tokens call_id?",
    Kind.ReasoningEmitted: "turn_id content sensitive signature? redacted?",
    Kind.AssistantMessageCompleted: "turn_id text tool_uses? stop_reason input_tokens output_tokens cache_read_tokens? "
    "cache_create_tokens? cost_usd raw_response_hash provider_request_id?",
    Kind.ToolCallScheduled: "call_id turn_id tool args attempt idemp_key? parent_call_id?",
    Kind.ToolCallCompleted: "call_id result duration_ms attempt",
    Kind.ToolCallFailed: "call_id error error_type duration_ms attempt final?",
    Kind.SideEffectRecorded: "name value call_id? error? ordinal?",
    Kind.BudgetExceeded: "limit cap actual where turn_id? call_id? partial_text? partial_tokens? partial_input_tokens?",
    Kind.ContextTruncated: "strategy tokens_before tokens_after messages_before messages_after",
    Kind.RunCompleted: "final_text turn_count tool_call_count total_cost_usd total_input_tokens total_output_tokens "
    "duration_ms merkle_root",
    Kind.RunFailed: "error error_type merkle_root duration_ms cause?",
    Kind.RunCancelled: "reason merkle_root duration_ms",
    Kind.RunResumed: "at_seq extra_message? reissue_tools pending_calls",
    Kind.TurnFailed: "turn_id error error_type partial_text?",
}
CLASSES: dict[Kind, type[Any]] = {cls.KIND: cls for cls in get_args(Payload)}


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_the_fields_of_the_format(kind):
    cls = CLASSES[kind]
    names = [f"{item.name}{'?' if item.metadata else ''}" for item in dataclasses.fields(cls)]
    assert names == FIELDS[kind].split()
    assert cls.__name__ == kind.name == str(kind) == f"{kind}" == f"{kind:s}"
    assert f"{kind:02d}" == f"{kind.value:02d}"
    assert cls.__dataclass_params__.frozen
    assert "__slots__" in vars(cls)
    assert getattr(event, cls.__name__) is cls


def test_kinds_are_numbered_from_one_and_unknown_numbers_have_a_name():
    assert [kind.value for kind in Kind] == list(range(1, 17))
    assert kind_name(12) == "RunCompleted"
    assert kind_name(99) == "Kind(99)"


ZERO = {
    "RunStarted, zero value": RunStarted(
        schema_version=0,
        goal="",
        provider_id="",
        model_id="",
        api_version="",
        params_hash=None,
        params=None,
        system_prompt_hash=None,
        system_prompt="",
        tool_registry_hash=None,
        tool_schemas=(),
    ),
    "AssistantMessageCompleted with one planned use with nil args": AssistantMessageCompleted(
        turn_id="",
        text="",
        tool_uses=(PlannedToolUse(call_id="c", tool="t", args=None),),
        stop_reason="",
        input_tokens=0,
        output_tokens=0,
        cost_usd=0.0,
        raw_response_hash=None,
    ),
    "ToolCallScheduled with idemp_key": ToolCallScheduled(
        call_id="c", turn_id="t", tool="n", args={}, attempt=2, idemp_key="k"
    ),
    "SideEffectRecorded, zero value": SideEffectRecorded(name="", value=None),
    "BudgetExceeded, zero value": BudgetExceeded(limit="", cap=0.0, actual=0.0, where=""),
    "UserMessageAppended, zero value": UserMessageAppended(content=""),
    "TurnStarted, zero value": TurnStarted(turn_id="", prompt_hash=None, input_tokens=0),
    "RunCancelled, zero value": event.RunCancelled(reason="", merkle_root=None, duration_ms=0),
    "RunResumed, zero value": event.RunResumed(at_seq=0, reissue_tools=False, pending_calls=0),
}


def test_zero_values_become_the_originals_bytes():
    vectors = {vector["desc"]: vector["cbor"] for vector in lines("cbor_value_vectors.ndjson")}
    for name, payload in ZERO.items():
        data = bytes.fromhex(vectors[f"event payload {name}"])
        if payload.KIND is not Kind.RunStarted:  # an absent list is null there, [] on the wire format page
            assert encode_payload(payload) == data, name
        assert decode_payload(payload.KIND, data) == payload, name


def test_envelopes_with_odd_fields_are_read_and_written():
    odd = [vector for vector in lines("cbor_value_vectors.ndjson") if vector["desc"].startswith("envelope")]
    first, second = (decode_event(bytes.fromhex(vector["cbor"])) for vector in odd)
    assert (first.prev_hash, first.payload) == (b"", b"\xa0")
    assert (second.ts, second.seq, second.kind) == (-(1 << 63), (1 << 64) - 1, 255)
    assert [encode_event(one).hex() for one in (first, second)] == [vector["cbor"] for vector in odd]


@given(payloads())
def test_decoding_gives_back_the_payload_and_the_bytes_are_canonical(payload):
    data = encode_payload(payload)
    assert decode_payload(payload.KIND, data) == payload
    assert encode(decode(data)) == data
    assert cbor2.dumps(cbor2.loads(data), canonical=True) == data


@given(payloads())
def test_an_optional_field_that_is_empty_leaves_no_trace(payload):
    emptied = dataclasses.replace(
        payload, **{item.name: item.default for item in dataclasses.fields(payload) if item.metadata}
    )
    required = {item.name for item in dataclasses.fields(payload) if not item.metadata}
    assert decode(encode_payload(emptied)).keys() == required


@given(payloads())
def test_unknown_fields_are_skipped(payload):
    found = decode(encode_payload(payload))
    assert decode_payload(payload.KIND, encode({**found, "later": [1]})) == payload


@given(payloads())
def test_a_mandatory_field_that_is_missing_is_corrupt_and_named(payload):
    found = decode(encode_payload(payload))
    for name in FIELDS[payload.KIND].split():
        if name.endswith("?"):
            continue
        lacking = encode({key: value for key, value in found.items() if key != name})
        with pytest.raises(LogCorruptError, match=rf"^{payload.KIND}\.{name}: missing") as caught:
            decode_payload(payload.KIND, lacking)
        assert caught.value.field == name
        assert load_payload(payload.KIND, lacking)[0].KIND is payload.KIND  # the original lets it pass


NESTED_LACKING = [
    (Kind.RunStarted, "tool_schemas", [{"name": "a", "schema_hash": None}, {"name": "b"}], "[1].schema_hash"),
    (Kind.RunStarted, "tools", [{"name": "a", "schema": "{}"}], "[0].description"),
    (Kind.AssistantMessageCompleted, "tool_uses", [{"call_id": "c", "tool": "t"}], "[0].args"),
    (Kind.SideEffectRecorded, "error", {"type": "T"}, ".message"),
    (Kind.RunFailed, "cause", {"message": "m"}, ".type"),
]


@pytest.mark.parametrize(("kind", "name", "value", "path"), NESTED_LACKING)
def test_what_is_missing_inside_a_field_is_named_as_well(kind, name, value, path):
    with pytest.raises(LogCorruptError, match="missing") as caught:
        decode_payload(kind, encode({**WHOLE[kind], name: value}))
    assert caught.value.field == f"{name}{path}"


@given(payloads())
def test_null_is_the_value_of_what_may_be_absent_only(payload):
    found = decode(encode_payload(payload))
    for item in dataclasses.fields(payload):
        nulled = encode({**found, item.name: None})
        if item.type in {"bytes | None", "Any"} or str(item.type).startswith("tuple["):
            assert not getattr(decode_payload(payload.KIND, nulled), item.name)
            continue
        with pytest.raises(LogCorruptError, match=rf"\.{item.name}: null where a") as caught:
            decode_payload(payload.KIND, nulled)
        assert caught.value.field == item.name


def test_free_form_values_may_be_encoded_before():
    plain = ToolCallCompleted(call_id="c", result={"b": [1.5], "a": "x"}, duration_ms=3, attempt=1)
    raw = dataclasses.replace(plain, result=Raw.of(plain.result))
    assert encode_payload(raw) == encode_payload(plain)
    assert decode_payload(Kind.ToolCallCompleted, encode_payload(raw)) == plain


SCHEDULED = {"call_id": "c", "turn_id": "t", "tool": "x", "args": {}, "attempt": 1}
UNWRITABLE = [
    (ToolCallScheduled(**{**SCHEDULED, "args": {"a": [object()]}}), "args.a[0]", "object cannot be written"),
    (ToolCallScheduled(**{**SCHEDULED, "call_id": 7}), "call_id", "int where a text belongs"),
    (ToolCallScheduled(**{**SCHEDULED, "attempt": -1}), "attempt", "-1 is outside an unsigned 32-bit integer"),
    (ToolCallScheduled(**{**SCHEDULED, "attempt": 1.0}), "attempt", "float where an unsigned 32-bit integer belongs"),
    (ToolCallScheduled(**{**SCHEDULED, "idemp_key": b"k"}), "idemp_key", "bytes where a text belongs"),
    (TurnStarted(turn_id="t", prompt_hash="x", input_tokens=0), "prompt_hash", "str where a byte string belongs"),
    (TurnStarted(turn_id="t", prompt_hash=None, input_tokens=1 << 63), "input_tokens", "outside a 64-bit integer"),
    (BudgetExceeded(limit="usd", cap="1", actual=2, where=""), "cap", "str where a float belongs"),
    (ReasoningEmitted(turn_id="t", content="", sensitive="no"), "sensitive", "str where a bool belongs"),
    (SideEffectRecorded(name="n", value=None, error=1), "error", "int where a map belongs"),
    (SideEffectRecorded(name="n", value={1, 2}), "value", "set cannot be written"),
]


@pytest.mark.parametrize(("payload", "field", "says"), UNWRITABLE)
def test_a_field_that_cannot_be_written_is_named(payload, field, says):
    with pytest.raises(UnencodableValueError, match=says) as caught:
        encode_payload(payload)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{payload.KIND}.{field}: ")


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_nesting_counts_the_payload_around_a_value():
    def message(levels: int) -> AssistantMessageCompleted:
        use = PlannedToolUse(call_id="c", tool="x", args=nested(levels))
        return dataclasses.replace(
            ZERO["AssistantMessageCompleted with one planned use with nil args"], tool_uses=(use,)
        )

    assert encode_payload(message(29))
    with pytest.raises(UnencodableValueError, match=r"tool_uses.*nested too deeply"):
        encode_payload(message(30))
    assert encode_payload(ToolCallScheduled(**{**SCHEDULED, "args": nested(31)}))
    with pytest.raises(UnencodableValueError, match=r"args.*nested too deeply"):
        encode_payload(ToolCallScheduled(**{**SCHEDULED, "args": nested(32)}))


def test_size_is_bounded(monkeypatch):
    monkeypatch.setattr("starling.event._codec._MAX_BYTES", 100)
    monkeypatch.setattr("starling._cbor.MAX_BYTES", 200)
    assert encode_payload(UserMessageAppended(content="x" * 89))
    with pytest.raises(UnencodableValueError, match="UserMessageAppended payload of 101 bytes"):
        encode_payload(UserMessageAppended(content="x" * 90))
    huge = Event(run_id="r", seq=1, prev_hash=None, ts=0, kind=Kind.UserMessageAppended, payload=encode("x" * 198))
    with pytest.raises(UnencodableValueError, match=r"run r, seq 1: an event of 2\d\d bytes"):
        encode_event(huge)


UNREADABLE = [
    (Kind.TurnStarted, {"turn_id": 1}, "TurnStarted.turn_id: int where a text belongs"),
    (Kind.TurnStarted, {"prompt_hash": "x"}, "TurnStarted.prompt_hash: str where a byte string belongs"),
    (Kind.TurnStarted, {"input_tokens": 1.0}, "TurnStarted.input_tokens: float where a 64-bit integer belongs"),
    (Kind.TurnStarted, {"input_tokens": True}, "TurnStarted.input_tokens: bool where a 64-bit integer belongs"),
    (Kind.ToolCallFailed, {"attempt": -1}, "ToolCallFailed.attempt: -1 is outside an unsigned 32-bit integer"),
    (Kind.ToolCallFailed, {"final": 1}, "ToolCallFailed.final: int where a bool belongs"),
    (Kind.RunStarted, {"tool_schemas": {}}, "RunStarted.tool_schemas: dict where a list belongs"),
    (Kind.RunStarted, {"tool_schemas": [{}, {"name": 1}]}, r"RunStarted.tool_schemas\[1\].name: int where a text"),
    (Kind.RunStarted, {"budget": {"max_usd": "1"}}, "RunStarted.budget.max_usd: str where a float belongs"),
    (Kind.RunStarted, [], "RunStarted: list where a map belongs"),
    (Kind.RunCompleted, None, "RunCompleted: null where a map belongs"),
    (99, {}, r"Kind\(99\) is no event kind"),
]


WHOLE = {
    payload.KIND: decode(encode_payload(payload))
    for payload in (
        *ZERO.values(),
        event.ToolCallFailed(call_id="", error="", error_type="", duration_ms=0, attempt=0),
        event.RunFailed(error="", error_type="", merkle_root=None, duration_ms=0),
    )
}


@pytest.mark.parametrize(("kind", "found", "says"), UNREADABLE)
def test_a_field_of_another_type_is_corrupt_and_named(kind, found, says):
    with pytest.raises(LogCorruptError, match=says):
        decode_payload(kind, encode(found))


def test_an_integer_is_no_float():
    """A float stays a float on the wire: read as one it would not be written as it was."""
    with pytest.raises(LogCorruptError, match=r"BudgetExceeded\.cap: int where a float belongs"):
        decode_payload(Kind.BudgetExceeded, encode({**WHOLE[Kind.BudgetExceeded], "cap": 5}))


@pytest.mark.parametrize(
    "data",
    [
        "bf67636f6e74656e7461781fff"[:-4] + "ff",
        "a267636f6e74656e74617867636f6e74656e746179",
        "a167636f6e74656e74780178",
    ],
    ids=["indefinite", "duplicate key", "long head"],
)
def test_a_payload_that_is_not_canonical_is_corrupt(data):
    with pytest.raises(LogCorruptError, match="UserMessageAppended payload: CBOR that is not canonical"):
        decode_payload(Kind.UserMessageAppended, bytes.fromhex(data))


def test_an_event_says_which_of_the_run_it_is_when_it_cannot_be_read():
    broken = Event(run_id="r1", seq=7, prev_hash=None, ts=0, kind=Kind.TurnStarted, payload=encode({"turn_id": 1}))
    with pytest.raises(LogCorruptError, match=r"run r1, seq 7: TurnStarted\.turn_id") as caught:
        broken.decode()
    assert (caught.value.run_id, caught.value.seq) == ("r1", 7)


ENVELOPE = {"run_id": "r", "seq": 1, "prev_hash": None, "ts": 5, "kind": 2, "payload": {"content": "x"}}
BROKEN_ENVELOPES = [
    ([1], "list where a map belongs"),
    ({}, "without run_id, seq, prev_hash, ts, kind, payload"),
    ({**ENVELOPE, "seq": "1"}, "seq is str"),
    ({**ENVELOPE, "kind": True}, "kind is bool"),
    ({**ENVELOPE, "prev_hash": "x"}, "prev_hash is str"),
    ({**ENVELOPE, "more": 1}, "unknown fields: 'more'"),
]


@pytest.mark.parametrize(("found", "says"), BROKEN_ENVELOPES)
def test_an_envelope_is_exactly_six_fields(found, says):
    with pytest.raises(LogCorruptError, match=says):
        decode_event(encode(found))


def test_an_envelope_is_read_back_with_its_payload_as_bytes():
    read = decode_event(encode(ENVELOPE))
    assert read == Event(
        run_id="r", seq=1, prev_hash=None, ts=5, kind=Kind.UserMessageAppended, payload=encode({"content": "x"})
    )
    assert read.decode() == UserMessageAppended(content="x")
    with pytest.raises(LogCorruptError, match="1 bytes follow"):
        decode_event(encode(ENVELOPE) + b"\x00")
    with pytest.raises(LogCorruptError, match="not canonical"):
        decode_event(encode(ENVELOPE).replace(b"\x63seq\x01", b"\x63seq\x18\x01"))


def test_the_hashes_in_run_started_are_those_of_what_it_holds():
    for run in runs().values():
        started = events_of(run)[0].decode()
        assert isinstance(started, RunStarted)
        assert params_hash(started.params) == started.params_hash
        assert text_hash(started.system_prompt) == started.system_prompt_hash
        assert registry_hash(started.tool_schemas) == started.tool_registry_hash
        schemas = {tool["name"]: schema_hash(tool["schema"]) for tool in run["wiring"].get("tools") or ()}
        assert all(schemas.get(tool.name, tool.schema_hash) == tool.schema_hash for tool in started.tool_schemas)


def test_an_empty_input_has_no_hash():
    assert [params_hash(None), text_hash(""), schema_hash(""), schema_hash(b""), registry_hash(())] == [None] * 5
    assert schema_hash("{}") == schema_hash(b"{}")
    assert params_hash({}) == params_hash(Raw(b"\xa0")) is not None
    assert text_hash("\ud800") == text_hash("\ufffd")


def test_what_we_add_does_not_touch_the_bytes_of_a_log_that_does_not_use_it():
    plain = SideEffectRecorded(name="now", value=1)
    assert decode(encode_payload(plain)).keys() == {"name", "value"}
    ours = SideEffectRecorded(
        name="now", value=None, call_id="c", error=EffectError(type="a.B", message="m"), ordinal=2
    )
    assert decode(encode_payload(ours)) == {
        "name": "now",
        "value": None,
        "call_id": "c",
        "error": {"type": "a.B", "message": "m"},
        "ordinal": 2,
    }


def test_a_budget_without_a_limit_is_there_all_the_same():
    started = dataclasses.replace(ZERO["RunStarted, zero value"], budget=BudgetLimits())
    assert decode(encode_payload(started))["budget"] == {}
    assert decode_payload(Kind.RunStarted, encode_payload(started)) == started


def test_reserved_kinds_are_read():
    failed = TurnFailed(turn_id="t", error="reset", error_type="provider")
    data = encode_payload(failed)
    assert decode_payload(16, data) == failed


def test_the_hash_of_an_event_is_that_of_its_envelope():
    from starling._blake3 import digest

    read = decode_event(encode(ENVELOPE))
    assert event_hash(read) == digest(encode(ENVELOPE))
    assert ToolSchema(name="x", schema_hash=None).schema_hash is None


@given(st.sampled_from(sorted(RECORDS)), st.data())
def test_the_short_way_to_read_a_payload_comes_to_the_same(kind, data):
    """Whatever the map holds: it is whole if what `Record.read` makes of it is written as the same bytes."""
    record = RECORDS[kind]
    value = data.draw(payloads(kind).map(lambda payload: _cbor.load(encode_payload(payload))))
    places = [value, *(place for place in inner_maps(value) if data.draw(st.booleans()))]
    for place in places:
        for name in data.draw(
            st.lists(st.sampled_from(sorted({*place, *FIELDS[kind].replace("?", "").split()})), max_size=2)
        ):
            if data.draw(st.booleans()):
                place.pop(name, None)
            else:
                place[name] = data.draw(ODD)
    room = data.draw(st.sampled_from([2, 3, 4, 32]))
    encoded = encode(value)
    try:
        read = record.read(value)
        same = WRITERS[kind](read, room) == encoded
    except (WrongTypeError, _cbor.Misfit):
        same = False

    assert is_whole(kind, value, encoded, room) is same
    if same:
        assert repr(READERS[kind](value)) == repr(read)


def inner_maps(value):
    for inner in value.values():
        if isinstance(inner, dict):
            yield inner
        if isinstance(inner, list):
            yield from (one for one in inner if isinstance(one, dict))


ODD = st.sampled_from([None, True, 0, -1, 2**32, 2**63, 2**64, 1.5, "", b"", [], {}, [{}], [{"name": 1}], {"type": 1}])
