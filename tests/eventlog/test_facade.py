"""The public names of the package, and opening a log by name."""

import pytest

from starling import event, eventlog
from starling.errors import LogError, ReadOnlyError
from starling.eventlog import MemoryLog, SQLiteLog, open_log
from starling.testing.eventlog_contract import sample_run


def test_public_names():
    assert eventlog.__all__ == [
        "SCHEMA_VERSION",
        "AppendObserver",
        "EventLog",
        "EventPager",
        "ImportReport",
        "MemoryLog",
        "MigrationReport",
        "PostgresLog",
        "PruneOptions",
        "PruneReport",
        "RunLister",
        "RunPage",
        "RunPageLister",
        "RunPageOptions",
        "RunPruner",
        "RunStatus",
        "RunSummary",
        "SQLiteLog",
        "SchemaLog",
        "StorageChecker",
        "WriteChecker",
        "aggregate_run",
        "events_of",
        "events_of_sync",
        "export_runs",
        "export_runs_sync",
        "fork_sqlite",
        "fork_sqlite_sync",
        "import_runs",
        "import_runs_sync",
        "migrate",
        "migrate_sync",
        "open_log",
        "preflight",
        "preflight_sync",
        "prune_runs",
        "prune_runs_sync",
        "run_ids",
        "run_ids_sync",
        "schema_version",
        "schema_version_sync",
        "with_metrics",
    ]
    for name in eventlog.__all__:
        assert getattr(eventlog, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'PostgreLog'"):
        eventlog.PostgreLog  # noqa: B018


def test_aggregate_run_is_the_fold_over_a_run():
    assert eventlog.aggregate_run is event.totals
    assert eventlog.aggregate_run(sample_run("r", 3)).duration_ns == 4


@pytest.mark.parametrize("name", ["log.db", "./log.db", "sqlite:log.db", "SQLITE:log.db", "sqlite://log.db"])
def test_relative_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with open_log(name) as log:
        assert isinstance(log, SQLiteLog)
        assert log.path == tmp_path / "log.db"


def test_absolute_names(tmp_path):
    path = tmp_path / "log.db"
    for name in (path, str(path), f"sqlite:{path}", f"sqlite://{path}"):
        with open_log(name) as log:
            assert log.path == path


def test_read_only(tmp_path):
    SQLiteLog(tmp_path / "log.db").close_sync()
    with open_log(tmp_path / "log.db", read_only=True) as log, pytest.raises(ReadOnlyError):
        log.append_sync("r", sample_run("r"))


def test_memory():
    assert isinstance(open_log("memory:"), MemoryLog)


@pytest.mark.parametrize(
    ("name", "read_only", "text"),
    [
        ("mysql://host/db", False, "unknown kind of log 'mysql'; give a path"),
        ("memory:shared", False, "a memory log has no name"),
        ("memory:", True, "would stay empty for ever"),
        ("sqlite:", False, "SQLiteLog needs a file"),
    ],
)
def test_names_of_no_log(name, read_only, text):
    with pytest.raises(LogError, match=text):
        open_log(name, read_only=read_only)
