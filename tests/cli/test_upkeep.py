"""`starling prune`, `fork`, `migrate`, `schema-version` and `doctor`."""

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from cli_kit import damage, golden_fixture, service_log

from starling import SQLiteLog
from starling.cli._logs import age, shown
from starling.errors import ReadOnlyError

ORIGINAL = Path(__file__).parents[2] / "testdata" / "interop" / "db" / "03_parallel_three.db"


def ids(path):
    with SQLiteLog(path, read_only=True) as log:
        return sorted(run.run_id for run in log.list_runs_sync())


# --- prune


def test_pruning_needs_to_be_confirmed(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", "r2", unfinished=["r3"])

    dry = starling("prune", log, "--older-than", "0s")
    assert dry.code == 0
    assert dry.out.startswith("would delete 2 runs (18 events) that started before ")
    assert ids(log) == ["r1", "r2", "r3"]

    assert starling("prune", log, "--older-than", "0s", "--confirm").out.startswith("deleted 2 runs (18 events)")
    assert ids(log) == ["r3"]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--older-than", "1h"], ["r1", "r2", "r3"]),
        (["--older-than", "0s", "--limit", "1"], ["r2", "r3"]),
        (["--older-than", "0s", "--include-in-progress"], []),
        (["--older-than", "0s", "--status", "in progress"], ["r1", "r2"]),
        (["--older-than", "0s", "--status", "failed"], ["r1", "r2", "r3"]),
        (["--older-than", "999999d"], ["r1", "r2", "r3"]),
        (["--before", "0001-01-01T00:00:00+14:00"], ["r1", "r2", "r3"]),
        (["--before", "2000-01-01"], ["r1", "r2", "r3"]),
        (["--before", "2999-01-01"], ["r3"]),
        (["--before", "9999-12-31T23:59:59-12:00"], ["r3"]),
        (["--before", "2100-01-01"], ["r3"]),
    ],
)
def test_what_goes_is_what_was_asked_for(tmp_path, starling, options, left):
    log = service_log(tmp_path / "log.db", "r1", "r2", unfinished=["r3"])

    called = starling("prune", log, *options, "--confirm", "--json")

    assert ids(log) == left
    assert called.objects[0]["deleted_runs"] == 3 - len(left)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--older-than", "1d", "--before", "2026-01-01"],
        ["--older-than", "soon"],
        ["--older-than", "9999999999d"],
    ],
)
def test_a_cutoff_is_given_once_and_well(tmp_path, starling, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        starling("prune", service_log(tmp_path / "log.db", "r1"), *arguments)

    assert ended.value.code == 2
    assert "older-than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90d", timedelta(days=90)),
        ("2160h", timedelta(days=90)),
        ("1d12h30m", timedelta(hours=36.5)),
        ("2w", timedelta(14)),
    ],
)
def test_ages(text, value):
    assert age(text) == value


@pytest.mark.parametrize("number", ["0", "-1", str(2**63), "9" * 5000, "many"])
@pytest.mark.parametrize(
    "command",
    [
        ["prune", "LOG", "--older-than", "0s", "--confirm", "--limit"],
        ["list", "LOG", "--limit"],
        ["doctor", "LOG", "--runs"],
        ["show", "LOG", "r1", "--seq"],
        ["fork", "LOG", "COPY", "r1", "--before-seq"],
    ],
    ids=lambda command: command[0],
)
def test_a_number_below_1_or_beyond_all_numbers_is_a_mistake_and_nothing_is_done(
    tmp_path, starling, capsys, command, number
):
    log = service_log(tmp_path / "log.db", "r1")
    names = {"LOG": log, "COPY": tmp_path / "copy.db"}

    with pytest.raises(SystemExit) as ended:
        starling(*(names.get(word, word) for word in command), number)

    assert ended.value.code == 2
    assert "is no number from 1 to 2**63-1" in capsys.readouterr().err
    assert ids(log) == ["r1"]
    assert not (tmp_path / "copy.db").exists()


def test_the_greatest_number_is_one(tmp_path, starling):
    log, most = service_log(tmp_path / "log.db", "r1"), 2**63 - 1

    assert starling("list", log, "--limit", most).code == 0
    assert starling("doctor", log, "--runs", most).code == 0
    assert starling("show", log, "r1", "--seq", most).code == 2
    assert starling("fork", log, tmp_path / "copy.db", "r1", "--before-seq", most).code == 0
    assert starling("prune", log, "--older-than", "0s", "--limit", most).out.startswith("would delete 1 run ")


def test_a_log_that_is_not_there_is_not_created_to_prune_it(tmp_path, starling):
    assert starling("prune", tmp_path / "none.db", "--older-than", "1d").code == 2
    assert not (tmp_path / "none.db").exists()


# --- fork


def test_a_fork_can_be_resumed_where_it_was_cut(tmp_path, starling):
    from cli_kit import shop

    log = service_log(tmp_path / "log.db", "first", "other")

    called = starling("fork", log, tmp_path / "branch.db", "fir", "--before-seq", "4")

    assert called.code == 0
    assert called.out.endswith("branch.db holds the events before seq 4 of run first, and every other run\n")
    assert starling("validate", log).code == 0
    with SQLiteLog(tmp_path / "branch.db") as branch:
        assert shop(branch, answer="Another way.").resume_sync("first").terminal_kind.name == "RunCompleted"
    assert starling("validate", tmp_path / "branch.db").code == 0


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ([], "all events of run r1"),
        (["--before-seq", "500"], "all events of run r1, which has none from seq 500 on"),
        (["--before-seq", "9"], "the events before seq 9 of run r1"),
        (["--before-seq", "1"], "no event of run r1"),
    ],
)
def test_a_fork_says_what_it_holds(tmp_path, starling, options, held):
    called = starling("fork", service_log(tmp_path / "log.db", "r1"), tmp_path / "copy.db", "r1", *options)

    assert called.out == f"{tmp_path / 'copy.db'} holds {held}, and every other run\n"


def test_a_fork_replaces_nothing(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1")

    called = starling("fork", log, log, "r1")

    assert called.code == 2
    assert "never replaces a file" in called.err


# --- migrate, schema-version


@pytest.fixture
def old_log(tmp_path):
    """A log as the first version of the original wrote it."""
    path = tmp_path / "old.db"
    shutil.copy(ORIGINAL, path)
    path.chmod(0o600)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("DELETE FROM eventlog_schema_migrations WHERE version > 1")
        connection.execute("CREATE TABLE events AS SELECT * FROM eventlog_events")
        connection.execute("DELETE FROM eventlog_events")
    return path


def test_a_migration_is_said_before_it_is_done(old_log, starling):
    before = old_log.read_bytes()
    dry = starling("migrate", old_log, "--dry-run")

    assert (dry.code, dry.out) == (1, "would bring the schema from version 1 to 2\n")
    assert old_log.read_bytes() == before
    assert starling("schema-version", old_log).out == "1\n"

    assert starling("migrate", old_log).out == "brought the schema from version 1 to 2\n"
    assert starling("schema-version", old_log).out == "2\n"
    assert starling("validate", old_log).code == 0
    again = starling("migrate", old_log, "--dry-run", "--json")
    assert (again.code, again.objects) == (0, [{"from_version": 2, "to_version": 2, "applied": [], "dry_run": True}])


def test_a_log_that_is_out_of_date_is_not_read_as_if_it_were_not(old_log, starling):
    called = starling("validate", old_log)

    assert called.code == 2
    assert "schema version 1" in called.err
    assert f"`starling migrate {old_log}`" in called.err


def test_a_newer_log_is_left_alone(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1")
    with closing(sqlite3.connect(log)) as connection, connection:
        connection.execute("INSERT INTO eventlog_schema_migrations VALUES (3, 0)")

    called = starling("migrate", log)

    assert called.code == 2
    assert "upgrade" in called.err


# --- doctor


def findings(called):
    return {one["check"]: (one["state"], one["text"]) for one in called.objects}


def test_a_healthy_log(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", unfinished=["r2"])
    before = ids(log)

    called = starling("doctor", log, "--json")

    found = findings(called)
    assert called.code == 0
    assert {check: state for check, (state, _) in found.items()} == {
        "version": "info",
        "python": "info",
        "packages": "ok",
        "environment": "info",
        "open": "ok",
        "schema": "ok",
        "runs": "ok",
        "write": "ok",
    }
    assert found["runs"][1] == "2 runs: 1 valid, 1 in progress"
    assert ids(log) == before
    assert starling("validate", log, "--allow-in-progress").code == 0


def test_environment_variables_are_named_and_never_shown(starling, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-to-be-shown")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    called = starling("doctor")

    assert called.code == 0
    assert "OPENAI_API_KEY set, " in called.out
    assert "ANTHROPIC_API_KEY not set" in called.out
    assert "not-to-be-shown" not in called.out


def test_what_is_wrong_is_said_and_counts(tmp_path, starling, old_log):
    damaged = service_log(tmp_path / "log.db", "r1", "r2")
    damage(damaged, "r1", 4)

    for log, check in ((damaged, "runs"), (old_log, "schema"), (tmp_path / "none.db", "open")):
        called = starling("doctor", log, "--json")
        assert called.code == 1
        assert findings(called)[check][0] == "failed"
    assert not (tmp_path / "none.db").exists()
    assert starling("schema-version", old_log).out == "1\n"


def test_one_cause_is_told_once(starling, old_log):
    called = starling("doctor", old_log)

    assert called.out.count("schema version 1") == 1
    assert [line.split()[:2] for line in called.lines[-3:]] == [
        ["failed", "schema"],
        ["skipped", "runs"],
        ["skipped", "write"],
    ]


def test_only_the_newest_runs_are_validated(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", "r2")
    damage(log, "r1", 4)

    newest, both = (starling("doctor", log, "--json", "--runs", number) for number in "12")
    assert (newest.code, findings(newest)["runs"]) == (0, ("ok", "2 runs, of the newest 1: 1 valid"))
    assert both.code == 1
    assert findings(both)["runs"][1].startswith("2 runs: 1 valid, 1 damaged; run 'r1', ")


def test_a_golden_fixture_is_not_written_to(tmp_path, starling):
    called = starling("doctor", golden_fixture(tmp_path / "f.db"), "--json")

    assert called.code == 0
    assert findings(called)["write"][0] == "skipped"


def test_a_write_that_another_one_holds_up_is_found(tmp_path, starling, monkeypatch):
    log = service_log(tmp_path / "log.db", "r1")
    monkeypatch.setattr("starling.eventlog._sqlite_open.BUSY_TIMEOUT_MS", 1)
    with closing(sqlite3.connect(log, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        called = starling("doctor", log, "--json")
        other.execute("ROLLBACK")

    assert called.code == 1
    assert findings(called)["write"][0] == "failed"
    assert starling("doctor", log, "--read-only").code == 0


def test_trying_a_write_leaves_nothing_behind(tmp_path):
    path = Path(service_log(tmp_path / "log.db", "r1"))
    before = path.read_bytes()
    with SQLiteLog(path) as log:
        log.check_writable_sync()
        assert log.run_ids_page_sync() == ["r1"]
    assert path.read_bytes() == before

    with SQLiteLog(path, read_only=True) as log, pytest.raises(ReadOnlyError, match="cannot write"):
        log.check_writable_sync()


def test_a_log_s_name_is_shown_without_its_password():
    word = "tortoise@"
    assert (
        shown(f"postgresql://agent:{word}@db.internal:5432/agents?sslmode=require")
        == "postgresql://db.internal:5432/agents"
    )
    assert shown(f"postgres:host=db password={word}") == "postgres:…"
    assert shown("a/log.db") == "a/log.db"
