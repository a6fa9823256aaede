"""Both backends keep every promise of the contract suite."""

import pytest

from starling.errors import InvalidAppendError
from starling.eventlog import EventLog, MemoryLog, SchemaLog, SQLiteLog
from starling.testing import eventlog_contract
from starling.testing.eventlog_contract import CHECKS, LISTING_CHECKS, REOPENING_CHECKS, sample_run


def named(checks):
    return pytest.mark.parametrize("check", checks, ids=[check.__name__ for check in checks])


@named(CHECKS + LISTING_CHECKS)
async def test_memory_log(check):
    await check(MemoryLog)


@named(CHECKS + LISTING_CHECKS + REOPENING_CHECKS)
async def test_sqlite_log(check, tmp_path):
    await check(lambda: SQLiteLog(tmp_path / "log.db"))


class ForgetfulLog(MemoryLog):
    """Accepts anything: what the checks must notice."""

    def _append(self, run_id, events):
        self._runs.setdefault(run_id, []).extend(events)


class DoublingLog(MemoryLog):
    """Streams every page twice."""

    def _page(self, run_id, from_seq, limit):
        return [event for event in super()._page(run_id, from_seq, limit // 2) for _ in range(2)]


class SharingLog(MemoryLog):
    """Hands out its own list."""

    def _read(self, run_id):
        return self._runs.setdefault(run_id, [])


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (ForgetfulLog, "refuses_what_does_not_continue_the_tail"),
        (ForgetfulLog, "one_of_two_writers_wins"),
        (DoublingLog, "streams_history_and_ends_at_the_terminal"),
        (SharingLog, "reading_gives_a_copy"),
    ],
)
async def test_the_suite_notices_a_broken_log(broken, check):
    checks = {check.__name__: check for check in CHECKS}
    with pytest.raises(AssertionError):
        await checks[check](broken)


async def test_forks_of_memory_logs_share_nothing():
    first, second = MemoryLog(), MemoryLog()
    await first.append("r", sample_run("r"))
    assert await second.read("r") == []


def test_sync_twins_do_the_same(tmp_path):
    run = sample_run("r")
    for log in (MemoryLog(), SQLiteLog(tmp_path / "log.db")):
        with log:
            log.append_sync("r", run[:2])
            log.append_sync("r", run[2:])
            assert log.read_sync("r") == run
            with pytest.raises(InvalidAppendError, match="expected seq 6, got 1"):
                log.append_sync("r", run)


async def test_logs_are_context_managers(tmp_path):
    async with SQLiteLog(tmp_path / "log.db") as log:
        await log.append("r", sample_run("r"))
    with pytest.raises(eventlog_contract._refusing.LogClosedError):
        await log.read("r")


def test_which_logs_have_a_schema(tmp_path):
    with SQLiteLog(tmp_path / "log.db") as log:
        assert isinstance(log, EventLog)
        assert isinstance(log, SchemaLog)
    assert not isinstance(MemoryLog(), SchemaLog)


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (sample_run("r")[1:], "run r: the first event must have seq 1, got 2; nothing was written"),
        (sample_run("x")[:1], "run r: the event belongs to run 'x'; nothing was written"),
    ],
)
def test_refusals_say_what_and_where(batch, text):
    with pytest.raises(InvalidAppendError) as caught:
        MemoryLog().append_sync("r", batch)
    assert caught.value.message == text
    assert (caught.value.run_id, caught.value.seq) == ("r", batch[0].seq)
