"""What Postgres's errors become: one table, from the server's code to a sentence."""

import psycopg
import pytest

from starling.errors import LogCorruptError, LogError, LogWriteError
from starling.eventlog._postgres_errors import map_error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (psycopg.errors.DiskFull, "the server's disk is full"),
        (psycopg.errors.OutOfMemory, "the server has run out of something"),
        (psycopg.errors.TooManyConnections, "the server takes no more connections"),
        (psycopg.errors.InvalidPassword, "the server does not let this role in"),
        (psycopg.errors.InvalidCatalogName, "there is no such database"),
        (psycopg.errors.InsufficientPrivilege, "the role lacks a privilege"),
        (psycopg.errors.UndefinedTable, "a table is missing"),
        (psycopg.errors.ReadOnlySqlTransaction, "the server takes no writes"),
        (psycopg.errors.UntranslatableCharacter, "the server cannot hold a value"),
        (psycopg.errors.ProgramLimitExceeded, "a value is too large for Postgres"),
        (psycopg.errors.SerializationFailure, "the server rolled the statement back"),
        (psycopg.errors.DeadlockDetected, "the server rolled the statement back"),
        (psycopg.errors.LockNotAvailable, "another session held a lock for too long"),
        (psycopg.errors.QueryCanceled, "the statement took longer than the server allows"),
        (psycopg.errors.AdminShutdown, "the server ended the session"),
        (psycopg.errors.CannotConnectNow, "the server is starting or stopping"),
        (psycopg.errors.ConnectionFailure, "the connection failed"),
        (psycopg.OperationalError, "the connection failed"),
        (psycopg.errors.SyntaxError, "Postgres refused it"),
    ],
)
def test_what_an_error_means(error, text):
    said = error("some\nwords")
    mapped = map_error(said, "postgresql://host/db", "append", writing=True, run_id="r", seq=7)
    assert mapped.message.startswith(
        f"postgresql://host/db: append of run r from seq 7 on failed: {text} (some words). "
    )
    assert (type(mapped), mapped.path, mapped.run_id, mapped.seq) == (LogWriteError, "postgresql://host/db", "r", 7)
    read = map_error(said, "postgresql://host/db", "read", run_id="r")
    assert type(read) is LogError
    assert "can be resumed" not in read.message  # only a run that was being written


@pytest.mark.parametrize(
    "error", [psycopg.errors.DataCorrupted("bad"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")]
)
def test_damage_is_damage_whoever_meets_it(error):
    mapped = map_error(error, "postgresql://host/db", "append", writing=True)
    assert type(mapped) is LogCorruptError
    assert "the database is damaged" in mapped.message
