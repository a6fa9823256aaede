"""Golden fixture files: what is written is what is read, and nothing else passes."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from starling.errors import FixtureError, LogCorruptError, LogError, LogWriteError, ReadOnlyError
from starling.event import Chain, SideEffectRecorded, encode_event
from starling.eventlog import SQLiteLog
from starling.replay._fixture_file import (
    Fixture,
    FixtureRun,
    discard,
    install_fixture,
    read_fixture,
    temporary_path,
    write_fixture,
)
from starling.testing.eventlog_contract import sample_run

ORIGINALS = Path(__file__).parents[2] / "testdata" / "interop" / "db"
FIXTURE = Fixture(
    test_id="tests/test_support.py::TestRefund::test_refund[ключ]",
    recorded_at="2026-07-01T12:00:00.123456+02:00",
    versions={"pytest-starling": "0.1.0", "openai": "3.1.0"},
    runs=(
        FixtureRun(run_id="z-first", events=tuple(sample_run("z-first", 6)), began=1, ended=4),
        FixtureRun(
            run_id="a-second",
            events=tuple(sample_run("a-second", 2)),
            parent_run_id="z-first",
            parent_call_id="call_1",
            began=2,
            ended=3,
        ),
    ),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "test_refund.db"


@pytest.fixture
def recorded(path):
    install_fixture(write_fixture(path, FIXTURE), path)
    return path


# --- writing and reading --------------------------------------------------------------------------


def test_round_trip(recorded):
    assert read_fixture(recorded) == FIXTURE


def test_a_fixture_is_one_file(recorded):
    read_fixture(recorded)
    assert list(recorded.parent.iterdir()) == [recorded]


def test_the_same_value_gives_the_same_bytes(recorded, tmp_path):
    again = tmp_path / "other" / "name.db"
    install_fixture(write_fixture(again, FIXTURE), again)
    assert again.read_bytes() == recorded.read_bytes()


def test_recording_again_in_another_process_gives_the_same_bytes(recorded, tmp_path):
    """Nothing of the process (hash seeds, clocks) gets into the file."""
    copy = tmp_path / "copy.db"
    program = (
        "import sys, pathlib\n"
        "from starling.replay._fixture_file import install_fixture, read_fixture, write_fixture\n"
        "source, target = map(pathlib.Path, sys.argv[1:])\n"
        "install_fixture(write_fixture(target, read_fixture(source)), target)\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", program, str(recorded), str(copy)], check=True, env=environment)
    assert copy.read_bytes() == recorded.read_bytes()


def test_journal_mode_and_tables(recorded):
    with closing(sqlite3.connect(f"{recorded.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert connection.execute(
            "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        ).fetchall() == [
            ("table", "eventlog_events"),
            ("table", "eventlog_schema_migrations"),
            ("table", "starling_fixture"),
            ("table", "starling_fixture_runs"),
        ]
        settings = dict(connection.execute("SELECT key, value FROM starling_fixture"))
    assert sorted(settings) == ["digest", "format_version", "recorded_at", "test_id", "versions"]
    assert settings["format_version"] == "1"
    assert settings["test_id"] == FIXTURE.test_id
    assert settings["versions"] == '{"openai":"3.1.0","pytest-starling":"0.1.0"}'


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_on_the_mode(path, umask, mode):
    before = os.umask(umask)
    try:
        install_fixture(write_fixture(path, FIXTURE), path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_fixture_opens_as_a_log_for_reading_only(recorded):
    before = recorded.read_bytes()
    with SQLiteLog(recorded, read_only=True) as log:
        for run in FIXTURE.runs:
            assert tuple(log.read_sync(run.run_id)) == run.events
    with pytest.raises(ReadOnlyError, match="is a golden fixture"):
        SQLiteLog(recorded)
    assert recorded.read_bytes() == before


def test_reading_neither_needs_nor_heeds_a_sidecar(recorded):
    for suffix in ("-wal", "-journal", "-shm"):
        recorded.with_name(recorded.name + suffix).write_bytes(b"leftover")
    assert read_fixture(recorded) == FIXTURE


def test_runs_of_the_original_program_fit_in(path):
    runs = []
    for number, source in enumerate(sorted(ORIGINALS.glob("*.db"))):
        with closing(sqlite3.connect(source)) as connection:
            ((run_id,),) = connection.execute("SELECT DISTINCT run_id FROM eventlog_events").fetchall()
        with SQLiteLog(source, read_only=True) as log:
            events = tuple(log.read_sync(run_id))
        if "crash" not in source.stem:
            runs.append(FixtureRun(run_id=run_id, events=events, began=2 * number, ended=2 * number + 1))
    assert len(runs) > 2
    fixture = replace(FIXTURE, runs=tuple(runs))
    install_fixture(write_fixture(path, fixture), path)
    assert read_fixture(path) == fixture


@pytest.mark.parametrize(("text_length", "count"), [(0, 1000), (200, 300), (450, 60), (600, 60), (3000, 12)])
def test_a_fixture_of_some_size_takes_little_more_than_its_events(path, text_length, count):
    """Whatever the events' size, the page size fits it. (Tables and settings take about 4 KiB, once.)"""
    chain = Chain("z-first")
    events = [chain.append(sample_run("z-first")[0].decode(), 1)]
    events += [chain.append(SideEffectRecorded(name="n", value="x" * text_length), 2) for _ in range(count)]
    events.append(chain.append(replace(sample_run("z-first")[-1].decode(), merkle_root=chain.root()), 3))
    fixture = replace(FIXTURE, runs=(replace(FIXTURE.runs[0], events=tuple(events)),))
    install_fixture(write_fixture(path, fixture), path)
    events = sum(len(encode_event(event)) for event in fixture.runs[0].events)
    assert path.stat().st_size <= 1.35 * events


def test_a_fixture_without_runs_or_versions(path):
    fixture = replace(FIXTURE, runs=(), versions={})
    install_fixture(write_fixture(path, fixture), path)
    assert read_fixture(path) == fixture


# --- what is not written --------------------------------------------------------------------------


def with_events(events):
    return replace(FIXTURE, runs=(replace(FIXTURE.runs[0], events=tuple(events)),))


RUN = FIXTURE.runs[0]


@pytest.mark.parametrize(
    ("fixture", "error", "text"),
    [
        (with_events(RUN.events[:-1]), LogCorruptError, ""),
        (with_events([RUN.events[0], *RUN.events[2:]]), LogCorruptError, ""),
        (with_events(()), LogCorruptError, ""),
        (replace(FIXTURE, runs=(RUN, RUN)), FixtureError, "stands twice"),
        (replace(FIXTURE, runs=(replace(RUN, run_id="other"),)), FixtureError, "are of another run"),
        (replace(FIXTURE, recorded_at="yesterday"), FixtureError, "must be ISO 8601 with an offset, got 'yesterday'"),
        (replace(FIXTURE, recorded_at="2026-07-01T12:00:00"), FixtureError, "must be ISO 8601 with an offset"),
    ],
)
def test_a_fixture_that_is_not_sound_is_not_written(path, fixture, error, text):
    with pytest.raises(error, match=text or None):
        write_fixture(path, fixture)
    assert list(path.parent.iterdir()) == []


def test_an_old_temporary_is_replaced(path):
    temporary_path(path).write_bytes(b"half a fixture")
    temporary_path(path).chmod(0o600)
    temporary = write_fixture(path, FIXTURE)
    assert temporary == temporary_path(path) == path.parent / ".test_refund.db.tmp"
    assert read_fixture(temporary) == FIXTURE
    assert not path.exists()


def test_a_temporary_that_is_a_link_is_not_written_through(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    temporary_path(path).symlink_to(victim)
    write_fixture(path, FIXTURE)
    assert victim.read_text() == "untouched"


def test_writing_leaves_the_old_fixture_alone(recorded):
    before = recorded.read_bytes()
    temporary = write_fixture(recorded, replace(FIXTURE, test_id="other"))
    assert recorded.read_bytes() == before
    discard(temporary)
    discard(temporary)
    assert list(recorded.parent.iterdir()) == [recorded]
    assert recorded.read_bytes() == before


def test_a_disk_that_refuses(path):
    path.parent.joinpath("file").write_text("")
    with pytest.raises(LogWriteError, match="cannot be written"):
        write_fixture(path.parent / "file" / "test.db", FIXTURE)
    temporary = write_fixture(path, FIXTURE)
    path.mkdir()
    with pytest.raises(LogWriteError, match="cannot be put in place"):
        install_fixture(temporary, path)


def test_no_temporary_is_left_when_writing_fails(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LogWriteError, match="No space left on device"):
        write_fixture(path, FIXTURE)
    assert list(path.parent.iterdir()) == []


KILLED = """
import os, pathlib, signal, sys
from dataclasses import replace
from starling.replay import _fixture_file as f

path, stage = pathlib.Path(sys.argv[1]), sys.argv[2]
fixture = replace(f.read_fixture(path), test_id="new")
real = {"fsync": os.fsync, "replace": os.replace}

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class File:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def fileno(self): return self.file.fileno()
    def flush(self): die() if stage == "written" else self.file.flush()
    def write(self, data):
        self.file.write(data[: len(data) // 2])
        if stage == "half":
            self.file.flush()
            die()
        self.file.write(data[len(data) // 2 :])

opened = pathlib.Path.open
if stage in ("half", "written"):
    pathlib.Path.open = lambda self, mode="r": File(opened(self, mode)) if mode == "xb" else opened(self, mode)
if stage == "unsynced":
    os.fsync = die
if stage == "before":
    os.replace = die
if stage == "after":
    os.replace = lambda *args: (real["replace"](*args), die())
f.install_fixture(f.write_fixture(path, fixture), path)
"""


@pytest.mark.parametrize("stage", ["half", "written", "unsynced", "before", "after"])
def test_killed_while_recording(recorded, stage):
    """The target is the old file, byte for byte, or the new one; at most the one temporary is left, and the next
    recording removes it."""
    before = recorded.read_bytes()
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(recorded), stage],
        env={"PYTHONPATH": ":".join(sys.path)},
        timeout=60,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    left = {file.name for file in recorded.parent.iterdir()}
    if stage == "after":
        assert left == {recorded.name}
        assert read_fixture(recorded) == replace(FIXTURE, test_id="new")
    else:
        assert left == {recorded.name, temporary_path(recorded).name}
        assert recorded.read_bytes() == before
    install_fixture(write_fixture(recorded, FIXTURE), recorded)
    assert list(recorded.parent.iterdir()) == [recorded]
    assert read_fixture(recorded) == FIXTURE


# --- what is not read -----------------------------------------------------------------------------


def edit(*statements):
    def change(path):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return change


def truncate(part):
    def change(path):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])

    return change


def append_garbage(path):
    with path.open("ab") as file:
        file.write(b"\n")


def remove(path):
    path.unlink()


def make_directory(path):
    path.unlink()
    path.mkdir()


def make_text(path):
    path.write_text("<<<<<<< HEAD\n")


def make_lfs_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def make_log(path):
    path.unlink()
    with SQLiteLog(path) as log:
        log.append_sync("r", sample_run("r"))


def make_foreign(path):
    path.unlink()
    edit("CREATE TABLE customers (id)")(path)


def smash_a_page(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 512 // 2 * 512
    content[middle : middle + 512] = b"\xee" * 512
    path.write_bytes(content)


LAST = "run_id = 'z-first' AND seq = 8"
UNREADABLE = {
    "missing": (remove, FixtureError, "does not exist: record the test with pytest --record-golden"),
    "directory": (make_directory, FixtureError, "cannot be read: Is a directory"),
    "empty": (truncate(0), LogCorruptError, "is not a SQLite database"),
    "text": (make_text, LogCorruptError, "is not a SQLite database"),
    "LFS pointer": (make_lfs_pointer, FixtureError, "is a Git LFS pointer: fetch the fixture with git lfs pull"),
    "cut to a header": (truncate(0.02), LogCorruptError, "damaged or was cut short|not a SQLite database"),
    "cut in half": (truncate(0.5), LogCorruptError, "damaged or was cut short"),
    "last byte missing": (truncate(0.9999), LogCorruptError, "cut short or added to: it should have"),
    "something behind": (append_garbage, LogCorruptError, "cut short or added to: it should have"),
    "smashed page": (smash_a_page, LogCorruptError, "damaged"),
    "foreign": (make_foreign, FixtureError, "a SQLite database, but no golden fixture: another program wrote it"),
    "plain log": (make_log, FixtureError, "is an event log, but no golden fixture: record one in its place"),
    "newer format": (
        edit("UPDATE starling_fixture SET value = '2' WHERE key = 'format_version'"),
        FixtureError,
        "has fixture format version 2, this version of pytest-starling knows 1: upgrade it, or record",
    ),
    "newer schema": (
        edit("INSERT INTO eventlog_schema_migrations VALUES (3, 0)"),
        FixtureError,
        "has log schema version 3, this version of pytest-starling knows 2",
    ),
    "older schema": (
        edit("DELETE FROM eventlog_schema_migrations WHERE version = 2"),
        LogCorruptError,
        "its log schema version is 1, which no fixture has",
    ),
    "no format version": (
        edit("DELETE FROM starling_fixture WHERE key = 'format_version'"),
        LogCorruptError,
        "its fixture format version is None",
    ),
    "other test id": (
        edit("UPDATE starling_fixture SET value = 'tests/x.py::test' WHERE key = 'test_id'"),
        LogCorruptError,
        "what it says about its test and its runs is not what was recorded",
    ),
    "other order": (
        edit("UPDATE starling_fixture_runs SET began = 9 WHERE position = 1"),
        LogCorruptError,
        "what it says about its test and its runs is not what was recorded",
    ),
    "unlisted run": (
        edit(
            "INSERT INTO eventlog_events SELECT 'new', seq, prev_hash, ts, kind, payload FROM eventlog_events WHERE "
            "run_id = 'a-second'"
        ),
        LogCorruptError,
        "run new: its events are there, but the fixture does not list the run",
    ),
    "missing run": (
        edit("DELETE FROM eventlog_events WHERE run_id = 'a-second'"),
        LogCorruptError,
        "run a-second: its events are missing",
    ),
    "missing runs table": (edit("DROP TABLE starling_fixture_runs"), LogCorruptError, "its tables are not those"),
    "edited event": (
        edit("UPDATE eventlog_events SET ts = ts + 1 WHERE run_id = 'z-first' AND seq = 3"),
        LogCorruptError,
        "run z-first, seq 4: ",
    ),
    "edited payload": (
        edit("UPDATE eventlog_events SET payload = x'a0' WHERE run_id = 'z-first' AND seq = 3"),
        LogCorruptError,
        "run z-first, seq ",
    ),
    "missing event": (
        edit("DELETE FROM eventlog_events WHERE run_id = 'z-first' AND seq = 3"),
        LogCorruptError,
        "run z-first, seq 4: ",
    ),
    "missing terminal": (edit(f"DELETE FROM eventlog_events WHERE {LAST}"), LogCorruptError, "run z-first"),
    "edited terminal": (
        edit(f"UPDATE eventlog_events SET ts = ts + 1 WHERE {LAST}"),
        LogCorruptError,
        "run z-first, seq 8: the last event is not the one that was recorded",
    ),
    "ill-typed row": (
        edit("UPDATE eventlog_events SET kind = 'x' WHERE run_id = 'z-first' AND seq = 2"),
        LogCorruptError,
        "run 'z-first' seq 2: kind must be int, found str",
    ),
}


@pytest.mark.parametrize(("damage", "error", "text"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_used_is_refused_by_name(recorded, damage, error, text):
    damage(recorded)
    with pytest.raises(LogError, match=text) as caught:
        read_fixture(recorded)
    assert type(caught.value) is error
    assert caught.value.path == str(recorded)
    assert str(recorded) in caught.value.message
    if text.startswith("run z-first, seq"):
        assert caught.value.run_id == "z-first"
        assert f"seq {caught.value.seq}: " in caught.value.message


@pytest.mark.parametrize(("flip", "step"), [(0xFF, 1), (0x01, 5), (0x80, 5)])
def test_no_flipped_byte_goes_unnoticed(path, flip, step):
    """Every byte of a small fixture (single bits: every fifth byte): it is refused with a `LogError`, or what is read is what was written."""
    fixture = replace(FIXTURE, runs=(replace(RUN, events=tuple(sample_run("z-first", 2))),))
    install_fixture(write_fixture(path, fixture), path)
    original = path.read_bytes()
    refused = 0
    for position in range(0, len(original), step):
        changed = bytearray(original)
        changed[position] ^= flip
        path.write_bytes(changed)
        try:
            assert read_fixture(path) == fixture, f"byte {position} of {len(original)} changed what is read"
        except LogError:
            refused += 1
    assert refused > sum(len(encode_event(event)) for event in fixture.runs[0].events) / 2 / step
