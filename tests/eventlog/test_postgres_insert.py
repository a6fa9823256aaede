"""The statement that an append is: its hand-made parameters are what psycopg's own would be."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from starling.errors import LogWriteError
from starling.event import Event, event_hash
from starling.eventlog import PostgresLog
from starling.eventlog._postgres_insert import Connection, insertion
from starling.testing.eventlog_contract import sample_run

RUN = sample_run("r", 4)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.tuples(st.none() | st.binary(max_size=40), INT64, st.integers(0, 2**63 - 1), st.binary(max_size=300))
RUN_IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
PLAIN = "INSERT INTO eventlog_events (run_id, seq, prev_hash, ts, kind, payload) VALUES (%s, %s, %s, %s, %s, %s)"
BY_SEQ = "SELECT run_id, seq, prev_hash, ts, kind, payload FROM eventlog_events ORDER BY seq"


@pytest.fixture
def connection(postgres):
    PostgresLog(postgres.url).migrate_sync()
    with Connection.connect(postgres.url, autocommit=True) as opened:
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run_id=RUN_IDS, values=st.lists(VALUES, min_size=1, max_size=12))
def test_rows_are_those_of_a_plain_insert(connection, run_id, values):
    """One event at a time and as one batch alike, whatever bytes and numbers they hold."""
    batch = [
        Event(run_id=run_id, seq=seq, prev_hash=prev_hash, ts=ts, kind=kind, payload=payload)
        for seq, (prev_hash, ts, kind, payload) in enumerate(values, 1)
    ]
    stored = []
    for write in (
        lambda: connection.wait(insertion(connection, None, batch)),
        lambda: sum(
            connection.wait(insertion(connection, tail, [event]))
            for tail, event in zip([None, *batch], batch, strict=False)
        ),
        lambda: sum(connection.execute(PLAIN, dataclasses.astuple(event)).rowcount for event in batch),
    ):
        connection.execute("DELETE FROM eventlog_events")
        assert write() == len(batch)
        stored.append(connection.execute(BY_SEQ).fetchall())
    assert stored[0] == stored[1] == stored[2] == [dataclasses.astuple(event) for event in batch]


@pytest.mark.parametrize("batch", [RUN[1:2], RUN[1:]], ids=["one", "many"])
def test_nothing_is_written_without_the_predecessor(connection, batch):
    assert connection.wait(insertion(connection, RUN[0], batch)) == 0
    assert connection.execute(BY_SEQ).fetchall() == []
    connection.wait(insertion(connection, None, RUN[:1]))
    assert connection.wait(insertion(connection, RUN[0], batch)) == len(batch)


@pytest.mark.parametrize("batch", [RUN[2:3], RUN[2:]], ids=["one", "many"])
@pytest.mark.parametrize(
    "other",
    [{"prev_hash": None}, {"prev_hash": bytes(32)}, {"ts": 0}, {"kind": 0}, {"payload": b""}],
    ids=["no prev_hash", "prev_hash", "ts", "kind", "payload"],
)
def test_nothing_is_written_behind_another_event_of_the_same_seq(connection, batch, other):
    connection.execute(PLAIN, dataclasses.astuple(dataclasses.replace(RUN[1], **other)))
    assert connection.wait(insertion(connection, RUN[1], batch)) == 0
    connection.execute("DELETE FROM eventlog_events")
    connection.execute(PLAIN, dataclasses.astuple(RUN[1]))
    assert connection.wait(insertion(connection, RUN[1], batch)) == len(batch)


@pytest.mark.parametrize("batch", [RUN[1:2], RUN[1:]], ids=["one", "many"])
def test_the_lock_is_the_original_s_and_is_asked_for_first(connection, postgres, batch):
    """Also by a batch that will be refused: it waits for its turn, as it would behind the original."""
    connection.execute("SET lock_timeout = 50")
    with postgres.held("r"), pytest.raises(Exception, match="lock timeout"):
        connection.wait(insertion(connection, RUN[0], batch))


def test_a_connection_whose_preparing_was_cancelled_is_used_on(connection):
    """The server had prepared the statements; this side never heard of it."""
    connection.wait(insertion(connection, None, RUN[:1]))
    connection.is_prepared = False
    assert connection.wait(insertion(connection, RUN[0], RUN[1:2])) == 1
    assert connection.wait(insertion(connection, RUN[1], RUN[2:])) == len(RUN) - 2


@pytest.mark.parametrize("length", [1, 2])
def test_a_run_that_has_used_up_its_seqs(postgres, length):
    last = dataclasses.replace(RUN[1], seq=2**63 - 1)
    batch = [dataclasses.replace(RUN[2], seq=2**63, prev_hash=event_hash(last))]
    batch += [dataclasses.replace(RUN[3], seq=2**63 + 1, prev_hash=event_hash(batch[0]))]
    with PostgresLog(postgres.url, auto_migrate=True) as log:
        log.check_writable_sync()
        postgres.execute(PLAIN, *dataclasses.astuple(last))
        with pytest.raises(LogWriteError, match=r"the server cannot hold a value \(bigint out of range\)"):
            log.append_sync("r", batch[:length])
