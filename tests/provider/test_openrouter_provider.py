"""The adapter through OpenAI's SDK, against a server that speaks the gateway's dialect on a real socket."""

import json
import logging
import traceback

import pytest
from kits import collect
from vendor_server import serving

from starling import Agent, Budget, Config, MemoryLog, ambient, replay, tool
from starling.errors import (
    AgentConfigError,
    AuthError,
    BudgetExceededError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from starling.event import Kind
from starling.provider import Capable, Message, Provider, Request, Usage, assemble
from starling.provider.openrouter import OpenRouter
from starling.testing import OpenRouterServer, Reply, Script

REQUEST = Request(model="a/m", messages=(Message(role="user", content="hi"),))
KEY = "not-a-real-key"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)


async def ask(script, request=REQUEST, **options):
    with OpenRouterServer(script) as server:
        async with OpenRouter(**{"base_url": server.base_url, "api_key": KEY, **options}) as provider:
            return assemble(await collect(provider, request)), server.requests


async def failure(*answers):
    with serving(*answers) as url:
        async with OpenRouter(base_url=url, api_key=KEY) as provider:
            with pytest.raises(ProviderError) as caught:
                await collect(provider, REQUEST)
    return caught.value


# --- requests


async def test_attribution_and_the_key_travel_as_headers():
    response, (received,) = await ask(Script().text("x"), http_referer="https://example.com", x_title="My App")
    assert received.path == "/api/v1/chat/completions"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.headers["http-referer"] == "https://example.com"
    assert received.headers["x-title"] == "My App"
    assert response.request_id == "req_1"


async def test_without_attribution_there_are_no_such_headers():
    _, (received,) = await ask(Script().text("x"))
    assert not {"http-referer", "x-title"} & set(received.headers)


@pytest.mark.parametrize("field", ["http_referer", "x_title"])
@pytest.mark.parametrize("value", ["Zürich", "a\nb"])
def test_an_attribution_that_no_header_can_carry_is_refused(field, value):
    with pytest.raises(AgentConfigError, match=f"{field} holds characters that no HTTP header can carry") as caught:
        OpenRouter(api_key=KEY, **{field: value})
    assert caught.value.field == field


async def test_nothing_of_openais_environment_reaches_the_gateway(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, f"of-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    _, (received,) = await ask(Script().text("x"), api_key="")
    assert "authorization" not in received.headers
    assert [name for name in received.headers if name.startswith("openai-")] == []
    provider = OpenRouter(api_key=KEY)
    assert str((await provider._clients.get()).base_url) == "https://openrouter.ai/api/v1/"
    await provider.aclose()


async def test_the_key_and_the_endpoint_come_from_the_environment(monkeypatch):
    with OpenRouterServer(Script().text("x")) as server:
        monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENROUTER_API_KEY", "from-the-environment\n")
        async with OpenRouter() as provider:
            await collect(provider, REQUEST)
    assert server.requests[0].headers["authorization"] == "Bearer from-the-environment"


async def test_the_api_version_is_the_prefix_of_the_gateways_own_url():
    provider = OpenRouter(api_key=KEY, api_version="v7")
    assert str((await provider._clients.get()).base_url) == "https://openrouter.ai/api/v7/"
    await provider.aclose()


async def test_routing_and_the_top_k_reach_the_body():
    request = Request(model="a/m", top_k=3, params={"provider": {"sort": "price"}, "models": ["b/n"]})
    _, (received,) = await ask(Script().text("x"), request)
    assert (received.body["top_k"], received.body["provider"]) == (3, {"sort": "price"})
    assert received.body["models"] == ["b/n"]


def test_what_it_says_of_itself():
    provider = OpenRouter(api_key=KEY)
    assert isinstance(provider, Provider)
    assert isinstance(provider, Capable)
    found = provider.capabilities()
    assert found.cache_control
    assert found.states_cost
    assert found.reasoning
    assert KEY not in repr(provider)
    assert repr(provider) == "OpenRouter(provider_id='openrouter', api_version='v1')"


# --- reasoning through a run


def event(delta, reason=None, **fields):
    body = {"id": "gen-1", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **fields}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@tool
def weather(city: str) -> str:
    """Today's weather."""
    return f"rain in {city}"


THOUGHT = {"type": "reasoning.text", "text": "Look it up.", "signature": "EqQB", "format": "anthropic-v1", "index": 0}
SEALED = {"type": "reasoning.encrypted", "data": "gAAA", "id": "call_1", "format": "google-gemini-v1", "index": 1}
PLAN = {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}]}
BODY = b"".join(
    (
        event({"reasoning": "Look it up.", "reasoning_details": [THOUGHT]}),
        event({**PLAN, "reasoning_details": [SEALED]}),
        event({}, "tool_calls"),
        b"data: [DONE]\n\n",
    )
)


async def test_details_are_recorded_given_back_verbatim_and_replayed():
    log = MemoryLog()
    with OpenRouterServer([Reply(body=BODY), *Script().text("Rain.").turns]) as server:
        async with OpenRouter(base_url=server.base_url, api_key=KEY) as provider:
            agent = Agent(provider, Config(model="a/m"), log, tools=[weather])
            result = await agent.run_with_id("run", "go")
            assert await replay(log, "run", agent) == ()
        assert len(server.requests) == 2
    assert result.final_text == "Rain."
    assert server.requests[1].body["messages"][1]["reasoning_details"] == [THOUGHT, SEALED]
    blocks = [event.decode() for event in await log.read("run") if event.kind is Kind.ReasoningEmitted]
    assert [(block.content, block.redacted) for block in blocks] == [("Look it up.", False), ("gAAA", True)]


# --- cost


async def test_the_cost_is_the_gateways_and_no_model_needs_a_price(caplog):
    caplog.set_level(logging.WARNING, "starling.budget")
    log = MemoryLog()
    with OpenRouterServer(Script().text("x").usage(100, 7, cost_usd=0.0125)) as server:
        async with OpenRouter(base_url=server.base_url) as provider:
            result = await Agent(provider, Config(model="in-house/model"), log).run_with_id("run", "go")
    assert result.total_cost_usd == 0.0125
    assert caplog.records == []


async def test_without_a_stated_cost_the_table_is_asked():
    with OpenRouterServer(Script().text("x").usage(1_000_000, 0)) as server:
        async with OpenRouter(base_url=server.base_url) as provider:
            result = await Agent(provider, Config(model="anthropic/claude-opus-4.6"), MemoryLog()).run("go")
    assert result.total_cost_usd == 5.0


async def test_a_stated_cost_is_not_compared_with_prices():
    log = MemoryLog()
    with OpenRouterServer(Script().text("x").usage(100, 7, cost_usd=0.0125)) as server:
        async with OpenRouter(base_url=server.base_url) as provider:
            agent = Agent(provider, Config(model="openai/gpt-5"), log)
            await agent.run_with_id("run", "go")
            assert await replay(log, "run", agent, compare_cost=True) == ()


async def test_a_stated_cost_trips_the_budget_of_a_model_without_a_price():
    log = MemoryLog()
    with OpenRouterServer(Script().text("half").usage(1, 1, cost_usd=0.06)) as server:
        async with OpenRouter(base_url=server.base_url) as provider:
            agent = Agent(provider, Config(model="in-house/model"), log, budget=Budget(max_usd=0.05))
            with pytest.raises(BudgetExceededError):
                await agent.run_with_id("run", "go")
    exceeded = (await log.read("run"))[-2].decode()
    assert (exceeded.limit, exceeded.actual, exceeded.partial_text) == ("usd", 0.06, "half")


async def test_counts_arrive():
    response, _ = await ask(Script().text("x").usage(100, 7, cache_read_tokens=64, cost_usd=0.5))
    assert response.usage == Usage(input_tokens=100, output_tokens=7, cache_read_tokens=64, cost_usd=0.5)


# --- failures


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderError),
        (401, AuthError),
        (402, ProviderError),
        (403, AuthError),
        (404, ProviderError),
        (408, ProviderError),
        (429, RateLimitError),
        (502, ServerError),
        (503, ServerError),
    ],
)
async def test_http_errors(status, kind):
    body = {"error": {"code": status, "message": "the gateway's words"}, "user_id": "user_1"}
    error = await failure((status, {"x-generation-id": "gen-9", "retry-after": "2"}, body))
    assert type(error) is kind
    assert str(error) == f'starling: provider "openrouter" (status {status}): the gateway\'s words'
    assert (error.status, error.request_id, error.retry_after_s) == (status, "gen-9", 2.0)


async def test_the_words_of_the_vendor_behind_the_gateway():
    metadata = {"provider_name": "Anthropic", "raw": '{"type":"error","error":{"message":"Overloaded"}}'}
    error = await failure(
        (502, {}, {"error": {"code": 502, "message": "Provider returned error", "metadata": metadata}})
    )
    assert str(error).endswith("(status 502): Provider returned error (Anthropic: Overloaded)")


async def test_a_page_of_a_proxy():
    error = await failure((503, {"content-type": "text/html"}, b"<h1>down</h1>"))
    assert type(error) is ServerError
    assert "down" in str(error)


async def test_a_report_in_the_middle_of_an_answer():
    with OpenRouterServer(Script().text("half").error("Provider disconnected", status=502)) as server:
        async with OpenRouter(base_url=server.base_url) as provider:
            with pytest.raises(ServerError, match="Provider disconnected"):
                await collect(provider, REQUEST)
            assert len(server.requests) == 1
    assert b'"finish_reason":"error"' in server.bodies[0]


async def test_the_key_is_in_no_message_and_no_traceback():
    metadata = {"provider_name": "X", "raw": f"bad key {KEY}"}
    error = await failure((401, {}, {"error": {"code": 401, "message": f"no {KEY}", "metadata": metadata}}))
    assert "no [redacted] (X: bad key [redacted])" in str(error)
    assert KEY not in "".join(traceback.format_exception(error))


async def test_a_connection_that_breaks():
    with OpenRouterServer([Reply(turn=Script().text("half").turns[0], cut_after=60)]) as server:
        async with OpenRouter(base_url=server.base_url) as provider:
            with pytest.raises(NetworkError):
                await collect(provider, REQUEST)


# --- keys, replay, packages


def test_a_missing_key_is_found_at_construction(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "another-vendors")
    with pytest.raises(AuthError, match=r"OPENROUTER_API_KEY.*api_key="):
        OpenRouter()
