"""A disk that is full, in each way that it can be: what was acknowledged is there, and with space the run goes on."""

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta

import pytest
from fault_kit import assert_sound, finish_run, hashes
from mortal_writers import Author

from starling import Agent, Config, SQLiteLog, tool
from starling.errors import LogError, LogWriteError
from starling.event import validate
from starling.eventlog import export_runs_sync, fork_sqlite_sync, import_runs_sync, prune_runs_sync, run_ids_sync
from starling.testing import ScriptedProvider

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts are Linux's")

SMALL = 400_000
"""Bytes that fit on the disk."""


class SmallDisk:
    """A file system of its own. Who may not mount one sees the other ways of running out of space."""

    says = "the disk is full"

    def __init__(self, folder):
        self.folder = folder
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a small disk needs root; RLIMIT_FSIZE and max_page_count are tried all the same")

    def fill(self, log):
        """It is small from the beginning."""

    def free(self, log):
        subprocess.run(["mount", "-o", f"remount,size={SMALL * 20}", self.folder], check=True)

    def close(self):
        subprocess.run(["umount", "--lazy", self.folder], check=True)


class SmallFiles:
    """A limit of the process: no file may grow beyond so many bytes."""

    says = "reading or writing the file failed"

    def __init__(self, folder):
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, log):
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, self._before[1]))

    def free(self, log):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)

    def close(self):
        self.free(None)


class FewPages:
    """A limit of the database."""

    says = "the disk is full"

    def __init__(self, folder):
        self.folder = folder

    def fill(self, log):
        log._connection.execute(f"PRAGMA max_page_count = {SMALL // 4096}")

    def free(self, log):
        log._connection.execute("PRAGMA max_page_count = 1000000")

    def close(self):
        """It goes with the connection."""


@contextmanager
def disk_of(way, folder):
    disk = way(folder)
    try:
        yield disk
    finally:
        disk.close()


@pytest.fixture(params=[SmallDisk, SmallFiles, FewPages], ids=lambda way: way.__name__)
def disk(request, tmp_path):
    with disk_of(request.param, tmp_path) as disk:
        yield disk


def fill_up(disk, log):
    """Append until it is refused. Returns what was acknowledged, the batch that was not, and the error."""
    disk.fill(log)
    author = Author("full")
    acknowledged = {}
    while True:
        run_id, events = author.batch()
        try:
            log.append_sync(run_id, events)
        except LogWriteError as error:
            return acknowledged, (run_id, events), error
        acknowledged.setdefault(run_id, []).extend(hashes(events))


def assert_all_there(log, acknowledged):
    log.check_storage_sync()
    assert set(run_ids_sync(log)) == set(acknowledged)
    for run_id, expected in acknowledged.items():
        events = log.read_sync(run_id)
        assert hashes(events) == expected
        assert_sound(events)


def test_an_append_that_does_not_fit_is_refused_whole_and_works_later(disk):
    with SQLiteLog(disk.folder / "log.db") as log:
        acknowledged, (run_id, events), error = fill_up(disk, log)
        assert f"{log.path}: append of run {run_id} failed: {disk.says}" in str(error)
        assert (error.run_id, error.path) == (run_id, str(log.path))
        assert sum(map(len, acknowledged.values())) > 10
        assert_all_there(log, acknowledged)
        with pytest.raises(LogWriteError, match=disk.says):
            log.append_sync(run_id, events)

        disk.free(log)
        log.append_sync(run_id, events)
        acknowledged.setdefault(run_id, []).extend(hashes(events))
        assert_all_there(log, acknowledged)
        finish_run(log, run_id)
        finish_run(log, "the next run")


def test_a_log_that_was_closed_on_a_full_disk_is_read_there_and_goes_on_later(disk):
    """Closing wants space, too: what stands in the WAL stays there."""
    path = disk.folder / "log.db"
    with SQLiteLog(path) as log:
        acknowledged, (run_id, events), _ = fill_up(disk, log)
    with SQLiteLog(path, read_only=True) as log:
        assert_all_there(log, acknowledged)
    disk.free(log := SQLiteLog(path))
    with log:
        log.append_sync(run_id, events)
        finish_run(log, run_id)
        finish_run(log, "the next run")


async def test_a_run_that_filled_the_disk_is_resumed_with_space(disk):
    """The tool that did not get its outcome into the log is the last that was run."""

    @tool
    def fetch(page: int) -> str:
        """A large page."""
        fetched.append(page)
        return "x" * 50_000

    fetched = []
    script = ScriptedProvider()
    for page in range(20):
        script.tool_call("fetch", {"page": page}).turn()
    script.text("done")
    async with SQLiteLog(disk.folder / "log.db") as log:
        disk.fill(log)
        agent = Agent(script, Config(model="m", max_turns=30), log, tools=[fetch])
        with pytest.raises(LogWriteError, match=disk.says):
            await agent.run_with_id("r", "read it all")
        cut_off = fetched[-1]
        assert 0 < cut_off < 19
        assert_sound(log.read_sync("r"))

        disk.free(log)
        result = await agent.resume("r")
        assert result.final_text == "done"
        assert fetched in (list(range(20)), sorted([*range(20), cut_off]))
        validate(log.read_sync("r"))


def test_what_else_wants_space_says_so_and_harms_nothing(tmp_path):
    """A new log, a fork, an import, a pruning: on a disk that is full."""
    with disk_of(SmallDisk, tmp_path) as disk, SQLiteLog(tmp_path / "log.db") as log:
        acknowledged, _, _ = fill_up(disk, log)
        exported = list(export_runs_sync(log))
        with pytest.raises(LogError, match=r"new.db: open failed: the disk is full"):
            SQLiteLog(tmp_path / "new.db")
        with pytest.raises(LogWriteError, match=r"copying into .*fork.db.* failed: the disk is full"):
            fork_sqlite_sync(log.path, tmp_path / "fork.db", next(iter(acknowledged)), 0)
        assert not list(tmp_path.glob("*fork*"))
        with pytest.raises(LogWriteError, match="the disk is full"):
            prune_runs_sync(log, older_than=timedelta(0), include_in_progress=True, dry_run=False)
        assert_all_there(log, acknowledged)

        disk.free(log)
        with SQLiteLog(tmp_path / "new.db") as new:
            import_runs_sync(new, exported)
            assert_all_there(new, acknowledged)
        fork_sqlite_sync(log.path, tmp_path / "fork.db", next(iter(acknowledged)), 0)
        prune_runs_sync(log, older_than=timedelta(0), include_in_progress=True, dry_run=False)
        assert list(run_ids_sync(log)) == []
