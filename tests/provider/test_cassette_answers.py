"""Cassettes as providers: what vcrpy recorded of real HTTP clients is what the agent gets, chunk for chunk."""

import gzip
import json
import zlib
from dataclasses import replace

import httpx
import pytest
import vcr
from vcr.serializers import yamlserializer

from starling import Agent, Config, MemoryLog, ambient, tool
from starling._blake3 import digest
from starling.errors import (
    CassetteError,
    InvalidStreamError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from starling.provider import (
    EndChunk,
    Message,
    Reasoning,
    ReasoningChunk,
    RedactedThinkingChunk,
    Request,
    TextChunk,
    ToolDefinition,
    ToolResult,
    ToolUse,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    UsageChunk,
    assemble,
)
from starling.provider.cassette import Cassette
from starling.provider.openai import OpenAI
from starling.replay import RecordingSession
from starling.testing import OpenAIServer, Reply, Script, ScriptedProvider, Turn
from tests.provider.vendor_server import serving, sse

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
ASKED = Request(model="m", messages=(Message(role="user", content="hello"),))
OWN = ScriptedProvider(provider_id="own")


def taped(path, url, *bodies, method="POST", **options):
    """Record requests with a plain HTTP client."""
    with vcr.use_cassette(str(path), **options), httpx.Client() as client:
        for body in bodies:
            client.request(method, url, json=body)
    return path


async def chunks(cassette, request=ASKED):
    return [chunk async for chunk in cassette.stand_in(OWN).stream(request)]


# --- OpenAI


def whole_script():
    script = Script().reasoning("hm").text("Let me ").text("look.").tool_call("lookup", {"order": 7})
    return script.tool_call("lookup", {"order": 8}).usage(11, 7, 5, 3).turn()


async def test_the_chunks_and_the_hash_are_those_of_the_live_adapter(tmp_path):
    with OpenAIServer(whole_script()) as server, vcr.use_cassette(str(tmp_path / "c.yaml")):
        async with OpenAI(base_url=server.base_url, api_key="") as provider:
            live = [chunk async for chunk in provider.stream(ASKED)]

    assert await chunks(Cassette(tmp_path / "c.yaml")) == live


async def test_an_answer_that_was_not_streamed_means_the_same(tmp_path):
    with OpenAIServer(whole_script()) as server:
        taped(tmp_path / "c.yaml", f"{server.base_url}/chat/completions", HELLO)
    with OpenAIServer(whole_script()) as server:
        streamed = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
        taped(tmp_path / "s.yaml", f"{server.base_url}/chat/completions", streamed)

    whole, piecemeal = [assemble(await chunks(Cassette(tmp_path / name))) for name in ("c.yaml", "s.yaml")]

    assert replace(whole, raw_response_hash=None) == replace(piecemeal, raw_response_hash=None)
    assert whole.usage == Usage(input_tokens=11, output_tokens=7, cache_read_tokens=5, cache_create_tokens=3)
    assert [use.raw_args for use in whole.tool_uses] == ['{"order": 7}', '{"order": 8}']


async def test_the_hash_of_a_whole_answer_is_that_of_its_body(tmp_path):
    body = json.dumps(completion("hi")).encode()
    with serving(body) as url:
        taped(tmp_path / "c.yaml", f"{url}/v1/chat/completions", HELLO)
    assert (await chunks(Cassette(tmp_path / "c.yaml")))[-1].raw_response_hash == digest(body)


def completion(text, **fields):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], **fields}


def deflated(data):
    return zlib.compress(data)


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", deflated)])
@pytest.mark.parametrize("decoded", [False, True])
async def test_compressed_bodies_are_read(tmp_path, coding, compress, decoded):
    body = compress(json.dumps(completion("größer")).encode())
    with serving((200, {"content-encoding": coding}, body)) as url:
        taped(tmp_path / "c.yaml", f"{url}/chat/completions", HELLO, decode_compressed_response=decoded)
    assert assemble(await chunks(Cassette(tmp_path / "c.yaml"))).text == "größer"


@pytest.mark.parametrize(("coding", "cure"), [("br", "pip install brotli"), ("zstd", "decode_compressed_response")])
def test_a_coding_that_nobody_here_can_undo_is_named_with_its_cure(tmp_path, monkeypatch, coding, cure):
    monkeypatch.setattr("vcr.filters.AVAILABLE_DECOMPRESSORS", {})
    interaction = as_vcrpy_writes(HELLO, b"\x8b\x00", {"Content-Encoding": [coding]})
    with pytest.raises(CassetteError, match=rf"c.yaml, interaction 1: .*\({coding}\).*{cure}"):
        Cassette(written(tmp_path, interaction), name="c.yaml")


async def test_brotli_is_undone_where_vcrpy_knows_how(tmp_path, monkeypatch):
    decompress = {"br": lambda body: json.dumps(completion("hi")).encode() if body == b"\x8b" else body}
    monkeypatch.setattr("vcr.filters.AVAILABLE_DECOMPRESSORS", decompress)
    path = written(tmp_path, as_vcrpy_writes(HELLO, b"\x8b", {"Content-Encoding": ["br"]}))
    assert assemble(await chunks(Cassette(path))).text == "hi"


def as_vcrpy_writes(request, body, headers):
    return {
        "request": {
            "method": "POST",
            "uri": "https://x.test/v1/chat/completions",
            "body": json.dumps(request),
            "headers": {},
        },
        "response": {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}},
    }


def written(tmp_path, *interactions):
    path = tmp_path / "c.yaml"
    path.write_text(yamlserializer.serialize({"version": 1, "interactions": list(interactions)}))
    return path


async def test_the_shape_that_vcrpy_once_had_for_httpx_is_read(tmp_path):
    interaction = as_vcrpy_writes(HELLO, b"", {})
    text = json.dumps(completion("hi"))
    interaction["response"] = {"status_code": 200, "http_version": "HTTP/1.1", "headers": {}, "content": text}
    assert assemble(await chunks(Cassette(written(tmp_path, interaction)))).text == "hi"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda one: one["request"].update(body=None), "body of the request is not JSON"),
        (lambda one: one["request"].update(body='{"model": "m", "n": 2}'), "asks for 2 answers"),
        (lambda one: one["response"].pop("status"), "no status, headers and body"),
        (lambda one: one["response"].update(body=None), "no status, headers and body"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(tmp_path, change, problem):
    good = as_vcrpy_writes(HELLO, b"{}", {})
    bad = as_vcrpy_writes(HELLO, b"{}", {})
    change(bad)
    with pytest.raises(CassetteError, match=rf"c.yaml, interaction 2: .*{problem}"):
        Cassette(written(tmp_path, good, bad), name="c.yaml")


@pytest.mark.parametrize("cut", range(1, 1200, 97))
async def test_half_a_stream_is_never_a_whole_answer(tmp_path, cut):
    replies = [Reply(turn=turn, cut_after=cut, clean_cut=True) for turn in whole_script().turns]
    with OpenAIServer(replies) as server:
        taped(tmp_path / "c.yaml", f"{server.base_url}/chat/completions", {**HELLO, "stream": True})
    with pytest.raises((NetworkError, InvalidStreamError)):
        await chunks(Cassette(tmp_path / "c.yaml"))


async def listen(cassette, said):
    async for chunk in cassette.stand_in(OWN).stream(ASKED):
        said.append(chunk)


async def test_an_error_within_a_stream_comes_after_what_was_said(tmp_path):
    turn = Turn(steps=(TextChunk(text="Well, "), *Script().error("overloaded", status=503).turns[0].steps))
    with OpenAIServer([turn]) as server:
        taped(tmp_path / "c.yaml", f"{server.base_url}/chat/completions", {**HELLO, "stream": True})
    said = []
    with pytest.raises(ServerError, match="overloaded"):
        await listen(Cassette(tmp_path / "c.yaml"), said)
    assert said == [TextChunk(text="Well, ")]


@pytest.mark.parametrize("body", [b'{"choices": 3}', b'{"choices": [{}]}', b"{", b'{"choices": []}'])
async def test_an_answer_that_is_none_is_an_invalid_stream(tmp_path, body):
    with serving(body) as url:
        taped(tmp_path / "c.yaml", f"{url}/chat/completions", HELLO)
    with pytest.raises(InvalidStreamError, match='provider "own"'):
        await chunks(Cassette(tmp_path / "c.yaml"))


# --- Anthropic

MESSAGES = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
USAGE = {"input_tokens": 20, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 1}
BLOCKS = [
    {"type": "thinking", "thinking": "hm, so", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "opaque"},
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"order": 7}},
    {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
]
WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {**USAGE, "output_tokens": 30},
}


def start(index, block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, kind, **content):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **content}}


def stop(index):
    return {"type": "content_block_stop", "index": index}


STREAM = (
    {"type": "message_start", "message": {**WHOLE, "content": [], "stop_reason": None, "usage": USAGE}},
    start(0, {"type": "thinking", "thinking": "", "signature": ""}),
    delta(0, "thinking_delta", thinking="hm, "),
    delta(0, "thinking_delta", thinking="so"),
    delta(0, "signature_delta", signature="c2ln"),
    stop(0),
    start(1, {"type": "redacted_thinking", "data": "opaque"}),
    stop(1),
    start(2, {"type": "text", "text": ""}),
    {"type": "ping"},
    delta(2, "text_delta", text="Let me "),
    delta(2, "text_delta", text="look."),
    stop(2),
    start(3, {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {}}),
    delta(3, "input_json_delta", partial_json=""),
    delta(3, "input_json_delta", partial_json='{"order":'),
    delta(3, "input_json_delta", partial_json=" 7}"),
    stop(3),
    start(4, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}),
    stop(4),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
    {"type": "message_stop"},
)


def usage(output_tokens):
    counts = Usage(input_tokens=20, output_tokens=output_tokens, cache_read_tokens=4, cache_create_tokens=2)
    return UsageChunk(usage=counts)


@pytest.mark.parametrize("form", ["yaml", "json"])
async def test_a_streamed_message_is_given_block_by_block(tmp_path, form):
    body = sse(*STREAM)
    with serving((200, {"content-type": "text/event-stream"}, body)) as url:
        taped(tmp_path / "c.tape", f"{url}/v1/messages", {**MESSAGES, "stream": True}, serializer=form)

    hashed = digest(b"\n".join(json.dumps(event).encode() for event in STREAM))
    assert await chunks(Cassette(tmp_path / "c.tape")) == [
        usage(1),
        ReasoningChunk(text="hm, "),
        ReasoningChunk(text="so"),
        ReasoningChunk(signature=b"c2ln"),
        RedactedThinkingChunk(text="opaque"),
        TextChunk(text="Let me "),
        TextChunk(text="look."),
        ToolUseStart(call_id="toolu_1", name="lookup"),
        ToolUseDelta(call_id="toolu_1", args='{"order":'),
        ToolUseDelta(call_id="toolu_1", args=" 7}"),
        ToolUseEnd(call_id="toolu_1"),
        ToolUseStart(call_id="toolu_2", name="now"),
        ToolUseEnd(call_id="toolu_2"),
        usage(30),
        EndChunk(stop_reason="tool_use", raw_response_hash=hashed, request_id="req_a"),
    ]


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_message_that_was_not_streamed_means_the_same(tmp_path, compressed):
    body = json.dumps(WHOLE).encode()
    answer = (200, {"content-encoding": "gzip"}, gzip.compress(body)) if compressed else body
    with serving(answer) as url:
        taped(tmp_path / "c.yaml", f"{url}/v1/messages", MESSAGES)

    response = assemble(await chunks(Cassette(tmp_path / "c.yaml")))

    assert (response.text, response.stop_reason, response.request_id) == ("Let me look.", "tool_use", "req_a")
    assert response.usage == usage(30).usage
    assert response.raw_response_hash == digest(body)
    assert response.reasoning == (
        Reasoning(content="hm, so", signature=b"c2ln"),
        Reasoning(content="opaque", redacted=True),
    )
    assert [(use.call_id, json.loads(use.raw_args)) for use in response.tool_uses] == [
        ("toolu_1", {"order": 7}),
        ("toolu_2", {}),
    ]


@pytest.mark.parametrize("events", range(len(STREAM)))
async def test_half_a_message_is_never_a_whole_answer(tmp_path, events):
    with serving(sse(*STREAM[:events])) as url:
        taped(tmp_path / "c.yaml", f"{url}/v1/messages", {**MESSAGES, "stream": True})
    with pytest.raises(NetworkError, match="broke off"):
        await chunks(Cassette(tmp_path / "c.yaml"))


def failure(kind):
    return {"type": "error", "error": {"type": kind, "message": "not now"}}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((429, {"retry-after": "7"}, failure("rate_limit_error")), RateLimitError),
        ((529, {}, failure("overloaded_error")), ServerError),
        ((400, {}, failure("invalid_request_error")), ProviderError),
        (sse(*STREAM[:4], failure("overloaded_error")), ServerError),
        (failure("api_error"), ServerError),
    ],
)
async def test_errors_of_anthropic_have_their_classes(tmp_path, answer, error):
    with serving(answer) as url:
        taped(tmp_path / "c.yaml", f"{url}/v1/messages", MESSAGES)
    with pytest.raises(error, match="not now") as raised:
        await chunks(Cassette(tmp_path / "c.yaml"))
    assert type(raised.value) is error
    assert raised.value.request_id == "req_a"
    assert raised.value.retry_after_s == (7.0 if error is RateLimitError else None)


@pytest.mark.parametrize(
    "event",
    [
        {"no": "type"},
        start(0, {"type": "server_tool_use", "id": "x", "name": "web_search"}),
        delta(5, "input_json_delta", partial_json="{}"),
        [],
    ],
)
async def test_what_anthropic_does_not_document_is_an_invalid_stream(tmp_path, event):
    with serving(sse(*STREAM[:1]) + f"data: {json.dumps(event)}\n\n".encode()) as url:
        taped(tmp_path / "c.yaml", f"{url}/v1/messages", MESSAGES)
    with pytest.raises(InvalidStreamError):
        await chunks(Cassette(tmp_path / "c.yaml"))


# --- which answer belongs to which request


def openai_asks(*messages, tools=()):
    functions = [{"type": "function", "function": {"name": name}} for name in tools]
    return {"model": "m", "messages": list(messages), **({"tools": functions} if tools else {})}


SAID_IN_OPENAI = openai_asks(
    {"role": "developer", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"y": 1, "x": 2}'}}],
    },
    {"role": "tool", "tool_call_id": "a", "content": '{ "b": 1,  "a": "ü" }'},
    {"role": "assistant", "content": "well"},
    tools=["g", "f"],
)
SAID_IN_ANTHROPIC = {
    "model": "m",
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "tool_use", "id": "b", "name": "f", "input": {"y": 1, "x": 2}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": '{"a":"ü","b":1}'}]}
            ],
        },
        {"role": "assistant", "content": "well"},
    ],
    "tools": [{"name": "f", "input_schema": {}}, {"name": "g", "input_schema": {}}],
}
SAID_TODAY = Request(
    model="m",
    system_prompt="Be kind.",
    messages=(
        Message(role="user", content="hello"),
        Message(
            role="assistant",
            tool_uses=(ToolUse(call_id="c", name="f", args='{"x":2,"y":1}'),),
            reasoning=(Reasoning(content="hm", signature=b"x"),),
        ),
        Message(role="tool", tool_result=ToolResult(call_id="c", content='{"a":"ü","b":1}')),
        Message(role="assistant", content="well"),
    ),
    tools=tuple(ToolDefinition(name=name, description="", schema="{}") for name in "fg"),
    params={"temperature": 0.5},
)


@pytest.mark.parametrize(
    ("path", "asked", "answer"),
    [("/chat/completions", SAID_IN_OPENAI, completion("hi")), ("/v1/messages", SAID_IN_ANTHROPIC, WHOLE)],
)
async def test_requests_that_ask_the_same_are_the_same_however_a_client_writes_them(tmp_path, path, asked, answer):
    with serving(answer) as url:
        taped(tmp_path / "c.yaml", f"{url}{path}", asked)
    cassette = Cassette(tmp_path / "c.yaml")
    assert await chunks(cassette, SAID_TODAY)
    assert cassette.unused == ()


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"model": "n"}, ["-model: m", "+model: n"]),
        ({"tools": SAID_TODAY.tools[:1]}, ["-tools: f, g", "+tools: f"]),
        ({"system_prompt": "Be kind.\nBe brief."}, ["+  Be brief."]),
        ({"messages": SAID_TODAY.messages[:-1]}, ["-assistant:", "-  well"]),
        (
            {"messages": (*SAID_TODAY.messages[:-1], Message(role="assistant", content="well, no"))},
            ["-  well", "+  well, no"],
        ),
    ],
)
async def test_every_difference_is_shown(tmp_path, change, lines):
    with serving(completion("hi")) as url:
        taped(tmp_path / "c.yaml", f"{url}/chat/completions", SAID_IN_OPENAI)
    told = []
    with pytest.raises(CassetteError) as raised:
        await chunks(Cassette(tmp_path / "c.yaml", name="c.yaml", refused=told.append), replace(SAID_TODAY, **change))
    assert [line for line in str(raised.value).splitlines() if line[:1] in "+-"] == lines
    assert (raised.value.path, raised.value.interaction) == ("c.yaml", 1)
    assert told == [raised.value]


async def test_a_difference_is_bounded(tmp_path):
    with serving(completion("hi")) as url:
        taped(tmp_path / "c.yaml", f"{url}/chat/completions", HELLO)
    long = Message(role="user", content="\n".join(["x" * 1000] * 1000))
    with pytest.raises(CassetteError, match="more lines") as raised:
        await chunks(Cassette(tmp_path / "c.yaml"), Request(model="m", messages=(long,)))
    assert len(str(raised.value)) < 20_000


async def test_equal_requests_get_their_answers_in_their_order(tmp_path):
    with serving(completion("one"), completion("two")) as url:
        taped(tmp_path / "c.yaml", f"{url}/chat/completions", HELLO, HELLO, allow_playback_repeats=False)
    cassette = Cassette(tmp_path / "c.yaml")
    assert [assemble(await chunks(cassette)).text for _ in range(2)] == ["one", "two"]
    with pytest.raises(CassetteError, match="no further answer: all of its 2 model calls are used up"):
        await chunks(cassette)


async def test_other_requests_are_left_out_and_numbers_count_them(tmp_path):
    with serving({"data": []}, {"input_tokens": 3}, completion("hi"), {}) as url:
        taped(tmp_path / "c.yaml", f"{url}/v1/embeddings", {})
        taped(tmp_path / "c.yaml", f"{url}/v1/messages/count_tokens", {}, record_mode="new_episodes")
        taped(tmp_path / "c.yaml", f"{url}/chat/completions", HELLO, record_mode="new_episodes")
    cassette = Cassette(tmp_path / "c.yaml")
    assert (cassette.size, cassette.unused) == (1, (3,))
    await chunks(cassette)
    assert cassette.unused == ()


# --- in a recording


@tool
def lookup(order: int) -> dict[str, int]:
    """Look an order up."""
    return {"order": order, "total": 42}


def agent(provider):
    return Agent(provider, Config(model="m"), MemoryLog(), tools=[lookup])


async def test_a_run_is_recorded_as_the_live_one_was(tmp_path):
    script = Script().text("Let me look.").tool_call("lookup", {"order": 7}).turn().text("42.")
    with OpenAIServer(script) as server, vcr.use_cassette(str(tmp_path / "c.yaml")):
        async with OpenAI(base_url=server.base_url, api_key="") as provider:
            live = agent(provider)
            first = await live.run("hello")
    session = RecordingSession(stand_in=Cassette(tmp_path / "c.yaml").stand_in)
    with ambient.activate(session):
        again = agent(OpenAI(base_url="http://127.0.0.1:9", api_key=""))
        await again.run("hello")
    (run,) = session.runs
    then = [event.decode() for event in await live.log.read(first.run_id)]
    now = [event.decode() for event in run.events]
    assert list(map(timeless, now)) == list(map(timeless, then))


def timeless(payload):
    fields = {"turn_id": "", "duration_ms": 0, "merkle_root": None}
    return replace(payload, **{name: value for name, value in fields.items() if hasattr(payload, name)})


async def test_a_run_whose_question_has_no_answer_ends_with_the_cassettes_error(tmp_path):
    with serving(completion("hi")) as url:
        taped(tmp_path / "c.yaml", f"{url}/chat/completions", HELLO)
    session = RecordingSession(stand_in=Cassette(tmp_path / "c.yaml").stand_in)
    with ambient.activate(session), pytest.raises(CassetteError, match="interaction 1"):
        await agent(ScriptedProvider().text("not asked")).run("something else")
    assert "RunFailed" not in [event.kind.name for event in session.runs[0].events]
