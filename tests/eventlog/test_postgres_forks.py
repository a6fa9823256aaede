"""A Postgres log in a process that forks: parent and child go on with it, each with connections of its own."""

import os
import sys

import pytest

from starling.eventlog import PostgresLog
from starling.testing.eventlog_contract import sample_run
from tests import forked

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

_BEGINNING = """
import asyncio, os, signal, sys, threading, time, warnings
from starling.eventlog import PostgresLog
from starling.testing.eventlog_contract import sample_run

warnings.simplefilter("error")
PARENT, CHILD, SHARED = (sample_run(run_id, 200) for run_id in ("parent", "child", "shared"))
log = PostgresLog(sys.argv[1], max_connections=int(sys.argv[2]))

def write(run, events):
    for event in events:
        log.append_sync(run[0].run_id, [event])

def session():
    connection = log._pool.borrow_sync()
    log._pool.give_back(connection, None)
    return connection.info.backend_pid

def write_in_child():
    signal.alarm(60)  # which ends a child that waits for what is not there
    write(CHILD, CHILD[:100])
    asyncio.run(log.append("child", CHILD[100:]))
    write(SHARED, SHARED[100:])
    assert log.read_sync("child") == CHILD
    log.close_sync()

write(PARENT, PARENT[:1])
write(SHARED, SHARED[:100])
asyncio.run(log.append("parent", PARENT[1:2]))  # an idle connection of a loop's
"""
_WHILE_IT_RESTS = """
before = session()
child = os.fork()
if not child:
    assert session() != before
    write_in_child()
    sys.exit()  # and what remains of the connections goes
write(PARENT, PARENT[2:])
_, status = os.waitpid(child, 0)
assert log.read_sync("parent") == PARENT
assert session() == before  # the child has not said good-bye in its name
sys.exit(os.waitstatus_to_exitcode(status))
"""
_WHILE_THREADS_USE_IT = """
import psycopg

def until(question):
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.001)

holder = psycopg.connect(sys.argv[1])
holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('parent', 0))")
appending = threading.Thread(target=write, args=(PARENT, PARENT[2:]))
appending.start()
until(lambda: log._pool._in_use)
reading = threading.Thread(target=log.read_sync, args=("parent",))
reading.start()
until(lambda: log._pool._waiting)
with log._pool._lock, log._jobs._heads._lock, log._wakeups._lock, warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
    child = os.fork()
    if not child:
        write_in_child()
        os._exit(0)
_, status = os.waitpid(child, 0)
holder.close()
appending.join()
reading.join()
assert log.read_sync("parent") == PARENT
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize(
    ("then", "connections"), [(_WHILE_IT_RESTS, 3), (_WHILE_THREADS_USE_IT, 1)], ids=["resting", "in use"]
)
def test_parent_and_child_go_on(postgres, then, connections):
    with PostgresLog(postgres.url, auto_migrate=True) as log:
        log.migrate_sync()
        done = forked.run([sys.executable, "-c", _BEGINNING + then, postgres.url, str(connections)])
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        for run_id in ("parent", "child", "shared"):
            assert log.read_sync(run_id) == sample_run(run_id, 200)
