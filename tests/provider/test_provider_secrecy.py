"""An API key reaches no error, no traceback and no log, whatever a server does with it."""

import io
import json
import traceback
from email.message import Message

import pytest
from kits import KITS
from kits._kit import KEY
from kits._raw import answer, answering

from starling import Agent, Config, MemoryLog, ambient
from starling.errors import ProviderError, RunFailedError
from starling.event import Kind, encode_event
from starling.provider._secrecy import clean, holds
from starling.testing._bedrock_wire import event_message

HALF = KEY[:7]
STREAMED = {"content_type": "text/event-stream"}
ECHOES = {"x_request_id": KEY, "request_id": KEY, "x_generation_id": KEY, "x_amzn_requestid": KEY}


def refused(status, body, **headers):
    return answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), **headers)


REFUSALS = {
    "beside the message": refused(401, {"error": {"message": "denied", "metadata": {"sent": KEY}}}),
    "in the message": refused(401, {"error": {"message": f"wrong key {KEY}"}, "message": f"wrong key {KEY}"}),
    "behind what is kept": refused(500, b"x" * 1200 + KEY.encode(), content_type="text/plain"),
    "astride of what is kept": refused(500, b"x" * 990 + b" " + KEY.encode(), content_type="text/plain"),
    "as a request id": refused(429, {"error": {"message": "slow down"}}, **ECHOES),
    "in bytes": refused(400, b"\xff " + KEY.encode()),
    "as a key of JSON": refused(400, {"error": {"message": "no", KEY: {"a": [KEY]}}}),
    "in a list": refused(403, [{"sent": [KEY]}]),
    "in a redirect": refused(307, b"", location=f"http://127.0.0.1:9/?key={KEY}"),
    "in a text": refused(400, json.dumps(KEY).encode()),
}
EVENTS = {
    "not JSON": b'{"' + KEY.encode(),
    "not UTF-8": b'{"\xff' + KEY.encode(),
    "no object": json.dumps([KEY]).encode(),
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    monkeypatch.delenv(ambient.REPLAY_VARIABLE, raising=False)


async def failed(kit, data, monkeypatch):
    """The error of a run on a server that answers with this, and all that was recorded."""
    if kit.vendor == "bedrock":
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", KEY)  # kept out, though this request is signed: there is no TLS
    log = MemoryLog()
    async with answering(data) as server, kit.provider(server) as provider:
        with pytest.raises(RunFailedError) as caught:
            await Agent(provider, Config(model="m"), log).run_with_id("run", "go")
        assert KEY.encode() in server.requests[0]
    return caught.value, b"".join(map(encode_event, await log.read("run")))


def assert_kept(error, recorded):
    assert HALF not in "".join(traceback.format_exception(error))
    assert HALF.encode() not in recorded
    assert not holds(error, KEY)


@pytest.mark.parametrize("data", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("kit", KITS, ids=str)
async def test_a_refusal_that_repeats_the_key(kit, data, monkeypatch):
    error, recorded = await failed(kit, data, monkeypatch)
    assert_kept(error, recorded)
    assert error.__cause__.status == int(data.split()[1])


@pytest.mark.parametrize("payload", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("kit", KITS, ids=str)
async def test_an_event_that_repeats_the_key(kit, payload, monkeypatch):
    body, kind = b"data: " + payload + b"\n\n", "text/event-stream"
    if kit.vendor == "bedrock":
        headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
        body, kind = event_message(headers, payload), "application/vnd.amazon.eventstream"
    error, recorded = await failed(kit, answer(200, body, content_type=kind), monkeypatch)
    assert_kept(error, recorded)


async def test_a_block_of_a_kind_that_is_the_key(monkeypatch):
    (kit,) = [kit for kit in KITS if kit.vendor == "anthropic"]
    event = {"type": "content_block_start", "index": 0, "content_block": {"type": KEY}}
    data = answer(200, b"data: " + json.dumps(event).encode() + b"\n\n", **STREAMED)
    assert_kept(*await failed(kit, data, monkeypatch))


@pytest.mark.parametrize("kit", [kit for kit in KITS if kit.variable], ids=str)
async def test_a_request_id_of_a_good_answer_is_recorded_without_the_key(kit):
    (events, *_) = kit.recorded.values()
    log = MemoryLog()
    async with (
        answering(answer(200, b"".join(events), **STREAMED, **ECHOES)) as server,
        kit.provider(server) as provider,
    ):
        with pytest.raises(Exception, match="tool"):  # the answer asks for a tool that there is not
            await Agent(provider, Config(model="m"), log).run_with_id("run", "go")
    recorded = await log.read("run")
    (message,) = [event.decode() for event in recorded if event.kind is Kind.AssistantMessageCompleted]
    assert KEY not in message.provider_request_id
    assert KEY.encode() not in b"".join(map(encode_event, recorded))


@pytest.mark.parametrize("kit", KITS, ids=str)
async def test_what_does_not_hold_the_key_stays_the_cause(kit, monkeypatch):
    error, _ = await failed(kit, refused(429, {"error": {"message": "slow down"}}), monkeypatch)
    sdk = type(error.__cause__.__cause__).__module__.partition(".")[0]
    assert sdk in {module.partition(".")[0] for module in kit.sdk}


# --- where a key is looked for ---


class SlottedError(Exception):
    __slots__ = ("kept",)


class RemadeError(Exception):
    """One that a class method makes again, of an object that shows the key."""

    @classmethod
    def again(cls, shown):
        return cls(shown)

    def __reduce__(self):
        return RemadeError.again, (Shows(),)


class Shows:
    def __repr__(self):
        return KEY


class SpeakingError(Exception):
    def __str__(self):
        return f"it is {KEY}"


def slotted():
    error = SlottedError()
    error.kept = KEY
    return error


def caused(name):
    error = ValueError("x")
    setattr(error, name, KeyError(KEY))
    return error


def headers():
    found = Message()
    found["authorization"] = KEY
    return found


def cyclic():
    found = [KEY]
    found.insert(0, found)
    return found


HOLDING = {
    "text": f"a {KEY} b",
    "bytes": KEY.encode() + b"\xff",
    "a container": {"a": [({KEY},)]},
    "a key": {KEY: 1},
    "a cycle": cyclic(),
    "arguments": ValueError(1, [KEY]),
    "a C member": OSError(2, "no", f"/{KEY}"),
    "a slot": slotted(),
    "the text alone": SpeakingError(),
    "the cause": caused("__cause__"),
    "the context": caused("__context__"),
    "a member of a group": ExceptionGroup("g", [ValueError(KEY)]),
    "a stream": io.BytesIO(KEY.encode()),
    "headers": headers(),
    "what it is made of": RemadeError("x"),
    "what was decoded": UnicodeDecodeError("utf-8", KEY.encode(), 0, 1, "x"),
}


@pytest.mark.parametrize("value", HOLDING.values(), ids=HOLDING)
def test_the_key_is_found(value):
    assert holds(value, KEY)
    assert not holds(value, "something else")


def test_an_error_of_ours_is_redacted_and_loses_only_causes_that_hold_the_key():
    error = ProviderError(f"a {KEY}", provider="p", request_id=KEY, status=400)
    error.__cause__ = innocent = ValueError("fine")
    assert clean(error, KEY) is error
    assert (str(error), error.request_id, error.status) == ("a [redacted]", "[redacted]", 400)
    assert error.__cause__ is innocent
    innocent.__context__ = KeyError(KEY)
    assert clean(error, KEY).__cause__ is None


def test_without_a_key_nothing_is_changed():
    error = ProviderError("a text", provider="p")
    error.__cause__ = cause = ValueError("")
    assert clean(error, "").__cause__ is cause
