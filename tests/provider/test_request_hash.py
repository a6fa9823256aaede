"""The request's hash and size agree with the original's, byte for byte."""

import copy
import dataclasses
import gc
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling import _cbor
from starling._blake3 import digest
from starling._cbor import Raw, encode
from starling.errors import UnencodableValueError
from starling.provider import (
    Message,
    Reasoning,
    Request,
    ToolDefinition,
    ToolResult,
    ToolUse,
    estimate_input_tokens,
    prompt_hash,
    request_map,
)
from starling.provider import _prompt_hasher as prompt_hasher
from starling.provider import _request_hash as request_hash
from starling.provider._prompt_hasher import PromptHasher

VECTORS = Path(__file__).parents[2] / "testdata" / "interop" / "prompt_hash_vectors.ndjson.gz"


def vectors():
    return [json.loads(line) for line in gzip.decompress(VECTORS.read_bytes()).splitlines()]


def each(function, items):
    return None if items is None else tuple(function(item) for item in items)


def tool_use(row):
    # Where a vector's arguments are not text (the original's resume put CBOR there), a stand-in of the same length
    # takes their place and the map is corrected afterwards.
    args = row["Args"] if row["Args"] is not None else "?" * (len(row["Args_hex"] or "") // 2)
    return ToolUse(call_id=row["CallID"], name=row["Name"], args=args)


def message(row):
    result = row["ToolResult"]
    return Message(
        role=row["Role"],
        content=row["Content"],
        tool_uses=each(tool_use, row["ToolUses"]),
        tool_result=result
        and ToolResult(call_id=result["CallID"], content=result["Content"], is_error=result["IsError"]),
        annotations=row["Annotations"],
    )


def tool(row):
    return ToolDefinition(name=row["Name"], description=row["Description"], schema=row["Schema"] or "")


def request_of(row):
    params = row["Params_hex"]
    return Request(
        model=row["Model"],
        system_prompt=row["SystemPrompt"],
        messages=each(message, row["Messages"]),
        tools=each(tool, row["Tools"]),
        tool_choice=row["ToolChoice"],
        stop_sequences=each(str, row["StopSequences"]),
        top_k=row["TopK"],
        max_output_tokens=row["MaxOutputTokens"],
        params=Raw(bytes.fromhex(params)) if params else None,
    )


def with_raw_args(fields, row):
    for ours, theirs in zip(fields["Messages"] or (), row["Messages"] or (), strict=True):
        for use, original in zip(ours["ToolUses"] or (), theirs["ToolUses"] or (), strict=True):
            if original["Args"] is None and original["Args_hex"] is not None:
                use["Args"] = bytes.fromhex(original["Args_hex"])
    return fields


def test_every_vector_gives_the_same_cbor_digest_and_estimate():
    rows = vectors()
    assert len(rows) > 20
    for row in rows:
        request = request_of(row["request"])
        item = encode(with_raw_args(request_map(request), row["request"]))
        assert item.hex() == row["cbor"], row["desc"]
        assert digest(item).hex() == row["digest"], row["desc"]
        assert estimate_input_tokens(request) == row["estimate"], row["desc"]


def test_a_hasher_that_saw_every_vector_before_agrees_with_each():
    hasher = PromptHasher()
    requests = [request_of(row["request"]) for row in vectors()]
    for request in requests * 2:
        assert_equal(hasher, request)


def test_prompt_hash_is_the_digest_of_the_maps_cbor():
    row = next(row for row in vectors() if row["desc"] == "assistant with tool uses and a result")
    assert prompt_hash(request_of(row["request"])).hex() == row["digest"]


def test_reasoning_changes_the_hash_only_when_there_is_some():
    plain = Request(model="m", messages=(Message(role="assistant", content="hi"),))
    assert "Reasoning" not in request_map(plain)["Messages"][0]
    block = Reasoning(content="because", signature=b"\x01")
    thought = dataclasses.replace(plain, messages=(Message(role="assistant", content="hi", reasoning=(block,)),))
    assert request_map(thought)["Messages"][0]["Reasoning"] == [
        {"Content": "because", "Signature": b"\x01", "Redacted": False}
    ]
    assert prompt_hash(thought) != prompt_hash(plain)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("model", "n"),
        ("system_prompt", "s"),
        ("messages", ()),
        ("tools", ()),
        ("tool_choice", "auto"),
        ("stop_sequences", ()),
        ("top_k", 0),
        ("max_output_tokens", 1),
        ("params", {}),
    ],
)
def test_every_field_of_the_request_counts(change, value):
    request = Request(model="m")
    changed = dataclasses.replace(request, **{change: value})
    assert prompt_hash(changed) != prompt_hash(request)
    hasher = PromptHasher()
    for one in (request, changed, request):
        said = one if change == "messages" else dataclasses.replace(one, messages=(text("hi"),))
        assert_equal(hasher, said)


def test_a_lone_surrogate_in_arguments_counts_as_the_replacement_character():
    use = ToolUse(call_id="c", name="t", args='"\ud800"')
    request = Request(model="m", messages=(Message(role="assistant", tool_uses=(use,)),))
    assert request_map(request)["Messages"][0]["ToolUses"][0]["Args"] == '"\ufffd"'.encode()
    assert estimate_input_tokens(request) == (len('"\ufffd"'.encode()) + 2) // 3


# --- growing conversations


def assert_equal(hasher, request):
    assert hasher.estimate(request) == estimate_input_tokens(request)
    assert hasher.hash(request) == prompt_hash(request)


texts = st.text(st.characters(), max_size=6)
values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=2))
uses = st.builds(ToolUse, call_id=texts, name=texts, args=texts)
messages = st.builds(
    Message,
    role=texts,
    content=texts,
    tool_uses=st.none() | st.lists(uses, max_size=2).map(tuple),
    tool_result=st.none() | st.builds(ToolResult, call_id=texts, content=texts, is_error=st.booleans()),
    annotations=st.none() | st.dictionaries(st.sampled_from("ab"), values, max_size=2),
    reasoning=st.lists(st.builds(Reasoning, content=texts, signature=st.binary(max_size=3)), max_size=1).map(tuple),
)
tools = st.builds(ToolDefinition, name=texts, description=texts, schema=texts)
requests = st.builds(
    Request,
    model=texts,
    system_prompt=texts,
    tools=st.none() | st.lists(tools, max_size=2).map(tuple),
    tool_choice=texts,
    max_output_tokens=st.integers(0, 9),
    stop_sequences=st.none() | st.lists(texts, max_size=2).map(tuple),
    top_k=st.none() | st.integers(0, 9),
    params=values,
)


@given(
    request=requests,
    turns=st.lists(st.lists(messages, max_size=3), max_size=6),
    others=st.lists(st.lists(messages, max_size=3), max_size=6),
)
def test_a_growing_conversation_hashes_as_each_of_its_requests_does_alone(request, turns, others):
    """Other conversations of the same run come in between."""
    hasher = PromptHasher()
    said = ()
    for new in turns:
        said += tuple(new)
        assert_equal(hasher, dataclasses.replace(request, messages=said))
        if others:
            assert_equal(hasher, dataclasses.replace(request, messages=tuple(others.pop())))


@given(
    request=requests,
    pool=st.lists(messages, min_size=1, max_size=4),
    picks=st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=12),
)
def test_conversations_that_share_messages_in_any_way_hash_as_each_does_alone(request, pool, picks):
    hasher = PromptHasher()
    for pick in picks:
        assert_equal(hasher, dataclasses.replace(request, messages=tuple(pool[at % len(pool)] for at in pick)))


@given(pool=st.lists(requests, min_size=2, max_size=3), said=st.lists(messages, max_size=2).map(tuple), data=st.data())
def test_whatever_changes_around_the_messages_each_request_hashes_as_it_does_alone(pool, said, data):
    """Fields of several requests, mixed anew for each turn, the same objects and copies of them."""
    hasher = PromptHasher()
    names = [field.name for field in dataclasses.fields(Request) if field.name != "messages"]
    fields = {name: getattr(pool[0], name) for name in names}
    for _ in range(data.draw(st.integers(2, 8))):
        name = data.draw(st.sampled_from(names))
        value = getattr(data.draw(st.sampled_from(pool)), name)
        fields[name] = data.draw(st.sampled_from([value, copy.deepcopy(value)]))
        if isinstance(fields[name], tuple) and data.draw(st.booleans()):
            fields[name] = list(fields[name])
        for one in fields.values():
            if isinstance(one, list) and data.draw(st.booleans()):
                one[:] = one[1:]
        assert_equal(hasher, Request(messages=said, **fields))


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", content="\ud800"),
        Message(role="tool", tool_result=ToolResult(call_id="c", content="x", is_error=1)),
        Message(role="tool", tool_result=ToolResult(call_id="c", content=None)),
        Message(role="tool", tool_result=ToolResult(call_id="c", content="x", is_error=[True])),
        Message(role="assistant", reasoning=(Reasoning(content="x", signature=None, redacted=True),)),
        Message(role="assistant", tool_uses=(ToolUse(call_id=1, name="t", args=""),)),
        Message(role="assistant", tool_uses=[ToolUse(call_id="c", name="t", args="{}")]),
        Message(role=None, content=b"x"),
        Message(role="user", content={"a": [1]}, annotations={}),
    ],
    ids=repr,
)
def test_a_message_of_any_make_is_encoded_as_its_fields_are(message):
    assert request_hash.message_item(message) == encode(request_hash._message(message))


def test_a_message_that_is_too_large_is_refused_as_its_fields_are(monkeypatch):
    message = text("x" * 100)
    for module in (_cbor, request_hash):
        monkeypatch.setattr(module, "MAX_BYTES", 50)
    with pytest.raises(UnencodableValueError, match="larger than an event may be"):
        request_hash.message_item(message)


@pytest.fixture
def encoded(monkeypatch):
    """The messages that were encoded, in order."""
    seen = []
    original = request_hash._plain_message_item
    monkeypatch.setattr(request_hash, "_plain_message_item", lambda message: seen.append(message) or original(message))
    return seen


def text(content, role="user"):
    return Message(role=role, content=content)


def test_each_message_of_a_growing_conversation_is_encoded_once(encoded):
    hasher = PromptHasher()
    said = [text(str(number)) for number in range(50)]
    for end in range(1, len(said) + 1):
        request = Request(model="m", messages=tuple(said[:end]))
        hasher.estimate(request)
        hasher.hash(request)
    assert encoded == said


def test_conversations_that_alternate_are_each_encoded_once(encoded):
    hasher = PromptHasher()
    conversations = [[text(f"{which}/{number}") for number in range(40)] for which in range(4)]
    for end in range(1, 41):
        for said in conversations:
            hasher.hash(Request(model="m", messages=tuple(said[:end])))
    assert len(encoded) == 160


def test_conversations_that_part_late_are_encoded_from_there_on(encoded):
    hasher = PromptHasher()
    common = [text(f"common/{number}") for number in range(30)]
    branches = [[text(f"{which}/{number}") for number in range(5)] for which in range(2)]
    for _ in range(3):
        for branch in branches:
            assert_equal(hasher, Request(model="m", messages=(*common, *branch)))
    assert encoded.count(common[0]) == 1
    assert len(encoded) <= 30 + 6 * 5


def test_a_last_message_that_is_another_one_each_time_costs_itself_alone(encoded):
    hasher, said = PromptHasher(), []
    for number in range(50):
        said.append(text(f"said/{number}"))
        reminder = text(f"reminder/{number}")
        assert_equal(hasher, Request(model="m", messages=(*said, reminder)))
    assert len(encoded) == 100


def test_a_message_that_can_change_costs_itself_alone_while_it_does_not(encoded):
    hasher, noted = PromptHasher(), Message(role="user", tool_uses=[])
    said = [noted, *(text(str(number)) for number in range(20))]
    for end in range(2, len(said) + 1):
        assert_equal(hasher, Request(model="m", messages=tuple(said[:end])))
    assert len([message for message in encoded if message is not noted]) == 20


def test_what_was_refused_is_not_kept(encoded):
    hasher = PromptHasher()
    bad = Message(role="user", annotations={"bad": object()})
    said = [text(str(number)) for number in range(5)]
    assert_equal(hasher, Request(model="m", messages=tuple(said)))
    with pytest.raises(UnencodableValueError):
        hasher.hash(Request(model="m", messages=(*said, bad)))
    bad.annotations["bad"] = "mended"
    assert_equal(hasher, Request(model="m", messages=(*said, bad)))


def test_a_prompt_that_is_too_large_is_refused_as_in_the_plain_form(monkeypatch):
    for module in (_cbor, prompt_hasher):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    outcomes = []
    for hashed in (prompt_hash, PromptHasher().hash):
        assert hashed(Request(model="m", messages=(text("x" * 100),) * 5))
        with pytest.raises(UnencodableValueError) as raised:
            hashed(Request(model="m", messages=(text("x" * 100),) * 10))
        outcomes.append(str(raised.value))
    assert outcomes[0] == outcomes[1]


def test_messages_that_are_not_asked_about_any_more_are_let_go():
    hasher = PromptHasher()
    for number in range(1000):
        hasher.hash(Request(model="m", messages=(text(f"{number:04}", role="once"),)))
    alive = [thing for thing in gc.get_objects() if isinstance(thing, Message) and thing.role == "once"]
    assert 0 < len(alive) <= 10


def test_what_can_change_is_encoded_every_time():
    hasher = PromptHasher()
    use = ToolUse(call_id="c", name="t", args="{}")
    noted = Message(role="user", annotations={"n": 1})
    planned = Message(role="assistant", tool_uses=[use])
    thought = Message(role="assistant", reasoning=[Reasoning(content="because")])
    request = Request(model="m", messages=[noted, planned, thought], params={"n": 1})
    assert_equal(hasher, request)
    before = hasher.hash(request)
    for change in (
        lambda: noted.annotations.update(n=2),
        lambda: planned.tool_uses.append(use),
        thought.reasoning.clear,
        lambda: request.messages.append(noted),
        lambda: request.params.update(n=2),
    ):
        change()
        assert_equal(hasher, request)
        assert hasher.hash(request) != before
        before = hasher.hash(request)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tools", ToolDefinition(name="t", description="", schema="{}")), ("stop_sequences", "halt")],
    ids=["tools", "stop_sequences"],
)
def test_a_list_that_stands_around_the_messages_is_encoded_every_time(name, value):
    hasher, values = PromptHasher(), [value]
    request = Request(model="m", messages=(text("hi"),), **{name: values})
    for _ in range(2):
        assert_equal(hasher, request)
        values.append(value)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (text("fine"), Message(role="user", annotations={"bad": object()}))},
        {"params": {"bad": object()}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_cannot_be_encoded_is_named_as_the_plain_form_names_it(change):
    request = dataclasses.replace(Request(model="m"), **change)
    with pytest.raises(UnencodableValueError) as plain:
        prompt_hash(request)
    hasher = PromptHasher()
    assert hasher.estimate(request) == estimate_input_tokens(request)
    with pytest.raises(UnencodableValueError) as raised:
        hasher.hash(request)
    assert (str(raised.value), raised.value.field) == (str(plain.value), plain.value.field)


@pytest.mark.parametrize("levels", [29, 30])
def test_a_message_may_nest_as_deep_as_in_the_plain_form(levels):
    deep = None
    for _ in range(levels):
        deep = [deep]
    request = Request(model="m", messages=(Message(role="user", annotations={"deep": deep}),))
    outcomes = []
    for hashed in (prompt_hash, PromptHasher().hash):
        try:
            outcomes.append(hashed(request))
        except UnencodableValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
