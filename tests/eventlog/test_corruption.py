"""Bytes that change on disk: whatever a log still hands out as sound is what was written."""

import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import settings

from starling.errors import LogError
from starling.event import TERMINAL_KINDS, Kind, validate, validate_prefix
from starling.eventlog import SQLiteLog, export_runs_sync, import_runs_sync, run_ids_sync
from starling.replay import read_fixture
from starling.testing.eventlog_contract import dated_run, sample_run
from tests.cli.test_cli import fixture

DEEP = settings.default.max_examples > 1000
SAMPLE = 150
"""Bytes a file that are changed in the ordinary suite; all of them in the deep profile."""

ORIGINAL = Path(__file__).parents[2] / "testdata/interop/db/03_parallel_three.db"


def service_log(path):
    """Runs of every ending, written here."""
    with SQLiteLog(path) as log:
        for number, end in enumerate((Kind.RunCompleted, Kind.RunFailed, Kind.RunCancelled)):
            log.append_sync(f"run-{number}", dated_run(f"run-{number}", 10**18 + number, end, tool_calls=2))
        log.append_sync("long", sample_run("long", 60))


def imported_log(path):
    """A run of the original's, imported here."""
    with SQLiteLog(ORIGINAL, read_only=True) as source, SQLiteLog(path) as target:
        import_runs_sync(target, export_runs_sync(source))


def believed_log(path):
    """Every run that a careful reader would believe; an error where there is anything to find."""
    with SQLiteLog(path, read_only=True) as log:
        runs = {}
        for run_id in run_ids_sync(log):
            runs[run_id] = log.read_sync(run_id)
            (validate if runs[run_id][-1].kind in TERMINAL_KINDS else validate_prefix)(runs[run_id])
        return runs


def changes(data):
    """(position, the byte there instead): a bit of each byte, and all of its bits."""
    chance = random.Random(data)
    positions = range(len(data)) if DEEP else sorted(chance.sample(range(len(data)), SAMPLE))
    return [(at, data[at] ^ mask) for at in positions for mask in (1 << chance.randrange(8), 0xFF)]


@pytest.mark.parametrize(
    ("write", "read"),
    [(service_log, believed_log), (imported_log, believed_log), (fixture, read_fixture)],
    ids=["service log", "imported log", "fixture"],
)
def test_a_changed_byte_is_detected_or_changes_nothing_that_is_read(tmp_path, write, read):
    write(tmp_path / "sound.db")
    data = (tmp_path / "sound.db").read_bytes()
    expected = read(tmp_path / "sound.db")
    detected = 0
    for at, value in changes(data):
        path = tmp_path / "changed.db"
        path.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
        try:
            assert read(path) == expected, f"byte {at} changed from {data[at]} to {value}: nobody noticed"
        except LogError:
            detected += 1
        for sidecar in tmp_path.glob("changed.db-*"):
            sidecar.unlink()
    assert detected > 0


def test_a_changed_kind_does_not_hide_that_the_run_had_ended(tmp_path):
    """The kind of the last event becomes a number that is no kind, as one bit may do it."""
    path = tmp_path / "log.db"
    service_log(path)
    edit(path, "UPDATE eventlog_events SET kind = kind + 64 WHERE run_id = 'run-1' AND kind = 13")
    with SQLiteLog(path, read_only=True) as log:
        with pytest.raises(LogError, match="run run-1 seq 8: the terminal event is not the one that was sealed"):
            log.read_sync("run-1")
        with pytest.raises(LogError, match="was sealed"):
            log.read_page_sync("run-1", 8)
        validate(log.read_sync("run-0"))


def test_a_lost_index_is_noticed_by_who_goes_through_the_log(tmp_path):
    """A whole log that seems empty: its index says that it has no entries, its table says otherwise."""
    path = tmp_path / "log.db"
    service_log(path)
    data = bytearray(path.read_bytes())
    page = 4096 * (root_of(path, "sqlite_autoindex_eventlog_events_1") - 1)
    data[page + 3 : page + 5] = b"\0\0"
    path.write_bytes(data)
    with SQLiteLog(path, read_only=True) as log, pytest.raises(LogError, match="damaged"):
        list(export_runs_sync(log))


def edit(path, statement):
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement).rowcount == 1
    connection.close()


def root_of(path, name):
    connection = sqlite3.connect(path)
    ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchall()
    connection.close()
    return root
