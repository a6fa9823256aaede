"""Redaction: a run is rewritten as a whole, stays valid, and replays under the same redaction."""

import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling import Agent, Budget, Config, CustomLoop, MemoryLog, ambient, replay, step, tool
from starling.errors import BudgetExceededError, NondeterminismError, RedactionError
from starling.event import RunStarted, event_hash, text_hash, validate
from starling.provider import Message, Request, prompt_hash
from starling.replay import (
    Fixture,
    FixtureRun,
    RecordingSession,
    ReplayingSession,
    ReplayOptions,
    map_content,
    read_fixture,
    redact_run,
    write_fixture,
)
from starling.testing import ScriptedProvider
from tests.agent_kit import agent, calls, diverges, record

SECRET = "mayor@example.org"
MARK = "[redacted]"


def texts(pattern="", mark=MARK):
    """Rewrites what a pattern matches, wherever it stands."""
    compiled = re.compile(pattern or re.escape(SECRET))

    def change(value):
        if isinstance(value, bytes):
            return re.sub(compiled.pattern.encode(), mark.encode(), value)
        return compiled.sub(mark, value)

    return lambda payload: map_content(payload, change)


async def kept(recorded, redact=None, **options):
    """The run as it is kept, in a log of its own."""
    events = redact_run(recorded.events, redact or texts(), **options)
    validate(events)
    log = MemoryLog()
    await log.append(recorded.run_id, list(events))
    return replace(recorded, log=log, events=list(events))


def everything(events):
    return b"".join(event.payload for event in events)


@tool
def mail(to: str) -> dict:
    "Write to somebody."
    assert step.side_effect_sync("sign", SECRET.encode)
    return {"to": to, "from": SECRET, SECRET: [f"<{SECRET}>"]}


def mailing(**options):
    return agent(calls(("mail", {"to": SECRET}), answer=f"told {SECRET}"), mail, **options)


async def test_nothing_of_it_is_left_and_the_run_replays():
    recorded = await record(mailing(system_prompt=f"Write to {SECRET}.", params={"user": SECRET}), f"tell {SECRET}")
    redacted = await kept(recorded)
    assert SECRET.encode() not in everything(redacted.events)
    today = mailing(system_prompt=f"Write to {SECRET}.", params={"user": SECRET})
    session = playing(redacted, redact=texts())
    with ambient.activate(session):
        result = await today.run(f"tell {SECRET}")
    assert session.failures == []
    assert result.final_text == f"told {MARK}"
    assert await today.log.read(redacted.run_id) == redacted.events


def playing(recorded, **options):
    run = FixtureRun(run_id=recorded.run_id, events=tuple(recorded.events), began=1, ended=2)
    return ReplayingSession([run], ReplayOptions(**options))


async def test_ids_places_and_times_stay():
    recorded = await record(mailing(), f"tell {SECRET}")
    redacted = await kept(recorded)
    for was, now in zip(recorded.events, redacted.events, strict=True):
        assert (was.run_id, was.seq, was.ts, was.kind) == (now.run_id, now.seq, now.ts, now.kind)


async def test_what_needs_no_redaction_is_the_same_run():
    recorded = await record(mailing())
    assert redact_run(recorded.events, texts("nobody")) == tuple(recorded.events)


async def test_hashes_are_of_what_is_kept():
    recorded = await record(mailing(system_prompt=f"Write to {SECRET}."), "go")
    redacted = await kept(recorded)
    started = redacted.payloads[0]
    assert started.system_prompt == f"Write to {MARK}."
    assert started.system_prompt_hash == text_hash(started.system_prompt)
    before, after = recorded.all("TurnStarted"), redacted.all("TurnStarted")
    assert [turn.prompt_hash for turn in before] != [turn.prompt_hash for turn in after]
    assert [turn.input_tokens for turn in before] == [turn.input_tokens for turn in after]
    assert redacted.end.merkle_root != recorded.end.merkle_root
    assert event_hash(redacted.events[0]) == redacted.events[1].prev_hash


async def test_without_the_redaction_it_does_not_replay():
    redacted = await kept(await record(mailing(), f"tell {SECRET}"))
    with ambient.activate(playing(redacted)), pytest.raises(NondeterminismError) as raised:
        await mailing().run(f"tell {SECRET}")
    assert [change.path for change in raised.value.divergence.changes] == ["goal"]


async def test_a_change_beside_the_secret_is_still_found_and_shown_redacted():
    redacted = await kept(await record(mailing(), "go"))

    @tool(name="mail")
    def changed(to: str) -> dict:
        "Write to somebody."
        assert step.side_effect_sync("sign", SECRET.encode)
        return {"to": to, "from": f"{SECRET}!", SECRET: [f"<{SECRET}>"]}

    today = agent(calls(("mail", {})), changed)
    divergence = await diverges(redacted, today, redact=texts())
    assert [(one.path, one.recorded, one.produced) for one in divergence.changes] == [
        ("result.from", MARK, f"{MARK}!"),
    ]
    assert SECRET not in repr(divergence)


async def test_a_changed_system_prompt_is_explained_without_the_secret():
    redacted = await kept(await record(mailing(system_prompt=f"Write to {SECRET}."), "go"))
    divergence = await diverges(redacted, mailing(system_prompt=f"Write now to {SECRET}."), redact=texts())
    assert f"Write now to {MARK}." in repr(divergence)
    assert SECRET not in repr(divergence)


async def test_a_failed_effect_and_a_failed_tool_are_redacted_and_replay():
    @tool
    async def fetch() -> str:
        "Look it up."
        try:
            await step.side_effect("get", failing)
        except ValueError as error:
            raise RuntimeError(f"no: {error}") from error
        return ""

    def failing():
        error = ValueError(f"no {SECRET}")
        error.user = SECRET
        raise error

    def today():
        return agent(calls("fetch"), fetch, tool_errors="report")

    redacted = await kept(await record(today()))
    assert SECRET.encode() not in everything(redacted.events)
    assert redacted.one("ToolCallFailed").error == f"no: no {MARK}"
    assert await replay(redacted.log, redacted.run_id, today(), redact=texts()) == ()


async def test_what_code_asks_a_model_is_redacted_as_its_hash_is_taken():
    """The log does not hold such a request; the session that recorded it does."""

    @tool
    async def ask(about: str) -> str:
        "Ask."
        turn = await step.llm_call(question(about))
        return turn.message.text

    def question(about):
        said = (Message(role="user", content=f"Who is {about}?"), Message(role="assistant", content=SECRET))
        return Request(model="gpt-4o-mini", system_prompt=f"I am {SECRET}.", messages=said)

    def today():
        script = ScriptedProvider().tool_call("ask", {"about": SECRET}).turn().text("x").turn().text("done")
        return agent(script, ask)

    session = RecordingSession()
    with ambient.activate(session):
        await today().run("go")
    (run,) = session.runs
    (asked,) = session.requests.values()
    assert asked == question(SECRET)
    events = redact_run(run.events, texts(), requests=session.requests)
    (turn,) = [p for p in (event.decode() for event in events) if getattr(p, "prompt_hash", b"") and p.call_id]
    said = (Message(role="user", content=f"Who is {MARK}?"), Message(role="assistant", content=MARK))
    shown = Request(model="gpt-4o-mini", system_prompt=f"I am {MARK}.", messages=said)
    assert turn.prompt_hash == prompt_hash(shown)
    replaying = ReplayingSession([replace(run, events=events)], ReplayOptions(redact=texts()))
    with ambient.activate(replaying):
        await today().run("go")
    assert replaying.failures == []


async def test_a_loop_of_ones_own_replays_redacted():
    def today():
        async def loop():
            turn = await step.llm_call(Request(model="m", messages=(Message(role="user", content=f"Greet {SECRET}"),)))
            return turn.message.text

        return CustomLoop(body=loop, log=MemoryLog(), provider=ScriptedProvider().text(f"Hello {SECRET}"))

    session = RecordingSession()
    with ambient.activate(session):
        await today().run()
    (run,) = session.runs
    events = redact_run(run.events, texts(), requests=session.requests)
    assert SECRET.encode() not in everything(events)
    replaying = ReplayingSession([replace(run, events=events)], ReplayOptions(redact=texts()))
    with ambient.activate(replaying):
        assert (await today().run()).final_text == f"Hello {MARK}"
    assert replaying.failures == []


async def test_a_budget_that_tripped_on_the_real_length_trips_again():
    """The redacted prompt is short enough; the recorded one was not."""

    def today():
        return agent(calls(("mail", {"to": "x"})), mail, budget=Budget(max_input_tokens=60), system_prompt=SECRET * 5)

    recorded = await record(today())
    assert isinstance(recorded.error, BudgetExceededError)
    redacted = await kept(recorded, texts(mark="-"))
    assert await replay(redacted.log, redacted.run_id, today(), redact=texts(mark="-")) == ()


async def test_the_hash_of_the_raw_answer_goes_with_what_it_covered():
    def today():
        script = (
            ScriptedProvider()
            .reasoning(f"I know {SECRET}", signature=b"sig")
            .text("hello")
            .end(raw_response_hash=b"h" * 32)
        )
        return agent(script)

    recorded = await record(today())
    redacted = await kept(recorded)
    assert recorded.one("AssistantMessageCompleted").raw_response_hash
    assert redacted.one("AssistantMessageCompleted").raw_response_hash is None
    assert await replay(redacted.log, redacted.run_id, today(), redact=texts()) == ()


async def test_tools_are_told_redacted_and_their_hashes_follow():
    def today(word=SECRET):
        @tool(description=f"Write to {word}.")
        def write() -> str:
            return "ok"

        return agent(calls("write"), write)

    redacted = await kept(await record(today()))
    assert redacted.payloads[0].tools[0].description == f"Write to {MARK}."
    assert await replay(redacted.log, redacted.run_id, today(), redact=texts()) == ()
    changed = await diverges(redacted, today("everybody"), redact=texts())
    assert changed.seq == 1


async def test_a_resumed_run_replays_redacted():
    log = MemoryLog()
    script = calls(("mail", {"to": SECRET}), answer=SECRET)
    first = Agent(script, Config(model="m"), log, tools=[mail])
    recorded = await record(first)
    cut = MemoryLog()
    await cut.append("run", recorded.events[:3])
    resumer = Agent(ScriptedProvider().text(SECRET), Config(model="m"), cut, tools=[mail])
    await resumer.resume("run", extra_message=f"and {SECRET}")
    whole = replace(recorded, log=cut, events=await cut.read("run"))
    redacted = await kept(whole)
    assert SECRET.encode() not in everything(redacted.events)
    today = Agent(ScriptedProvider(), Config(model="m"), MemoryLog(), tools=[mail])
    assert await replay(redacted.log, "run", today, redact=texts()) == ()


async def test_keys_that_become_one_are_told_apart():
    @tool
    def owners() -> dict:
        "Count."
        return {"a@x.org": 1, "b@x.org": 2, "c": 3}

    def today():
        return agent(calls("owners"), owners)

    mails = texts(r"\w@x\.org")
    redacted = await kept(await record(today()), mails)
    assert redacted.one("ToolCallCompleted").result == {MARK: 1, f"{MARK} (2)": 2, "c": 3}
    assert await replay(redacted.log, redacted.run_id, today(), redact=mails) == ()


async def test_a_redaction_may_look_at_the_kind():
    def only_results(payload):
        if payload.KIND.name == "ToolCallCompleted":
            return replace(payload, result={"hidden": True})
        return payload

    redacted = await kept(await record(mailing()), only_results)
    assert redacted.one("ToolCallCompleted").result == {"hidden": True}
    assert await replay(redacted.log, redacted.run_id, mailing(), redact=only_results) == ()


def changing(**changed):
    def redact(payload):
        known = {name: value for name, value in changed.items() if name in {f.name for f in fields(payload)}}
        return replace(payload, **known)

    return redact


@pytest.mark.parametrize(
    ("redact", "why"),
    [
        (changing(call_id="x"), r"seq 4 \(ToolCallScheduled\): .*ToolCallScheduled.call_id, which holds the run toge"),
        (changing(model_id="x"), r"seq 1 \(RunStarted\): .*RunStarted.model_id"),
        (lambda _: None, "made NoneType of a RunStarted payload"),
        (lambda payload: {}, "made dict of a RunStarted payload"),
        (changing(goal=object()), "made a RunStarted payload that the log cannot hold"),
        (texts("o", "oo"), r"run run, seq 1 \(RunStarted\): the redaction rewrites its own result"),
    ],
)
async def test_what_is_no_redaction_is_refused(redact, why):
    recorded = await record(mailing(), "go")
    with pytest.raises(RedactionError, match=why) as raised:
        redact_run(recorded.events, redact)
    assert raised.value.run_id == "run"
    assert raised.value.__cause__ is None


async def test_hashes_are_not_the_redactions_business():
    """They follow from the content, whatever it says."""
    recorded = await record(mailing(system_prompt="x"))
    redacted = redact_run(recorded.events, changing(system_prompt="y", system_prompt_hash=b"z" * 32))
    started = redacted[0].decode()
    assert isinstance(started, RunStarted)
    assert started.system_prompt_hash == text_hash("y")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5) | st.just("{secret}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "{secret}", "b"]), inner),
    max_leaves=8,
)


def filled(value, secret):
    match value:
        case str():
            return value.replace("{secret}", f"<{secret}>")
        case list():
            return [filled(one, secret) for one in value]
        case dict():
            return {filled(key, secret): filled(one, secret) for key, one in value.items()}
        case _:
            return value


@given(
    secret=st.text("abcdefXYZ0189", min_size=8, max_size=24),
    result=plain,
    argument=plain,
    places=st.sets(st.sampled_from(["goal", "prompt", "answer", "effect", "error", "reasoning", "description"])),
)
async def test_after_redaction_no_secret_is_in_the_files_bytes(tmp_path_factory, secret, result, argument, places):
    def at(place):
        return secret if place in places else place

    @tool(description=f"Knows {at('description')}")
    async def know(what: object = None) -> object:
        await step.side_effect("look", lambda: [at("effect")])
        if "error" in places:
            raise ValueError(secret)
        return filled(result, secret)

    def today():
        script = ScriptedProvider().reasoning(at("reasoning"), signature=at("reasoning").encode())
        script.tool_call("know", {"what": filled(argument, secret)}).turn().text(at("answer"))
        return agent(script, know, system_prompt=at("prompt"), tool_errors="report")

    redact = texts(re.escape(secret))
    session = RecordingSession()
    with ambient.activate(session):
        await today().run(f"go {at('goal')}")
    (run,) = session.runs
    run = replace(run, events=redact_run(run.events, redact, requests=session.requests))
    path = tmp_path_factory.mktemp("redacted") / "run.db"
    fixture = Fixture(test_id="t", recorded_at="2026-01-01T00:00:00+00:00", versions={}, runs=(run,))
    with write_fixture(path, fixture) as written:
        assert secret.encode() not in written.path.read_bytes()
        kept_runs = read_fixture(written.path).runs
    replaying = ReplayingSession(kept_runs, ReplayOptions(redact=redact))
    with ambient.activate(replaying):
        await today().run(f"go {at('goal')}")
    replaying.finish()
    assert replaying.failures == []
