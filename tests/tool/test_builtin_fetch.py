"""`fetch`: plain HTTP through respx; addresses, caps and pinning against a real server on the loopback."""

import asyncio
import importlib.util
import socket
import ssl
from contextlib import asynccontextmanager

import httpcore
import httpx
import pytest
import respx

from starling import ambient
from starling.errors import MissingExtraError, ToolError, TransientToolError
from starling.tool.builtin import fetch
from starling.tool.builtin._fetch import Fetcher

ANYWHERE = Fetcher(may_connect=lambda _: True)


# --- what the tool is


def test_it_is_a_described_idempotent_tool():
    tool = fetch()
    assert tool.name == "fetch"
    assert "public http or https URL" in tool.description
    assert tool.schema == (
        '{"additionalProperties":false,"properties":{"url":{"type":"string"}},"required":["url"],"type":"object"}'
    )
    assert tool.idempotent
    assert not tool.is_sync


def test_without_httpx_the_message_is_the_line_to_type(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        fetch()
    assert str(caught.value) == "pip install 'pytest-starling[fetch]'"
    assert caught.value.extra == "fetch"


@respx.mock
async def test_the_answer_is_text_and_recorded_as_an_effect(monkeypatch):
    respx.get("https://example.com/a?b=1").respond(200, text="grüße")
    effects = []

    async def record(name, function):
        value = await function()
        effects.append((name, value))
        return value

    monkeypatch.setattr(ambient, "_effects", record)
    assert await fetch().execute({"url": "https://example.com/a?b=1"}) == "grüße"
    assert effects == [("fetch https://example.com/a?b=1", "grüße")]


async def test_a_recorded_effect_needs_no_network(monkeypatch):
    async def replayed(name, function):
        return f"recorded for {name}"

    monkeypatch.setattr(ambient, "_effects", replayed)
    assert await fetch().execute({"url": "https://example.com/"}) == "recorded for fetch https://example.com/"


# --- answers


@respx.mock
@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({}, b"plain", "plain"),
        ({"content-type": "text/plain; charset=iso-8859-1"}, b"\xe4", "ä"),
        ({"content-type": "text/plain; charset=nonsense"}, "ä".encode(), "ä"),
        ({}, b"a\xffb", "a\ufffdb"),
        ({}, b"", ""),
    ],
)
async def test_bodies_become_text_by_their_charset(headers, body, text):
    respx.get("https://example.com/").respond(200, headers=headers, content=body)
    assert await Fetcher().get("https://example.com/") == text


@respx.mock
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, ToolError),
        (304, ToolError),
        (400, ToolError),
        (404, ToolError),
        (408, TransientToolError),
        (429, TransientToolError),
        (500, TransientToolError),
        (503, TransientToolError),
    ],
)
async def test_an_error_status_is_a_tool_error_and_transient_where_waiting_helps(status, error):
    respx.get("https://example.com/x").respond(status)
    with pytest.raises(ToolError, match=rf"^GET https://example\.com/x: HTTP {status}$") as caught:
        await Fetcher().get("https://example.com/x")
    assert type(caught.value) is error


@respx.mock
async def test_a_compressed_answer_is_refused_because_it_was_not_asked_for():
    route = respx.get("https://example.com/").respond(200, headers={"content-encoding": "gzip"}, content=b"\x1f\x8b")
    with pytest.raises(ToolError, match=r"compressed \(gzip\)"):
        await Fetcher().get("https://example.com/")
    assert route.calls.last.request.headers["accept-encoding"] == "identity"


@respx.mock
@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError])
async def test_a_broken_connection_is_transient(error):
    respx.get("https://example.com/").mock(side_effect=error)
    with pytest.raises(TransientToolError, match="the connection failed"):
        await Fetcher().get("https://example.com/")


@respx.mock
async def test_no_proxy_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    respx.get("https://example.com/").respond(200, text="direct")
    assert await Fetcher().get("https://example.com/") == "direct"


# --- what is refused


REFUSED = [
    ("ftp://example.com/", "only http and https"),
    ("file:///etc/passwd", "only http and https"),
    ("example.com", "only http and https"),
    ("", "only http and https"),
    ("http:///x", "no host"),
    ("http://user:word@example.com/", "credentials"),
    ("http://user@example.com/", "credentials"),
    ("http://localhost/", "localhost is not a public address"),
    ("http://LOCALHOST./", "is not a public address"),
    ("http://api.localhost/", "is not a public address"),
    ("http://127.0.0.1/", "127.0.0.1 is not a public address"),
    ("http://10.1.2.3:8080/", "is not a public address"),
    ("http://169.254.169.254/latest/meta-data", "is not a public address"),
    ("http://0.0.0.0/", "is not a public address"),
    ("http://[::1]/", "is not a public address"),
    ("http://[::ffff:127.0.0.1]/", "is not a public address"),
    ("http://[fe80::1]/", "is not a public address"),
    ("http://[64:ff9b::a00:1]/", "is not a public address"),
    ("http://exa mple.com:x/", "not a URL"),
    ("http://[::1/", "not a URL"),
]


@pytest.mark.parametrize(("url", "problem"), REFUSED)
async def test_a_url_is_refused_before_anything_happens(url, problem, monkeypatch):
    async def effect(name, function):
        raise AssertionError("a refusal is no effect")

    monkeypatch.setattr(ambient, "_effects", effect)
    with pytest.raises(ToolError, match=problem):
        await fetch().execute({"url": url})


@respx.mock
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status):
    respx.get("https://example.com/a").respond(status, headers={"location": "/b"})
    respx.get("https://example.com/b").respond(status, headers={"location": "http://example.org/c"})
    respx.get("http://example.org/c").respond(200, text="there")
    assert await Fetcher().get("https://example.com/a") == "there"


@respx.mock
@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/", "//localhost/x", "file:///etc/passwd", "http://a:b@example.org/", "http://[::1]/"]
)
async def test_every_redirect_is_checked_like_the_first_url(target):
    respx.get("https://example.com/").respond(302, headers={"location": target})
    with pytest.raises(ToolError, match=r"^cannot fetch "):
        await Fetcher().get("https://example.com/")


@respx.mock
async def test_redirects_end():
    route = respx.get("https://example.com/").respond(302, headers={"location": "/"})
    with pytest.raises(ToolError, match="more than 5 redirects"):
        await Fetcher().get("https://example.com/")
    assert route.call_count == 6


# --- a real server


@asynccontextmanager
async def serving(answer):
    """A server on the loopback; ``answer(reader, writer)``. Yields its port and the requests it got."""
    requests = []
    connections = set()

    async def handle(reader, writer):
        connections.add(asyncio.current_task())
        try:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, as several tests make it do
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], requests
        await asyncio.gather(*connections)


def ok(body, *, length=None):
    async def answer(_, writer):
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body) if length is None else length}\r\n\r\n"
        writer.write(head.encode() + body)

    return answer


@pytest.fixture
def resolving(monkeypatch):
    """Let names resolve to what the test says, one answer after another; all questions are kept."""
    asked = []

    def install(*answers):
        left = list(answers)

        def getaddrinfo(host, port, *_):
            asked.append(host)
            addresses = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(addresses, Exception):
                raise addresses
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return install


async def test_a_server_on_the_loopback_is_never_reached():
    async with serving(ok(b"secret")) as (port, requests):
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            with pytest.raises(ToolError, match="not a public address"):
                await fetch().execute({"url": f"http://{host}:{port}/"})
        assert requests == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
async def test_odd_spellings_of_the_loopback_are_not_public_either(host, resolving):
    resolving(["127.0.0.1"])  # as the C library reads them
    async with serving(ok(b"secret")) as (port, requests):
        with pytest.raises(ToolError, match=r"not public|not a URL"):
            await Fetcher().get(f"http://{host}:{port}/")
        assert requests == []


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["fe80::1%lo"]])
async def test_a_name_that_leads_to_a_private_address_is_refused_whole(addresses, resolving):
    resolving(addresses)
    async with serving(ok(b"secret")) as (port, requests):
        with pytest.raises(ToolError, match=r"the host evil.test leads to an address that is not public"):
            await Fetcher().get(f"http://evil.test:{port}/")
        assert requests == []


async def test_the_connection_goes_to_the_address_that_was_checked(resolving):
    asked = resolving(["127.0.0.1"], ["127.0.0.9"])
    checked = []
    fetcher = Fetcher(may_connect=lambda address: checked.append(str(address)) or True)
    async with serving(ok(b"pinned")) as (port, requests):
        assert await fetcher.get(f"http://name.test:{port}/path?q=1") == "pinned"
    assert asked == ["name.test"]
    assert checked == ["127.0.0.1"]
    assert requests[0].startswith(b"GET /path?q=1 HTTP/1.1\r\n")
    assert f"host: name.test:{port}\r\n".encode() in requests[0].lower()


async def test_the_next_address_is_tried_when_one_does_not_answer(resolving):
    async with serving(ok(b"second")) as (port, _):
        resolving(["127.0.0.2", "127.0.0.1"])  # the server listens on the second only
        assert await ANYWHERE.get(f"http://name.test:{port}/") == "second"


async def test_a_redirect_is_resolved_and_checked_again(resolving):
    async def redirect(_, writer):
        writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://inside.test/\r\ncontent-length: 0\r\n\r\n")

    asked = resolving(["127.0.0.1"], ["10.0.0.1"])
    fetcher = Fetcher(may_connect=lambda address: address.is_loopback)
    async with serving(redirect) as (port, _):
        with pytest.raises(ToolError, match=r"the host inside.test leads to an address that is not public"):
            await fetcher.get(f"http://outside.test:{port}/")
    assert asked == ["outside.test", "inside.test"]


async def test_tls_names_the_host_and_not_the_address(resolving):
    resolving(["127.0.0.1"])
    hello = asyncio.get_running_loop().create_future()

    async def handle(reader, writer):
        hello.set_result(await reader.read(4096))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TransientToolError, match="the connection failed"):
            await ANYWHERE.get(f"https://secure.test:{port}/")
    assert b"secure.test" in await hello


async def test_a_name_that_does_not_resolve_is_transient(resolving):
    resolving(socket.gaierror("no"))
    with pytest.raises(TransientToolError, match=r"the host gone.test cannot be resolved"):
        await Fetcher().get("http://gone.test/")


async def test_a_refused_connection_is_transient(resolving):
    resolving(["127.0.0.1"])
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(TransientToolError, match="the connection failed"):
            await ANYWHERE.get(f"http://name.test:{unused.getsockname()[1]}/")


async def test_a_certificate_that_is_not_the_servers_is_not_transient(monkeypatch):
    async def failing(self, url):
        raise httpcore.ConnectError from ssl.SSLCertVerificationError("self-signed")

    monkeypatch.setattr(Fetcher, "_follow", failing)
    with pytest.raises(ToolError, match="certificate is not valid") as caught:
        await Fetcher().get("https://example.com/")
    assert type(caught.value) is ToolError


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_the_cap_on_the_body_is_exact(size, fits):
    fetcher = Fetcher(may_connect=lambda _: True, max_bytes=1000)
    async with serving(ok(b"x" * size)) as (port, _):
        if fits:
            assert len(await fetcher.get(f"http://127.0.0.1:{port}/")) == size
        else:
            with pytest.raises(ToolError, match="larger than 1000 bytes"):
                await fetcher.get(f"http://127.0.0.1:{port}/")


async def test_a_body_without_end_is_cut_off_at_the_cap():
    stopped = asyncio.Event()

    async def endless(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        finally:
            stopped.set()

    async with serving(endless) as (port, _):
        with pytest.raises(ToolError, match="larger than 1048576 bytes"):
            await ANYWHERE.get(f"http://127.0.0.1:{port}/")
        await stopped.wait()


async def test_a_body_that_breaks_off_is_transient_never_half_an_answer():
    async with serving(ok(b"half", length=8)) as (port, _):
        with pytest.raises(TransientToolError, match="the connection failed"):
            await ANYWHERE.get(f"http://127.0.0.1:{port}/")


async def test_a_server_that_never_answers_is_a_transient_timeout():
    async def silent(reader, _):
        await reader.read()  # until the client gives up

    fetcher = Fetcher(may_connect=lambda _: True, timeout_s=0.05)
    async with serving(silent) as (port, _):
        with pytest.raises(TransientToolError, match=r"no complete answer within 0.05 s"):
            await fetcher.get(f"http://127.0.0.1:{port}/")


def test_the_limits_are_the_documented_ones():
    fetcher = Fetcher()
    assert (fetcher.timeout_s, fetcher.max_bytes, fetcher.max_redirects) == (15.0, 1_048_576, 5)
