"""Both backends keep every promise of the contract suite."""

from dataclasses import replace

import pytest

from starling.errors import InvalidAppendError
from starling.eventlog import EventLog, MemoryLog, SchemaLog, SQLiteLog, with_metrics
from starling.testing import eventlog_contract
from starling.testing.eventlog_contract import (
    CARRYING_CHECKS,
    CHECKS,
    LISTING_CHECKS,
    PAGING_CHECKS,
    PRUNING_CHECKS,
    REOPENING_CHECKS,
    sample_run,
)

OURS = CHECKS + LISTING_CHECKS + PAGING_CHECKS + PRUNING_CHECKS + CARRYING_CHECKS


def named(checks):
    return pytest.mark.parametrize("check", checks, ids=[check.__name__ for check in checks])


@named(OURS)
async def test_memory_log(check):
    await check(MemoryLog)


@named(OURS + REOPENING_CHECKS)
async def test_sqlite_log(check, tmp_path):
    await check(lambda: SQLiteLog(tmp_path / "log.db"))


class Deaf:
    """An observer that does nothing."""

    def append_done(self, run_id, events, seconds, error):
        del run_id, events, seconds, error


@named(OURS + REOPENING_CHECKS)
async def test_observed_log(check, tmp_path):
    await check(lambda: with_metrics(SQLiteLog(tmp_path / "log.db"), Deaf()))


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


class ShiftingLog(MemoryLog):
    """Takes a cursor for the beginning."""

    def _page_of_runs(self, options):
        return super()._page_of_runs(replace(options, cursor=""))


class CountingLog(MemoryLog):
    """Counts the runs that it shows."""

    def _page_of_runs(self, options):
        page = super()._page_of_runs(options)
        return replace(page, total_matching=len(page.runs))


class EagerLog(MemoryLog):
    """Prunes when it is asked what it would prune."""

    def _prunable(self, options):
        report = super()._prunable(options)
        self._prune_batch(options, None, 100)
        return report


class GreedyLog(MemoryLog):
    """Prunes what is in progress, too."""

    def _prune_batch(self, options, after, limit):
        return super()._prune_batch(replace(options, include_in_progress=True), after, limit)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (ShiftingLog, "new_runs_do_not_shift_pages"),
        (CountingLog, "pages_add_up_to_the_listing"),
        (EagerLog, "a_dry_run_deletes_nothing"),
        (GreedyLog, "pruning_keeps_what_is_not_meant"),
        (ForgetfulLog, "refuses_what_does_not_continue_the_tail"),
        (ForgetfulLog, "one_of_two_writers_wins"),
        (DoublingLog, "streams_history_and_ends_at_the_terminal"),
        (SharingLog, "reading_gives_a_copy"),
    ],
)
async def test_the_suite_notices_a_broken_log(broken, check):
    checks = {check.__name__: check for check in OURS}
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
        (
            [replace(sample_run("r")[0], kind=2**63)],
            "run r: seq 1: kind 9223372036854775808 is negative or does not fit 64 bits; nothing was written",
        ),
    ],
)
def test_refusals_say_what_and_where(batch, text):
    with pytest.raises(InvalidAppendError) as caught:
        MemoryLog().append_sync("r", batch)
    assert caught.value.message == text
    assert (caught.value.run_id, caught.value.seq) == ("r", batch[0].seq)
