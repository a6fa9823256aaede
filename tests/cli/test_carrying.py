"""`starling export` and `import`: out and in again, byte for byte, streaming."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import damage, golden_fixture, service_log, starling_process

from starling import SQLiteLog


def rows(path):
    with SQLiteLog(path, read_only=True) as log:
        return {run.run_id: log.read_sync(run.run_id) for run in log.list_runs_sync()}


@pytest.fixture
def exported(tmp_path, starling):
    """A log, and the file that its export is in."""
    log = service_log(tmp_path / "log.db", "r1", "r2", unfinished=["r3"])
    (tmp_path / "log.ndjson").write_text(starling("export", log).out)
    return tmp_path


def test_what_was_exported_is_imported_byte_for_byte(exported, starling):
    called = starling("import", exported / "new.db", exported / "log.ndjson")

    assert called.code == 0
    assert called.out == "3 runs, 21 events written\n"
    assert called.err == "1 run in progress: not ended when exported, or the file was cut off\n"
    assert rows(exported / "new.db") == rows(exported / "log.db")


def test_an_import_can_be_done_again(exported, starling):
    starling("import", exported / "new.db", exported / "log.ndjson")

    called = starling("import", exported / "new.db", exported / "log.ndjson", "--json")

    assert called.objects == [{"runs": 0, "events": 0, "present": 3, "in_progress": 1}]


def test_a_file_that_was_cut_off_at_a_line_s_end_leaves_a_run_in_progress_and_that_is_said(exported, starling):
    lines = (exported / "log.ndjson").read_text().splitlines(keepends=True)
    (exported / "cut.ndjson").write_text("".join(lines[:12]))

    cut = starling("import", exported / "new.db", exported / "cut.ndjson", "--json")
    whole = starling("import", exported / "new.db", exported / "log.ndjson", "--json")

    assert (cut.code, cut.objects) == (0, [{"runs": 2, "events": 12, "present": 0, "in_progress": 1}])
    assert cut.err.startswith("1 run in progress: ")
    assert whole.objects == [{"runs": 2, "events": 9, "present": 1, "in_progress": 1}]  # r2 has ended now, r3 has not


def test_a_run_that_has_ended_in_the_log_is_not_in_progress(exported, starling):
    first = (exported / "log.ndjson").read_text().splitlines(keepends=True)[:3]
    (exported / "cut.ndjson").write_text("".join(first))

    called = starling("import", exported / "log.db", exported / "cut.ndjson")

    assert (called.out, called.err) == ("0 runs, 0 events written; 1 run was there already\n", "")


def test_a_log_that_is_no_database_is_a_mistake_in_using_it(exported, starling):
    called = starling("import", exported / "log.ndjson", exported / "log.ndjson")

    assert (called.code, called.out) == (2, "")
    assert "log.ndjson" in called.err


def test_lines_come_from_stdin(exported, starling, monkeypatch):
    class Stdin:
        buffer = io.BytesIO((exported / "log.ndjson").read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)

    assert starling("import", exported / "new.db").out == "3 runs, 21 events written\n"


def test_one_pipe_carries_a_log(exported):
    lines = starling_process("export", exported / "log.db")
    into = starling_process("import", exported / "piped.db", input=lines.stdout)

    assert into.returncode == 0, into.stderr
    assert rows(exported / "piped.db") == rows(exported / "log.db")


def test_the_runs_that_are_named_are_exported_in_that_order(exported, starling):
    called = starling("export", exported / "log.db", "r3", "r1")

    assert list(dict.fromkeys(one["run_id"] for one in called.objects)) == ["r3", "r1"]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
def test_ctrl_c_ends_a_command_that_waits_for_a_file(tmp_path):
    long_run(tmp_path / "log.db", 300)
    lines = starling_process("export", tmp_path / "log.db").stdout
    command = [sys.executable, "-m", "starling", "import", str(tmp_path / "new.db"), "--progress"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(lines)
        process.stdin.flush()  # and there is no end of it
        assert process.stderr.readline() == "256 events\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_said_and_no_traceback(exported):
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "starling", "export", str(exported / "log.db")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ran.returncode == 2
    assert ran.stderr == "starling export: the output cannot be written: No space left on device\n"


def test_a_fixture_is_exported_like_any_log(tmp_path, starling):
    assert [one["seq"] for one in starling("export", golden_fixture(tmp_path / "f.db")).objects] == list(range(1, 10))


def test_a_changed_line_is_refused_and_said_where(exported, starling):
    lines = (exported / "log.ndjson").read_text().splitlines(keepends=True)
    changed = json.loads(lines[12])
    changed["ts"] += 1
    lines[12] = f"{json.dumps(changed)}\n"
    (exported / "log.ndjson").write_text("".join(lines))

    called = starling("import", exported / "new.db", exported / "log.ndjson")

    assert called.code == 1
    assert "line 13" in called.err
    assert called.out == "1 run, 9 events written before that\n"
    again = starling("import", exported / "new.db", exported / "log.ndjson", "--json")
    assert (again.code, again.objects) == (1, [{"runs": 0, "events": 0, "present": 1, "in_progress": 0}])
    assert list(rows(exported / "new.db")) == ["r1"]


def test_another_run_of_that_id_is_refused(exported, starling):
    other = service_log(exported / "other.db", "r2")

    called = starling("import", other, exported / "log.ndjson")

    assert called.code == 1
    assert "another run r2" in called.err


def test_a_file_that_is_not_there_is_a_mistake_and_creates_no_log(exported, starling):
    called = starling("import", exported / "new.db", exported / "none.ndjson")

    assert called.code == 2
    assert "none.ndjson cannot be read" in called.err
    assert not (exported / "new.db").exists()


def test_a_row_that_is_no_event_ends_an_export_with_one(exported, starling):
    damage(exported / "log.db", "r2", 3, "kind = 'x'")

    called = starling("export", exported / "log.db")

    assert called.code == 1
    assert {one["run_id"] for one in called.objects} >= {"r1"}
    assert "r2" in called.err


def test_nothing_but_lines_is_on_stdout_while_progress_is_shown(exported, starling, monkeypatch):
    from starling.cli import _export

    monkeypatch.setattr(_export, "_EVENTS_BETWEEN", 5)
    called = starling("export", exported / "log.db", "--progress")

    assert len(called.objects) == 21
    assert called.err == "5 events\n"


def test_an_export_takes_the_same_memory_however_long_a_run_is(tmp_path):
    """Peak memory of the process, measured by itself: ten times the events, at most a third more."""
    program = (
        "import resource, sys\nfrom starling.cli import main\ncode = main(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\nraise SystemExit(code)\n"
    )
    peaks = []
    for events in (500, 5_000):
        path = long_run(tmp_path / f"{events}.db", events)
        ran = subprocess.run(
            [sys.executable, "-c", program, "export", path], capture_output=True, text=True, check=True
        )
        assert ran.stdout.count("\n") == events + 2
        peaks.append(int(ran.stderr))
    assert peaks[1] < peaks[0] * 1.2


def long_run(path, effects):
    from starling.testing.eventlog_contract._runs import sample_run

    with SQLiteLog(path) as log:
        log.append_sync("r1", sample_run("r1", effects))
    return str(path)
