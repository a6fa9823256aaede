"""The contract of an event log, as checks that every backend passes; for a backend of your own as well.

Each check is an async function that takes a factory and asserts one promise of `starling.eventlog.EventLog`. The
factory returns a log on storage that is fresh for this check; `REOPENING_CHECKS` call it several times and expect the
same storage again. With pytest::

    @pytest.mark.parametrize("check", eventlog_contract.CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check, tmp_path):
        await check(lambda: MyLog(tmp_path / "log"))

A broken promise raises `AssertionError` with a sentence that says which. Nothing here needs pytest.
"""

from __future__ import annotations

from starling.testing.eventlog_contract._appending import (
    empty_batch_changes_nothing,
    is_an_event_log,
    keeps_extreme_values,
    reading_gives_a_copy,
    reads_back_what_was_appended,
    runs_do_not_mix,
    unknown_run_is_empty,
)
from starling.testing.eventlog_contract._carrying import (
    continues_what_an_import_lacked,
    exports_and_imports_byte_for_byte,
    refuses_to_import_another_run,
)
from starling.testing.eventlog_contract._following import (
    a_cancelled_follower_leaves_the_log_alone,
    a_follower_may_ask_for_any_seq,
    a_slow_follower_loses_nothing,
    followers_end_when_the_log_closes,
    serves_many_followers,
    streams_a_run_that_does_not_exist_yet,
    streams_history_and_ends_at_the_terminal,
    streams_history_then_live,
    streams_nothing_from_behind_the_end,
)
from starling.testing.eventlog_contract._listing import lists_its_runs
from starling.testing.eventlog_contract._paging import (
    filters_narrow_a_page,
    new_runs_do_not_shift_pages,
    pages_add_up_to_the_listing,
    pages_by_numbers_and_times_of_any_size,
    pages_through_ids_and_events,
    refuses_paging_after_close,
)
from starling.testing.eventlog_contract._pruning import (
    a_dry_run_deletes_nothing,
    prunes_by_times_of_any_size,
    pruning_keeps_what_is_not_meant,
    pruning_takes_the_oldest_first,
    writes_while_runs_are_pruned,
)
from starling.testing.eventlog_contract._refusing import (
    refuses_use_after_close,
    refuses_what_does_not_continue_the_tail,
)
from starling.testing.eventlog_contract._runs import Check, Factory, dated_run, sample_run
from starling.testing.eventlog_contract._sharing import (
    follows_the_other_writer,
    is_used_from_several_threads,
    keeps_runs_across_reopening,
    one_of_two_writers_wins,
    sees_the_other_writer,
)

__all__ = [
    "CARRYING_CHECKS",
    "CHECKS",
    "LISTING_CHECKS",
    "PAGING_CHECKS",
    "PRUNING_CHECKS",
    "REOPENING_CHECKS",
    "Check",
    "Factory",
    "dated_run",
    "sample_run",
]

CHECKS: tuple[Check, ...] = (
    is_an_event_log,
    reads_back_what_was_appended,
    unknown_run_is_empty,
    empty_batch_changes_nothing,
    runs_do_not_mix,
    reading_gives_a_copy,
    keeps_extreme_values,
    refuses_what_does_not_continue_the_tail,
    streams_history_and_ends_at_the_terminal,
    streams_history_then_live,
    streams_nothing_from_behind_the_end,
    streams_a_run_that_does_not_exist_yet,
    serves_many_followers,
    a_slow_follower_loses_nothing,
    a_cancelled_follower_leaves_the_log_alone,
    a_follower_may_ask_for_any_seq,
    followers_end_when_the_log_closes,
    is_used_from_several_threads,
    one_of_two_writers_wins,
    refuses_use_after_close,
)
"""What every event log promises."""

LISTING_CHECKS: tuple[Check, ...] = (lists_its_runs,)
"""What a log promises besides that is a `starling.eventlog.RunLister`."""

PAGING_CHECKS: tuple[Check, ...] = (
    pages_add_up_to_the_listing,
    new_runs_do_not_shift_pages,
    filters_narrow_a_page,
    pages_through_ids_and_events,
    pages_by_numbers_and_times_of_any_size,
    refuses_paging_after_close,
)
"""What a log promises besides that is a `starling.eventlog.RunPageLister` and an `starling.eventlog.EventPager`."""

PRUNING_CHECKS: tuple[Check, ...] = (
    a_dry_run_deletes_nothing,
    pruning_keeps_what_is_not_meant,
    pruning_takes_the_oldest_first,
    prunes_by_times_of_any_size,
    writes_while_runs_are_pruned,
)
"""What a log promises besides that is a `starling.eventlog.RunPruner`."""

CARRYING_CHECKS: tuple[Check, ...] = (
    exports_and_imports_byte_for_byte,
    continues_what_an_import_lacked,
    refuses_to_import_another_run,
)
"""What holds of `starling.eventlog.export_runs` and `import_runs` with every log that lists or pages."""

REOPENING_CHECKS: tuple[Check, ...] = (keeps_runs_across_reopening, sees_the_other_writer, follows_the_other_writer)
"""What a log promises besides whose storage outlives the object, or is shared by several."""
