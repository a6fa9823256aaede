"""What the original recorded replays here, as `testdata/interop/README.md` demands it."""

from __future__ import annotations

import json

import pytest
from interop_wiring import DATA, Wired, log_of, runs

from starling import replay
from starling.event import Kind

TERMINAL = {Kind.RunCompleted, Kind.RunFailed, Kind.RunCancelled}

NOT_CANONICAL = {
    "05c_args_go_stable",
    "05r00_result_spaced_unsorted",
    "05r08_result_dup_keys",
    "05r10_result_whitespace",
    "05r12_result_float_1e400",
    "05s05_args_float_1e_minus6",
    "05s39_args_u2028_escaped",
    "17_everything_set",
}
"""Their prompts hold JSON text that is not canonical, which the original shows to the model as it is."""

ON_PURPOSE = {
    "10a2_budget_input_tokens_second_turn": "budgets are cumulative here",
    "06g_result_trailing_data": "the error text is the Go runtime's own",
    "07c_tool_panic_nil_deref": "the error text is the Go runtime's own",
    "09e_retry_direct": "a loop of the test's own, not an agent",
    **dict.fromkeys(NOT_CANONICAL, "prompts that are not canonical JSON"),
}


def reproduced_by_the_original():
    return [
        scenario
        for scenario, run in runs().items()
        if (run["replay"] or {}).get("all_events_reproduced") and run["events"][-1]["kind"] in TERMINAL
    ]


@pytest.mark.parametrize("scenario", [name for name in reproduced_by_the_original() if name not in ON_PURPOSE])
async def test_what_the_original_replays_replays_here(scenario):
    run = runs()[scenario]
    wired = Wired(run["wiring"], replaying=True, exact_clock=True)

    assert await replay(await log_of(run), run["run_id"], wired.agent) == ()
    assert await wired.log.read(run["run_id"]) == await (await log_of(run)).read(run["run_id"])
    assert wired.provider.requests == ()
