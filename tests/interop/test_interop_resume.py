"""Runs that were cut off and resumed (15) or left behind (16): what the original could not replay replays here.

Two ways: the same scenario recorded, cut and resumed here; and the original's own logs, resumed here as they are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re

import pytest
from interop_wiring import Wired, events_of, resuming, runs

from starling import MemoryLog, replay
from starling._canonical_json import loads
from starling._cbor import decode
from starling.errors import NondeterminismError, PartialToolCallError, RunFailedError
from starling.event import Kind, RunFailed, validate

REPLAYS = 20

REFUSED = "15g_resume_partial_refused"
RESUMED = [name for name in runs() if name.startswith("15") and name != REFUSED]
CRASHED = [name for name in runs() if name.startswith("16")]

OTHER_KINDS = {
    "15c_resume_after_amc": [1, 3, 5, 15, 6, 7, 3, 5, 12],  # calls that were planned and never issued are issued now
}
"""Where the resumed run differs from the original's on purpose, by kind."""

OTHER_MESSAGES = {
    "15c_resume_after_amc": lambda said: [*said, ("tool", "", [], (1, {"ok": 1.0}, False))],  # for the same reason
    "15r_resume_namespace": lambda said: [said[0], said[1], said[3], said[2]],  # the extra message follows the results
}
"""Where the model is shown something else after the seam."""


async def wired(wiring, **options):
    """Run to whatever end."""
    made = Wired(wiring, **{"replaying": False, "seconds_per_ms": 0.0002, **options})
    with contextlib.suppress(RunFailedError):
        await made.run()
    (run_id,) = made.log._runs
    return made, run_id


def place(words, events):
    """How many events a cut keeps, by its own words."""
    if "terminal" in words:
        return len(events) - 1
    (kind,) = {name for name in Kind.__members__ if name in words} - {"RunStarted"} or {"RunStarted"}
    return next(event.seq for event in events if event.kind.name == kind)


async def crashed_here(scenario):
    """The scenario's first part, recorded here and cut as the original's was."""
    wiring = runs()[scenario]["wiring"]
    first, run_id = await wired(wiring)
    events = await first.log.read(run_id)
    log = MemoryLog()
    await log.append(run_id, events[: place(wiring["cut"]["words"], events)])
    return log, run_id, events


async def crashed_there(scenario):
    """The original's own log, as far as its first process wrote it."""
    run = runs()[scenario]
    events = events_of(run)
    cut = next((event.seq - 1 for event in events if event.kind is Kind.RunResumed), len(events))
    log = MemoryLog()
    await log.append(run["run_id"], events[:cut])
    return log, run["run_id"]


def going_on(wiring, events):
    """The wiring of a process that goes on after these events: what the model has not said yet, or one more word."""
    answered = sum(event.kind is Kind.AssistantMessageCompleted for event in events)
    turns = wiring["turns"][answered:] or wiring["turns"][-1:]
    return {**wiring, "turns": turns, "extra_message": "", "reissue_tools": True}


@pytest.fixture(autouse=True)
def nothing_is_warned_of(caplog):
    """The process that goes on is wired as the one before it, whoever wrote the log."""
    yield
    assert caplog.records == []


async def resumed(wiring, log, run_id, **options):
    second = Wired(wiring, replaying=False, seconds_per_ms=0.0002, log=log, **options)
    error = None
    try:
        await second.resume(run_id)
    except RunFailedError as raised:
        error = raised
    events = await log.read(run_id)
    validate(events)
    return second, events, error


async def replays(wiring, log, run_id, *, times=REPLAYS, **options):
    events = await log.read(run_id)
    for seed in range(times):
        again = Wired(wiring, replaying=True, seed=seed, **options)
        assert await replay(log, run_id, again.agent) == ()
        assert await again.log.read(run_id) == events
        assert again.provider.requests == ()


# --- the same scenario, recorded here


@pytest.mark.parametrize("scenario", RESUMED)
async def test_what_is_resumed_here_comes_to_what_the_original_came_to_and_replays(scenario):
    run = runs()[scenario]
    log, run_id, _ = await crashed_here(scenario)

    _, events, _ = await resumed(resuming(run["wiring"]), log, run_id)

    expected = OTHER_KINDS.get(scenario) or [event["kind"] for event in run["events"]]
    assert [event.kind for event in events] == expected
    assert _comparable(events[-1].decode(), scenario) == _comparable(events_of(run)[-1].decode(), scenario)
    await replays(resuming(run["wiring"]), log, run_id)


def _comparable(end, scenario):
    untimed = {"duration_ms": 0, "merkle_root": None}
    if isinstance(end, RunFailed):
        untimed["error"] = re.sub(r"\(call \w+\)", "(call)", end.error)  # the reissued call's id is fresh
    elif scenario in OTHER_KINDS:
        untimed["tool_call_count"] = 0
    return dataclasses.replace(end, **untimed)


@pytest.mark.parametrize("scenario", RESUMED)
async def test_the_model_is_shown_what_the_original_showed_it(scenario):
    (theirs,) = runs()[scenario]["wiring"]["resumes"]
    log, run_id, _ = await crashed_here(scenario)

    second, _, _ = await resumed(resuming(runs()[scenario]["wiring"]), log, run_id)

    expected = [_their_messages(request["request"]) for request in theirs["requests"] or ()]
    ordered = OTHER_MESSAGES.get(scenario, list)
    assert [_our_messages(request) for request in second.provider.requests] == [ordered(said) for said in expected]


def _their_messages(request):
    ids: dict[str, int] = {}
    return [
        (
            message["Role"],
            message["Content"],
            [(_number(ids, use["CallID"]), use["Name"], _their_args(use)) for use in message["ToolUses"] or ()],
            message["ToolResult"]
            and (
                _number(ids, message["ToolResult"]["CallID"]),
                _shown(message["ToolResult"]["Content"]),
                message["ToolResult"]["IsError"],
            ),
        )
        for message in request["Messages"]
    ]


def _their_args(use):
    """Behind a seam the original shows the recorded bytes as they are, which no model could read."""
    data = bytes.fromhex(use["Args_hex"])
    return _rounded(loads(use["Args"]) if use["Args"] is not None else decode(data))


def _our_messages(request):
    ids: dict[str, int] = {}
    return [
        (
            message.role,
            message.content,
            [(_number(ids, use.call_id), use.name, _rounded(loads(use.args))) for use in message.tool_uses or ()],
            message.tool_result
            and (
                _number(ids, message.tool_result.call_id),
                _shown(message.tool_result.content),
                message.tool_result.is_error,
            ),
        )
        for message in request.messages
    ]


def _number(ids, call_id):
    return ids.setdefault(call_id, len(ids) + 1)


def _shown(content):
    """What a tool said; the time of day, which both runs have their own of, is only known to be one."""
    if not content.startswith("{"):
        return content
    value = _rounded(loads(content))
    return {name: "some time" if name == "unix_nano" else item for name, item in value.items()}


def _rounded(value):
    """The original makes floats of wide integers, and integers of whole floats."""
    match value:
        case dict():
            return {name: _rounded(item) for name, item in value.items()}
        case list():
            return [_rounded(item) for item in value]
        case bool() | str() | None:
            return value
        case _:
            return float(value)


def test_the_tables_name_scenarios():
    assert (OTHER_KINDS.keys() | OTHER_MESSAGES.keys()) <= set(RESUMED)


async def test_reissued_calls_keep_their_exact_arguments():
    """There, 1.0 comes back as 1, and what does not fit 64 bits as a float."""
    scenario = "15t_resume_args_many_kinds"
    log, run_id, _ = await crashed_here(scenario)

    _, events, _ = await resumed(resuming(runs()[scenario]["wiring"]), log, run_id)

    planned, first, again = (events[at].decode() for at in (2, 3, 5))
    for args in (first.args, again.args):
        assert repr(args) == repr(planned.tool_uses[0].args)
    assert planned.tool_uses[0].args["m"] == 2**63
    assert isinstance(planned.tool_uses[0].args["g"], float)


async def test_a_namespace_is_part_of_the_id_that_is_resumed():
    log, run_id, _ = await crashed_here("15r_resume_namespace")

    second, _, _ = await resumed(resuming(runs()["15r_resume_namespace"]["wiring"]), log, run_id)

    assert run_id.startswith("tenant-a/")
    assert list(second.log._runs) == [run_id]


@pytest.mark.parametrize("crashed", [crashed_here, crashed_there])
async def test_orphans_are_not_reissued_where_that_is_forbidden(crashed):
    log, run_id, *_ = await crashed(REFUSED)
    before = await log.read(run_id)
    today = Wired(resuming(runs()[REFUSED]["wiring"]), replaying=False, log=log)

    with pytest.raises(PartialToolCallError, match="1 tool call") as raised:
        await today.resume(run_id)

    assert (raised.value.run_id, raised.value.seq) == (run_id, 4)
    assert await log.read(run_id) == before
    assert today.provider.requests == ()


GOES_ON_FROM = {
    "16a_crash_after_run_started": 1,
    "16c_crash_after_reasoning": 1,  # the answer is asked for again
    "16e_crash_after_tool_scheduled": 4,  # the call is issued again
    "16g_crash_after_tool_completed": 7,
    "16i_crash_before_terminal": -3,  # a last word without an end is followed by another one
}
"""Which part of a whole run follows the seam."""


@pytest.mark.parametrize("scenario", CRASHED)
async def test_what_crashed_here_goes_on_and_replays(scenario):
    wiring = runs()[scenario]["wiring"]
    log, run_id, whole = await crashed_here(scenario)
    kept = await log.read(run_id)

    _, events, error = await resumed(going_on(wiring, kept), log, run_id)

    assert error is None
    assert len(kept) == wiring["cut"]["kept_events"]
    kinds = [event.kind for event in whole]
    assert [event.kind for event in events] == [*kinds[: len(kept)], Kind.RunResumed, *kinds[GOES_ON_FROM[scenario] :]]
    await replays(wiring, log, run_id)


# --- the original's own logs, resumed here


@pytest.mark.parametrize("scenario", [*RESUMED, REFUSED])
async def test_what_the_original_left_unfinished_is_finished_here_and_replays(scenario):
    wiring = {**resuming(runs()[scenario]["wiring"]), "reissue_tools": True}
    log, run_id = await crashed_there(scenario)
    before = await log.read(run_id)

    _, events, _ = await resumed(wiring, log, run_id, exact_clock=True)

    assert events[: len(before)] == before
    assert events[-1].kind is (Kind.RunFailed if "fails" in scenario else Kind.RunCompleted)
    await replays(wiring, log, run_id, times=5, exact_clock=True)


@pytest.mark.parametrize("scenario", CRASHED)
async def test_what_crashed_there_goes_on_here_and_replays(scenario):
    wiring = runs()[scenario]["wiring"]
    log, run_id = await crashed_there(scenario)
    before = await log.read(run_id)

    _, events, error = await resumed(going_on(wiring, before), log, run_id, exact_clock=True)

    assert error is None
    assert events[: len(before)] == before
    await replays(wiring, log, run_id, times=5, exact_clock=True)


WHOLE = {
    "15a_resume_orphan": (8, "TurnStarted"),
    "15c_resume_after_amc": (5, "TurnStarted"),  # the planned call was not issued
    "15e_resume_after_text_amc": (5, "TurnStarted"),
    "15i2_resume_after_tool_completed_no_reissue": (7, "TurnStarted"),
    "15j_resume_after_run_started": None,
    "15l_resume_reissued_tool_fails": None,
    "15n_resume_more_tools": (8, "TurnStarted"),
    "15p_resume_after_tool_failed": (7, "TurnStarted"),
    "15r_resume_namespace": (9, "TurnStarted"),
    "15t_resume_args_many_kinds": (6, "ToolCallScheduled"),  # 1.0 became 1
}
"""The original's runs with its own seams: where the replay leaves them, and the recorded kind there; None replays.

Behind a seam the original shows arguments as bytes of CBOR, which nobody needs to be able to reproduce."""


@pytest.mark.parametrize("scenario", RESUMED)
async def test_the_originals_own_seams(scenario):
    run = runs()[scenario]
    log = MemoryLog()
    await log.append(run["run_id"], events_of(run))
    left = None
    try:
        await replay(log, run["run_id"], Wired(resuming(run["wiring"]), replaying=True, exact_clock=True).agent)
    except NondeterminismError as error:
        left = (error.divergence.seq, str(error.divergence.expected_kind))

    assert left == WHOLE[scenario]
