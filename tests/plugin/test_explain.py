"""The text of a divergence: bounded whatever it holds, and helpful where it can be."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_starling._explain import explain, headline
from pytest_starling._hints import hints
from pytest_starling._timeline import brief, timeline
from pytest_starling._values import changed_text, shorten, show
from starling.event import Event, Kind, Payload, SideEffectRecorded, ToolCallCompleted, encode_payload
from starling.fixture import FixtureRun
from starling.replay import Change, Divergence
from starling.step import changes_between
from starling.testing.eventlog_contract import sample_run

RUN = FixtureRun(run_id="run", events=tuple(sample_run("run", 8)), began=1, ended=2)
WIDEST = 260


def diverged(recorded, produced, *, kind=Kind.ToolCallCompleted, seq=3):
    payloads = [
        ToolCallCompleted(call_id="c", result=value, duration_ms=1, attempt=1) for value in (recorded, produced)
    ]
    return Divergence(
        run_id="run",
        seq=seq,
        kind=kind,
        expected_kind=kind,
        cls="payload",
        reason="it differs",
        recorded=payloads[0],
        produced=payloads[1],
        changes=changes_between(*payloads),
        length=len(RUN.events),
    )


def _event(payload):
    return Event(run_id="run", seq=3, prev_hash=b"", ts=0, kind=payload.KIND, payload=encode_payload(payload))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=400)
    | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=80), inner, max_size=8),
    max_leaves=30,
)


@given(values, values)
def test_the_text_is_bounded_whatever_the_payload(recorded, produced):
    divergence = diverged(recorded, produced)
    lines = explain(divergence, [RUN], fixture="x.db", recorded_at="2026-07-01T00:00:00Z")
    assert len(lines) < 300
    assert all("\n" not in line for line in lines)
    assert headline(divergence, [RUN]) == "golden run diverged at seq 3 of 10 (ToolCallCompleted): payload"


def test_huge_payloads_are_cut():
    huge = "x" * 5_000_000
    lines = explain(
        diverged(
            {"a": huge, "b": [huge] * 3, "c": "\n".join(map(str, range(100_000)))}, {"a": huge + "y", "b": [], "c": "0"}
        ),
        [RUN],
        fixture="x.db",
        recorded_at="",
    )
    assert len(lines) < 120
    assert max(map(len, lines)) < WIDEST


def test_long_text_is_shown_as_a_line_diff_around_the_difference():
    old = "\n".join(f"line {number}" for number in range(60))
    new = old.replace("line 40", "line forty")
    assert changed_text(old, new) == ["  … 39 equal lines", "  line 39", "- line 40", "+ line forty", "  line 41"]


def test_one_long_line_is_shown_around_the_difference():
    old, new = "a" * 500 + "old end", "a" * 500 + "new end"
    assert changed_text(old, new) == [f"- …{'a' * 30}old end", f"+ …{'a' * 30}new end"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_line_diff_shows_that_two_texts_differ(old, new):
    lines = changed_text(old, new)
    if old.splitlines() != new.splitlines():
        assert any(line[0] in "+-" for line in lines)


def test_values_that_look_alike_are_told_apart():
    (line,) = [line for line in explain(diverged(1, 1.0), [RUN], fixture="x", recorded_at="") if "result" in line]
    assert line == "    result: 1 → 1.0"
    (line,) = [
        line
        for line in explain(diverged([1] * 300, [1] * 300 + [2]), [RUN], fixture="x", recorded_at="")
        if "result" in line
    ]
    assert line == "    result[300]: (absent) → 2"


TIMES = ("2026-07-01T12:00:00Z", "2026-07-02T09:30:01Z")
HINTS = {
    "an ISO time": (*TIMES, "step.now()"),
    "a time inside a text": (f"as of {TIMES[0]}", f"as of {TIMES[1]}", "step.now()"),
    "Unix seconds": (1_780_000_000, 1_780_000_007, "step.now()"),
    "Unix nanoseconds": (1_780_000_000_000_000_000, 1_780_000_000_000_000_009, "step.now()"),
    "float seconds": (1_780_000_000.25, 1_780_000_001.5, "step.now()"),
    "a UUID": ("9b2f6a0e-58a2-4b0e-9d6c-0b8e4e1d2c3b", "0c9e7f61-0b52-4a34-8c0f-8d6a5e4f3b21", "random id"),
    "a ULID": ("01M7YR6ZQ5Z79PRZ3178XHDDHA", "01M7YR6ZPRQM9DT0227ACN77SQ", "random id"),
    "a random float": (0.6190956764672094, 0.43586288268521123, "step.random()"),
    "anything else": ("Oslo", "Bergen", "side_effect"),
}


@pytest.mark.parametrize("case", HINTS)
def test_what_leaked_into_a_tool_is_guessed(case):
    recorded, produced, hint = HINTS[case]
    (text,) = hints(diverged(recorded, produced))
    assert hint in text


MOMENT = 1_782_907_200_000_000_000  # 2026-07-01T12:00:00Z
NOW = _event(SideEffectRecorded(name="now", value=MOMENT, call_id="c"))
OTHER_NOW = _event(SideEffectRecorded(name="now", value=MOMENT, call_id="other"))


@pytest.mark.parametrize(
    ("recorded", "produced", "known"),
    [
        ("2026-07-01T12:00:00Z", "2026-07-01", ()),
        ("at 2026-06-01 08:00:00", "08:00:00", ()),
        ("2020-01-01", "2026-07-01", (NOW,)),
        ("2020-01-01", "2026-07-01T12:00:00+00:00", (NOW,)),
        ("2020-01-01", "2026-07-01 12:00", (NOW,)),
        (1_780_000_000, 1_782_907_200, (NOW,)),
        (1_780_000_000_000, 1_782_907_200_000.0, (NOW,)),
        (1_780_000_000, MOMENT, (OTHER_NOW, NOW)),
    ],
)
def test_a_time_that_was_recorded_has_not_leaked_in(recorded, produced, known):
    (text,) = hints(diverged(recorded, produced), known)
    assert "leaked" not in text


@pytest.mark.parametrize(
    ("recorded", "produced", "known"),
    [
        ("2026-07-01T12:00:00Z", "2026-07-02", ()),
        ("2020-01-01", "2026-07-02", (NOW,)),
        ("2020-01-01", "2026-07-01", (OTHER_NOW,)),
        (1_780_000_000, 1_782_907_260, (NOW,)),
    ],
)
def test_another_time_has(recorded, produced, known):
    (text,) = hints(diverged(recorded, produced), known)
    assert "A time leaked in" in text


@pytest.mark.parametrize(("name", "text"), [("now", "step.now() is gone"), ("rand", "step.random() is gone")])
@pytest.mark.parametrize("produced", [ToolCallCompleted(call_id="c", result=1, duration_ms=1, attempt=1), "another"])
def test_a_clock_or_random_number_that_is_no_longer_asked_for_is_named(name, text, produced):
    if produced == "another":
        produced = SideEffectRecorded(name="stock", value=1, call_id="c")
    divergence = Divergence(
        run_id="run",
        seq=3,
        kind=produced.KIND,
        expected_kind=Kind.SideEffectRecorded,
        cls="kind" if produced.KIND is Kind.ToolCallCompleted else "payload",
        reason="",
        recorded=SideEffectRecorded(name=name, value=1, call_id="c"),
        produced=produced,
    )
    (hint,) = hints(divergence)
    assert text in hint


def test_no_hint_where_there_is_nothing_to_guess():
    divergence = Divergence(
        run_id="run",
        seq=1,
        kind=Kind.RunStarted,
        expected_kind=Kind.RunStarted,
        cls="payload",
        reason="",
        changes=(Change(path="goal", recorded="a", produced="b"),),
    )
    assert hints(divergence) == []


def test_a_date_in_the_prompt_is_found():
    divergence = Divergence(
        run_id="run",
        seq=1,
        kind=Kind.RunStarted,
        expected_kind=Kind.RunStarted,
        cls="payload",
        reason="",
        changes=(Change(path="system_prompt", recorded="Today is 2026-07-01.", produced="Today is 2026-07-02."),),
    )
    (text,) = hints(divergence)
    assert "A time stands in it" in text


@pytest.mark.parametrize("seq", [1, 2, 4, 9, 10])
def test_the_timeline_marks_the_event_among_its_neighbours(seq):
    lines = timeline(diverged(1, 2, seq=seq), RUN.events)
    marked = [line for line in lines if line.startswith(">")]
    assert len(marked) == 1
    assert marked[0].split()[1] == str(seq)
    numbers = [int(line.lstrip("> ").split()[0]) for line in lines]
    assert numbers == list(range(max(1, seq - 3), min(10, seq + 2) + 1))


def test_past_the_end_of_the_recording():
    divergence = Divergence(
        run_id="run", seq=11, kind=Kind.TurnStarted, expected_kind=None, cls="exhausted", reason="", length=10
    )
    lines = timeline(divergence, RUN.events)
    assert lines[-2:] == [">   11  (the recording ends before this)", "  today TurnStarted"]


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_event_has_a_brief(kind):
    from dataclasses import MISSING, fields

    from starling.event import EffectError

    cls = next(cls for cls in get_args(Payload) if cls.KIND is kind)
    samples = {str: "text", int: 3, float: 1.5, bool: True, bytes: b"x"}
    given_fields = {}
    for field in fields(cls):
        if field.default is MISSING:
            name = str(field.type)
            sample = next((value for kind_of, value in samples.items() if kind_of.__name__ in name), None)
            given_fields[field.name] = 3 if "int" in name else sample
    text = brief(cls(**given_fields))
    assert isinstance(text, str)
    assert len(text) <= 72
    if kind is Kind.SideEffectRecorded:
        failed = cls(name="rate", value=None, error=EffectError(type="OSError", message="gone"))
        assert brief(failed) == "rate raised OSError"


@pytest.mark.parametrize("render", [show, shorten, lambda text: changed_text(text, "plain")[0]])
def test_no_control_character_reaches_the_terminal(render):
    text = render("\x1b[31mred\x1b[0m\x07 \u202e")
    assert text.isprintable()
    assert "red" in text


@given(values)
def test_shown_values_fit_on_a_line(value):
    text = show(value)
    assert len(text) <= 170
    assert "\n" not in text


@given(st.text(), st.integers(2, 200))
def test_shortened_text_is_short(text, limit):
    short = shorten(text, limit)
    assert len(short) <= limit
    assert "\n" not in short
