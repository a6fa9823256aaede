"""The adapter through the vendor's own SDK, against a server that speaks the wire on a real socket."""

import asyncio
import gc
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import aclosing

import pytest
from kits import collect

from starling import Agent, Budget, Config, MemoryLog, ambient
from starling.errors import (
    AuthError,
    BudgetExceededError,
    InvalidStreamError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from starling.provider import (
    Capable,
    Message,
    PlannedCall,
    Provider,
    ProviderInfo,
    Reasoning,
    Request,
    TextChunk,
    ToolDefinition,
    ToolUseDelta,
    Usage,
    assemble,
)
from starling.provider.openai import OpenAI
from starling.testing._openai_server import OpenAIServer
from starling.testing._script import Script, Turn
from starling.testing._wire import Reply, sse_event

REQUEST = Request(model="gpt-x", system_prompt="Be terse.", messages=(Message(role="user", content="hi"),))
KEY = "not-a-real-key"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_ADMIN_KEY", ambient.REPLAY_VARIABLE):
        monkeypatch.delenv(name, raising=False)


async def ask(script, request=REQUEST, **options):
    with OpenAIServer(script) as server:
        async with OpenAI(base_url=server.base_url, api_key=KEY, **options) as provider:
            return assemble(await collect(provider, request)), server.requests


async def failure(script, request=REQUEST):
    with pytest.raises(ProviderError) as caught:
        await ask(script, request)
    return caught.value


# --- answers ---


async def test_text():
    response, requests = await ask(Script().text("Hel").text("lo é☂"))
    assert response.text == "Hello é☂"
    assert response.stop_reason == "stop"
    assert response.request_id == "req_1"
    assert len(response.raw_response_hash) == 32
    (received,) = requests
    assert received.path == "/v1/chat/completions"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.body["messages"] == [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "hi"},
    ]
    assert received.body["stream"] is True
    assert received.body["stream_options"] == {"include_usage": True}


async def test_parallel_tools_with_fragmented_arguments():
    args = '{"city": "Zürich", "days": [1, 2, 3]}'
    script = Script().text("Looking.").tool_call("weather", args).tool_call("time", {}, call_id="mine")
    response, _ = await ask([Reply(turn=script.turns[0], fragment=3)])
    assert response.text == "Looking."
    assert response.stop_reason == "tool_calls"
    assert response.tool_uses == (
        PlannedCall(call_id="call_1", name="weather", raw_args=args),
        PlannedCall(call_id="mine", name="time", raw_args="{}"),
    )


async def test_arguments_arrive_piece_by_piece():
    with OpenAIServer([Reply(turn=Script().tool_call("t", '{"a":1}').turns[0], fragment=3)]) as server:
        async with OpenAI(base_url=server.base_url) as provider:
            chunks = await collect(provider, REQUEST)
    assert [chunk.args for chunk in chunks if isinstance(chunk, ToolUseDelta)] == ['{"a', '":1', "}"]


async def test_tools_and_choices_are_sent():
    request = Request(
        model="m",
        tools=(ToolDefinition(name="t", description="d", schema='{"type":"object"}'),),
        tool_choice="any",
        stop_sequences=("END",),
        max_output_tokens=9,
        params={"temperature": 0.5, "vendor_thing": {"a": 1}},
    )
    _, (received,) = await ask(Script().text("x"), request)
    body = received.body
    assert body["tools"][0]["function"] == {"name": "t", "description": "d", "parameters": {"type": "object"}}
    assert (body["tool_choice"], body["stop"], body["max_tokens"]) == ("required", ["END"], 9)
    assert (body["temperature"], body["vendor_thing"]) == (0.5, {"a": 1})


async def test_usage_with_cached_tokens():
    script = Script().text("x").usage(100, 7, cache_read_tokens=64, cache_create_tokens=8)
    response, _ = await ask(script)
    assert response.usage == Usage(input_tokens=100, output_tokens=7, cache_read_tokens=64, cache_create_tokens=8)


async def test_reasoning():
    response, _ = await ask(Script().reasoning("Let me ").reasoning("think.").text("Done."))
    assert response.reasoning == (Reasoning(content="Let me think."),)
    assert response.text == "Done."


async def test_the_raw_hash_is_stable_and_tells_answers_apart():
    same, again, other = [(await ask(Script().text(text)))[0].raw_response_hash for text in ("a", "a", "b")]
    assert same == again != other


async def test_organization_and_identity():
    _, (received,) = await ask(Script().text("x"), organization="org-1", provider_id="groq", api_version="v9")
    assert received.headers["openai-organization"] == "org-1"
    provider = OpenAI(api_key=KEY, provider_id="groq", api_version="v9")
    assert provider.info() == ProviderInfo(id="groq", api_version="v9")
    assert isinstance(provider, Provider)
    assert isinstance(provider, Capable)
    assert provider.capabilities().tools


async def test_a_client_of_the_users_own_is_used_and_left_open():
    import httpx2

    async with httpx2.AsyncClient(headers={"x-mine": "yes"}) as client:
        _, (received,) = await ask(Script().text("x"), http_client=client)
        assert received.headers["x-mine"] == "yes"
        assert not client.is_closed


# --- failures ---


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderError),
        (401, AuthError),
        (403, AuthError),
        (404, ProviderError),
        (429, RateLimitError),
        (500, ServerError),
        (503, ServerError),
    ],
)
async def test_http_errors(status, kind):
    error = await failure(Script().error("the vendor's words", status=status))
    assert type(error) is kind
    assert str(error) == f'starling: provider "openai" (status {status}): the vendor\'s words'
    assert (error.status, error.request_id, error.provider) == (status, "req_1", "openai")


async def test_retry_after():
    error = await failure(Script().error("slow down", status=429, retry_after_s=1.5))
    assert error.retry_after_s == 1.5


async def test_one_failure_is_one_request():
    script = Script().error("down", status=500).text("up")
    with OpenAIServer(script) as server:
        async with OpenAI(base_url=server.base_url) as provider:
            with pytest.raises(ServerError):
                await collect(provider, REQUEST)
            assert len(server.requests) == 1
            assert assemble(await collect(provider, REQUEST)).text == "up"


async def test_connection_refused():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        provider = OpenAI(base_url=f"http://127.0.0.1:{port}/v1")
        with pytest.raises(NetworkError, match="the connection failed") as caught:
            await collect(provider, REQUEST)
    assert caught.value.status is None
    assert caught.value.__cause__ is not None


async def test_a_connection_that_breaks_before_the_answer():
    assert type(await failure(Script().error("no answer"))) is NetworkError


async def test_a_timeout():
    with OpenAIServer(Script().text("half").hang()) as server:
        async with OpenAI(base_url=server.base_url, timeout=0.05) as provider:
            with pytest.raises(NetworkError, match="Timeout"):
                await collect(provider, REQUEST)


def length_of(turn):
    from starling.testing._openai_wire import stream_parts

    return len(
        b"".join(
            stream_parts(turn, model="gpt-x", completion_id="chatcmpl-1", include_usage=True, fragment=5, done=True)
        )
    )


WHOLE = Script().text("an answer").tool_call("t", {"a": 1}).turns[0]
CUTS = sorted({0, 1, 40, *range(100, length_of(WHOLE) - 14, 97)})


@pytest.mark.parametrize("clean", [True, False], ids=["ended early", "broken"])
@pytest.mark.parametrize("cut", CUTS)
async def test_half_an_answer_is_never_taken_for_a_whole_one(cut, clean):
    assert len(CUTS) > 5
    error = await failure([Reply(turn=WHOLE, cut_after=cut, clean_cut=clean)])
    assert type(error) is NetworkError
    assert error.request_id == "req_1"


async def test_an_answer_without_a_finish_reason():
    turn = Turn(steps=(TextChunk(text="half"),))
    assert type(await failure([turn])) is InvalidStreamError
    assert type(await failure([Reply(turn=turn, done=False)])) is NetworkError


async def test_an_error_within_the_stream():
    error = await failure(Script().text("half").error("overloaded", status=503))
    assert type(error) is ServerError
    assert "overloaded" in str(error)


async def test_a_page_instead_of_a_stream():
    error = await failure([Reply(turn=WHOLE, headers={"content-type": "text/html; charset=utf-8"})])
    assert "text/html, not an event stream" in str(error)


@pytest.mark.parametrize(
    "script", [Script().error(f"wrong key {KEY}", status=401), Script().text("x").error(f"wrong key {KEY}", status=401)]
)
async def test_the_key_is_in_no_message_and_no_traceback(script):
    error = await failure(script)
    assert "wrong key [redacted]" in str(error)
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in repr(OpenAI(api_key=KEY))


async def test_a_key_that_the_connection_quotes_is_in_no_message_and_no_traceback():
    import httpx2

    class Quoting(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request):
            raise httpx2.ProxyError(f"no way for {request.headers['authorization']}")

    async with httpx2.AsyncClient(transport=Quoting()) as client:
        with pytest.raises(NetworkError) as caught:
            await collect(OpenAI(api_key=KEY, http_client=client), REQUEST)
    assert "no way for Bearer [redacted]" in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


# --- budgets ---


def counted(text, said):
    """An event of a server that counts as it goes (vLLM's continuous_usage_stats)."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return sse_event({"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": said}})


@pytest.mark.parametrize(
    ("budget", "limit"), [(Budget(max_output_tokens=5), "output_tokens"), (Budget(max_usd=0.00007), "usd")]
)
async def test_a_budget_trips_in_the_middle_of_an_answer_and_keeps_its_text(budget, limit):
    body = counted("one ", 3) + counted("two ", 6) + counted("three", 9)
    with OpenAIServer([Reply(body=body, linger=True)]) as server:
        async with OpenAI(base_url=server.base_url) as provider:
            agent = Agent(provider, Config(model="gpt-4o"), MemoryLog(), budget=budget)
            with pytest.raises(BudgetExceededError):
                await agent.run_with_id("run", "go")
            assert await asyncio.to_thread(server.disconnected.wait, 30)
    exceeded = (await agent.log.read("run"))[-2].decode()
    assert (exceeded.limit, exceeded.where, exceeded.partial_text) == (limit, "mid_stream", "one two ")
    assert exceeded.partial_tokens == 6


# --- ending a call early ---


async def test_cancelling_closes_the_connection():
    with OpenAIServer(Script().text("half").hang()) as server:
        async with OpenAI(base_url=server.base_url) as provider:
            started = asyncio.Event()

            async def read():
                async for _ in provider.stream(REQUEST):
                    started.set()

            task = asyncio.create_task(read())
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.disconnected.wait, 10)


async def test_closing_the_iterator_closes_the_connection():
    with OpenAIServer(Script().text("half").hang()) as server:
        async with OpenAI(base_url=server.base_url) as provider:
            async with aclosing(provider.stream(REQUEST)) as stream:
                assert await anext(stream) == TextChunk(text="half")
            assert await asyncio.to_thread(server.disconnected.wait, 10)


# --- event loops ---


def test_one_adapter_serves_several_event_loops_in_turn_and_leaves_nothing_open():
    with OpenAIServer(Script().text("1").turn().text("2").turn().text("3")) as server:
        provider = OpenAI(base_url=server.base_url)
        texts = [assemble(asyncio.run(collect(provider, REQUEST))).text for _ in range(3)]
        assert texts == ["1", "2", "3"]
        assert not provider._clients.loops
    gc.collect()  # a connection left open would warn here, and warnings are errors


def test_one_adapter_serves_two_event_loops_at_once():
    both = threading.Barrier(2, timeout=10)
    script = Script().do(both.wait).text("x").turn().do(both.wait).text("x")
    texts = []
    with OpenAIServer(script) as server:
        provider = OpenAI(base_url=server.base_url)
        threads = [
            threading.Thread(target=lambda: texts.append(assemble(asyncio.run(collect(provider, REQUEST))).text))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["x", "x"]


async def test_a_loops_connection_is_used_again_and_closing_is_not_final():
    with OpenAIServer(Script().text("1").turn().text("2").turn().text("3")) as server:
        provider = OpenAI(base_url=server.base_url)
        await collect(provider, REQUEST)
        client = await provider._clients.get()
        await collect(provider, REQUEST)
        assert await provider._clients.get() is client
        first, second = server.requests
        assert first.peer == second.peer
        await provider.aclose()
        await provider.aclose()
        assert assemble(await collect(provider, REQUEST)).text == "3"
        await provider.aclose()


def test_a_loop_that_stopped_without_a_word_is_forgotten():
    provider = OpenAI(api_key=KEY)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(provider._clients.get())
    loop.close()

    async def again():
        await provider._clients.get()
        assert provider._clients.loops == (asyncio.get_running_loop(),)

    asyncio.run(again())


# --- keys, replay, packages ---


def test_a_missing_key_is_found_at_construction():
    with pytest.raises(AuthError, match=r"OPENAI_API_KEY.*api_key="):
        OpenAI()


def test_a_key_that_no_header_can_carry_is_refused_unquoted():
    with pytest.raises(AuthError, match="no HTTP header can carry") as caught:
        OpenAI(api_key="ab\ncd")
    assert "cd" not in str(caught.value).replace("HTTP header", "")


async def test_a_line_end_after_the_key_is_not_part_of_it():
    with OpenAIServer(Script().text("x")) as server:
        async with OpenAI(base_url=server.base_url, api_key=f"{KEY}\n") as provider:
            await collect(provider, REQUEST)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    with OpenAIServer(Script().text("x")) as server:
        async with OpenAI(base_url=server.base_url) as provider:
            await collect(provider, REQUEST)
    assert server.requests[0].headers["authorization"] == "Bearer from-the-environment"


async def test_an_empty_key_sends_none_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    with OpenAIServer(Script().text("x")) as server:
        async with OpenAI(base_url=server.base_url, api_key="") as provider:
            await collect(provider, REQUEST)
    assert "authorization" not in server.requests[0].headers


async def test_the_base_url_comes_from_the_environment(monkeypatch):
    with OpenAIServer(Script().text("x")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        async with OpenAI() as provider:
            assert assemble(await collect(provider, REQUEST)).text == "x"


async def test_the_api_version_is_the_prefix_of_the_vendors_own_url():
    provider = OpenAI(api_key=KEY, api_version="v7")
    assert str((await provider._clients.get()).base_url) == "https://api.openai.com/v7/"
    await provider.aclose()


async def test_a_server_that_does_not_hang_up_after_the_end_costs_the_connection_not_the_answer():
    turns = Script().text("1").turn().text("2").turns
    with OpenAIServer([Reply(turn=turns[0], linger=True), turns[1]]) as server:
        async with OpenAI(base_url=server.base_url) as provider:
            assert assemble(await collect(provider, REQUEST)).text == "1"
            assert assemble(await collect(provider, REQUEST)).text == "2"
        first, second = server.requests
        assert first.peer != second.peer


DROPPED = """
import gc, sys
from starling import Agent, Config, MemoryLog
from starling.provider.openai import OpenAI
from starling.testing import OpenAIServer, Script

leaks = []
sys.unraisablehook = lambda problem: leaks.append(problem.exc_value)
with OpenAIServer(Script().text("one").turn().text("two").turn().text("three")) as server:
    for _ in range(3):
        provider = OpenAI(base_url=server.base_url, api_key="")
        Agent(provider, Config(model="gpt-4o-mini"), MemoryLog()).run_sync("hi")
        del provider
        gc.collect()
print(leaks)
"""


def test_an_adapter_that_is_dropped_closes_its_connections_on_the_loop_that_runs_on():
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", DROPPED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
