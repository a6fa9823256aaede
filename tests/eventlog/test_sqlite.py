"""The SQLite file itself: its form, its mode, and what happens when it is not what it should be."""

import contextlib
import gc
import os
import pickle
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from starling.errors import (
    InvalidAppendError,
    LogClosedError,
    LogCorruptError,
    LogError,
    LogWriteError,
    ReadOnlyError,
)
from starling.event import Chain, UserMessageAppended, validate
from starling.eventlog import SQLiteLog, _sqlite
from starling.eventlog._sql import row_of_event
from starling.testing.eventlog_contract import dated_run, sample_run

ORIGINALS = Path(__file__).parents[2] / "testdata" / "interop" / "db"
RUN = sample_run("r", 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


@contextlib.contextmanager
def raw(path):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def written(path, run=RUN):
    with SQLiteLog(path) as log:
        log.append_sync(run[0].run_id, run)
    return path


# --- form -----------------------------------------------------------------------------------------


def test_tables_are_those_of_the_format(path):
    written(path)
    with raw(path) as connection:
        assert connection.execute("PRAGMA table_info(eventlog_events)").fetchall() == [
            (0, "run_id", "TEXT", 1, None, 1),
            (1, "seq", "INTEGER", 1, None, 2),
            (2, "prev_hash", "BLOB", 0, None, 0),
            (3, "ts", "INTEGER", 1, None, 0),
            (4, "kind", "INTEGER", 1, None, 0),
            (5, "payload", "BLOB", 1, None, 0),
        ]
        assert connection.execute("PRAGMA table_info(eventlog_schema_migrations)").fetchall() == [
            (0, "version", "INTEGER", 0, None, 1),
            (1, "applied_at", "INTEGER", 1, None, 0),
        ]
        assert [version for (version,) in connection.execute("SELECT version FROM eventlog_schema_migrations")] == [
            1,
            2,
        ]
        assert {kind for (kind,) in connection.execute("SELECT DISTINCT type FROM sqlite_master")} == {"table", "index"}
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_connection_settings(path):
    with SQLiteLog(path) as log:
        pragmas = {name: log._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in SETTINGS}
    assert pragmas == SETTINGS


SETTINGS = {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 5000}


def test_rows_hold_the_events(path):
    written(path)
    with raw(path) as connection:
        rows = connection.execute("SELECT * FROM eventlog_events ORDER BY seq").fetchall()
    assert rows == [(e.run_id, e.seq, e.prev_hash, e.ts, int(e.kind), e.payload) for e in RUN]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_new_file_is_private_whatever_the_umask(path):
    before = os.umask(0)
    try:
        with SQLiteLog(path) as log:
            log.append_sync("r", RUN)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"log.db": 0o600, "log.db-wal": 0o600, "log.db-shm": 0o600}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_an_existing_file_keeps_its_mode(path):
    written(path)
    path.chmod(0o640)
    written(path, sample_run("s"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["log file?mode=memory#x%41.db", "лог.db", "a&b=c.db"])
def test_odd_file_names_are_taken_literally(tmp_path, name):
    written(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with SQLiteLog(str(tmp_path / name), read_only=True) as log:
        assert log.read_sync("r") == RUN


def test_relative_paths_survive_a_change_of_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = SQLiteLog("log.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    log.append_sync("r", RUN)
    assert log.path == tmp_path / "log.db"
    log.close_sync()


def test_a_dropped_log_releases_its_file(path):
    log = SQLiteLog(path)
    log.append_sync("r", RUN)
    del log
    gc.collect()
    assert [file.name for file in path.parent.iterdir()] == ["log.db"]


def test_importing_the_facade_does_not_import_sqlite():
    program = "import sys, starling.eventlog as e; assert 'sqlite3' not in sys.modules; e.SQLiteLog; assert 'sqlite3' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.parametrize("original", sorted(ORIGINALS.glob("*.db")), ids=lambda path: path.stem)
@pytest.mark.parametrize("read_only", [True, False])
def test_logs_of_the_original_program(original, read_only, tmp_path):
    """They open either way, their chains hold, and a run that was cut off can be continued."""
    copy = Path(shutil.copy(original, tmp_path / "copy.db"))
    before = copy.read_bytes()
    with raw(copy) as connection:
        ((run_id, count),) = connection.execute("SELECT run_id, count(*) FROM eventlog_events").fetchall()
    with SQLiteLog(copy, read_only=read_only) as log:
        events = log.read_sync(run_id)
        assert [event.seq for event in events] == list(range(1, count + 1))
        if "crash" not in original.stem:
            validate(events)
        if not read_only:
            log.append_sync("mine", sample_run("mine"))
    if read_only:
        assert copy.read_bytes() == before
        assert list(tmp_path.iterdir()) == [copy]


# --- read-only ------------------------------------------------------------------------------------


async def test_read_only_refuses_to_write_and_leaves_no_trace(path):
    written(path)
    before = path.read_bytes()
    async with SQLiteLog(path, read_only=True) as log:
        assert log.read_only
        assert await log.read("r") == RUN
        for batch in (RUN, []):
            with pytest.raises(ReadOnlyError, match="cannot append: open it without read_only"):
                await log.append("r", batch)
    assert path.read_bytes() == before


def test_read_only_sees_a_living_writer(path):
    with SQLiteLog(path) as writer, SQLiteLog(path, read_only=True) as reader:
        writer.append_sync("r", RUN[:2])
        assert reader.read_sync("r") == RUN[:2]
        writer.append_sync("r", RUN[2:])
        assert reader.read_sync("r") == RUN


# --- files that are no logs -----------------------------------------------------------------------


def make_directory(path):
    path.mkdir()


def make_text(path):
    path.write_text("run_id,seq\n" * 500)


def make_foreign(path):
    with raw(path) as connection:
        connection.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")


def make_foreign_events(path):
    with raw(path) as connection:
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, title TEXT)")
        connection.execute("INSERT INTO events VALUES (1, 'a party')")


def make_truncated(path):
    written(path, sample_run("r", 300))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def make_headless(path):
    written(path)
    path.write_bytes(b"\0" * 200 + path.read_bytes()[200:])


def make_fixture(path):
    written(path)
    with raw(path) as connection:
        connection.execute("CREATE TABLE starling_fixture (key TEXT PRIMARY KEY, value)")


def make_odd_migrations(path):
    written(path)
    with raw(path) as connection:
        connection.execute("DROP TABLE eventlog_schema_migrations")
        connection.execute("CREATE TABLE eventlog_schema_migrations (applied TEXT)")


def make_nothing(path):
    pass


REFUSED = [
    (make_directory, False, LogError, "is a directory: name a file in it"),
    (make_directory, True, LogError, "is a directory: name a file in it"),
    (make_text, False, LogCorruptError, "this is not a SQLite database"),
    (make_text, True, LogCorruptError, "this is not a SQLite database"),
    (make_headless, False, LogCorruptError, "this is not a SQLite database"),
    (make_truncated, False, LogCorruptError, "the database is damaged or was cut short"),
    (make_truncated, True, LogCorruptError, "the database is damaged or was cut short"),
    (make_foreign, True, LogError, "is a SQLite database without an event log"),
    (make_foreign_events, False, LogError, "the table 'events' is not that of an early event log"),
    (make_fixture, False, ReadOnlyError, "is a golden fixture and is not written to"),
    (make_odd_migrations, False, LogCorruptError, "its tables are not those of an event log"),
    (make_nothing, True, LogError, "does not exist; only a log that is opened for writing is created"),
]


@pytest.mark.parametrize(
    ("make", "read_only", "error", "text"),
    REFUSED,
    ids=[f"{make.__name__[5:]}-{'ro' if read_only else 'rw'}" for make, read_only, *_ in REFUSED],
)
def test_what_is_no_log_is_refused_and_left_alone(path, make, read_only, error, text):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LogError, match=text) as caught:
        SQLiteLog(path, read_only=read_only)
    assert type(caught.value) is error
    assert caught.value.path == str(path)
    assert str(path) in caught.value.message
    assert (path.read_bytes() if path.is_file() else None) == before
    if not read_only:  # a reader of a WAL file leaves the sidecars that SQLite needs for it
        assert {file.name for file in path.parent.iterdir()} <= {path.name}


@pytest.mark.parametrize("read_only", [True, False])
def test_a_missing_folder_is_named(tmp_path, read_only):
    with pytest.raises(LogError, match=r"nowhere does not exist: create it first"):
        SQLiteLog(tmp_path / "nowhere" / "log.db", read_only=read_only)


@pytest.mark.parametrize("name", ["", ":memory:"])
def test_a_log_needs_a_file(name):
    with pytest.raises(LogError, match="use MemoryLog for a log without one"):
        SQLiteLog(name)


def test_an_empty_file_becomes_a_log(path):
    path.touch()
    with SQLiteLog(path) as log:
        log.append_sync("r", RUN)
    assert written(path.with_name("other.db")).exists()


def test_damage_found_while_reading(path):
    """Pages that are broken after the log was opened."""
    written(path, sample_run("r", 2000))
    content = bytearray(path.read_bytes())
    for page in range(5, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)
    with SQLiteLog(path) as log, pytest.raises(LogCorruptError, match="read of run r failed: the database is damaged"):
        log.read_sync("r")


def test_no_damage_gets_a_driver_error_past_us(path):
    """Bytes changed all over a log: reading works, or fails with a `LogError`."""
    written(path)
    original = path.read_bytes()
    outcomes = []
    for position in [*range(150), *range(150, len(original), 13)]:
        changed = bytearray(original)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        try:
            with SQLiteLog(path, read_only=True) as log:
                outcomes.append(log.read_sync("r") == RUN)
        except LogError as error:
            outcomes.append(type(error))
    assert {True, LogCorruptError} <= set(outcomes)


# --- rows that are no events ----------------------------------------------------------------------

BAD_ROWS = [
    ("ts = 'noon'", "ts must be int, found str"),
    ("ts = 1.5", "ts must be int, found float"),
    ("kind = 'RunStarted'", "kind must be int, found str"),
    ("kind = -1", "kind must not be negative, found -1"),
    ("payload = 'text'", "payload must be bytes, found str"),
    ("payload = CAST(x'ff736563726574' AS TEXT)", "payload must be bytes, found text that is not UTF-8"),
    ("payload = 7", "payload must be bytes, found int"),
    ("prev_hash = 'text'", "prev_hash must be bytes, found str"),
    ("prev_hash = x'00'", "prev_hash must be 32 bytes, found 1"),
]


@pytest.mark.parametrize(("change", "text"), BAD_ROWS)
async def test_a_row_that_is_no_event(path, change, text):
    written(path, sample_run("r", 3, ended=False))
    with raw(path) as connection:
        connection.execute(f"UPDATE eventlog_events SET {change} WHERE seq = 4")
    async with SQLiteLog(path) as log:
        with pytest.raises(LogCorruptError, match=text) as caught:
            await log.read("r")
        if "found" in text:
            assert f"{path}: run 'r' seq 4: " in caught.value.message
            assert (caught.value.run_id, caught.value.seq, caught.value.path) == ("r", 4, str(path))
        with pytest.raises(LogCorruptError, match=text):
            [event async for event in log.stream("r")]
        with pytest.raises(LogCorruptError, match=text):
            await log.append("r", sample_run("r", 4)[4:])
        assert await log.read("unharmed") == []
        assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_broken_text_is_one_damaged_row_and_the_rest_is_listed(path):
    """Opened anew for each question: the first one meets it."""
    with SQLiteLog(path) as log:
        for number, run_id in enumerate(("a", "b", "c", "d")):
            log.append_sync(run_id, dated_run(run_id, 10**18 + number))
    with raw(path) as connection:
        connection.execute("UPDATE eventlog_events SET payload = CAST(x'ff' AS TEXT) WHERE run_id = 'b'")
        connection.execute("UPDATE eventlog_events SET run_id = CAST(x'ff' AS TEXT) WHERE run_id = 'd'")
    asked = {
        "list_runs_sync": lambda log: [run.run_id for run in log.list_runs_sync()],
        "list_runs_page_sync": lambda log: [run.run_id for run in log.list_runs_page_sync().runs],
        "read_sync": lambda log: len(log.read_sync("c")) > 0,
    }
    answers = {}
    for name, ask in asked.items():
        with SQLiteLog(path, read_only=True) as log:
            answers[name] = ask(log)
    assert answers == {"list_runs_sync": ["c", "a"], "list_runs_page_sync": ["c", "b", "a"], "read_sync": True}
    with SQLiteLog(path, read_only=True) as log, pytest.raises(LogCorruptError, match="which is no text"):
        log.run_ids_page_sync()


def test_unknown_kinds_are_read_as_numbers(path):
    written(path)
    with raw(path) as connection:
        connection.execute("UPDATE eventlog_events SET kind = 99 WHERE seq = 2")
    with SQLiteLog(path) as log:
        assert log.read_sync("r")[1].kind == 99


# --- storage that fails ---------------------------------------------------------------------------


def test_a_locked_file_is_a_write_error_and_nothing_is_written(path):
    with SQLiteLog(path) as log, raw(path) as other:
        log.append_sync("r", RUN[:1])
        log._connection.execute("PRAGMA busy_timeout = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogWriteError, match="append of run r failed: the database stayed locked") as caught:
            log.append_sync("r", RUN[1:])
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert log.read_sync("r") == RUN[:1]
        other.rollback()
        log.append_sync("r", RUN[1:])
        assert log.read_sync("r") == RUN


def test_a_full_disk_is_a_write_error_and_the_run_goes_on_later(path):
    with SQLiteLog(path) as log:
        log.append_sync("r", RUN[:1])
        (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
        log._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        big = sample_run("big", 3000)
        with pytest.raises(LogWriteError, match="the disk is full"):
            log.append_sync("big", big)
        assert log.read_sync("big") == []
        log._connection.execute("PRAGMA max_page_count = 1000000")
        log.append_sync("big", big)
        log.append_sync("r", RUN[1:])
        assert log.read_sync("r") == RUN


def test_a_file_that_became_read_only_is_a_write_error(path):
    with SQLiteLog(path) as log:
        log._connection.execute("PRAGMA query_only = 1")
        with pytest.raises(LogWriteError, match="the file or its folder cannot be written"):
            log.append_sync("r", RUN)


def test_a_lost_table_is_corruption(path):
    with SQLiteLog(path) as log:
        log.append_sync("r", RUN[:1])
        with raw(path) as other:
            other.execute("DROP TABLE eventlog_events")
        with pytest.raises(LogCorruptError, match="its tables are not those of an event log"):
            log.read_sync("r")


def test_an_interrupted_append_writes_nothing(path, monkeypatch):
    """KeyboardInterrupt between two events of a batch."""

    def row(event):
        if event.seq == 3:
            raise KeyboardInterrupt
        return row_of_event(event)

    with SQLiteLog(path) as log:
        monkeypatch.setattr(_sqlite, "row_of_event", row)
        with pytest.raises(KeyboardInterrupt):
            log.append_sync("r", RUN)
        monkeypatch.undo()
        assert not log._connection.in_transaction
        assert log.read_sync("r") == []
        log.append_sync("r", RUN)


@pytest.mark.parametrize("batch", [RUN[2:3], RUN[2:4], RUN[2:]], ids=["one", "two", "the rest"])
def test_a_run_deleted_underneath_is_noticed(path, batch):
    """The remembered head is no longer in the file: the append writes nothing, and says so."""
    with SQLiteLog(path) as log:
        log.append_sync("r", RUN[:2])
        with raw(path) as other:
            other.execute("DELETE FROM eventlog_events")
        with pytest.raises(InvalidAppendError, match="was changed by another process before seq 3"):
            log.append_sync("r", batch)
        assert log.read_sync("r") == []
        log.append_sync("r", RUN)
        assert log.read_sync("r") == RUN


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("size", [1, 2])
def test_a_run_begun_anew_underneath_is_left_alone(path, length, size):
    """Under the same id and as long as the one that was known, stamped alike: but it is another one."""
    anew = _begun_with("something else", 4)
    with SQLiteLog(path) as log, SQLiteLog(path) as other:
        log.append_sync("r", RUN[:length])
        with raw(path) as third:
            third.execute("DELETE FROM eventlog_events")
        other.append_sync("r", anew[:length])
        with pytest.raises(InvalidAppendError, match=f"was changed by another process before seq {length + 1}"):
            log.append_sync("r", RUN[length : length + size])
        other.append_sync("r", anew[length:])
        assert log.read_sync("r") == anew


def _begun_with(goal, length):
    chain = Chain("r")
    first = replace(RUN[0].decode(), goal=goal)
    rest = [event.decode() for event in RUN[1:length]]
    return [chain.append(payload, event.ts) for payload, event in zip([first, *rest], RUN, strict=False)]


def test_a_large_head_is_read_again_and_not_kept(path):
    chain = Chain("r")
    large = UserMessageAppended(content="x" * (1 << 17))
    run = [chain.append(payload, 1) for payload in (RUN[0].decode(), large, large)]
    with SQLiteLog(path) as log:
        for event in run:
            log.append_sync("r", [event])
            assert len(log._heads) == (event.seq == 1)
        assert log.read_sync("r") == run


def test_a_failed_append_says_where(path):
    with SQLiteLog(path) as log, raw(path) as other:
        log.append_sync("r", RUN[:2])
        other.execute("DROP TABLE eventlog_events")
        other.commit()
        with pytest.raises(LogError) as raised:
            log.append_sync("r", RUN[2:3])
    assert (raised.value.run_id, raised.value.seq) == ("r", 3)


@pytest.mark.parametrize("size", [1, 2])
def test_of_two_writers_of_one_run_the_second_is_refused(path, size):
    with SQLiteLog(path) as log, SQLiteLog(path) as other:
        log.append_sync("r", RUN[:2])
        other.append_sync("r", RUN[2 : 2 + size])
        with pytest.raises(InvalidAppendError, match="was changed by another process before seq 3"):
            log.append_sync("r", RUN[2 : 2 + size])
        assert log.read_sync("r") == RUN[: 2 + size]


def test_heads_of_abandoned_runs_do_not_pile_up(path, monkeypatch):
    monkeypatch.setattr("starling.eventlog._append_rules._HEADS_KEPT", 3)
    runs = [sample_run(f"r{n}", 2) for n in range(8)]
    with SQLiteLog(path) as log:
        for run in runs:
            log.append_sync(run[0].run_id, run[:2])
        assert len(log._heads) == 3
        for run in runs:
            log.append_sync(run[0].run_id, run[2:])
            assert log.read_sync(run[0].run_id) == run
        assert len(log._heads) <= 3


def test_errors_pickle(path):
    with pytest.raises(LogError) as caught:
        SQLiteLog(path, read_only=True)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.message, copy.path) == (caught.value.message, str(path))


def test_closing_while_others_work(path):
    """Threads that use the log when it is closed get LogClosedError, never a driver's error."""
    log = SQLiteLog(path)
    started, seen = threading.Barrier(5), []

    def work(number):
        run = sample_run(f"r{number}", 5000, ended=False)
        started.wait(30)
        try:
            for event in run:
                log.append_sync(event.run_id, [event])
                log.read_sync("other")
        except BaseException as error:
            seen.append(type(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    started.wait(30)
    log.close_sync()
    for thread in threads:
        thread.join()
    assert seen == [LogClosedError] * 4
