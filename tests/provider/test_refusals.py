"""Answers other than 200 that are unusual: class, status and wait are known whatever the body is."""

import json

import httpx2
import pytest
from kits import KITS, collect
from kits._raw import answer, answering, head

from starling import ambient
from starling.errors import AgentConfigError, AuthError, ProviderError, RateLimitError, ServerError
from starling.provider import Message, Request
from starling.provider._request_parts import arguments_object

REQUEST = Request(model="m", messages=(Message(role="user", content="hi"),), max_output_tokens=100)
per_vendor = pytest.mark.parametrize("kit", KITS, ids=str)

BODIES = {
    "text in JSON": (b'"Too many requests"', "Too many requests"),
    "null": (b"null", ""),
    "a list": (b'["a", {"b": 1}]', ""),
    "a number": (b"5", ""),
    "an object of other things": (b'{"__type": 5, "code": [], "message": {"a": 1}, "error": 7}', ""),
    "not UTF-8": (b'{"message": "slow \xff down"}', "slow \ufffd down"),
    "text that is not UTF-8": (b"slow \xff down", "slow \ufffd down"),
    "very deep": (b"[" * 100_000 + b"]" * 100_000, "[[["),
    "a page": (b"<html><body>no</body></html>", ""),
    "nothing": (b"", ""),
}
STATUSES = {429: RateLimitError, 401: AuthError, 403: AuthError, 500: ServerError, 503: ServerError, 418: ProviderError}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)


async def refused(kit, data, **options):
    """The error of a call to a server that answers with this, and what it was asked."""
    async with answering(data) as server, kit.provider(server, **options) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, REQUEST)
    return caught.value, server.requests


@pytest.mark.parametrize(("body", "words"), BODIES.values(), ids=BODIES)
@per_vendor
async def test_a_body_of_any_kind_leaves_the_status_its_class_and_the_wait(kit, body, words):
    for status, kind in STATUSES.items():
        error, _ = await refused(kit, answer(status, body, retry_after="7"))
        assert (type(error), error.status, error.retry_after_s) == (kind, status, 7.0)
        assert len(str(error)) < 1200
        if status == 429:
            assert words in str(error)


@per_vendor
async def test_a_body_that_does_not_end_leaves_them_too(kit):
    stalled = head(429, [("content-type", "application/json"), ("retry-after", "7")], length=1000) + b'{"error": {"mes'
    error, _ = await refused(kit, stalled, timeout=0.2)
    assert (type(error), error.status, error.retry_after_s) == (RateLimitError, 429, 7.0)
    assert "the answer's body could not be read (" in str(error)
    assert error.__cause__ is not None


async def test_bedrock_names_the_exception_of_a_body_that_cannot_be_read():
    (kit,) = [kit for kit in KITS if kit.vendor == "bedrock"]
    data = answer(400, b"[1]", x_amzn_errortype="ThrottlingException:http://internal/", x_amzn_requestid="r")
    error, _ = await refused(kit, data)
    assert (type(error), error.status, error.request_id) == (RateLimitError, 400, "r")
    assert "ThrottlingException: [1]" in str(error)


# --- redirects ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@per_vendor
async def test_a_redirect_is_not_followed(kit, status):
    async with answering(answer(200)) as elsewhere:
        error, requests = await refused(kit, answer(status, b"", location=f"{elsewhere.base_url}/there"))
    assert (type(error), error.status) == (ProviderError, status)
    assert f"redirect to {elsewhere.base_url}/there, which is not followed" in str(error)
    assert len(requests) == 1
    assert elsewhere.requests == []


async def test_gemini_does_not_follow_a_redirect_with_a_client_that_would():
    (kit,) = [kit for kit in KITS if kit.vendor == "gemini"]
    async with answering(answer(200)) as elsewhere, httpx2.AsyncClient(follow_redirects=True) as client:
        data = answer(307, b"", location=elsewhere.base_url)
        error, _ = await refused(kit, data, http_client=client)
    assert error.status == 307
    assert elsewhere.requests == []


# --- before anything is sent ---


@pytest.mark.parametrize("seconds", ["x", "5", 0, -1, 0.0, float("nan"), float("inf"), 1e12, True, (1, 2), b"1"])
@per_vendor
async def test_a_timeout_that_is_none_is_found_when_the_adapter_is_built(kit, seconds):
    async with answering(b"") as server:
        with pytest.raises(AgentConfigError, match=r"timeout is .*; give a number of seconds") as caught:
            kit.provider(server, timeout=seconds)
    assert caught.value.field == "timeout"


@pytest.mark.parametrize("seconds", [None, 60, 86400.5])
@per_vendor
async def test_a_timeout_of_some_seconds_is_taken(kit, seconds):
    error, _ = await refused(kit, answer(503), timeout=seconds)
    assert error.status == 503


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY, {"a": [NAN]}, [{"b": INFINITY}], (NAN,)], ids=repr)
@per_vendor
async def test_numbers_that_json_does_not_have_are_refused_before_sending(kit, value):
    request = Request(model="m", messages=REQUEST.messages, params={"temperature": value}, max_output_tokens=100)
    async with answering(answer(200)) as server, kit.provider(server) as provider:
        with pytest.raises(ProviderError, match=r"params\.temperature cannot be sent: JSON has no NaN") as caught:
            await collect(provider, request)
    assert caught.value.field == "params.temperature"
    assert server.requests == []


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_arguments_with_such_numbers_are_shown_as_the_model_wrote_them(number):
    text = json.dumps({"a": [0]}).replace("0", number)
    assert arguments_object(text) == {"INVALID_JSON": text}
