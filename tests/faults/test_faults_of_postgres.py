"""A Postgres server that is stopped, crashes, or hangs up; and writers that are killed while it lives.

An append whose connection went away may have been committed or not. What must hold: it is there whole or not at all,
what was acknowledged before is there, and whoever looks at the tail knows which.
"""

import os
import random
import threading

import pytest
from fault_kit import DEEP, assert_kept, assert_sound, finish_run, hashes, hosting
from mortal_writers import RUN_STARTED, Author, share_runs, write_for_ever

from starling import Agent, Config, PostgresLog, tool
from starling.errors import LogError, LogWriteError
from starling.event import Chain, validate
from starling.eventlog import migrate_sync, run_ids_sync
from starling.testing import ScriptedProvider

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

KILLS = 200 if DEEP else 12
CUTS = 100 if DEEP else 8


@pytest.fixture(autouse=True)
def migrated(postgres):
    with PostgresLog(postgres.url) as log:
        migrate_sync(log)


class Persistent(threading.Thread):
    """A writer in a thread that tries again when its append failed, once it is told that it is worth it."""

    def __init__(self, log, seed):
        super().__init__()
        self.acknowledged = {}
        self.failures = []
        self._log = log
        self._seed = seed
        self._told = threading.Condition()
        self._may_go = True
        self._appends = 0
        self._stopping = False
        self.error = None

    def run(self):
        try:
            author = Author(self._seed)
            while not self._stopping:
                self._append(*author.batch())
        except BaseException as error:
            self.error = error
        with self._told:
            self._told.notify_all()

    def _append(self, run_id, events):
        while True:
            try:
                self._log.append_sync(run_id, events)
                break
            except LogWriteError as error:
                self._note(error)
            if self._is_there(run_id, events):
                break
        with self._told:
            self.acknowledged.setdefault(run_id, []).extend(hashes(events))
            self._appends += 1
            self._told.notify_all()

    def _is_there(self, run_id, events):
        """The tail says whether the append that failed was committed."""
        while True:
            try:
                tail = self._log.read_page_sync(run_id, events[0].seq)
            except LogError as error:
                self._note(error)
            else:
                assert tail in ([], events), "half an append"
                return bool(tail)

    def _note(self, error):
        with self._told:
            self.failures.append(error)
            self._told.notify_all()
            assert self._told.wait_for(lambda: self._may_go, 60)

    def hold(self):
        self._may_go = False

    def let_go(self):
        with self._told:
            self._may_go = True
            self._told.notify_all()

    def wait_for_appends(self, more):
        """Until so many more came back."""
        with self._told:
            goal = self._appends + more
            assert self._told.wait_for(lambda: self._appends >= goal or self.error, 60)
        assert self.error is None

    def wait_for_failure(self):
        with self._told:
            assert self._told.wait_for(lambda: self.failures or self.error, 60)
        assert self.error is None

    def stop(self):
        self._stopping = True
        self.join(60)
        assert not self.is_alive()
        assert self.error is None


def assert_all_there(log, writers):
    for writer in writers:
        for run_id, acknowledged in writer.acknowledged.items():
            events = log.read_sync(run_id)
            assert hashes(events) == acknowledged
            assert_sound(events)
            finish_run(log, run_id)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_restarted_costs_its_writers_nothing(postgres, mode):
    """Stopped in good order, or crashed and recovered. The same log object goes on."""
    with PostgresLog(postgres.url) as log:
        writers = [Persistent(log, f"{mode}-{number}") for number in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.wait_for_appends(10)
            writer.hold()
        postgres.server.stop(mode)
        for writer in writers:
            writer.wait_for_failure()
        postgres.server.start()
        for writer in writers:
            writer.let_go()
            writer.wait_for_appends(10)
        for writer in writers:
            writer.stop()
        assert_all_there(log, writers)
        assert all(len(writer.failures) >= 1 for writer in writers)


def test_connections_that_are_cut_cost_their_writers_nothing(postgres):
    with PostgresLog(postgres.url) as log:
        writers = [Persistent(log, f"cut-{number}") for number in range(3)]
        for writer in writers:
            writer.start()
        cut = 0
        for _ in range(CUTS):
            writers[0].wait_for_appends(3)
            cut += postgres.server.cut_connections()
        for writer in writers:
            writer.stop()
        assert cut >= CUTS
        assert_all_there(log, writers)


def test_writers_that_are_killed_lose_nothing_and_hold_nothing_up(postgres):
    """Their locks go with their sessions."""
    chance = random.Random(1)
    lives = []
    with hosting() as (host,):
        for life in range(KILLS):
            writer = host.start(write_for_ever, postgres.url, seed=f"life{life}")
            writer.kill(after=chance.choice((None, *range(30))))
            lives.append(writer)
            end_all_sessions(postgres.server)
            with PostgresLog(postgres.url) as log:
                assert_kept(log, writer)
                for run_id in list(writer.wanted)[::2]:
                    finish_run(log, run_id)
    with PostgresLog(postgres.url) as log:
        assert set(run_ids_sync(log)) <= {run_id for writer in lives for run_id in writer.wanted}
        for writer in lives:
            for run_id, acknowledged in writer.acknowledged.items():
                assert hashes(log.read_sync(run_id))[: len(acknowledged)] == acknowledged


def end_all_sessions(server):
    """What a killed client had sent may still be carried out; once its session is gone, nothing more comes of it."""
    server.cut_connections()
    others = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    while server.execute(others):
        pass


def test_two_processes_on_one_run_take_turns_and_lose_nothing(postgres):
    runs = ["shared-0", "shared-1"]
    with hosting(2) as hosts, PostgresLog(postgres.url) as log:
        for run_id in runs:
            log.append_sync(run_id, [Chain(run_id).append(RUN_STARTED, 1)])
        writers = [
            host.start(share_runs, postgres.url, seed=f"w{number}", runs=runs, appends=40)
            for number, host in enumerate(hosts)
        ]
        assert [(writer.end(), writer.appends) for writer in writers] == [(0, 40), (0, 40)]
        for run_id in runs:
            stored = hashes(log.read_sync(run_id))
            acknowledged = [writer.acknowledged[run_id] for writer in writers]
            assert sorted(stored[1:]) == sorted(acknowledged[0] + acknowledged[1])
            finish_run(log, run_id)


# -- agents


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_is_restarted_between_two_commits_is_not_noticed(postgres, mode):
    @tool
    def work() -> str:
        """Meanwhile, the server is restarted."""
        postgres.server.stop(mode)
        postgres.server.start()
        return "done"

    async with PostgresLog(postgres.url) as log:
        script = ScriptedProvider().tool_call("work").turn().tool_call("work").turn().text("done")
        result = await Agent(script, Config(model="m"), log, tools=[work]).run("go")
        assert result.final_text == "done"
        validate(await log.read(result.run_id))
