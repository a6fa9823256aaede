"""The guard against undeclared nondeterminism: it finds every way past `step`, and nothing else."""

# The calls are what is tested, in the very forms that the rules advise against; each stands in a frame of its own.
# ruff: noqa: DTZ002, DTZ003, DTZ005, DTZ011, PLW0108, PTH123, ASYNC210

import asyncio
import datetime as dt
import importlib
import io
import logging
import logging.handlers
import os
import random
import secrets
import socket
import sys
import tempfile
import time
import urllib.request
import uuid
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from datetime import datetime as moment
from pathlib import Path
from random import choice, randint
from random import random as fraction
from secrets import token_hex
from time import localtime as local
from time import time as clock
from uuid import uuid4

import httpx
import pydantic
import pytest

from starling import Agent, Config, MemoryLog, step, tool
from starling.agent import CustomLoop
from starling.instrumentation import NoMetrics
from starling.provider import Message, Request
from starling.provider.openai import OpenAI
from starling.testing import OpenAIServer, Script, ScriptedProvider
from tests.agent_kit import MODEL, agent, calls
from tests.undeclared_kit import observing, recording, undeclared

HERE = Path(__file__)


@pytest.fixture
def port():
    """A port on this machine that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# --- what is found

GLOBAL = random.Random(7)
PORT = {0: 0}


def read_through_descriptor():
    os.close(os.open(HERE, os.O_RDONLY))


def connect():
    with socket.socket() as one:
        one.connect(("127.0.0.1", PORT[0]))


def connect_by_helper():
    socket.create_connection(("127.0.0.1", PORT[0])).close()


def send_a_datagram():
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", 9))


@dataclass
class Stamped:
    at: float = field(default_factory=lambda: time.time())
    key: uuid.UUID = field(default_factory=uuid.uuid4)


class Later(moment):
    """The project's own kind of instant."""


class Model(pydantic.BaseModel):
    key: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)


@pydantic.dataclasses.dataclass
class Checked:
    key: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)


class Dice(random.Random):
    def roll(self):
        return self.randint(1, 6)


def utcnow():
    with pytest.warns(DeprecationWarning, match="utcnow") if sys.version_info >= (3, 12) else nullcontext():
        dt.datetime.utcnow()


FOUND = [
    ("time.time()", lambda: time.time()),
    ("time.time()", lambda: clock()),
    ("time.time()", lambda: sorted([2, 1], key=lambda _: time.time())),
    ("time.time_ns()", lambda: time.time_ns()),
    ("datetime.now()", lambda: dt.datetime.now()),
    ("datetime.now()", lambda: moment.now(dt.UTC)),
    ("datetime.today()", lambda: moment.today()),
    ("datetime.utcnow()", utcnow),
    ("Later.now()", lambda: Later.now()),
    ("Later.today()", lambda: Later.today()),
    ("time.localtime()", lambda: time.localtime()),
    ("time.gmtime()", lambda: time.gmtime()),
    ("time.ctime()", lambda: time.ctime()),
    ("time.asctime()", lambda: time.asctime()),
    ("time.strftime()", lambda: time.strftime("%Y")),
    ("time.localtime()", lambda: local()),
    ("uuid.uuid4()", lambda: Model()),
    ("uuid.uuid4()", lambda: Checked()),
    ("date.today()", lambda: dt.date.today()),
    ("date.today()", lambda: date.today()),
    ("uuid.uuid1()", lambda: uuid.uuid1()),
    ("uuid.uuid4()", lambda: uuid.uuid4()),
    ("uuid.uuid4()", lambda: uuid4()),
    ("os.urandom()", lambda: os.urandom(4)),
    ("secrets.token_bytes()", lambda: secrets.token_bytes()),
    ("secrets.token_hex()", lambda: token_hex()),
    ("secrets.token_urlsafe()", lambda: secrets.token_urlsafe()),
    ("secrets.randbelow()", lambda: secrets.randbelow(3)),
    ("secrets.randbits()", lambda: secrets.randbits(3)),
    ("secrets.choice()", lambda: secrets.choice("abc")),
    ("random.random()", lambda: random.random()),
    ("random.random()", lambda: fraction()),
    ("random.getrandbits()", lambda: random.getrandbits(8)),
    ("random.choice()", lambda: choice("abc")),
    ("random.randint()", lambda: randint(1, 2)),
    ("random.shuffle()", lambda: random.shuffle([1, 2])),
    ("random.gauss()", lambda: random.gauss(0, 1)),
    ("Random().random()", lambda: random.Random().random()),
    ("Random().choice()", lambda: random.Random().choice("abc")),
    ("Random().choice()", lambda: GLOBAL.choice("abc")),
    ("Random().random()", lambda: GLOBAL.random()),
    ("SystemRandom().random()", lambda: random.SystemRandom().random()),
    ("SystemRandom().uniform()", lambda: random.SystemRandom(3).uniform(0, 1)),
    ("Dice().randint()", lambda: Dice().roll()),
    ("open()", lambda: open(HERE).close()),
    ("open()", lambda: io.open(HERE, "rb").close()),  # noqa: UP020
    ("os.open()", read_through_descriptor),
    ("Path.read_text()", lambda: HERE.read_text()),
    ("Path.read_bytes()", lambda: HERE.read_bytes()),
    ("Path.open()", lambda: HERE.open().close()),
    ("socket.connect()", connect),
    ("socket.connect()", connect_by_helper),
    ("socket.getaddrinfo()", lambda: socket.getaddrinfo("127.0.0.1", 80)),
    ("socket.gethostbyname()", lambda: socket.gethostbyname("127.0.0.1")),
    ("socket.gethostbyaddr() by socket", lambda: socket.getfqdn("127.0.0.1")),
    ("socket.gethostbyname()", lambda: socket.gethostbyname_ex("127.0.0.1")),
    ("socket.getnameinfo()", lambda: socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)),
    ("socket.sendto()", send_a_datagram),
]
if hasattr(os, "getrandom"):
    FOUND.append(("os.getrandom()", lambda: os.getrandom(4)))
if hasattr(time, "clock_gettime"):
    FOUND += [
        ("time.clock_gettime()", lambda: time.clock_gettime(time.CLOCK_REALTIME)),
        ("time.clock_gettime()", lambda: time.clock_gettime(*[0])),
        ("time.clock_gettime_ns()", lambda: time.clock_gettime_ns(time.CLOCK_REALTIME)),
    ]


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize(("what", "body"), FOUND, ids=[f"{n}-{what}" for n, (what, _) in enumerate(FOUND)])
async def test_a_call_past_step_is_found(what, body, kind, port, monkeypatch):
    monkeypatch.setitem(PORT, 0, port)
    (call,) = await undeclared(body, kind=kind)
    code = body.__code__
    if what != "Dice().randint()":
        assert code.co_firstlineno <= call.line <= code.co_firstlineno + 2
    assert (call.what, call.file) == (what, str(HERE))
    assert call.tool == {"async": "asynchronous", "sync": "synchronous"}[kind]


async def test_what_generated_code_calls_is_found_where_the_project_calls_that():
    found = await undeclared(lambda: Stamped())
    assert [call.what for call in found] == ["time.time()", "uuid.uuid4()"]


async def test_each_place_is_reported_once_and_in_the_order_of_the_source():
    def body():
        for _ in range(3):
            uuid.uuid4()
            time.time()
        time.time()

    first = body.__code__.co_firstlineno
    found = await undeclared(body)
    assert [(call.line - first, call.what) for call in found] == [
        (2, "uuid.uuid4()"),
        (3, "time.time()"),
        (4, "time.time()"),
    ]


CURES = [
    (lambda: time.time(), "starling.step.now()"),
    (lambda: uuid.uuid4(), "starling.step.random(), or inside starling.step.side_effect"),
    (lambda: random.random(), "starling.step.random(), or seed a random.Random with it"),
    (lambda: HERE.read_text(), "side_effect_sync"),
]


@pytest.mark.parametrize(("body", "cure"), CURES)
async def test_the_text_names_the_helper_that_mends_it(body, cure):
    (call,) = await undeclared(body)
    assert "in tool 'asynchronous' is not recorded" in str(call)
    assert cure in str(call)


async def test_a_module_that_a_test_has_replaced_is_left_alone(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert await undeclared(lambda: time.time()) == ()


# --- connections that libraries make


def by_httpx(url):
    httpx.get(url)


def by_urllib(url):
    with pytest.raises(OSError, match="50"):
        urllib.request.urlopen(url)


@pytest.mark.parametrize(
    ("body", "kind", "library"),
    [
        (by_httpx, "sync", "httpx"),
        (by_httpx, "async", "httpx"),
        (by_urllib, "sync", "urllib"),
    ],
)
async def test_a_connection_by_a_library_is_found_at_the_line_that_calls_it(body, kind, library):
    with OpenAIServer(Script()) as server:
        (call,) = await undeclared(lambda: body(server.base_url), kind=kind)
    assert (call.what, call.file) == (f"socket.connect() by {library}", str(HERE))
    assert call.line == body.__code__.co_firstlineno + (1 if body is by_httpx else 2)


async def by_async_httpx(port):
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{port}/")


async def by_asyncio(port):
    _, writer = await asyncio.create_task(asyncio.open_connection("127.0.0.1", port))
    writer.close()


@pytest.mark.parametrize("connect", [by_async_httpx, by_asyncio])
async def test_a_connection_in_a_task_of_the_librarys_is_found_with_the_tool_alone(connect):
    with OpenAIServer(Script()) as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
        await _found_with_the_tool_alone(lambda: connect(port))


async def _found_with_the_tool_alone(body):
    (call,) = await undeclared(body)
    assert (call.file, call.line, call.what, call.tool) == ("", 0, "socket.connect()", "asynchronous")


def test_what_runs_the_event_loop_did_not_make_the_call(port):
    found = asyncio.run(undeclared(lambda: by_asyncio(port)))
    assert [(call.file, call.tool) for call in found] == [("", "asynchronous")]


def test_a_loop_inside_a_tool_belongs_to_it():
    def body():
        asyncio.run(leaks())

    async def leaks():
        time.time()

    (call,) = asyncio.run(undeclared(body, kind="sync"))
    assert call.line == leaks.__code__.co_firstlineno + 1


@pytest.mark.parametrize("fetch", [by_httpx, by_urllib])
async def test_a_connection_inside_a_side_effect_is_fine(fetch):
    with OpenAIServer(Script()) as server:
        declared = lambda: step.side_effect("fetch", lambda: fetch(server.base_url))  # noqa: E731
        assert await undeclared(declared) == ()


class Sdk:
    """Stands in a tool or on its own: an agent with the vendor's SDK, against a server on this machine."""

    def __init__(self, server, *tools):
        self.agent = Agent(
            OpenAI(base_url=server.base_url, api_key="none"), Config(model=MODEL), MemoryLog(), tools=tools
        )


async def test_the_vendors_sdk_is_never_reported():
    @tool
    async def model_call() -> str:
        """A model call of the tool's own."""
        request = Request(model=MODEL, messages=(Message(role="user", content="hi"),))
        return (await step.llm_call(request)).message.text

    @tool
    async def delegate() -> str:
        return (await Sdk(server).agent.run("help me")).final_text

    @tool
    def delegate_blocking() -> str:
        return Sdk(server).agent.run_sync("help me").final_text

    script = Script().tool_call("model_call").turn().text("one").turn().tool_call("delegate").turn().text("two")
    script.turn().tool_call("delegate_blocking").turn().text("three").turn().text("four")
    with OpenAIServer(script) as server, recording() as session:
        result = await Sdk(server, model_call, delegate, delegate_blocking).agent.run("go")
    assert (result.final_text, len(server.requests)) == ("four", 7)
    assert session.undeclared == ()


# --- what is not found


def logs_with_a_formatter_of_its_own():
    class Formatter(logging.Formatter):
        def format(self, record):
            return f"{time.time()} {uuid.uuid4()} {super().format(record)}"

    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(Formatter())
    logger = logging.getLogger("project")
    logger.addHandler(handler)
    logger.warning("hello")
    logger.removeHandler(handler)


def writes_files():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_text("x")
        for mode in ("w", "w+", "a"):
            open(path, mode).close()
        path.unlink()
        open(path, "x").close()


def draws_from_seeded_generators():
    seeded = random.Random(7)
    seeded.random()
    seeded.choice("abc")
    again = random.Random()
    again.setstate(seeded.getstate())
    again.random()
    Dice(3).roll()


def measures():
    time.monotonic()
    time.perf_counter_ns()
    os.getpid()


def formats():
    then = time.gmtime(0)
    time.localtime(0)
    time.ctime(0)
    time.asctime(then)
    time.strftime("%Y", then)
    time.strftime(*("%Y", then))
    dt.datetime.fromtimestamp(0, dt.UTC)
    Later.fromtimestamp(0, dt.UTC)
    Later(2026, 1, 1).strftime("%Y")


def declares():
    step.now()
    step.random()
    step.side_effect_sync("read", lambda: HERE.read_text()[:1])
    step.side_effect_sync("clock", time.time)


async def declares_asynchronously():
    async def effect():
        uuid.uuid4()
        return await asyncio.create_task(leaking())

    async def leaking():
        return time.time()

    await step.side_effect("async", effect)
    await step.side_effect("thread", lambda: time.time())


FINE = [
    logs_with_a_formatter_of_its_own,
    writes_files,
    draws_from_seeded_generators,
    measures,
    formats,
    lambda: tempfile.mkdtemp(dir=tempfile.mkdtemp()),
    lambda: logging.getLogger("project").warning("x", exc_info=ValueError()),
    lambda: asyncio.sleep(0.001),
]


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("body", [*FINE[:7], declares])
async def test_what_decides_nothing_is_no_false_alarm(body, kind):
    if body is declares and kind == "async":
        body = declares_asynchronously
    assert await undeclared(body, kind=kind) == ()


async def test_a_seeded_generator_that_is_handed_in_is_fine():
    handed_in = random.Random(7)
    assert await undeclared(lambda: handed_in.random()) == ()


LIBRARY = "import time, uuid\nAT = time.time()\n\ndef stamp():\n    return time.time(), uuid.uuid4()\n"
PLACES = {
    "venv/lib/python3/site-packages": False,
    "usr/lib/python3/dist-packages": False,
    "env/src": False,
    "vendored": False,
    "src": True,
}


@pytest.mark.parametrize("place", PLACES)
async def test_only_the_projects_own_files_count(tmp_path, monkeypatch, place):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (tmp_path / "env").mkdir(exist_ok=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (folder / "watched_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()

    @tool
    def use() -> str:
        import watched_library

        watched_library.stamp()
        return "done"

    with recording(tmp_path, foreign=[tmp_path / "vendored"]) as session:
        await agent(calls("use"), use).run("go")
    del sys.modules["watched_library"]
    lines = [(Path(call.file).parent, call.line, call.what) for call in session.undeclared]
    expected = [(folder, 5, "time.time()"), (folder, 5, "uuid.uuid4()")]
    assert lines == (expected if PLACES[place] else [])  # line 2 runs while it is imported


class Clocked(ScriptedProvider):
    """A provider of the project's own, which reads clocks and connects: a replay does not call it."""

    def __init__(self, port):
        super().__init__()
        self.port = port

    async def stream(self, request):
        time.time()
        _, writer = await asyncio.create_task(asyncio.open_connection("127.0.0.1", self.port))
        writer.close()
        socket.create_connection(("127.0.0.1", self.port)).close()
        async for chunk in super().stream(request):
            uuid.uuid4()
            yield chunk


class ClockedLog:
    """A log of the project's own, which has no `append_sync`."""

    def __init__(self, port):
        self.log = MemoryLog()
        self.port = port

    async def append(self, run_id, events):
        time.time()
        await asyncio.create_task(self._flush())
        await self.log.append(run_id, events)

    async def _flush(self):
        uuid.uuid4()
        socket.create_connection(("127.0.0.1", self.port)).close()

    async def read(self, run_id):
        return await self.log.read(run_id)


class ClockedMetrics(NoMetrics):
    """Metrics of the project's own, which send what they are told in the background."""

    def __init__(self, port):
        self.port = port
        self.sent = []

    def tool_called(self, *_):
        self._send()

    def provider_called(self, *_):
        self._send()

    def _send(self):
        time.time()
        self.sent.append(asyncio.create_task(asyncio.open_connection("127.0.0.1", self.port)))


async def test_what_serves_the_run_itself_is_no_false_alarm(port):
    """Providers, logs, metrics: what they call never gets into what is compared."""

    @tool
    async def effects() -> str:
        return await step.side_effect("one", lambda: "done")

    @tool
    async def asks() -> str:
        return (await step.llm_call(Request(model=MODEL, messages=()))).message.text

    provider = Clocked(port).tool_call("effects").turn().tool_call("asks").turn().text("a").turn().text("done")
    metrics = ClockedMetrics(port)
    with recording() as session:
        await agent(provider, effects, asks, log=ClockedLog(port), metrics=metrics).run("go")
        for _, writer in await asyncio.gather(*metrics.sent):
            writer.close()
    assert len(metrics.sent) == 6
    assert session.undeclared == ()


PROCESSING = """
def log(processor):
    processor({"event": "hello"})
"""


@pytest.mark.parametrize("library", ["structlog", "loguru", "other"])
async def test_what_a_logging_library_calls_back_is_no_false_alarm(library, tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / library
    package.mkdir(parents=True)
    (package / "watched_logger.py").write_text(PROCESSING)
    monkeypatch.syspath_prepend(package)

    def stamps(event):
        event["at"] = time.time()

    def logs():
        import watched_logger

        watched_logger.log(stamps)

    found = await undeclared(logs)
    del sys.modules["watched_logger"]
    assert [call.what for call in found] == (["time.time()"] if library == "other" else [])


async def test_a_logger_that_connects_is_no_false_alarm(port):
    def logs_to_a_socket():
        handler = logging.handlers.SocketHandler("127.0.0.1", port)
        logger = logging.getLogger("project")
        logger.addHandler(handler)
        logger.warning("hello")
        assert handler.sock is not None
        logger.removeHandler(handler)
        handler.close()

    assert await undeclared(logs_to_a_socket, kind="sync") == ()


async def test_a_logger_that_sends_datagrams_is_no_false_alarm(port):
    def logs_in_datagrams():
        handler = logging.handlers.DatagramHandler("127.0.0.1", port)
        handler.emit(logging.makeLogRecord({"msg": "hello"}))
        assert handler.sock is not None
        handler.close()

    assert await undeclared(logs_in_datagrams, kind="sync") == ()


@pytest.mark.skipif(not hasattr(time, "clock_gettime"), reason="this system has no such clocks")
async def test_a_clock_that_measures_is_no_false_alarm():
    def measures():
        began = time.clock_gettime(time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID) - began

    assert await undeclared(measures) == ()


async def test_code_around_the_run_is_no_false_alarm():
    meanwhile, over = asyncio.Event(), asyncio.Event()

    async def bystander():
        await meanwhile.wait()
        time.time()
        over.set()

    @tool
    async def waits() -> str:
        assert observing()
        meanwhile.set()
        await over.wait()
        return "done"

    with recording() as session:
        time.time()
        task = asyncio.create_task(bystander())
        await agent(calls("waits"), waits).run("go")
        await task
        uuid.uuid4()
    assert session.undeclared == ()


async def test_what_a_call_left_behind_is_no_false_alarm():
    ended, tasks = asyncio.Event(), []

    async def straggler():
        await ended.wait()
        time.time()

    @tool
    async def starts() -> str:
        tasks.append(asyncio.create_task(straggler()))
        return "done"

    async def goes_on():
        ended.set()
        await tasks[0]

    script = ScriptedProvider().tool_call("starts").turn().do(goes_on).text("done")
    with recording() as session:
        await agent(script, starts).run("go")
    assert session.undeclared == ()


async def test_a_task_of_a_call_that_goes_on_is_found():
    async def leaks():
        time.time()

    (call,) = await undeclared(lambda: asyncio.wait_for(asyncio.create_task(leaks()), 5))
    assert call.line == leaks.__code__.co_firstlineno + 1


# --- loops of the user's own


async def test_a_loop_of_the_projects_own_is_watched_between_turns(port):
    async def body():
        at = time.time()
        httpx.get(server.base_url)
        step.now()
        await step.call_tool(step.ToolCall(name="leaking", args={}))
        return str(at)

    with OpenAIServer(Script()) as server, recording() as session:
        await CustomLoop(body=body, log=MemoryLog(), tools=[leaking]).run()
    first = body.__code__.co_firstlineno
    found = [(call.what, call.tool, call.line - first) for call in session.undeclared if not call.tool]
    assert found == [("time.time()", "", 1), ("socket.connect() by httpx", "", 2)]
    assert [call.tool for call in session.undeclared if call.tool] == ["leaking"]
    assert "time.time() between turns is not recorded" in str(session.undeclared[0])


# --- nested runs


@tool
def leaking() -> str:
    time.time()
    return "done"


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_run_inside_a_tool_is_watched(blocking):
    nested = agent(calls("leaking"), leaking)

    def delegate():
        return nested.run_sync("go") if blocking else nested.run("go")

    (call,) = await undeclared(delegate, kind="sync" if blocking else "async")
    assert (call.what, call.tool) == ("time.time()", "leaking")


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_run_inside_a_side_effect_is_not(blocking):
    innermost = agent(calls("leaking"), leaking)

    @tool
    async def further() -> str:
        return (await innermost.run("go")).final_text

    nested = agent(calls("further"), further)

    def declared():
        if blocking:
            return step.side_effect_sync("nested", lambda: nested.run_sync("go").final_text)
        return step.side_effect("nested", lambda: _text(nested))

    async def _text(one):
        return (await one.run("go")).final_text

    assert await undeclared(declared, kind="sync" if blocking else "async") == ()
