"""The network block by itself: every way out of the machine is closed, loopback and allowed hosts are open.

192.0.2.0/24 and 2001:db8::/32 are set aside for documentation; ``.test`` is no real domain. Nothing reaches them.
"""

import asyncio
import http.client
import http.server
import pickle
import smtplib
import socket
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_starling._network import NetworkBlock
from pytest_starling._settings import Settings
from starling.errors import NetworkBlockedError, StarlingError

ROOT = Path(__file__).parent
PLACE = ("192.0.2.1", 9)
NAME = "api.example.test"


def standing(*hosts, everywhere=(), live=None):
    settings = Settings(mode="replay", root=ROOT, base=ROOT, folder=ROOT, allow_hosts=everywhere)
    return NetworkBlock(settings, hosts, (lambda _: None) if live is None else live.append)


@pytest.fixture
def block():
    with standing() as block:
        yield block


# --- ways out: each with what the block says of it


def connecting():
    with socket.socket() as one:
        one.connect(PLACE)


def connecting_with_a_number():
    with socket.socket() as one:
        one.connect_ex(PLACE)


def connecting_by_ipv6():
    with socket.socket(socket.AF_INET6) as one:
        one.connect(("2001:db8::1", 9))


def connecting_by_ipv4_in_ipv6():
    with socket.socket(socket.AF_INET6) as one:
        one.connect(("::ffff:192.0.2.1", 9))


def connecting_a_datagram_socket():
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.connect(PLACE)


def sending_a_datagram():
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", PLACE)


def sending_a_message():
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendmsg([b"x"], [], 0, PLACE)


def broadcasting():
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("<broadcast>", 9))


def creating_a_connection():
    socket.create_connection(PLACE)


def creating_a_connection_by_name():
    socket.create_connection((NAME, 443))


def looking_up():
    socket.getaddrinfo(NAME, "https")


def looking_up_bytes():
    socket.getaddrinfo(NAME.encode(), 443)


def looking_up_one_address():
    socket.gethostbyname(NAME)


def looking_up_more():
    socket.gethostbyname_ex(NAME)


def looking_up_a_name():
    socket.gethostbyaddr("192.0.2.1")


def looking_up_a_name_and_a_service():
    socket.getnameinfo(PLACE, 0)


def opening_a_url():
    urllib.request.urlopen(f"http://{NAME}/")


def opening_a_url_with_an_address():
    urllib.request.urlopen("http://192.0.2.1/")


def asking_by_http():
    http.client.HTTPSConnection(NAME).request("GET", "/")


def sending_mail():
    smtplib.SMTP(NAME)


def using_httpx():
    import httpx

    httpx.get(f"https://{NAME}/")


def using_httpx_with_an_address():
    import httpx

    httpx.get("http://192.0.2.1/")


async def using_httpx_asynchronously():
    import httpx

    async with httpx.AsyncClient() as client:
        await client.get(f"https://{NAME}/")


async def using_httpx_asynchronously_with_an_address():
    import httpx

    async with httpx.AsyncClient() as client:
        await client.get("http://192.0.2.1/")


async def streaming_with_httpx():
    import httpx

    async def lines():
        async with httpx.AsyncClient() as client, client.stream("GET", f"https://{NAME}/") as answer:
            async for line in answer.aiter_lines():
                yield line

    async for _ in lines():
        pass


async def opening_a_stream():
    await asyncio.open_connection(*PLACE)


async def opening_a_stream_by_name():
    await asyncio.open_connection(NAME, 443)


async def opening_a_stream_by_name_in_time():
    await asyncio.wait_for(asyncio.open_connection(NAME, 443), 60)


async def opening_a_stream_by_name_in_a_task():
    opening = asyncio.create_task(asyncio.open_connection(NAME, 443))
    await opening


async def connecting_a_socket():
    with socket.socket() as one:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, PLACE)


async def connecting_a_socket_by_name():
    with socket.socket() as one:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, (NAME, 443))


async def opening_a_datagram_endpoint():
    await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=PLACE)


async def looking_up_asynchronously():
    await asyncio.get_running_loop().getaddrinfo(NAME, 443)


async def connecting_in_a_thread_of_the_loop():
    await asyncio.to_thread(connecting)


def connecting_in_a_pool():
    with ThreadPoolExecutor() as pool:
        pool.submit(connecting).result()


WAYS = {
    connecting: "connects to 192.0.2.1:9",
    connecting_with_a_number: "connects to 192.0.2.1:9",
    connecting_by_ipv6: "connects to [2001:db8::1]:9",
    connecting_by_ipv4_in_ipv6: "connects to [::ffff:192.0.2.1]:9",
    connecting_a_datagram_socket: "connects to 192.0.2.1:9",
    sending_a_datagram: "sends to 192.0.2.1:9",
    sending_a_message: "sends to 192.0.2.1:9",
    broadcasting: "sends to <broadcast>:9",
    creating_a_connection: "connects to 192.0.2.1:9 through socket",
    creating_a_connection_by_name: f"looks up {NAME}:443 through socket",
    looking_up: f"looks up {NAME} through socket",
    looking_up_bytes: f"looks up {NAME}:443 through socket",
    looking_up_one_address: f"looks up {NAME}",
    looking_up_more: f"looks up {NAME}",
    looking_up_a_name: "looks up 192.0.2.1",
    looking_up_a_name_and_a_service: "looks up 192.0.2.1:9",
    opening_a_url: f"looks up {NAME}:80 through urllib",
    opening_a_url_with_an_address: "connects to 192.0.2.1:80 through urllib",
    asking_by_http: f"looks up {NAME}:443 through http",
    sending_mail: f"looks up {NAME}:25 through smtplib",
    using_httpx: f"looks up {NAME}:443 through httpx",
    using_httpx_with_an_address: "connects to 192.0.2.1:80 through httpx",
    using_httpx_asynchronously: f"looks up {NAME}:443 through httpx",
    using_httpx_asynchronously_with_an_address: "connects to 192.0.2.1:80 through httpx",
    streaming_with_httpx: f"looks up {NAME}:443 through",
    opening_a_stream: "connects to 192.0.2.1:9 through asyncio",
    opening_a_stream_by_name: f"looks up {NAME}:443 through asyncio",
    opening_a_stream_by_name_in_time: f"looks up {NAME}:443 through asyncio",
    opening_a_stream_by_name_in_a_task: f"looks up {NAME}:443",
    connecting_a_socket: "connects to 192.0.2.1:9 through asyncio",
    connecting_a_socket_by_name: f"looks up {NAME}:443 through asyncio",
    opening_a_datagram_endpoint: "connects to 192.0.2.1:9 through asyncio",
    looking_up_asynchronously: f"looks up {NAME}:443 through asyncio",
    connecting_in_a_thread_of_the_loop: "connects to 192.0.2.1:9",
    connecting_in_a_pool: "connects to 192.0.2.1:9",
}
ELSEWHERE = {connecting_in_a_thread_of_the_loop: connecting, connecting_in_a_pool: connecting}


def went(way):
    """Go a way, to the error that comes of it."""
    with pytest.raises(Exception) as caught:
        asyncio.run(way()) if asyncio.iscoroutinefunction(way) else way()
    return caught.value


def causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__ or getattr(error, "reason", None)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_out_is_closed_and_the_error_names_target_and_line(block, way):
    errors = list(causes(went(way)))
    error = next((one for one in errors if isinstance(one, NetworkBlockedError)), None)
    assert error is not None, errors
    first, cure = str(error).split("\n")
    assert f" {WAYS[way]}" in first
    assert first.startswith(f"network blocked while replaying: test_network_block.py:{error.line} ")
    assert first.endswith("; nothing was sent.")
    assert "allow_hosts=[" in cure
    assert "starling.step.side_effect" in cure
    assert error.file == __file__
    lines = [line for *_, line in ELSEWHERE.get(way, way).__code__.co_lines() if line]
    assert min(lines) < error.line <= max(lines) + 4  # a generator inside has lines of its own
    assert block.count == 1


def test_the_line_is_the_very_line_that_calls(block):
    start = test_the_line_is_the_very_line_that_calls.__code__.co_firstlineno
    with pytest.raises(NetworkBlockedError) as caught:
        socket.create_connection(PLACE)
    assert caught.value.line == start + 3
    assert (caught.value.host, caught.value.port) == PLACE


def test_a_line_that_waits_for_a_librarys_task_is_found(block):
    async def main():
        start = sys._getframe().f_lineno
        with pytest.raises(OSError):
            await asyncio.open_connection(NAME, 443)
        return start + 2

    line = asyncio.run(main())
    (text,) = block.untold()
    assert f"test_network_block.py:{line} looks up" in text


def test_of_many_tasks_the_right_one_is_named(block):
    async def first():
        await asyncio.open_connection("one.example.test", 443)

    async def second():
        await asyncio.open_connection("two.example.test", 443)

    async def main():
        return await asyncio.gather(first(), second(), return_exceptions=True)

    one, two = asyncio.run(main())
    assert one.line == first.__code__.co_firstlineno + 1
    assert two.line == second.__code__.co_firstlineno + 1


def test_where_nobody_is_known_the_thread_is_named(block):
    thread = threading.Thread(target=socket.gethostbyname_ex, args=(NAME,), name="telemetry")
    seen = []
    before, threading.excepthook = threading.excepthook, lambda arguments: seen.append(arguments.exc_value)
    try:
        thread.start()
        thread.join()
    finally:
        threading.excepthook = before
    (error,) = seen
    assert str(error).startswith(f"network blocked while replaying: code in thread 'telemetry' looks up {NAME}")
    assert (error.file, error.line) == ("", 0)


def test_it_is_an_os_error_and_one_of_ours_and_pickles(block):
    error = next(one for one in causes(went(connecting)) if isinstance(one, OSError))
    assert isinstance(error, StarlingError)
    assert not isinstance(error, ConnectionError | socket.gaierror | TimeoutError)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.host, copy.port, copy.line) == (str(error), *PLACE, error.line)


# --- ways that stay open


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "LOCALHOST"])
def test_loopback_is_open(block, server, host):
    socket.create_connection((host, server)).close()
    with urllib.request.urlopen(f"http://{host}:{server}/") as answer:
        assert answer.status == 204
    assert block.count == 0


def test_loopback_is_open_for_event_loops_and_clients(block, server):
    import httpx

    async def main():
        for host in ("127.0.0.1", "localhost"):
            _, writer = await asyncio.open_connection(host, server)
            writer.close()
            await writer.wait_closed()
        async with httpx.AsyncClient() as client:
            return (await client.get(f"http://localhost:{server}/")).status_code

    assert asyncio.run(main()) == 204
    assert httpx.get(f"http://127.0.0.1:{server}/").status_code == 204
    assert block.count == 0


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_loopback_is_open_by_ipv6(block, server):
    with socket.socket(socket.AF_INET6) as one:
        one.connect(("::ffff:127.0.0.1", server))
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        return  # a machine without an IPv6 loopback has shown what it can
    with listening:
        socket.create_connection(listening.getsockname()[:2]).close()


def test_datagrams_stay_open_on_loopback(block):
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        one.sendto(b"x", other.getsockname())
        one.sendmsg([b"y"], [], 0, other.getsockname())
        one.connect(other.getsockname())
        one.sendmsg([b"z"])
        assert [other.recv(1) for _ in range(3)] == [b"x", b"y", b"z"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets here")
def test_sockets_of_the_file_system_stay_open(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # such names are short
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("here")
        server.listen()
        client.connect("here")
    assert block.count == 0


def test_what_asks_nobody_stays_open(block):
    socket.getaddrinfo("192.0.2.1", 443)
    socket.getaddrinfo(None, 0, flags=socket.AI_PASSIVE)
    assert socket.gethostbyname("192.0.2.1") == "192.0.2.1"
    assert socket.getnameinfo(("127.0.0.1", 9), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV) == ("127.0.0.1", "9")
    socket.gethostname()
    with pytest.MonkeyPatch.context() as patch:  # whether it is known differs from machine to machine
        patch.setattr(socket, "gethostbyaddr", lambda name: sys.audit("socket.gethostbyaddr", name))
        socket.gethostbyaddr(socket.gethostname())
    assert block.count == 0


def test_nothing_is_closed_before_and_after():
    with socket.socket() as one:
        with standing():
            assert not _may_connect(one)
        assert _may_connect(one)
        with standing(), standing("192.0.2.1"):
            assert _may_connect(one)
        assert _may_connect(one)


def _may_connect(one, host=PLACE[0], port=PLACE[1]):
    """Announce a connection without making one."""
    try:
        sys.audit("socket.connect", one, (host, port))
    except NetworkBlockedError:
        return False
    return True


def _may_look_up(name, port=443):
    try:
        sys.audit("socket.getaddrinfo", name, port, 0, 0, 0)
    except NetworkBlockedError:
        return False
    return True


# --- allowed hosts


@pytest.fixture
def resolver(monkeypatch):
    """Names and their addresses, and what was asked for."""

    class Resolver:
        def __init__(self):
            self.names = {NAME: ["192.0.2.1", "2001:db8::1"], "other.example.test": ["192.0.2.7"]}
            self.asked = []

        def __call__(self, name, port, *arguments, **options):
            sys.audit("socket.getaddrinfo", name, port, 0, 0, 0)
            self.asked.append(name)
            if name not in self.names:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port or 0)) for text in self.names[name]]

    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


@pytest.fixture
def one():
    with socket.socket() as one:
        yield one


def test_an_allowed_name_may_be_looked_up_and_connected_to(one, resolver):
    with standing(NAME):
        assert _may_look_up(NAME)
        assert _may_look_up(NAME.upper() + ".")
        assert _may_connect(one, "192.0.2.1", 443)
        assert _may_connect(one, "2001:db8::1", 443)
        assert _may_connect(one, NAME, 443)
        assert not _may_connect(one, "192.0.2.7", 443)
        assert not _may_look_up("other.example.test")


def test_the_addresses_of_an_allowed_name_may_be_reached_without_its_being_looked_up(one, resolver):
    with standing(NAME):
        assert _may_connect(one, "192.0.2.1", 443)


def test_names_are_asked_for_once_unless_the_code_asks_again(one, resolver):
    with standing(NAME):
        for _ in range(3):
            assert not _may_connect(one, "192.0.2.9")
        assert resolver.asked == [NAME]
        resolver.names[NAME] = ["192.0.2.9"]
        assert not _may_connect(one, "192.0.2.9")
        assert _may_look_up(NAME)
        assert _may_connect(one, "192.0.2.9")
        assert resolver.asked == [NAME, NAME]
        assert _may_connect(one, "192.0.2.1"), "it was the host's a moment ago"


def test_a_pattern_lets_the_addresses_through_of_what_was_looked_up(one, resolver):
    with standing("*.example.test"):
        assert not _may_connect(one, "192.0.2.7")
        assert _may_look_up("other.example.test")
        assert _may_connect(one, "192.0.2.7")
        assert not _may_connect(one, "192.0.2.1")


def test_a_port_is_the_only_one_and_the_error_knows_the_name(one, resolver):
    with standing(f"{NAME}:443") as block:
        assert _may_look_up(NAME, 80)
        assert _may_connect(one, "192.0.2.1", 443)
        assert not _may_connect(one, "192.0.2.1", 80)
    (line,) = block.untold()
    assert f"connects to 192.0.2.1:80 ({NAME});" in line
    assert f'allow_hosts=["{NAME}"]' in line


def test_a_name_that_cannot_be_resolved_allows_nothing(one, resolver):
    with standing("unknown.example.test"):
        assert not _may_connect(one)


def test_hosts_of_the_settings_hold_beside_those_of_the_test(one):
    with standing("192.0.2.1", everywhere=("10.0.0.0/8",)) as block:
        assert _may_connect(one, "10.1.2.3")
        assert _may_connect(one, "192.0.2.1")
        block.allow(["192.0.2.2"])
        assert _may_connect(one, "10.1.2.3")
        assert _may_connect(one, "192.0.2.2")
        assert not _may_connect(one, "192.0.2.1")


# --- what is remembered


def test_each_place_is_told_once_with_the_number_of_tries(block, one):
    for _ in range(3):
        _may_connect(one)
    _may_connect(one, "192.0.2.2")
    first, second = block.untold()
    assert "connects to 192.0.2.1:9 (3 times); nothing was sent. If the run needs" in first
    assert "connects to 192.0.2.2:9; nothing was sent. If the run needs" in second
    _may_connect(one)
    assert block.untold() == []
    assert block.count == 5


def test_what_an_exception_shows_is_not_told_beside_it(block, one):
    with pytest.raises(NetworkBlockedError) as caught:
        sys.audit("socket.connect", one, PLACE)
    _may_look_up(NAME)
    (line,) = block.untold(besides=caught.value)
    assert NAME in line


def test_a_flood_is_cut_short(block, one):
    for port in range(1, 31):
        _may_connect(one, port=port)
    lines = block.untold()
    assert len(lines) == 11
    assert lines[-1] == "network blocked in 20 more places"


# --- providers


class Adapter:
    """As `starling.provider.Provider` asks for it."""

    def info(self):
        raise NotImplementedError

    async def stream(self, request):
        yield await self._ask(request)

    async def _ask(self, request):
        await asyncio.open_connection(request, 443)


async def asking_an_adapter():
    async for _ in Adapter().stream(NAME):
        pass


def test_an_adapter_of_the_projects_own_is_a_provider():
    live = []
    with standing(live=live) as block:
        went(asking_an_adapter)
        went(asking_an_adapter)
    (error,) = live
    assert f"looks up {NAME}:443 through Adapter; nothing was sent" in str(error)
    assert "Only calls made by Agent.run are served from the recording" in str(error)
    assert error.line == Adapter._ask.__code__.co_firstlineno + 1
    assert block.untold() == block.told() == []


def test_an_sdk_is_a_provider():
    openai = pytest.importorskip("openai")
    arguments = {"api_key": "none", "base_url": f"http://{NAME}/v1", "max_retries": 1}
    asked = {"model": "m", "messages": []}

    async def asynchronously():
        async with openai.AsyncOpenAI(**arguments) as client:
            await client.chat.completions.create(**asked)

    def synchronously():
        with openai.OpenAI(**arguments) as client:
            client.chat.completions.create(**asked)

    for way in (synchronously, asynchronously):
        live = []
        with standing(live=live) as block:
            assert isinstance(went(way), openai.APIConnectionError)
        (error,) = live
        assert f"looks up {NAME}:80 through openai" in str(error)
        assert error.line == way.__code__.co_firstlineno + 2
        assert block.count == 2, "the SDK tries again"


def test_other_traffic_of_the_same_test_is_none(block):
    live = []
    with standing(live=live):
        went(opening_a_url)
    assert live == []


def test_libraries_close_their_sockets(block, recwarn):
    import gc

    for way in (creating_a_connection, opening_a_url_with_an_address, using_httpx_with_an_address, opening_a_stream):
        went(way)
    gc.collect()
    assert [one.message for one in recwarn if issubclass(one.category, ResourceWarning)] == []
