"""What the original recorded replays here, as `testdata/interop/README.md` demands it."""

from __future__ import annotations

import pytest
from interop_wiring import Wired, log_of, runs

from starling import replay
from starling.errors import NondeterminismError
from starling.event import Kind

TERMINAL = {Kind.RunCompleted, Kind.RunFailed, Kind.RunCancelled}

ON_PURPOSE = {
    "05r00_result_spaced_unsorted": (6, "TurnStarted"),  # a result is shown as canonical JSON, not as the tool wrote it
    "05r08_result_dup_keys": (6, "TurnStarted"),
    "05r10_result_whitespace": (6, "TurnStarted"),
    "17_everything_set": (6, "TurnStarted"),
    "05r12_result_float_1e400": (5, "ToolCallCompleted"),  # no number at all here
    "10a2_budget_input_tokens_second_turn": (6, "BudgetExceeded"),  # budgets are cumulative here
    "06g_result_trailing_data": (5, "RunFailed"),  # a call without a result has an outcome all the same
    "07c_tool_panic_nil_deref": (5, "ToolCallFailed"),  # the Go runtime's own words
}
"""Where we differ: the seq at which the replay leaves the recording, and the recorded kind there."""


def reproduced_by_the_original():
    return [
        scenario
        for scenario, run in runs().items()
        if (run["replay"] or {}).get("all_events_reproduced") and run["events"][-1]["kind"] in TERMINAL
    ]


@pytest.mark.parametrize(
    "scenario",
    [*(name for name in reproduced_by_the_original() if name not in ON_PURPOSE), "09g_retry_direct_parallel"],
)
async def test_what_the_original_replays_replays_here(scenario):
    run = runs()[scenario]
    wired = Wired(run["wiring"], replaying=True, exact_clock=True)

    assert await replay(await log_of(run), run["run_id"], wired.agent) == ()
    assert await wired.log.read(run["run_id"]) == await (await log_of(run)).read(run["run_id"])
    assert wired.provider.requests == ()


@pytest.mark.parametrize("scenario", ON_PURPOSE)
async def test_where_the_original_is_not_followed_the_replay_says_where(scenario):
    run = runs()[scenario]
    wired = Wired(run["wiring"], replaying=True, exact_clock=True)

    with pytest.raises(NondeterminismError) as raised:
        await replay(await log_of(run), run["run_id"], wired.agent)

    divergence = raised.value.divergence
    assert (divergence.seq, str(divergence.expected_kind)) == ON_PURPOSE[scenario]


def test_every_exception_is_one_that_the_original_reproduces():
    assert ON_PURPOSE.keys() <= set(reproduced_by_the_original())
