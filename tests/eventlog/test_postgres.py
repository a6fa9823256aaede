"""PostgresLog keeps every promise of the contract suite, on a real server; and what is Postgres's alone."""

import asyncio
import dataclasses
import gc
import sys
import threading

import pytest
from psycopg.pq import Trace

import starling
from starling import eventlog
from starling.errors import InvalidAppendError, LogClosedError, LogError, MissingExtraError, ReadOnlyError
from starling.event import event_hash, validate
from starling.eventlog import PostgresLog, RunPageOptions, open_log, with_metrics
from starling.testing.eventlog_contract import (
    CARRYING_CHECKS,
    CHECKS,
    LISTING_CHECKS,
    PAGING_CHECKS,
    PRUNING_CHECKS,
    REOPENING_CHECKS,
    dated_run,
    sample_run,
)
from tests.agent_kit import agent, calls, record, replays

EVERY_CHECK = CHECKS + LISTING_CHECKS + PAGING_CHECKS + PRUNING_CHECKS + CARRYING_CHECKS + REOPENING_CHECKS
RUN = sample_run("r", 3)
SECRET = "tortoise"


@pytest.fixture
async def log(postgres):
    async with PostgresLog(postgres.url, auto_migrate=True) as opened:
        yield opened


@pytest.mark.parametrize("check", EVERY_CHECK, ids=lambda check: check.__name__)
async def test_contract(check, postgres):
    await check(lambda: PostgresLog(postgres.url, auto_migrate=True))


@pytest.mark.parametrize("check", CHECKS[:8] + PRUNING_CHECKS, ids=lambda check: check.__name__)
async def test_one_connection_is_enough(check, postgres):
    await check(lambda: PostgresLog(postgres.url, auto_migrate=True, max_connections=1))


def test_it_is_public():
    assert starling.PostgresLog is eventlog.PostgresLog is PostgresLog


def test_without_the_driver_the_message_is_how_to_install_it(monkeypatch):
    for module in [name for name in sys.modules if name.startswith(("psycopg", "starling.eventlog._postgres"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pytest-starling\[postgres\]'"):
        open_log("postgresql://localhost/logs")


# -- names and options


def test_opened_by_name(postgres):
    PostgresLog(postgres.url).migrate_sync()
    socket, _, _ = postgres.url.partition("/postgres?")
    key_values = (
        f"host={postgres.server.folder} user=postgres dbname=postgres options='-c search_path={postgres.schema}'"
    )
    assert socket.startswith("postgresql://")
    for name in (postgres.url, postgres.url.replace("postgresql", "POSTGRES"), f"postgres:{key_values}"):
        with open_log(name) as log:
            assert isinstance(log, PostgresLog)
            assert log.read_sync("r") == []
    with open_log(postgres.url, read_only=True) as log:
        assert log.read_only


@pytest.mark.parametrize(
    ("conninfo", "name"),
    [
        (f"postgresql://ann:{SECRET}@db.example:5433/logs", "postgresql://ann@db.example:5433/logs"),
        (f"host=a,b port=1,2 user='ann b' password={SECRET}", "postgresql://ann%20b@a,b:1,2/"),
        (f"service=prod password={SECRET}", "postgresql:service=prod"),
        ("", "postgresql:///"),
    ],
)
def test_a_log_is_named_without_its_password(conninfo, name):
    with PostgresLog(conninfo) as log:
        assert repr(log) == f"PostgresLog({name!r})"
    with pytest.raises(LogClosedError) as caught:
        log.read_sync("r")
    assert caught.value.path == name


@pytest.mark.parametrize(
    "conninfo", [f"postgresql://ann:{SECRET}%zz@host/db", f"password = 'a' {SECRET}", f"nonsense={SECRET}"]
)
def test_a_connection_string_that_cannot_be_read_is_not_repeated(conninfo):
    with pytest.raises(LogError, match="cannot be read: give postgresql://") as caught:
        PostgresLog(conninfo)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unknown_scheme_is_not_repeated_with_its_password():
    with pytest.raises(LogError, match="unknown kind of log 'mysql'") as caught:
        open_log(f"mysql://ann:{SECRET}@host/db")
    assert SECRET not in str(caught.value) + caught.value.path


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"auto_migrate": True, "read_only": True}, "a read-only log does not migrate"),
        ({"max_connections": 0}, "max_connections=0"),
        ({"timeout_s": 0}, "timeout_s=0"),
    ],
)
def test_options_that_contradict(options, text):
    with pytest.raises(LogError, match=text):
        PostgresLog("", **options)


# -- reading and writing


def test_blocking_twins_do_the_same(postgres):
    runs = {f"r{number}": dated_run(f"r{number}", 10**18 + number) for number in range(5)}
    with PostgresLog(postgres.url, auto_migrate=True) as log:
        for run_id, run in runs.items():
            log.append_sync(run_id, run[:2])
            log.append_sync(run_id, run[2:])
            assert log.read_sync(run_id) == run
        with pytest.raises(InvalidAppendError, match="expected seq 5, got 1"):
            log.append_sync("r0", runs["r0"])
        assert [run.run_id for run in log.list_runs_sync()] == ["r4", "r3", "r2", "r1", "r0"]
        assert log.list_runs_page_sync(RunPageOptions(limit=2)).runs == tuple(log.list_runs_sync()[:2])
        assert log.run_ids_page_sync("r1", 2) == ["r2", "r3"]
        assert log.read_page_sync("r0", 2, 2) == runs["r0"][1:3]
        assert log.schema_version_sync() == 2
        log.check_writable_sync()
        report = eventlog.prune_runs_sync(log, before=log.list_runs_sync()[1].started_at, dry_run=True)
        assert report.matched_runs == 0
        eventlog.preflight_sync(log)
    log.close_sync()
    with pytest.raises(LogClosedError):
        log.read_sync("r0")


def test_a_read_only_log_refuses_and_so_does_its_server(postgres):
    with PostgresLog(postgres.url, auto_migrate=True) as writer:
        writer.append_sync("r", RUN)
    with PostgresLog(postgres.url, read_only=True) as log:
        assert log.read_sync("r") == RUN
        for use in (lambda: log.append_sync("s", RUN), log.migrate_sync, log.check_writable_sync):
            with pytest.raises(ReadOnlyError, match="open it without read_only"):
                use()
        assert log.migrate_sync(dry_run=True).applied == ()
        connection = log._pool.borrow_sync()
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)
        log._pool.give_back(connection, None)


async def test_ids_that_postgres_cannot_hold(log):
    for run_id in ("a\0b", "\ud800"):
        with pytest.raises(InvalidAppendError, match=r"NUL|surrogate"):
            await log.append(run_id, sample_run("r"))
        assert await log.read(run_id) == []
        page = await log.list_runs_page(RunPageOptions(query=run_id))
        assert (page.runs, page.total_matching) == ((), 0)


async def test_checking_whether_it_can_be_written_leaves_nothing_behind(log, postgres):
    await log.check_writable()
    assert postgres.execute("SELECT count(*) FROM eventlog_events") == [(0,)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere psycopg cannot trace what libpq says")
def test_an_append_is_one_statement(postgres, tmp_path):
    """The head is known and the statement prepared; what the server is asked for is to insert, in one round trip."""
    with PostgresLog(postgres.url, auto_migrate=True) as log, (tmp_path / "wire").open("w+b") as wire:
        log.append_sync("r", RUN[:1])
        connection = log._pool.borrow_sync()
        log._pool.give_back(connection, None)
        for batch in (RUN[1:2], RUN[2:]):
            connection.pgconn.trace(wire.fileno())
            connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
            log.append_sync("r", batch)
            connection.pgconn.untrace()
        wire.seek(0)
        lines = [line.split("\t") for line in wire.read().decode(errors="replace").splitlines()]
    asked = [message for side, _, message, *_ in lines if side == "F"]
    assert asked == ["Bind", "Describe", "Execute", "Sync"] * 2


async def test_a_gap_left_by_another_program_is_not_built_upon(log, postgres):
    await log.append("r", RUN[:2])
    postgres.execute("DELETE FROM eventlog_events WHERE seq = 2")
    with pytest.raises(InvalidAppendError, match="run r was changed by another process before seq 3 could be written"):
        await log.append("r", RUN[2:])
    assert await log.read("r") == RUN[:1]


@pytest.mark.parametrize("length", [1, 2], ids=["one", "many"])
async def test_a_run_that_was_begun_anew_elsewhere_is_not_built_upon(log, postgres, length):
    """Its tail has the seq that is looked for, and is another event."""
    first = dataclasses.replace(RUN[0], ts=RUN[0].ts + 1)
    anew = [first, dataclasses.replace(RUN[1], prev_hash=event_hash(first))]
    await log.append("r", RUN[:2])
    postgres.execute("DELETE FROM eventlog_events")
    async with PostgresLog(postgres.url) as other:
        await other.append("r", anew)
    with pytest.raises(InvalidAppendError, match="run r was changed by another process before seq 3 could be written"):
        await log.append("r", RUN[2 : 2 + length])
    with pytest.raises(InvalidAppendError, match="prev_hash of seq 3 is not the hash of seq 2"):
        log.append_sync("r", RUN[2 : 2 + length])
    assert await log.read("r") == anew


# -- threads, loops, connections


def test_one_log_serves_loops_one_after_another(postgres):
    """Each event loop gets connections of its own; those of loops that are gone do not pile up."""
    with PostgresLog(postgres.url, auto_migrate=True, max_connections=3) as log:
        for event in RUN:
            asyncio.run(log.append("r", [event]))
        assert log.read_sync("r") == RUN
        sessions = postgres.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'starling'")
        assert sessions[0][0] <= 3


def test_a_log_that_is_dropped_gives_its_connections_back(postgres):
    log = PostgresLog(postgres.url, auto_migrate=True)
    asyncio.run(log.append("r", RUN))
    assert log.read_sync("r") == RUN
    del log
    gc.collect()
    with PostgresLog(postgres.url) as log:
        postgres.wait_until("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'starling'", 0)
        assert log.read_sync("r") == RUN


async def test_many_runs_at_once_share_few_connections(postgres):
    runs = [sample_run(f"r{number}", 20) for number in range(12)]
    async with PostgresLog(postgres.url, auto_migrate=True, max_connections=3) as log:

        async def write(run):
            for event in run:
                await log.append(event.run_id, [event])

        blocking = threading.Thread(target=lambda: [log.append_sync("b", [event]) for event in sample_run("b", 20)])
        blocking.start()
        async with asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(write(run))
        await asyncio.to_thread(blocking.join)
        for run in [*runs, sample_run("b", 20)]:
            assert await log.read(run[0].run_id) == run


# -- an agent


async def test_an_agent_runs_and_replays_on_it(log):
    recorded = await record(agent(calls("missing"), log=log, tool_errors="report"))
    validate(recorded.events)
    await replays(recorded, agent(tool_errors="report"))
    (summary,) = await log.list_runs()
    assert (summary.turn_count, summary.tool_call_count) == (2, 1)


async def test_the_event_loop_never_waits_for_the_server(log):
    """The runtime awaits appends, observed ones too; it does not call the blocking twin."""

    def refuse(*_):
        raise AssertionError("a blocking append in the event loop")

    class Deaf:
        def append_done(self, *_):
            pass

    log.append_sync = refuse
    for number, used in enumerate((log, with_metrics(log, Deaf()))):
        recorded = await record(agent(calls("missing"), log=used, tool_errors="report"), run_id=f"run-{number}")
        assert recorded.result.final_text == "done"


async def test_rows_are_the_documented_ones(log, postgres):
    await log.append("r", RUN)
    rows = postgres.execute("SELECT run_id, seq, prev_hash, ts, kind, payload FROM eventlog_events ORDER BY seq")
    assert rows == [("r", event.seq, event.prev_hash, event.ts, int(event.kind), event.payload) for event in RUN]
    assert rows[1][2] == event_hash(RUN[0])


async def test_the_listing_goes_by_our_index(log, postgres):
    for number in range(300):
        await log.append(f"r{number}", dated_run(f"r{number}", 10**18 + number)[:1])
    statements = {
        "starling_first_events": log._jobs.list_runs_page(RunPageOptions(limit=5)),
        "starling_run_ids": log._jobs.run_ids_page("r1", 5),
    }
    for index, job in statements.items():
        statement = next(job.steps)
        connection = log._pool.borrow_sync()
        connection.execute("SET enable_seqscan = off")  # the table is small
        cursor = connection.execute(f"EXPLAIN {statement.text}".replace("?", "%s"), statement.arguments, prepare=False)
        assert index in "\n".join(line for (line,) in cursor)
        log._pool.give_back(connection, None)
