"""A folder, or a file, that may not be written: nothing is lost, and who may not says what is in the way.

Permissions do not bind root, so the processes here give up the two capabilities that override them.
"""

import ctypes
import os
import sys

import pytest
from fault_kit import assert_kept, finish_run, hosting
from mortal_writers import read_where_it_may, write_where_it_may

from starling import SQLiteLog

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")

PR_CAPBSET_DROP, OVERRIDING = 24, (1, 2)
"""prctl(2), capabilities(7): CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH."""


def bound_by_permissions():
    if os.geteuid() == 0:
        for capability in OVERRIDING:
            assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability) == 0


@pytest.fixture(scope="module")
def host():
    with hosting(before_start=bound_by_permissions) as (host,):
        yield host


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    yield folder
    folder.chmod(0o700)


def written(host, path, **options):
    writer = host.start(write_where_it_may, path, seed="first", appends=20, **options)
    assert (writer.end(), writer.refused, writer.appends) == (0, [], 20)
    return writer


def refusal(host, case, path, **arguments):
    person = host.start(case, path, **arguments)
    assert person.end() == 0
    (refused,) = person.refused
    return refused


def assert_goes_on(path, *writers):
    with SQLiteLog(path) as log:
        for writer in writers:
            assert_kept(log, writer)
            for run_id in writer.wanted:
                finish_run(log, run_id)


def test_a_new_log_in_a_read_only_folder_is_refused(host, folder):
    folder.chmod(0o500)
    refused = refusal(host, write_where_it_may, folder / "log.db", seed="a", appends=1)
    assert refused == f"LogError {folder / 'log.db'} cannot be created: Permission denied"
    folder.chmod(0o700)
    assert list(folder.iterdir()) == []
    written(host, folder / "log.db")


@pytest.mark.parametrize(
    ("case", "arguments"), [(write_where_it_may, {"seed": "b", "appends": 1}), (read_where_it_may, {})]
)
def test_a_log_in_a_read_only_folder_says_that_it_needs_the_folder(host, folder, case, arguments):
    """Its reader, too: SQLite keeps the WAL's index in a file beside it."""
    first = written(host, folder / "log.db")
    data = (folder / "log.db").read_bytes()
    folder.chmod(0o500)
    refused = refusal(host, case, folder / "log.db", **arguments)
    assert refused.startswith(f"LogError {folder / 'log.db'}: open failed: the file or its folder cannot be written")
    assert "Where the folder stays read-only, read a copy of the log elsewhere" in refused
    assert (folder / "log.db").read_bytes() == data
    folder.chmod(0o700)
    assert_goes_on(folder / "log.db", first)


def test_a_folder_that_becomes_read_only_does_not_stop_a_log_in_use(host, folder):
    """Neither its writer nor a reader beside it; what it cannot tidy up when it closes, the next one does."""
    first = written(host, folder / "log.db", closing=True)
    assert {path.name for path in folder.iterdir()} == {"log.db", "log.db-wal", "log.db-shm"}
    reader = host.start(read_where_it_may, folder / "log.db")
    assert (reader.end(), reader.refused, reader.opened) == (0, [], True)
    folder.chmod(0o700)
    assert_goes_on(folder / "log.db", first)
    assert [path.name for path in folder.iterdir()] == ["log.db"]


def test_a_read_only_file_is_read_and_not_written(host, folder):
    path = folder / "log.db"
    first = written(host, path)
    path.chmod(0o400)
    refused = refusal(host, write_where_it_may, path, seed="b", appends=1)
    assert refused.startswith("LogWriteError ")
    assert "append of run b-" in refused
    assert "failed: the file or its folder cannot be written" in refused
    reader = host.start(read_where_it_may, path)
    assert (reader.end(), reader.refused, reader.opened) == (0, [], True)
    path.chmod(0o600)
    assert_goes_on(path, first)


def test_a_file_that_may_not_be_read_is_refused(host, folder):
    path = folder / "log.db"
    first = written(host, path)
    path.chmod(0)
    for case, arguments in ((write_where_it_may, {"seed": "b", "appends": 1}), (read_where_it_may, {})):
        refused = refusal(host, case, path, **arguments)
        assert refused.startswith(f"LogError {path}: open failed: the file cannot be opened")
    path.chmod(0o600)
    assert_goes_on(path, first)
