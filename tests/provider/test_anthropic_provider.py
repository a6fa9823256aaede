"""The adapter through the vendor's own SDK, against a server that speaks the wire on a real socket."""

import traceback

import pytest
from kits import collect
from kits.anthropic import RECORDED

from starling import Agent, Budget, Config, MemoryLog, ambient, replay, tool
from starling.errors import AuthError, NetworkError, ProviderError, RateLimitError, ServerError
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
from starling.provider.anthropic import Anthropic
from starling.testing import AnthropicServer, Reply, Script, Turn

REQUEST = Request(model="claude-haiku-4-5", system_prompt="Be terse.", messages=(Message(role="user", content="hi"),))
KEY = "not-a-real-key"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "CUSTOM_HEADERS", "PROFILE"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)


async def ask(script, request=REQUEST, **options):
    with AnthropicServer(script) as server:
        async with Anthropic(**{"base_url": server.base_url, "api_key": KEY, **options}) as provider:
            return assemble(await collect(provider, request)), server.requests


async def failure(script, request=REQUEST, **options):
    with pytest.raises(ProviderError) as caught:
        await ask(script, request, **options)
    return caught.value


# --- answers


async def test_a_recorded_answer_byte_for_byte():
    (events,) = RECORDED.values()
    response, _ = await ask([Reply(body=b"".join(events))])
    assert response.reasoning == (Reasoning(content="Oslo.", signature=b"EqQBCgIYAg=="),)
    assert response.text == "Grüß dich."
    assert response.tool_uses == (PlannedCall(call_id="toolu_01X", name="weather", raw_args='{"city":"Oslo"}'),)
    assert response.usage == Usage(input_tokens=81, output_tokens=20, cache_read_tokens=64, cache_create_tokens=16)
    assert (response.stop_reason, response.request_id) == ("tool_use", "req_1")


async def test_what_is_sent():
    request = Request(
        model="claude-haiku-4-5",
        system_prompt="Be terse.",
        messages=(Message(role="user", content="hi"),),
        tools=(ToolDefinition(name="t", description="d", schema='{"type":"object"}'),),
        tool_choice="any",
        stop_sequences=("END",),
        max_output_tokens=9,
        top_k=5,
        params={"temperature": 0.5, "betas": ["a-beta"], "cache_control": {"type": "ephemeral"}},
    )
    _, (received,) = await ask(Script().text("x"), request)
    assert received.path == "/v1/messages"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.headers["anthropic-version"] == "2023-06-01"
    assert received.headers["anthropic-beta"] == "a-beta"
    assert received.body == {
        "model": "claude-haiku-4-5",
        "system": "Be terse.",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any"},
        "stop_sequences": ["END"],
        "max_tokens": 9,
        "top_k": 5,
        "temperature": 0.5,
        "cache_control": {"type": "ephemeral"},
        "stream": True,
    }


async def test_a_model_that_the_vendor_will_retire_answers_with_the_sdks_warning():
    with pytest.warns(DeprecationWarning, match="claude-2.1"):
        response, _ = await ask(Script().text("x"), Request(model="claude-2.1"))
    assert response.text == "x"


@tool
def weather(city: str) -> str:
    """Today's weather."""
    return f"rain in {city}"


async def test_thinking_goes_back_as_it_came_and_the_run_replays():
    script = Script().reasoning("Look ", b"").reasoning("it up.", b"sig-1").redacted("b3BhcXVl")
    script.reasoning("", b"sig-2").text("Looking.").tool_call("weather", {"city": "Oslo"}, call_id="toolu_1")
    script.usage(50, 20, cache_read_tokens=7, cache_create_tokens=3).turn().text("It rains.")
    log = MemoryLog()
    with AnthropicServer(script) as server:
        async with Anthropic(base_url=server.base_url, api_key=KEY) as provider:
            agent = Agent(provider, Config(model="claude-haiku-4-5"), log, tools=[weather])
            result = await agent.run("Weather in Oslo?")
            (_, second) = server.requests
    assert second.body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Look it up.", "signature": "sig-1"},
                {"type": "redacted_thinking", "data": "b3BhcXVl"},
                {"type": "thinking", "thinking": "", "signature": "sig-2"},
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain in Oslo"}],
        },
    ]
    assert (result.cache_stats.read_tokens, result.cache_stats.create_tokens) == (7, 3)
    assert await replay(log, result.run_id, agent) == ()


async def test_a_budget_is_decided_before_the_first_word_because_counts_come_first():
    log = MemoryLog()
    with AnthropicServer(Script().text("words").usage(900_000, 5)) as server:
        async with Anthropic(base_url=server.base_url, api_key=KEY) as provider:
            agent = Agent(provider, Config(model="claude-haiku-4-5"), log, budget=Budget(max_usd=0.5))
            with pytest.raises(Exception, match="budget"):
                await agent.run_with_id("run", "go")
    (exceeded,) = [event.decode() for event in await log.read("run") if event.kind is Kind.BudgetExceeded]
    assert (exceeded.limit, exceeded.where, exceeded.partial_text) == ("usd", "mid_stream", "")


async def test_an_answer_that_is_not_streamed_is_no_answer():
    error = await failure([Reply(turn=Script().text("x").turns[0], headers={"content-type": "application/json"})])
    assert "application/json, not an event stream" in str(error)


# --- options


async def test_identity_and_version():
    _, (received,) = await ask(Script().text("x"), provider_id="gateway", api_version="2026-10-21")
    assert received.headers["anthropic-version"] == "2026-10-21"
    provider = Anthropic(api_key=KEY, provider_id="gateway", api_version="2026-10-21")
    assert provider.info() == ProviderInfo(id="gateway", api_version="2026-10-21")
    assert Anthropic(api_key=KEY).info() == ProviderInfo(id="anthropic", api_version="2023-06-01")
    assert provider.capabilities() == Capabilities(
        tools=True,
        tool_choice=True,
        reasoning=True,
        reasoning_signatures=True,
        stop_sequences=True,
        cache_control=True,
        request_id=True,
    )


async def test_a_client_of_the_users_own_is_used_and_left_open():
    import httpx2

    async with httpx2.AsyncClient(headers={"x-mine": "yes"}) as client:
        _, (received,) = await ask(Script().text("x"), http_client=client)
        assert received.headers["x-mine"] == "yes"
        assert not client.is_closed


async def test_a_timeout():
    error = await failure(Script().text("half").hang(), timeout=0.05)
    assert type(error) is NetworkError
    assert "Timeout" in str(error)


async def test_the_key_and_the_endpoint_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-the-environment\n")
    with AnthropicServer(Script().text("x")) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        async with Anthropic() as provider:
            await collect(provider, REQUEST)
    assert server.requests[0].headers["authorization"] == "Bearer from-the-environment"


async def test_the_vendors_own_endpoint():
    provider = Anthropic(api_key=KEY)
    assert str((await provider._clients.get()).base_url).rstrip("/") == "https://api.anthropic.com"
    await provider.aclose()


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
async def test_an_empty_key_sends_none_whatever_the_environment_says(monkeypatch, variable):
    monkeypatch.setenv(variable, "from-the-environment")
    _, (received,) = await ask(Script().text("x"), api_key="")
    assert "authorization" not in received.headers
    assert "x-api-key" not in received.headers


def test_a_missing_key_is_found_at_construction():
    with pytest.raises(AuthError, match=r"ANTHROPIC_API_KEY.*api_key="):
        Anthropic()


# --- failures


@pytest.mark.parametrize(
    ("status", "kind"),
    [(402, ProviderError), (409, ProviderError), (413, ProviderError), (504, ServerError), (529, ServerError)],
)
async def test_the_vendors_own_statuses(status, kind):
    error = await failure(Script().error("the vendor's words", status=status))
    assert type(error) is kind
    assert str(error) == f'starling: provider "anthropic" (status {status}): the vendor\'s words'
    assert (error.status, error.request_id, error.provider) == (status, "req_1", "anthropic")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 529])
async def test_what_the_sdk_would_try_again_is_one_request(status):
    script = Script().error("no", status=status).text("the second request's")
    with AnthropicServer(script) as server:
        async with Anthropic(base_url=server.base_url, api_key=KEY) as provider:
            with pytest.raises(ProviderError):
                await collect(provider, REQUEST)
        assert len(server.requests) == 1


async def test_a_server_that_asks_for_another_try_does_not_get_one():
    headers = {"x-should-retry": "true", "retry-after-ms": "1500"}
    turn = Script().error("slow down", status=429).turns[0]
    error = await failure([Reply(turn=turn, headers=headers)])
    assert type(error) is RateLimitError
    assert error.retry_after_s == 1.5


async def test_an_answer_without_its_end():
    said = Script().text("whole, but for its end").turns[0]
    assert type(await failure([Reply(turn=said, done=False)])) is NetworkError
    assert type(await failure([Turn(steps=said.steps[:1])])) is NetworkError


@pytest.mark.parametrize(
    "script", [Script().error(f"wrong key {KEY}", status=401), Script().text("x").error(f"wrong key {KEY}", status=401)]
)
async def test_the_key_is_in_no_message_and_no_traceback(script):
    error = await failure(script)
    assert type(error) is AuthError
    assert "wrong key [redacted]" in str(error)
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in repr(Anthropic(api_key=KEY))


# --- the server


async def test_the_server_answers_clients_that_do_not_stream():
    import anthropic

    script = Script().reasoning("Hm.", b"sig").text("Hi.").tool_call("t", {"a": 1}).usage(9, 4)
    with AnthropicServer(script) as server:
        async with anthropic.AsyncAnthropic(base_url=server.base_url, api_key=KEY) as client:
            said = await client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
    assert [block.type for block in said.content] == ["thinking", "text", "tool_use"]
    assert (said.stop_reason, said.usage.output_tokens, said.content[2].input) == ("tool_use", 4, {"a": 1})


async def test_the_sdk_reads_the_servers_streams():
    import anthropic

    script = Script().reasoning("H").reasoning("m.", b"sig").redacted("x").text("H").text("i.").tool_call("t", {"a": 1})
    with AnthropicServer(script) as server:
        async with anthropic.AsyncAnthropic(base_url=server.base_url, api_key=KEY) as client:
            asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            async with client.messages.stream(**asked) as stream:
                said = await stream.get_final_message()
    assert [block.to_dict() for block in said.content] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Hi."},
        {"type": "tool_use", "id": "call_1", "name": "t", "input": {"a": 1}},
    ]
