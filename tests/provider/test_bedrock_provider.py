"""The adapter through boto3, against a server that speaks the wire on a real socket."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from types import SimpleNamespace

import boto3
import botocore
import pytest
import trustme
from botocore.config import Config as BotoConfig
from kits import Replaying, collect
from kits.bedrock import REGION, session
from kits.bedrock import provider as bedrock_on
from vendor_server import serving

from starling import Agent, Config, MemoryLog, ambient, replay, tool
from starling.errors import (
    AuthError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from starling.provider import Message, Request, TextChunk, assemble
from starling.provider.bedrock import Bedrock
from starling.provider.bedrock._connections import Line
from starling.provider.bedrock._reading import THREAD_NAME, Answer, Head, Reading
from starling.testing import BedrockServer, Reply, Script

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
REQUEST = Request(model=MODEL, system_prompt="Be terse.", messages=(Message(role="user", content="hi"),))
TOKEN = "not-a-real-token"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """No credentials, no region, and nobody to ask for any."""
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", ambient.REPLAY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@tool
def look() -> str:
    """Does."""
    return "done"


async def ask(script, request=REQUEST, **options):
    with BedrockServer(script) as server:
        async with bedrock_on(server, **options) as provider:
            return assemble(await collect(provider, request)), server.requests


async def failure(script, **options):
    with pytest.raises(ProviderError) as caught:
        await ask(script, **options)
    return caught.value


async def failure_at(url, **options):
    provider = Bedrock(base_endpoint=url, session=session(), **options)
    with pytest.raises(ProviderError) as caught:
        await collect(provider, REQUEST)
    return caught.value


# --- answers


async def test_text():
    response, (received,) = await ask(Script().text("Hel").text("lo é☂"))
    assert response.text == "Hello é☂"
    assert response.stop_reason == "end_turn"
    assert response.request_id == "req_1"
    assert len(response.raw_response_hash) == 32
    assert received.path == f"/model/{MODEL.replace(':', '%3A')}/converse-stream"
    assert received.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert f"/{REGION}/bedrock/aws4_request" in received.headers["authorization"]
    assert received.body == {
        "system": [{"text": "Be terse."}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
    }


@pytest.mark.parametrize(
    "model",
    [
        "amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:000000000000:prompt/AAAAAAAAAA:1",
        "arn:aws:bedrock:us-east-1:000000000000:provisioned-model/aaaaaaaaaaaa",
    ],
)
async def test_every_sort_of_model_id_is_taken(model):
    _, (received,) = await ask(Script().text("x"), Request(model=model, messages=REQUEST.messages))
    assert received.path == f"/model/{model.replace(':', '%3A').replace('/', '%2F')}/converse-stream"


async def test_reasoning_is_recorded_and_given_back_on_the_next_turn_and_replays():
    script = Script().reasoning("Let me.", signature=b"EqQB").redacted("AAEC/w==").tool_call("look")
    script.turn().text("Bye.")
    log = MemoryLog()
    with BedrockServer(script) as server:
        async with bedrock_on(server) as provider:
            await Agent(provider, Config(model=MODEL), log, tools=[look]).run_with_id("run", "go")
        second = server.requests[1].body["messages"][1]
    assert second == {
        "role": "assistant",
        "content": [
            {"reasoningContent": {"reasoningText": {"text": "Let me.", "signature": "EqQB"}}},
            {"reasoningContent": {"redactedContent": "AAEC/w=="}},
            {"toolUse": {"toolUseId": "call_1", "name": "look", "input": {}}},
        ],
    }
    today = Agent(Bedrock(session=session()), Config(model=MODEL), MemoryLog(), tools=[look])
    assert await replay(log, "run", today) == ()


async def test_cache_points_and_counts():
    request = Request(
        model=MODEL,
        system_prompt="Long.",
        messages=REQUEST.messages,
        params={"cachePoints": {"system": {"type": "default", "ttl": "1h"}}},
    )
    response, (received,) = await ask(Script().text("x").usage(5, 6, 70, 80), request)
    assert received.body["system"] == [{"text": "Long."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert (response.usage.cache_read_tokens, response.usage.cache_create_tokens) == (70, 80)


async def test_calls_one_after_another_share_a_connection():
    with BedrockServer(Script().text("1").turn().text("2")) as server:
        async with bedrock_on(server) as provider:
            await collect(provider, REQUEST)
            await collect(provider, REQUEST)
        first, second = server.requests
    assert first.peer == second.peer


async def test_many_calls_at_a_time():
    count = 40
    script = Script()
    for number in range(count):
        script.text(str(number)).turn()
    with BedrockServer(script) as server:
        async with bedrock_on(server) as provider:
            answers = await asyncio.gather(*(collect(provider, REQUEST) for _ in range(count)))
    assert sorted(int(assemble(chunks).text) for chunks in answers) == list(range(count))


async def test_a_server_that_does_not_hang_up_after_the_end_costs_the_connection_not_the_answer():
    turns = Script().text("1").turn().text("2").turns
    with BedrockServer([Reply(turn=turns[0], linger=True), turns[1]]) as server:
        async with bedrock_on(server) as provider:
            assert assemble(await collect(provider, REQUEST)).text == "1"
            assert assemble(await collect(provider, REQUEST)).text == "2"
        first, second = server.requests
    assert first.peer != second.peer


async def test_closing_leaves_the_adapter_usable():
    with BedrockServer(Script().text("1").turn().text("2")) as server:
        provider = bedrock_on(server)
        await collect(provider, REQUEST)
        await provider.aclose()
        assert assemble(await collect(provider, REQUEST)).text == "2"
        await provider.aclose()
        first, second = server.requests
    assert first.peer != second.peer


# --- what is wrong


async def test_what_the_service_does_not_take_is_refused_by_the_sdk_before_it_is_sent():
    request = Request(model="m", messages=REQUEST.messages, params={"serviceTier": {"typ": "flex"}})
    with BedrockServer(Script().text("x")) as server:
        async with bedrock_on(server) as provider:
            with pytest.raises(
                ProviderError, match=r'SDK refuses the request: .*Unknown parameter in serviceTier: "typ"'
            ):
                await collect(provider, request)
        assert server.requests == ()


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "ValidationException", ProviderError),
        (400, "ServiceQuotaExceededException", RateLimitError),
        (400, "ExpiredTokenException", AuthError),
        (401, "UnrecognizedClientException", AuthError),
        (403, "AccessDeniedException", AuthError),
        (404, "ResourceNotFoundException", ProviderError),
        (408, "ModelTimeoutException", ProviderError),
        (424, "ModelErrorException", ProviderError),
        (429, "ThrottlingException", RateLimitError),
        (429, "ModelNotReadyException", RateLimitError),
        (500, "InternalServerException", ServerError),
        (503, "ServiceUnavailableException", ServerError),
    ],
)
async def test_answers_other_than_200(status, name, kind):
    headers = {"x-amzn-errortype": f"{name}:http://internal/", "retry-after": "7", "x-amzn-requestid": "req_e"}
    with serving((status, headers, {"message": "the vendor's words"})) as url:
        error = await failure_at(url)
    assert type(error) is kind
    assert (error.status, error.retry_after_s, error.request_id) == (status, 7.0, "req_e")
    assert str(error) == f'starling: provider "bedrock" (status {status}): {name}: the vendor\'s words'


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", {"unheard": "of"}])
async def test_errors_that_are_not_the_vendors(body):
    with serving((502, {}, body)) as url:
        assert type(await failure_at(url)) is ServerError


@pytest.mark.parametrize(("kind", "body"), [("text/html", b"<p>Log in"), ("application/json", {"a": 1})])
async def test_a_document_is_no_answer(kind, body):
    with serving((200, {"content-type": kind}, body)) as url:
        error = await failure_at(url)
    assert f"the answer is {kind}, not an event stream" in str(error)


async def test_an_exception_in_the_stream_after_half_an_answer():
    error = await failure(Script().text("half").error("Too many tokens", status=429))
    assert type(error) is RateLimitError
    assert "throttlingException: Too many tokens" in str(error)


async def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await failure_at(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert type(error) is NetworkError
    assert "EndpointConnectionError" in str(error)


async def test_no_such_host(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert type(await failure_at("http://bedrock.invalid")) is NetworkError


async def test_a_timeout_of_the_adapter():
    error = await failure(Script().text("half").hang(), timeout=0.05)
    assert type(error) is NetworkError
    assert "timed out" in str(error)


async def test_a_timeout_of_the_configuration():
    error = await failure(Script().hang(), config=BotoConfig(read_timeout=0.05))
    assert type(error) is NetworkError


# --- cancelling


def threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


async def no_thread_is_left():
    for thread in threads():
        await asyncio.to_thread(thread.join, 60)
    return not threads()


@contextlib.contextmanager
def silent_server():
    """Takes requests and never answers; tells when one has come, and when its client has gone."""
    asked, gone = threading.Event(), threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            while connection.recv(65536):
                asked.set()
            gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield SimpleNamespace(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", asked=asked, gone=gone)
        thread.join()


async def test_cancelling_before_the_vendor_answers_anything_closes_the_socket_and_ends_the_thread():
    with silent_server() as server:
        task = asyncio.create_task(collect(bedrock_on(server), REQUEST))
        assert await asyncio.to_thread(server.asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.gone.wait, 60)
    assert await no_thread_is_left()


async def test_cancelling_in_the_middle_ends_the_thread_and_leaves_other_calls_alone():
    going_on = threading.Event()
    script = Script().text("half").hang().text("first ").do(lambda: going_on.wait(60)).text("last")
    with BedrockServer(script) as server:
        async with bedrock_on(server) as provider:
            halved, started = provider.stream(REQUEST), provider.stream(REQUEST)
            assert (await anext(halved), await anext(started)) == (TextChunk(text="half"), TextChunk(text="first "))
            await halved.aclose()
            assert await asyncio.to_thread(server.disconnected.wait, 60)
            going_on.set()
            rest = [chunk async for chunk in started]
    assert rest[0] == TextChunk(text="last")
    assert await no_thread_is_left()


async def test_a_call_that_is_cancelled_before_it_connects_sends_nothing():
    line = Line()
    line.hang_up()
    with pytest.raises(ConnectionAbortedError):
        line.take(SimpleNamespace(broken=False))


def stand_in():
    ours, theirs = socket.socketpair()
    closed = []
    return SimpleNamespace(sock=ours, broken=False, close=lambda: closed.append(True), line=None), theirs, closed


def test_hanging_up_leaves_a_connection_alone_that_serves_another_call():
    connection, other_end, closed = stand_in()
    with connection.sock, other_end:
        before, now = Line(), Line()
        before.take(connection)
        now.take(connection)
        before.hang_up()
        connection.sock.send(b"x")
        assert other_end.recv(1) == b"x"
        now.hang_up()
        assert other_end.recv(1) == b""
        assert closed == []


def test_a_connection_that_was_hung_up_opens_anew_for_the_next_call():
    connection, other_end, closed = stand_in()
    with connection.sock, other_end:
        before = Line()
        before.take(connection)
        before.hang_up()
        Line().take(connection)
    assert closed == [True]


async def test_a_slow_reader_slows_the_vendor_down():
    """The thread reads ahead, but not without end."""
    pulled, far_ahead, one_more = [], asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless():
        while True:
            pulled.append(None)
            if len(pulled) == 257:
                loop.call_soon_threadsafe(far_ahead.set)
            if len(pulled) == 258:
                loop.call_soon_threadsafe(one_more.set)
            yield b"x"

    answer = Answer(head=Head(request_id="", headers={}), blocks=endless(), close=lambda: None)
    async with Reading(lambda: answer) as reading:
        await reading.head()
        await far_ahead.wait()
        blocks = reading.blocks()
        await anext(blocks)
        await one_more.wait()
        await blocks.aclose()
    assert await no_thread_is_left()
    assert len(pulled) == 258


def test_a_loop_that_is_gone_does_not_keep_the_thread():
    asked = threading.Event()
    go_on = threading.Event()

    def slow():
        asked.set()
        go_on.wait(60)
        return Answer(head=Head(request_id="", headers={}), blocks=[b"x"], close=lambda: None)

    async def leave():
        async with Reading(slow):
            await asyncio.to_thread(asked.wait, 60)

    asyncio.run(leave())
    go_on.set()
    for thread in threads():
        thread.join(60)
    assert threads() == []


# --- options


def test_region_from_session_option_configuration_and_environment(monkeypatch):
    def region_of(**options):
        return Bedrock(**options)._client.get().meta.region_name

    assert region_of(session=session()) == REGION
    assert region_of(session=session(), region="eu-west-1") == "eu-west-1"
    assert region_of(session=session(), config=BotoConfig(region_name="eu-west-2")) == "eu-west-2"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", TOKEN)
    assert region_of() == "eu-west-3"


def test_the_endpoint_is_the_regions_unless_it_is_given():
    client = Bedrock(session=session(), region="eu-west-1")._client.get()
    assert client.meta.endpoint_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    given = Bedrock(session=session(), base_endpoint="https://vpce.example")._client.get()
    assert given.meta.endpoint_url == "https://vpce.example"


def test_the_configuration_is_used_but_for_its_retries():
    config = BotoConfig(read_timeout=7, max_pool_connections=3, retries={"max_attempts": 9, "mode": "adaptive"})
    used = Bedrock(session=session(), config=config)._client.get().meta.config
    assert (used.read_timeout, used.max_pool_connections) == (7, 3)
    assert (used.retries["total_max_attempts"], used.retries["mode"]) == (1, "standard")
    timed = Bedrock(session=session(), config=config, timeout=2)._client.get().meta.config
    assert (timed.connect_timeout, timed.read_timeout) == (2, 2)


async def test_a_gateway_may_want_no_signature():
    bare = boto3.Session(region_name=REGION)
    config = BotoConfig(signature_version=botocore.UNSIGNED)
    with BedrockServer(Script().text("x")) as server:
        async with Bedrock(base_endpoint=server.base_url, session=bare, config=config) as provider:
            assert assemble(await collect(provider, REQUEST)).text == "x"
    assert "authorization" not in server.requests[0].headers


async def test_through_a_proxy():
    with BedrockServer(Script().text("x")) as server:
        config = BotoConfig(proxies={"http": server.base_url})
        async with Bedrock(base_endpoint="http://bedrock.invalid", session=session(), config=config) as provider:
            # A proxy is asked for the whole address, which this server does not know.
            with pytest.raises(ProviderError, match=r"no such path: http://bedrock\.invalid/model/"):
                await collect(provider, REQUEST)


# --- keys


class Encrypted:
    """Speaks TLS in front of a server, one connection at a time; ``base_url`` is where."""

    def __init__(self, server, monkeypatch, tmp_path):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.behind = server._http.server_address
        self.open = []
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        shut_down(self.listener)
        for connection in self.open:
            shut_down(connection)
        self.thread.join()
        self.listener.close()

    def serve(self):
        with contextlib.suppress(OSError):  # the listener is closed, or a client did not like the certificate
            while True:
                plain, _ = self.listener.accept()
                with contextlib.suppress(ssl.SSLError), self.context.wrap_socket(plain, server_side=True) as front:
                    self.forward(front)

    def forward(self, front):
        with socket.create_connection(self.behind) as back:
            self.open.append(back)
            answers = threading.Thread(target=pump, args=(back, front))
            answers.start()
            pump(front, back)
            answers.join()


def pump(source, sink):
    """Hand on what comes, and then that nothing more comes."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    shut_down(sink)


def shut_down(connection):
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


async def test_a_bedrock_api_key_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", TOKEN)
    with BedrockServer(Script().text("x")) as server, Encrypted(server, monkeypatch, tmp_path) as front:
        async with Bedrock(base_endpoint=front.base_url, region=REGION) as provider:
            assert assemble(await collect(provider, REQUEST)).text == "x"
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_cancelling_closes_an_encrypted_connection(monkeypatch, tmp_path):
    with BedrockServer(Script().text("half").hang()) as server, Encrypted(server, monkeypatch, tmp_path) as front:
        stream = Bedrock(base_endpoint=front.base_url, session=session()).stream(REQUEST)
        assert await anext(stream) == TextChunk(text="half")
        await stream.aclose()
        assert await asyncio.to_thread(server.disconnected.wait, 60)
    assert await no_thread_is_left()


async def test_a_certificate_that_nobody_vouches_for_is_the_networks(monkeypatch, tmp_path):
    with BedrockServer(Script().text("x")) as server, Encrypted(server, monkeypatch, tmp_path) as front:
        trustme.CA().cert_pem.write_to_path(tmp_path / "authority.pem")
        error = await failure_at(front.base_url)
        assert server.requests == ()
    assert type(error) is NetworkError
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


async def test_the_key_stands_in_no_message_and_no_traceback(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", TOKEN)
    script = Script().error(f"bad token {TOKEN}", status=403)
    with BedrockServer(script) as server, Encrypted(server, monkeypatch, tmp_path) as front:
        provider = Bedrock(base_endpoint=front.base_url, region=REGION)
        with pytest.raises(AuthError) as caught:
            await collect(provider, REQUEST)
        await provider.aclose()
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert TOKEN not in repr(provider)


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}\nx"])
async def test_a_key_that_no_header_can_carry_is_quoted_nowhere(monkeypatch, tmp_path, token):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", token)
    with BedrockServer(Script().text("x")) as server, Encrypted(server, monkeypatch, tmp_path) as front:
        with pytest.raises(ProviderError) as caught:
            await collect(Bedrock(base_endpoint=front.base_url, region=REGION), REQUEST)
        assert server.requests == ()
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("token", ["", " \n"])
def test_an_empty_key_goes_before_credentials_in_the_sdk_so_it_is_refused(monkeypatch, token):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", token)
    with pytest.raises(AuthError, match="AWS_BEARER_TOKEN_BEDROCK is set, but empty"):
        Bedrock(session=session())


def test_a_key_is_not_looked_at_where_the_signature_is_chosen(monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "")
    config = BotoConfig(signature_version="v4")
    Bedrock(session=session(), config=config)
    with pytest.raises(AuthError, match="no credentials"):
        Bedrock(region=REGION, config=config)


def test_missing_credentials_are_found_at_construction():
    with pytest.raises(AuthError, match=r"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.*AWS_BEARER_TOKEN_BEDROCK"):
        Bedrock(region=REGION)


def test_a_missing_region_is_found_at_construction():
    with pytest.raises(ProviderError, match="AWS_DEFAULT_REGION"):
        Bedrock()


def test_a_profile_that_does_not_exist_is_ours_to_say(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AuthError, match="nobody"):
        Bedrock(region=REGION)


def test_half_a_credential_is_ours_to_say(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "not-a-real-key")
    with pytest.raises(AuthError, match="AWS_SECRET_ACCESS_KEY"):
        Bedrock(region=REGION)


async def test_built_without_a_region_while_replaying_it_still_needs_one_live():
    with ambient.override(Replaying()):
        keyless = Bedrock()
    with pytest.raises(ProviderError, match="AWS_DEFAULT_REGION"):
        await collect(keyless, REQUEST)


DROPPED = """
import gc, sys
import boto3
from starling import Agent, Config, MemoryLog
from starling.provider.bedrock import Bedrock
from starling.testing import BedrockServer, Script

leaks = []
sys.unraisablehook = lambda problem: leaks.append(problem.exc_value)
with BedrockServer(Script().text("one").turn().text("two").turn().text("three")) as server:
    for _ in range(3):
        session = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")
        provider = Bedrock(base_endpoint=server.base_url, session=session)
        Agent(provider, Config(model="amazon.nova-lite-v1:0"), MemoryLog()).run_sync("hi")
        del provider
        gc.collect()
print(leaks)
"""


def test_an_adapter_that_is_dropped_closes_its_connections():
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", DROPPED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
