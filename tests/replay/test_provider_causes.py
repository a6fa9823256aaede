"""What a provider raised is behind the run's error on replay, too: code falls back by looking at it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from starling import ambient, step, tool
from starling.errors import (
    AuthError,
    InternalRunError,
    InvalidStreamError,
    NetworkError,
    ProviderCallError,
    ProviderError,
    RateLimitError,
    ServerError,
    TurnFailedError,
)
from starling.event import Chain, EffectError, Kind, RunFailed, decode_payload, encode_payload, to_json
from starling.provider import Message, Request, TextChunk
from starling.replay import RecordingSession, ReplayingSession
from starling.testing import ScriptedProvider
from tests.agent_kit import MODEL, again, agent, calls, record, replays

ATTRIBUTES = ("provider", "status", "request_id", "retry_after_s")


class VendorError(ProviderError):
    """Another adapter's own error."""


FAILURES = {
    "rate limit": (ScriptedProvider().error("slow down", 429, 2.5), ProviderCallError, RateLimitError),
    "auth": (ScriptedProvider().error("no key", 401), ProviderCallError, AuthError),
    "server": (ScriptedProvider().error("boom", 503), ProviderCallError, ServerError),
    "network": (ScriptedProvider().error(ConnectionResetError("reset")), ProviderCallError, NetworkError),
    "refused": (ScriptedProvider().error("no such model", 404), ProviderCallError, ProviderError),
    "in mid-stream": (ScriptedProvider().text("Let me").error("gone", 500), ProviderCallError, ServerError),
    "vendor's own": (
        ScriptedProvider().error(VendorError("odd", provider="v", status=418, request_id="r1")),
        ProviderCallError,
        VendorError,
    ),
    "broken stream": (ScriptedProvider([[TextChunk(text="x")]]), InternalRunError, InvalidStreamError),
}


def described(error):
    return type(error), str(error), [getattr(error, name) for name in ATTRIBUTES]


@pytest.fixture(params=FAILURES)
def failure(request):
    """A script that fails, what the run raises, and what is behind it."""
    script, outer, inner = FAILURES[request.param]
    script.reset()
    return script, outer, inner


@pytest.mark.parametrize("blocking", [False, True])
async def test_the_cause_is_the_same_live_and_on_replay(failure, blocking):
    script, outer, inner = failure
    recorded = await record(agent(script))

    error = (await again(recorded, agent(script), blocking=blocking)).error

    assert type(recorded.error) is type(error) is outer
    assert type(recorded.error.__cause__) is inner
    assert described(error.__cause__) == described(recorded.error.__cause__)
    await replays(recorded, agent(script))


async def test_the_cause_of_a_call_that_a_tool_made(failure):
    script, outer, inner = failure
    seen = []

    def make():
        @tool
        async def ask() -> str:
            try:
                await step.llm_call(Request(model=MODEL, messages=(Message(role="user", content="?"),)))
            except TurnFailedError as error:
                seen.append((str(error), described(error.__cause__)))
                raise
            return "answer"

        return agent(ScriptedProvider([*calls("ask", answer=None).turns, *script.turns]), ask)

    recorded = await record(make())
    error = (await again(recorded, make())).error

    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert type(recorded.error) is type(error) is outer
    assert type(error.__cause__) is inner
    assert described(error.__cause__) == described(recorded.error.__cause__)


async def test_code_that_falls_back_does_so_on_replay():
    waited = []

    async def patient(today):
        try:
            return (await today.run("go")).final_text
        except ProviderCallError as error:
            if not isinstance(error.__cause__, RateLimitError):
                raise
            waited.append(error.__cause__.retry_after_s)
        return (await agent(ScriptedProvider().text("from the other one")).run("go")).final_text

    def make():
        return agent(ScriptedProvider().error("slow down", 429, 2.5))

    recording = RecordingSession()
    with ambient.activate(recording):
        assert await patient(make()) == "from the other one"
    session = ReplayingSession(recording.runs)
    with ambient.activate(session):
        assert await patient(make()) == "from the other one"

    assert session.failures == []
    assert waited == [2.5, 2.5]


async def test_a_class_that_is_gone_is_a_provider_error_all_the_same(monkeypatch):
    script = ScriptedProvider().error(VendorError("odd", provider="v", status=418, request_id="r1"))
    recorded = await record(agent(script))
    monkeypatch.delattr(f"{__name__}.VendorError")

    cause = (await again(recorded, agent(script))).error.__cause__

    assert type(cause) is ProviderError
    assert described(cause)[1:] == described(recorded.error.__cause__)[1:]


async def test_a_log_that_holds_no_cause_replays_without_one():
    """As logs did before causes were recorded."""
    script = ScriptedProvider().error("slow down", 429)
    recorded = await record(agent(script))
    *before, last = recorded.events
    old = replace(last, payload=encode_payload(replace(recorded.end, cause=None)))
    assert b"cause" not in old.payload

    error = (await again(replace(recorded, events=[*before, old]), agent(script))).error

    assert (type(error), str(error), error.__cause__) == (ProviderCallError, str(recorded.error), None)


async def test_other_ends_hold_no_cause():
    @tool
    async def t(*, fails: bool) -> str:
        if fails:
            raise RateLimitError("the tool's own", status=429)
        return "x"

    for script in (
        calls("nope"),
        calls(("t", {"fails": True})),
        ScriptedProvider().tool_call("t", {"fails": False}).turn().text("too late"),
    ):
        recorded = await record(agent(script, t, max_turns=1))
        assert recorded.end.KIND is Kind.RunFailed
        assert recorded.end.cause is None
        assert b"cause" not in recorded.events[-1].payload


def test_a_cause_crosses_the_wire():
    cause = EffectError(type="starling.errors.RateLimitError", message="slow", state={"status": 429})
    failed = RunFailed(error="e", error_type="provider", merkle_root=None, duration_ms=1, cause=cause)

    assert decode_payload(13, encode_payload(failed)) == failed
    assert to_json(Chain("r").append(failed, 1)).endswith(
        '"duration_ms":1,"cause":{"type":"starling.errors.RateLimitError","message":"slow","state":"oWZzdGF0dXMZAa0="}}'
    )
