"""What a Postgres log makes of a server that stops, connections that are cut, locks that are held."""

import asyncio
import pickle
import signal
import threading
import time

import pytest

from starling import tool
from starling.errors import InvalidAppendError, LogClosedError, LogError, LogWriteError
from starling.event import Kind, validate
from starling.eventlog import PostgresLog
from starling.testing import ScriptedProvider
from starling.testing.eventlog_contract import sample_run
from tests.agent_kit import agent, calls
from tests.eventlog._postgres_proxy import Proxy

RUN = sample_run("r", 6)
IN_USE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'starling' AND state = 'active'"


@pytest.fixture
async def log(postgres):
    async with PostgresLog(postgres.url, auto_migrate=True) as opened:
        await opened.append("r", RUN[:2])
        yield opened


@pytest.fixture
def proxy(postgres):
    opened = Proxy(str(postgres.server.folder / ".s.PGSQL.5432"))
    yield opened
    opened.close()


def behind(proxy, postgres, kind=PostgresLog):
    return kind(
        f"host=127.0.0.1 port={proxy.port} user=postgres dbname=postgres sslmode=disable gssencmode=disable "
        f"options='-c search_path={postgres.schema}'"
    )


# -- the server goes away


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_was_restarted_is_found_again(log, postgres, mode):
    """Connections that died while nobody used them are replaced before anything is asked of them."""
    log.append_sync("r", RUN[2:3])
    postgres.server.stop(mode)
    postgres.server.start()
    await log.append("r", RUN[3:4])
    log.append_sync("r", RUN[4:])
    assert await log.read("r") == log.read_sync("r") == RUN


async def test_a_server_that_is_away_is_named_with_its_cause(log, postgres):
    postgres.server.stop()
    try:
        with pytest.raises(
            LogWriteError, match=r"append of run r from seq 3 on failed: the connection failed"
        ) as caught:
            await log.append("r", RUN[2:])
        with pytest.raises(LogError, match=r"read of run r failed: the connection failed .*No such file"):
            log.read_sync("r")
    finally:
        postgres.server.start()
    assert (caught.value.run_id, caught.value.seq) == ("r", 3)
    assert pickle.loads(pickle.dumps(caught.value)).path == caught.value.path
    await log.append("r", RUN[2:])
    assert await log.read("r") == RUN


async def test_an_agent_whose_server_stops_is_resumed(log, postgres):
    """The run stops at its log; nothing that was acknowledged is lost, and it is gone on with."""
    ran = []

    @tool
    def work() -> str:
        """Work while the server goes away, the first time."""
        ran.append(len(ran))
        if len(ran) == 1:
            postgres.server.stop("immediate")
        return "worked"

    script = calls("work")
    recorder = agent(script, work, log=log)
    try:
        with pytest.raises(LogWriteError, match="resume the run once the log works again"):
            await recorder.run_with_id("agent", "go")
    finally:
        postgres.server.start()
    before = await log.read("agent")
    assert before[-1].kind is Kind.ToolCallScheduled
    result = await agent(ScriptedProvider().text("done"), work, log=log).resume("agent")
    assert result.terminal_kind is Kind.RunCompleted
    after = await log.read("agent")
    assert after[: len(before)] == before
    validate(after)
    assert ran == [0, 1]


@pytest.mark.parametrize("cut", ["restart", "terminate"])
async def test_a_connection_that_dies_under_an_append_is_a_write_error(log, postgres, cut):
    with postgres.held("r"):
        appending = asyncio.ensure_future(log.append("r", RUN[2:]))
        await asyncio.to_thread(postgres.wait_for_waiters, 1)
        if cut == "terminate":
            assert postgres.server.cut_connections(application_name="starling", wait_event_type="Lock") == 1
            with pytest.raises(LogWriteError, match=r"the server ended the session .*terminating connection"):
                await appending
    if cut == "restart":
        with pytest.raises(LogError), postgres.held("s"):  # noqa: PT012 - the lock's holder goes as well
            appending = asyncio.ensure_future(log.append("s", sample_run("s")))
            await asyncio.to_thread(postgres.wait_for_waiters, 1)
            postgres.server.stop("immediate")
            postgres.server.start()
            await appending
    stored = await log.read("r")
    await log.append("r", RUN[len(stored) :])
    assert await log.read("r") == RUN


async def test_a_stream_goes_on_when_its_idle_connections_are_cut(log, postgres):
    stream = log.stream("r")
    seen = [await anext(stream), await anext(stream)]
    for event in RUN[2:]:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        async with PostgresLog(postgres.url) as other:
            await other.append("r", [event])
        seen.append(await waiting)
        postgres.wait_until(IN_USE, 0)
        postgres.server.cut_connections(application_name="starling")
    assert seen == RUN


# -- acknowledgements and requests that are lost on the way


async def test_a_lost_acknowledgement_is_a_write_error_and_the_batch_is_there(log, postgres, proxy):
    async with behind(proxy, postgres) as far:
        await far.append("r", RUN[2:3])
        proxy.lose = "answers"
        with pytest.raises(LogWriteError, match="append of run r from seq 4 on failed: the connection failed"):
            await far.append("r", RUN[3:5])
        proxy.lose = ""
        assert await far.read("r") == RUN[:5]
        with pytest.raises(InvalidAppendError, match="expected seq 6, got 4"):
            await far.append("r", RUN[3:5])
        await far.append("r", RUN[5:])
        assert await log.read("r") == RUN


async def test_a_lost_request_is_a_write_error_and_the_batch_is_not_there(postgres, log, proxy):
    async with behind(proxy, postgres) as far:
        await far.append("r", RUN[2:3])
        proxy.lose = "requests"
        with pytest.raises(LogWriteError, match="the connection failed"):
            await far.append("r", RUN[3:5])
        proxy.lose = ""
        assert await far.read("r") == RUN[:3]
        await far.append("r", RUN[3:])
        assert await log.read("r") == RUN


@pytest.mark.parametrize("lost", ["answers", "requests"])
async def test_an_agent_finds_out_what_became_of_a_lost_commit(log, postgres, proxy, lost):
    """Where the batch had arrived the run goes on as if nothing had happened; else it stops and can be resumed."""

    @tool
    def work() -> str:
        """Work; what is committed next meets a fault."""
        far.appends_to_lose = 1
        return "worked"

    class Faulty(PostgresLog):
        appends_to_lose = 0

        async def append(self, run_id, events):
            proxy.lose = lost if self.appends_to_lose else ""
            self.appends_to_lose = 0
            try:
                await super().append(run_id, events)
            finally:
                proxy.lose = ""

    far = behind(proxy, postgres, Faulty)
    recorder = agent(calls("work"), work, log=far)
    if lost == "answers":
        result = await recorder.run_with_id("agent", "go")
    else:
        with pytest.raises(LogWriteError):
            await recorder.run_with_id("agent", "go")
        result = await agent(calls("work"), work, log=log).resume("agent")
    assert result.terminal_kind is Kind.RunCompleted
    validate(await log.read("agent"))
    await far.close()


# -- waiting


async def test_a_statement_that_takes_longer_than_the_server_allows(log, postgres):
    impatient = postgres.server.url(
        postgres.schema, options=f"-c search_path={postgres.schema} -c statement_timeout=50"
    )
    async with PostgresLog(impatient) as other:
        with postgres.held("r"), pytest.raises(LogWriteError, match="the statement took longer than the server allows"):
            await other.append("r", RUN[2:])
        await other.append("r", RUN[2:])
    assert await log.read("r") == RUN


async def test_a_cancelled_append_writes_nothing_and_holds_nothing(postgres, log):
    async with PostgresLog(postgres.url, max_connections=1) as other:
        with postgres.held("r"):
            appending = asyncio.ensure_future(other.append("r", RUN[2:]))
            await asyncio.to_thread(postgres.wait_for_waiters, 1)
            appending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await appending
        assert await other.read("r") == RUN[:2]
        await other.append("r", RUN[2:])
        assert await log.read("r") == RUN


async def test_who_finds_no_free_connection_is_told(postgres, log):
    async with PostgresLog(postgres.url, max_connections=1, timeout_s=0.05) as other:
        assert await other.read("r") == RUN[:2]
        with postgres.held("r"):
            appending = asyncio.ensure_future(other.append("r", RUN[2:]))
            await asyncio.to_thread(postgres.wait_for_waiters, 1)
            text = r"all connections of this log were in use \(none of 1 became free within 0.05 s\)"
            with pytest.raises(LogError, match=text):
                await other.read("r")
            with pytest.raises(LogWriteError, match=text):
                other.append_sync("s", sample_run("s"))
        await appending
        assert await other.read("r") == RUN


def until_waiting(log, number):
    deadline = time.monotonic() + 30
    while len(log._pool._waiting) < number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("end", ["free", "cancelled", "closed"])
async def test_waiting_for_a_free_connection(postgres, log, end):
    """Tasks and threads wait in one line; who leaves it takes nothing with it."""
    other = PostgresLog(postgres.url, max_connections=1)
    outcomes = []

    def read():
        try:
            outcomes.append(other.read_sync("r"))
        except LogError as error:
            outcomes.append(type(error))

    with postgres.held("r"):
        appending = asyncio.ensure_future(other.append("r", RUN[2:]))
        await asyncio.to_thread(postgres.wait_for_waiters, 1)
        reading = asyncio.ensure_future(other.read("r"))
        await asyncio.sleep(0)
        thread = threading.Thread(target=read)
        thread.start()
        await asyncio.to_thread(until_waiting, other, 2)
        if end == "cancelled":
            reading.cancel()
        if end == "closed":
            await other.close()
    await appending
    await asyncio.to_thread(thread.join)
    if end == "closed":
        with pytest.raises(LogClosedError):
            await reading
        assert outcomes == [LogClosedError]
    else:
        assert outcomes == [RUN]
    if end == "cancelled":
        with pytest.raises(asyncio.CancelledError):
            await reading
    if end == "free":
        assert await reading == RUN
    await other.close()
    assert other._pool._in_use == 0


class Interruption(BaseException):
    """What the handler of a signal may raise, wherever the program is."""


@pytest.fixture
def interrupts():
    """Makes SIGUSR1 raise an `Interruption` in the main thread."""

    def interrupt(*_):
        raise Interruption

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system sends no signals to threads")
def test_who_is_interrupted_in_the_line_leaves_it(postgres, interrupts):
    def interrupt():
        until_waiting(other, 1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    with PostgresLog(postgres.url, auto_migrate=True, max_connections=1) as other:
        other.append_sync("r", RUN[:2])
        with postgres.held("r"):
            appending = threading.Thread(target=other.append_sync, args=("r", RUN[2:]))
            appending.start()
            postgres.wait_for_waiters(1)
            interrupting = threading.Thread(target=interrupt)
            interrupting.start()
            with pytest.raises(Interruption):
                other.read_sync("r")
        appending.join()
        interrupting.join()
        assert other._pool._in_use == 0
        assert other.read_sync("r") == RUN


async def test_a_coroutine_that_is_closed_in_the_line_leaves_it(postgres, log):
    async with PostgresLog(postgres.url, max_connections=1) as other:
        with postgres.held("r"):
            appending = asyncio.ensure_future(other.append("r", RUN[2:]))
            await asyncio.to_thread(postgres.wait_for_waiters, 1)
            reading = other.read("r")
            reading.send(None)
            assert len(other._pool._waiting) == 1
            reading.close()
        await appending
        assert other._pool._in_use == 0
        assert await other.read("r") == RUN


async def test_a_role_that_may_not_have_more_connections(postgres, log):
    role = postgres.role("few", "SELECT")
    postgres.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    async with PostgresLog(postgres.url_as(role)) as other:
        with pytest.raises(LogError, match="too many connections for role"):
            await other.read("r")


async def test_there_is_no_such_database(postgres):
    async with PostgresLog(postgres.url.replace("/postgres?", "/nowhere?")) as other:
        with pytest.raises(LogError, match='database "nowhere" does not exist'):
            await other.read("r")
