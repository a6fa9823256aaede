"""What docs/operations.md promises of backup and restore, shown with the commands that it names."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

from cli_kit import service_log, shop, starling_process

from starling import SQLiteLog


def back_up(log, copy):
    copy.touch(mode=0o600)
    with closing(sqlite3.connect(log)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def test_a_backup_that_is_made_while_agents_write_is_whole_and_valid(tmp_path, starling):
    """The writer goes on during the copy; what was committed before it began is in it, and what is in it is sound."""
    log = tmp_path / "log.db"
    service_log(log, "before")
    begun, stop = threading.Event(), threading.Event()

    def write():
        with SQLiteLog(log) as own:
            for number in range(2_000):
                shop(own).run_with_id_sync(f"during-{number:04}", "go")
                begun.set()
                if stop.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        for number in range(5):
            back_up(log, tmp_path / f"backup{number}.db")
    finally:
        stop.set()
        writer.join()

    for number in range(5):
        assert starling("validate", "--allow-in-progress", tmp_path / f"backup{number}.db").code == 0
        assert "before" in starling("list", tmp_path / f"backup{number}.db", "--all", "--json").out
    assert starling("validate", log).code == 0


def test_a_restored_backup_can_be_written_and_resumed(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", unfinished=["r2"])
    back_up(log, tmp_path / "backup.db")
    (tmp_path / "log.db").write_bytes(b"lost")
    for rest in ("log.db-wal", "log.db-shm"):
        (tmp_path / rest).unlink(missing_ok=True)

    shutil.copy(tmp_path / "backup.db", log)

    assert starling("doctor", log).code == 0
    with SQLiteLog(log) as restored:
        assert shop(restored).resume_sync("r2").terminal_kind.name == "RunCompleted"
        shop(restored).run_with_id_sync("r3", "go")
    assert starling("validate", log).out == f"3 runs, {9 + 9 + restored_events(log)} events: 3 valid\n"


def restored_events(log):
    with SQLiteLog(log, read_only=True) as opened:
        return len(opened.read_sync("r2"))


def test_a_copy_of_the_file_alone_lacks_what_is_in_its_wal(tmp_path):
    """Why the page says so: the reason to let SQLite copy."""
    with SQLiteLog(tmp_path / "log.db") as log:
        shop(log).run_with_id_sync("r1", "go")
        shutil.copy(tmp_path / "log.db", tmp_path / "copied.db")
        back_up(tmp_path / "log.db", tmp_path / "backup.db")

    def rows(path):
        with closing(sqlite3.connect(path)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            has_log = "eventlog_events" in names
            return connection.execute("SELECT count(*) FROM eventlog_events").fetchone()[0] if has_log else 0

    assert (rows(tmp_path / "copied.db"), rows(tmp_path / "backup.db")) == (0, 9)


def test_a_damaged_run_is_brought_back_from_a_backup(tmp_path, starling):
    from cli_kit import damage

    log = service_log(tmp_path / "log.db", "good", "bad")
    back_up(log, tmp_path / "backup.db")
    damage(log, "bad", 4)
    assert starling("validate", log).code == 1

    for source, run_id in ((log, "good"), (tmp_path / "backup.db", "bad")):
        (tmp_path / "lines").write_text(starling("export", source, run_id).out)
        assert starling("import", tmp_path / "mended.db", tmp_path / "lines").code == 0

    assert starling("validate", tmp_path / "mended.db").out == "2 runs, 18 events: 2 valid\n"


def test_an_erased_run_is_in_none_of_the_files(tmp_path, starling):
    """Beside a living writer, which the room that is free belongs to."""
    secret, log = b"the goal of a person", tmp_path / "log.db"
    statements = (
        "DELETE FROM eventlog_events WHERE run_id = 'theirs'; DELETE FROM starling_seals WHERE run_id = 'theirs'",
        "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)",
    )
    with SQLiteLog(log) as writer:
        for run_id, goal in (("theirs", secret.decode()), ("another", "go")):
            shop(writer).run_with_id_sync(run_id, goal)
        assert found_in(tmp_path, secret)
        for statement in statements:
            with closing(sqlite3.connect(log)) as connection:
                connection.executescript(statement)
        assert found_in(tmp_path, secret) == []
        assert found_in(tmp_path, b"theirs") == []
        shop(writer).run_with_id_sync("next", "go")
    assert starling("validate", log).out == "2 runs, 18 events: 2 valid\n"


def found_in(folder, content):
    return [path.name for path in folder.iterdir() if content in path.read_bytes()]


def test_an_archive_goes_through_gzip_and_back(tmp_path):
    log = service_log(tmp_path / "log.db", "r1", "r2")
    restored = tmp_path / "restored.db"
    me = f'"{sys.executable}" -m starling'

    subprocess.run(f'{me} export "{log}" | gzip > "{tmp_path}/log.gz"', shell=True, check=True)
    subprocess.run(f'gzip -dc "{tmp_path}/log.gz" | {me} import "{restored}"', shell=True, check=True)

    assert starling_process("export", log).stdout == starling_process("export", restored).stdout
