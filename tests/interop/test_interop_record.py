"""What the original records, and often cannot replay itself, is recorded here and replays every time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest
from interop_wiring import Wired, runs

from starling import replay
from starling.errors import RunFailedError
from starling.event import RunCancelled, RunFailed, decode_event, validate

REPLAYS = 20

# 15 and 16 were made by resuming and by crashing, see `test_interop_resume`.
SCENARIOS = [name for name in runs() if name[:2] not in {"15", "16"}]

NOT_JSON = [1, 3, 5, 6, 8, 13]
OTHER_KINDS = {
    "04e_side_effect_fn_error": [1, 3, 5, 6, 9, 8, 13],  # a failing effect is recorded
    "05r12_result_float_1e400": NOT_JSON,
    "05s17_args_float_overflow_1e400": NOT_JSON,
    "05s67_args_deep_30": NOT_JSON,  # deeper than what can be read back: refused before it is written
    "05s69_args_deep_32": NOT_JSON,
    "05s75_args_deep_list_30": NOT_JSON,
    "06g_result_trailing_data": NOT_JSON,  # a call without a result has an outcome all the same
    "10d2_budget_wall_clock_between_turns": [1, 3, 5, 6, 8, 10, 13],  # a sleeping tool is cancelled in its sleep
    "12c_cancelled_in_parallel": [1, 3, 5, 6, 6, 6, 7, 8, 8, 14],  # whoever waits is told, the canceller included
    "12i_canceled_error_without_cancel": [1, 3, 5, 6, 8, 13],  # nothing was cancelled: the tool failed
    "13i2_args_garbage": NOT_JSON,  # the call fails, not the run's machinery
    "13j_args_trailing": NOT_JSON,
    "13j2_args_trailing_bracket": NOT_JSON,
    "20i_usage_without_payload": [1, 3, 13],  # a chunk without its content breaks the contract
}
"""Where the events differ from the original's on purpose, by kind."""


async def recorded(wiring):
    # The limits of these stand in RunStarted, so that their milliseconds cannot be shortened.
    real_time = wiring["budget"] and wiring["budget"]["max_wall_clock_ms"]
    wired = Wired(wiring, replaying=False, seconds_per_ms=0.001 if real_time else 0.0002)
    with contextlib.suppress(RunFailedError, asyncio.CancelledError, TimeoutError):
        await wired.run()
    (run_id,) = wired.log._runs
    return wired.log, run_id


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_what_is_recorded_here_validates_and_replays(scenario):
    run = runs()[scenario]
    log, run_id = await recorded(run["wiring"])

    events = await log.read(run_id)
    validate(events)
    expected = OTHER_KINDS.get(scenario) or [event["kind"] for event in run["events"]]
    # Sorted: parallel calls interleave as they please.
    assert sorted(event.kind for event in events) == sorted(expected)
    for seed in range(REPLAYS if len(events) < 100 else 2):
        again = Wired(run["wiring"], replaying=True, seed=seed)
        assert await replay(log, run_id, again.agent) == ()
        assert await again.log.read(run_id) == events
        assert again.provider.requests == ()


CHARGED_CACHE = "18_cache_tokens_ids_hashes"
"""The original charges nothing for a prompt cache."""

OTHER_TEXTS = {
    "07c_tool_panic_nil_deref",  # the runtime's own words
    "13l_scripts_exhausted",  # the scripted provider's own words
    "20m_invalid_utf8_text",  # the original cannot read its own answer back
}


@pytest.mark.parametrize(
    "scenario", [name for name in SCENARIOS if name not in OTHER_KINDS | dict.fromkeys(OTHER_TEXTS)]
)
async def test_the_end_is_the_originals(scenario):
    run = runs()[scenario]
    log, run_id = await recorded(run["wiring"])

    end, theirs = (
        (await log.read(run_id))[-1].decode(),
        decode_event(bytes.fromhex(run["events"][-1]["envelope"])).decode(),
    )
    untimed = {"duration_ms": 0, "merkle_root": None}
    if scenario == CHARGED_CACHE:
        untimed["total_cost_usd"] = 0.0
    if isinstance(end, RunFailed):
        untimed["cause"] = None  # an addition of ours
    if isinstance(end, RunCancelled):
        untimed["reason"] = ""  # asyncio does not say whether a deadline of the caller's was behind it
    assert dataclasses.replace(end, **untimed) == dataclasses.replace(theirs, **untimed)
