"""Pages that were written by half, and files that went missing: healed from the WAL, or detected, or a shorter log.

What may happen depends on what was torn. A page of the database whose WAL is there is healed. A page that no WAL has
is damage, which must not be taken for a sound log. A WAL that is torn or lost takes the last appends with it, and
leaves each run a beginning of itself.
"""

import random
import shutil

import pytest
from fault_kit import DEEP, assert_sound, finish_run
from mortal_writers import Author

from starling import SQLiteLog
from starling.errors import LogCorruptError, LogError
from starling.event import TERMINAL_KINDS
from starling.eventlog import export_runs_sync, import_runs_sync, run_ids_sync

PAGE = 4096
FRAME = 24 + PAGE
WAL_HEADER = 32
BATCHES = 60
TEARS = 1_000 if DEEP else 40


def wal_of(path):
    return path.with_name(f"{path.name}-wal")


class Snapshots:
    """A log at two moments: checkpointed, and some appends later with those in the WAL. Files and what they hold."""

    def __init__(self, folder):
        path = folder / "log.db"
        author = Author("torn")
        with SQLiteLog(path) as log:
            for _ in range(BATCHES):
                log.append_sync(*author.batch())
            self.early = contents(log)
        self.early_database = path.read_bytes()
        with SQLiteLog(path) as log:
            for _ in range(BATCHES):
                log.append_sync(*author.batch())
            self.late = contents(log)
            self.wal = wal_of(path).read_bytes()
            assert path.read_bytes() == self.early_database, "nothing was checkpointed meanwhile"
        self.late_database = path.read_bytes()


def contents(log):
    return {run_id: log.read_sync(run_id) for run_id in run_ids_sync(log)}


def read_carefully(path):
    """As somebody who goes through a log and validates each run."""
    with SQLiteLog(path, read_only=True) as log:
        runs = contents(log)
    for events in runs.values():
        assert_sound(events)
    return runs


def read_or_error(path):
    try:
        return read_carefully(path), None
    except LogError as error:
        return {}, error


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    return Snapshots(tmp_path_factory.mktemp("snapshots"))


def covered(runs):
    return {run_id: events[: len(events) - (events[-1].kind not in TERMINAL_KINDS)] for run_id, events in runs.items()}


def put(folder, database, wal=b""):
    path = folder / "log.db"
    for leftover in folder.iterdir():
        leftover.unlink()
    path.write_bytes(database)
    if wal:
        wal_of(path).write_bytes(wal)
    return path


def assert_goes_on(path):
    """Every run that is left can be finished, and another one is written."""
    with SQLiteLog(path) as log:
        for run_id in (*run_ids_sync(log), "the next run"):
            finish_run(log, run_id)
        log.check_storage_sync()


def tears(data):
    """Where each page's two halves begin and end."""
    half = PAGE // 2
    return [(start, start + half) for start in range(0, len(data), half)]


def test_a_page_that_a_checkpoint_wrote_by_half_is_healed_from_the_wal(tmp_path, snapshots):
    """The machine stops while pages are copied from the WAL into the database: old and new halves stand in there."""
    early, late = snapshots.early_database, snapshots.late_database
    grown = early + bytes(len(late) - len(early))
    changed = [(start, end) for start, end in tears(late) if late[start:end] != grown[start:end]]
    for start, end in changed if DEEP else random.Random(5).sample(changed, TEARS):
        torn = grown[:start] + late[start:end] + grown[end:]
        path = put(tmp_path, torn, snapshots.wal)
        with SQLiteLog(path) as log:
            assert contents(log) == snapshots.late
    assert_goes_on(path)


@pytest.mark.parametrize("what", ["zeros", "what was there before", "noise"])
def test_a_page_that_is_torn_in_the_database_is_detected_or_was_not_needed(tmp_path, snapshots, what):
    """No WAL has it. Either somebody who goes through the log is told, or every event reads as it was.

    But for the last event of a run that has not ended: it has no successor whose link would cover it, and no seal.
    """
    late = snapshots.late_database
    other = {
        "zeros": bytes(len(late)),
        "what was there before": snapshots.early_database.ljust(len(late), b"\0"),
        "noise": random.Random(what).randbytes(len(late)),
    }[what]
    places = [(start, end) for start, end in tears(late) if late[start:end] != other[start:end]]
    chosen = places if DEEP else random.Random(what).sample(places, 2 * TEARS)
    damaged = [late[:start] + other[start:end] + late[end:] for start, end in chosen]
    assert told_of(tmp_path, damaged, snapshots) > 20


def told_of(folder, damaged, snapshots):
    """How many of these files are reported as damaged, by path or by run and seq; the others read as they were."""
    told = 0
    for data in damaged:
        path = put(folder, data)
        found, error = read_or_error(path)
        if error is None:
            assert covered(found) == covered(snapshots.late), "nobody noticed"
        else:
            assert error.path == str(path) or (error.run_id in snapshots.late and error.seq), error
            told += 1
    return told


def test_what_can_be_read_of_a_damaged_log_goes_on_in_another(tmp_path, snapshots):
    """The error names the run; the other ones are exported one by one and written to a new log."""
    late = snapshots.late_database
    victim, payload = next(
        (run_id, event.payload)
        for run_id, events in snapshots.late.items()
        for event in events[:-1]
        if len(event.payload) > 9_000 and late.count(event.payload[:100]) == 1
    )
    at = late.index(payload[:100]) + 50
    path = put(tmp_path, late[:at] + bytes(50) + late[at + 50 :])
    rescued, lost = [], []
    with SQLiteLog(path, read_only=True) as log:
        for run_id in run_ids_sync(log):
            try:
                assert_sound(log.read_sync(run_id))
                rescued += export_runs_sync(log, [run_id])
            except LogCorruptError as error:
                lost.append((error.run_id, error.seq is not None))
    assert lost == [(victim, True)]
    with SQLiteLog(tmp_path / "new.db") as new:
        import_runs_sync(new, rescued)
        assert contents(new) == {run_id: run for run_id, run in snapshots.late.items() if run_id != victim}
    assert_goes_on(tmp_path / "new.db")


def is_beginning(found, whole, at_least):
    """Each run is a beginning of itself and not shorter than at an earlier moment; no run is made up."""
    assert set(at_least) <= set(found) <= set(whole)
    for run_id, events in found.items():
        assert_sound(events)
        assert events == whole[run_id][: len(events)]
        assert len(events) >= len(at_least.get(run_id, ()))
    return sum(map(len, found.values()))


def wal_cuts(wal):
    """Bytes that are left of a WAL: whole frames, half ones, parts of headers."""
    edges = [0, 1, WAL_HEADER - 1, WAL_HEADER, WAL_HEADER + 12, len(wal) - 1, len(wal) - FRAME // 2]
    frames = range(WAL_HEADER, len(wal), FRAME)
    halves = [start + part for start in frames for part in (24, 24 + PAGE // 2, FRAME - 1, FRAME)]
    chosen = halves if DEEP else random.Random(1).sample(halves, TEARS)
    return sorted({*edges, *chosen})


def test_a_wal_that_was_cut_short_leaves_a_beginning_of_each_run(tmp_path, snapshots):
    """The more there is of it, the more of the log: appends are lost from the end, whole ones."""
    kept = 0
    for size in wal_cuts(snapshots.wal):
        path = put(tmp_path, snapshots.early_database, snapshots.wal[:size])
        with SQLiteLog(path) as log:
            log.check_storage_sync()
            before, kept = kept, is_beginning(contents(log), snapshots.late, snapshots.early)
        assert kept >= before
        if size % 5 == 0:
            assert_goes_on(path)
    assert sum(map(len, snapshots.early.values())) < kept <= sum(map(len, snapshots.late.values()))


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_a_wal_frame_that_was_written_by_half_ends_the_log_before_it(tmp_path, snapshots, fill):
    """Its checksum does not hold, so what stands behind it counts for nothing either."""
    frames = range(WAL_HEADER, len(snapshots.wal), FRAME)
    for start in frames if DEEP else random.Random(2).sample(frames, TEARS):
        wal = bytearray(snapshots.wal)
        half = start + FRAME // 2
        wal[half : start + FRAME] = fill * (start + FRAME - half)
        path = put(tmp_path, snapshots.early_database, bytes(wal))
        with SQLiteLog(path) as log:
            log.check_storage_sync()
            is_beginning(contents(log), snapshots.late, snapshots.early)
        assert_goes_on(path)


def test_a_database_without_its_wal_is_the_log_at_its_last_checkpoint(tmp_path, snapshots):
    """Somebody copied the one file of the three."""
    path = put(tmp_path, snapshots.early_database)
    with SQLiteLog(path) as log:
        assert contents(log) == snapshots.early
    assert_goes_on(path)


def test_a_wal_index_that_is_gone_or_damaged_is_built_again(tmp_path, snapshots):
    for index in (b"", bytes(32768), random.Random(3).randbytes(32768)):
        path = put(tmp_path, snapshots.early_database, snapshots.wal)
        path.with_name("log.db-shm").write_bytes(index)
        with SQLiteLog(path) as log:
            assert contents(log) == snapshots.late
    assert_goes_on(path)


def test_a_log_that_was_cut_short_is_damaged(tmp_path, snapshots):
    """Everywhere but within its last page, of which SQLite takes what is missing for zeros: the chain tells of those."""
    late = snapshots.late_database
    sizes = random.Random(4).sample(range(1, len(late) - PAGE), TEARS)
    assert told_of(tmp_path, [late[:size] for size in sizes], snapshots) == len(sizes)
    within = random.Random(4).sample(range(len(late) - PAGE + 1, len(late)), TEARS)
    told_of(tmp_path, [late[:size] for size in within], snapshots)


def test_an_empty_file_in_its_place_is_a_new_log_and_none_for_a_reader(tmp_path):
    path = put(tmp_path, b"")
    with pytest.raises(LogError, match="without an event log"):
        SQLiteLog(path, read_only=True)
    assert_goes_on(path)
    shutil.copy(path, tmp_path / "copy.db")
    assert_goes_on(tmp_path / "copy.db")
