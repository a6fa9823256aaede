"""The adapter through the vendor's own SDK, against a server that speaks the wire on a real socket."""

import asyncio
import base64
import gc
import json
import traceback

import pytest
from kits import collect
from kits.gemini import RECORDED
from vendor_server import serving

from starling import Agent, Config, MemoryLog, ambient, replay, tool
from starling.errors import (
    AuthError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
    StarlingError,
)
from starling.event import Kind
from starling.provider import (
    Capabilities,
    Message,
    PlannedCall,
    ProviderInfo,
    Reasoning,
    Request,
    ToolDefinition,
    Usage,
    assemble,
)
from starling.provider.gemini import Gemini
from starling.testing import GeminiServer, Reply, Script, sse_event

REQUEST = Request(model="gemini-x", system_prompt="Be terse.", messages=(Message(role="user", content="hi"),))
KEY = "not-a-real-key"
SIGNATURE = b"\x01\x8f=\xfb\xff"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)


async def ask(script, request=REQUEST, **options):
    with GeminiServer(script) as server:
        async with Gemini(**{"base_url": server.base_url, "api_key": KEY, **options}) as provider:
            return assemble(await collect(provider, request)), server.requests


async def failure(script, request=REQUEST, **options):
    with pytest.raises(ProviderError) as caught:
        await ask(script, request, **options)
    return caught.value


# --- answers ---


async def test_a_recorded_answer_byte_for_byte():
    (events,) = RECORDED.values()
    response, _ = await ask([Reply(body=b"".join(events))])
    assert response.reasoning == (
        Reasoning(content="**Looking**"),
        Reasoning(content="call k2fz", signature=base64.b64decode("AY89a18iOc+/VwE="), redacted=True),
    )
    assert response.text == "Grüß dich."
    assert response.tool_uses == (PlannedCall(call_id="k2fz", name="weather", raw_args='{"city": "Oslo"}'),)
    assert response.usage == Usage(input_tokens=81, output_tokens=50, cache_read_tokens=64)
    assert (response.stop_reason, response.request_id) == ("STOP", "tTCwacuE")


async def test_what_is_sent():
    schema = {"type": "object", "properties": {"a_b": {"type": ["string", "null"], "default": None}}}
    request = Request(
        model="gemini-x",
        system_prompt="Be terse.",
        messages=(Message(role="user", content="hi"),),
        tools=(ToolDefinition(name="t", description="d", schema=json.dumps(schema)),),
        tool_choice="t",
        stop_sequences=("END",),
        top_k=5,
        max_output_tokens=9,
        params={
            "temperature": 0.5,
            "thinking_config": {"include_thoughts": True, "thinking_budget": 128},
            "cachedContent": "cachedContents/x",
        },
    )
    _, (received,) = await ask(Script().text("x"), request)
    assert received.path == "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
    assert received.headers["x-goog-api-key"] == KEY
    assert KEY not in received.path
    body = received.body
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert body["systemInstruction"]["parts"] == [{"text": "Be terse."}]
    ((declared,),) = [one["functionDeclarations"] for one in body["tools"]]
    assert declared == {"name": "t", "description": "d", "parameters_json_schema": schema}
    assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["t"]}
    assert body["cachedContent"] == "cachedContents/x"
    assert body["generationConfig"] == {
        "temperature": 0.5,
        "stopSequences": ["END"],
        "topK": 5,
        "maxOutputTokens": 9,
        "thinkingConfig": {"include_thoughts": True, "thinking_budget": 128},
    }


@tool
def weather(city: str) -> dict:
    """Today's weather."""
    return {"city": city, "sky": None}


async def test_signatures_go_back_as_they_came_and_the_run_replays():
    script = Script().reasoning("Let me see.", signature=SIGNATURE).text("Looking.")
    script.redacted("text 8-8", signature=b"on text").redacted("call k1", signature=b"on a call")
    script.tool_call("weather", {"city": "Oslo"}, call_id="k1").tool_call("weather", {"city": "Rome"}, call_id="k2")
    with GeminiServer(script.turn().text("Rain.")) as server:
        async with Gemini(base_url=server.base_url, api_key=KEY) as provider:
            agent = Agent(provider, Config(model="m"), MemoryLog(), tools=[weather])
            result = await agent.run("Weather?")
            assert await replay(agent.log, result.run_id, agent) == ()
    _, said, results = server.requests[1].body["contents"]
    assert said["parts"] == [
        {"text": "Let me see.", "thought": True, "thoughtSignature": "AY89-_8="},
        {"text": "Looking."},
        {"text": "", "thoughtSignature": base64.urlsafe_b64encode(b"on text").decode()},
        {
            "functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "k1"},
            "thoughtSignature": base64.urlsafe_b64encode(b"on a call").decode(),
        },
        {"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "k2"}},
    ]
    assert [part["functionResponse"]["response"] for part in results["parts"]] == [
        {"output": '{"city":"Oslo","sky":null}'},
        {"output": '{"city":"Rome","sky":null}'},
    ]


def call_without_an_id():
    part = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
    return sse_event({"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})


async def test_calls_without_ids_differ_over_the_whole_run_and_their_ids_stay_here():
    replies = [Reply(body=call_without_an_id()), Reply(body=call_without_an_id()), Script().text("Rain.").turns[0]]
    with GeminiServer(replies) as server:
        async with Gemini(base_url=server.base_url, api_key=KEY) as provider:
            agent = Agent(provider, Config(model="m"), MemoryLog(), tools=[weather])
            result = await agent.run("Weather?")
    events = [event.decode() for event in await agent.log.read(result.run_id) if event.kind is Kind.ToolCallScheduled]
    assert [event.call_id for event in events] == ["gemini-call-1", "gemini-call-2"]
    assert "gemini-call" not in json.dumps(server.requests[-1].body)


async def test_an_answer_in_two_requests():
    half = {"content": {"parts": [{"text": "one "}]}, "finishReason": "CONTINUATION", "continuationToken": "-_8="}
    counts = {"promptTokenCount": 5, "candidatesTokenCount": 1}
    first = Reply(body=sse_event({"candidates": [half], "usageMetadata": counts}))
    response, requests = await ask([first, Script().text("two").usage(6, 2).turns[0]])
    assert (response.text, response.usage) == ("one two", Usage(input_tokens=11, output_tokens=3))
    assert "continuationToken" not in requests[0].body
    assert requests[1].body == {**requests[0].body, "continuationToken": "-_8="}


async def test_a_stream_that_breaks_is_not_taken_up_behind_the_agents_back():
    half = {"content": {"parts": [{"text": "one "}]}, "continuationToken": "YQ=="}
    replies = [Reply(body=sse_event({"candidates": [half]})), Script().text("two").turns[0]]
    with GeminiServer(replies) as server:
        async with Gemini(base_url=server.base_url, api_key=KEY) as provider:
            with pytest.raises(NetworkError, match="broke off"):
                await collect(provider, REQUEST)
        assert len(server.requests) == 1


# --- options ---


async def test_identity_and_version():
    _, (received,) = await ask(Script().text("x"), provider_id="mine", api_version="v1")
    assert received.path.startswith("/v1/models/")
    provider = Gemini(api_key=KEY)
    assert provider.info() == ProviderInfo(id="gemini", api_version="v1beta")
    assert repr(provider) == "Gemini(provider_id='gemini', api_version='v1beta')"
    assert provider.capabilities() == Capabilities(
        tools=True,
        tool_choice=True,
        reasoning=True,
        reasoning_signatures=True,
        stop_sequences=True,
        request_id=True,
    )


@pytest.mark.parametrize("package", ["httpx2", "httpx"])
async def test_a_client_of_the_users_own_is_used_and_left_open(package):
    client = pytest.importorskip(package).AsyncClient(headers={"x-mine": "yes"})
    async with client:
        _, (received,) = await ask(Script().text("x"), http_client=client)
        assert received.headers["x-mine"] == "yes"
        assert not client.is_closed
        assert str((await failure(Script().error("no", status=404), http_client=client)).status) == "404"
        assert type(await failure(Script().error(ConnectionResetError()), http_client=client)) is NetworkError


async def test_a_timeout():
    assert "Timeout" in str(await failure(Script().text("half").hang(), timeout=0.05))


async def test_the_timeouts_of_the_users_own_client_count():
    import httpx2

    async with httpx2.AsyncClient(timeout=0.05) as client:
        error = await failure(Script().text("half").hang(), http_client=client)
    assert type(error) is NetworkError


async def test_the_sdks_own_endless_wait_is_not_used():
    provider = Gemini(api_key=KEY)
    line = await provider._clients.get()
    assert (line.http.timeout.connect, line.http.timeout.read) == (5.0, 600.0)
    await provider.aclose()
    assert line.http.is_closed


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"GEMINI_API_KEY": "gem"}, "gem"),
        ({"GOOGLE_API_KEY": "goo"}, "goo"),
        ({"GEMINI_API_KEY": "gem", "GOOGLE_API_KEY": "goo"}, "goo"),
        ({"GEMINI_API_KEY": "gem\n", "GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_CLOUD_PROJECT": "p"}, "gem"),
    ],
)
async def test_the_key_and_the_endpoint_come_from_the_environment(monkeypatch, variables, key):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with GeminiServer(Script().text("x")) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.base_url)
        async with Gemini() as provider:
            await collect(provider, REQUEST)
    (received,) = server.requests
    assert received.headers["x-goog-api-key"] == key
    assert received.path.startswith("/v1beta/models/")


@pytest.mark.parametrize("key", [None, "", "  \n"])
def test_a_missing_key_is_found_at_construction(key):
    with pytest.raises(AuthError, match=r"GEMINI_API_KEY \(or GOOGLE_API_KEY\).*api_key="):
        Gemini(api_key=key)


def test_one_adapter_serves_several_event_loops_and_leaves_nothing_open():
    with GeminiServer(Script().text("1").turn().text("2")) as server:
        provider = Gemini(base_url=server.base_url, api_key=KEY)
        assert [assemble(asyncio.run(collect(provider, REQUEST))).text for _ in range(2)] == ["1", "2"]
        assert not provider._clients.loops
    gc.collect()  # a connection left open would warn here, and warnings are errors


async def test_a_connection_is_used_again():
    with GeminiServer(Script().text("1").turn().text("2")) as server:
        async with Gemini(base_url=server.base_url, api_key=KEY) as provider:
            await collect(provider, REQUEST)
            await collect(provider, REQUEST)
        first, second = server.requests
        assert first.peer == second.peer


# --- failures ---


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"temperatur": 0.5}, "params.temperatur cannot be sent: the vendor has no such parameter"),
        ({"thinking_config": {"budget": 1}}, "params.thinking_config.budget cannot be sent: the vendor has no"),
        ({"temperature": "warm"}, "params.temperature cannot be sent: Input should be a valid number"),
        ({"audio_timestamp": True}, "the SDK refused the request: audio_timestamp parameter is only supported in"),
    ],
)
async def test_parameters_that_the_vendor_does_not_have_are_refused_before_anything_is_sent(params, why):
    with GeminiServer(Script().text("x")) as server:
        async with Gemini(base_url=server.base_url, api_key=KEY) as provider:
            with pytest.raises(ProviderError) as caught:
                await collect(provider, Request(model="m", messages=REQUEST.messages, params=params))
        assert server.requests == ()
    assert why in str(caught.value)


def report(code, name, *details):
    return {"error": {"code": code, "message": "the vendor's words", "status": name, "details": list(details)}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "wait_s"),
    [
        (429, report(429, "RESOURCE_EXHAUSTED", {"retryDelay": "34s"}), RateLimitError, 34.0),
        (400, report(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), AuthError, None),
        (404, [report(404, "NOT_FOUND")], ProviderError, None),
        (502, b"the vendor's words", ServerError, None),
    ],
)
async def test_errors_in_the_vendors_shapes(status, body, kind, wait_s):
    with serving((status, {}, body)) as url:
        async with Gemini(base_url=url, api_key=KEY) as provider:
            with pytest.raises(ProviderError) as caught:
                await collect(provider, REQUEST)
    error = caught.value
    assert (type(error), error.status, error.retry_after_s) == (kind, status, wait_s)
    assert str(error) == f'starling: provider "gemini" (status {status}): the vendor\'s words'


async def test_a_redirect_does_not_carry_the_key_elsewhere():
    with GeminiServer(Script().text("x")) as elsewhere, serving((307, {"location": elsewhere.url}, b"")) as url:
        async with Gemini(base_url=url, api_key=KEY) as provider:
            with pytest.raises(ProviderError) as caught:
                await collect(provider, REQUEST)
        assert elsewhere.requests == ()
    assert caught.value.status == 307


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_the_sdk_could_try_again_is_one_request(status):
    with GeminiServer(Script().error("no", status=status).text("x")) as server:
        async with Gemini(base_url=server.base_url, api_key=KEY) as provider:
            with pytest.raises(ProviderError):
                await collect(provider, REQUEST)
        assert len(server.requests) == 1


async def test_an_answer_that_is_not_streamed_is_no_answer():
    error = await failure([Reply(body=b"{}", headers={"content-type": "application/json"})])
    assert "application/json, not an event stream" in str(error)


@pytest.mark.parametrize(
    "script", [Script().error(f"wrong key {KEY}", status=400), Script().text("x").error(f"wrong key {KEY}", status=401)]
)
async def test_the_key_is_in_no_message_and_no_traceback(script):
    error = await failure(script)
    assert "wrong key [redacted]" in str(error)
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in repr(Gemini(api_key=KEY))


# --- the server ---


def bare_sdk(server):
    from google import genai

    return genai.Client(vertexai=False, api_key=KEY, http_options={"base_url": server.base_url})


def scripted():
    return Script().reasoning("Why.").text("x").tool_call("t", {"a": [1]}, call_id="k").usage(5, 6, cache_read_tokens=4)


def test_the_server_answers_clients_that_do_not_stream():
    with GeminiServer(scripted()) as server:
        sdk = bare_sdk(server)
        response = sdk.models.generate_content(model="gemini-x", contents="hi")
        sdk.close()
    assert [part.text for part in response.candidates[0].content.parts][:2] == ["Why.", "x"]
    assert response.function_calls[0].args == {"a": [1]}
    assert (response.response_id, response.model_version) == ("req_1", "gemini-x")
    assert response.usage_metadata.cached_content_token_count == 4


def test_the_sdk_reads_the_servers_streams():
    with GeminiServer(scripted()) as server:
        sdk = bare_sdk(server)
        events = list(sdk.models.generate_content_stream(model="gemini-x", contents="hi"))
        sdk.close()
    assert "".join(event.text or "" for event in events) == "x"
    assert [call.id for event in events for call in event.function_calls or ()] == ["k"]
    assert events[-1].candidates[0].finish_reason == "STOP"
    assert events[-1].usage_metadata.prompt_token_count == 5


@pytest.mark.parametrize(
    "script",
    [
        Script().tool_call("t", "not json"),
        Script().tool_call("t", "[1]"),
        Script().redacted("another vendor's"),
        Script().text("x").usage(1, 1, cache_create_tokens=1),
    ],
)
async def test_what_this_wire_cannot_carry_is_said(script):
    with pytest.raises(StarlingError, match="Gemini's wire cannot carry"):
        await ask(script)
