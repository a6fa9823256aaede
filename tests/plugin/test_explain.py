"""The text of a divergence: bounded whatever it holds, and helpful where it can be."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from starling.event import Event, Kind, Payload, SideEffectRecorded, ToolCallCompleted, ToolCallFailed, encode_payload
from starling.explain._explain import explain, headline
from starling.explain._hints import hints
from starling.explain._text_diff import changed_text
from starling.explain._timeline import brief, timeline
from starling.explain._values import FULL, SHORT, shorten, show
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


@pytest.mark.parametrize("limits", [SHORT, FULL], ids=["short", "full"])
@given(recorded=values, produced=values)
def test_the_text_is_bounded_whatever_the_payload(limits, recorded, produced):
    divergence = diverged(recorded, produced)
    lines = explain(divergence, [RUN], fixture="x.db", recorded_at="2026-07-01T00:00:00Z", limits=limits)
    assert len(lines) < (300 if limits is SHORT else 3_000)
    assert all(line.isprintable() for line in lines)
    assert headline(divergence, [RUN]) == "golden run diverged at seq 3 of 10 (ToolCallCompleted): payload"


HUGE = "x" * 5_000_000
LINES = [f"line {number}" for number in range(100_000)]
MANY = {f"key {number}": number for number in range(10_000)}
JSON_LINES = [line for number in range(30_000) for line in ("{", f'  "a": {number}', "},")]
ENORMOUS = {
    "one line of 5 MB": (HUGE, HUGE + "y"),
    "5 MB in a list that is gone": ([HUGE] * 3, []),
    "100,000 lines that are gone": ("\n".join(LINES), "0"),
    "100,000 changed lines": ("\n".join(LINES), "\n".join(f"{line}!" for line in LINES)),
    "every tenth of 100,000 lines": (
        "\n".join(LINES),
        "\n".join(line if at % 10 else f"{line}!" for at, line in enumerate(LINES)),
    ),
    "lines of which most are alike": (
        "\n".join(JSON_LINES),
        "\n".join(line.replace('"a": ', '"a": 1') for line in JSON_LINES),
    ),
    "100,000 lines in another order": ("\n".join(LINES), "\n".join(reversed(LINES))),
    "10,000 changed fields": (MANY, {key: value + 1 for key, value in MANY.items()}),
    "10,000 fields that are new": ({"one": 1}, {"one": MANY}),
    "10 MB of bytes": (bytes(10_000_000), bytes(9_999_999) + b"x"),
    "an integer of many digits": (1, 10**18),
    "times without end": (f"{'2026-07-01T12:00:00Z ' * 20_000}a", f"{'2026-07-02T12:00:00Z ' * 20_000}a"),
}


@pytest.mark.parametrize("case", ENORMOUS)
def test_enormous_payloads_are_cut(case):
    divergence = diverged(*ENORMOUS[case])
    short = explain(divergence, [RUN], fixture="x.db", recorded_at="")
    assert len(short) < 60
    assert max(map(len, short)) < WIDEST
    full = explain(divergence, [RUN], fixture="x.db", recorded_at="", limits=FULL)
    assert sum(map(len, full)) < 2 * FULL.total
    assert sum(map(len, short)) <= sum(map(len, full))


@pytest.mark.parametrize("limits", [SHORT, FULL], ids=["short", "full"])
def test_deep_nesting_is_cut_as_well(limits):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    divergence = replace(diverged(1, 2), changes=(Change(path="result", recorded=1, produced=deep),))
    lines = explain(divergence, [RUN], fixture="", recorded_at="", limits=limits)
    assert sum(map(len, lines)) < 2 * limits.total


def test_a_value_that_is_no_json_is_said_to_be_so():
    assert show({(1, 2): 3}) == "(a dict that cannot be shown)"


def test_what_is_left_out_is_pointed_out_once():
    more = "    (--golden-diff=full or -vv shows what is left out here)"
    case = diverged({"a": ["x" * 300], "b": "\n".join(LINES)}, {"a": ["y"], "b": "\n".join(LINES[5_000:])})
    lines = explain(case, [RUN], fixture="", recorded_at="", more="--golden-diff=full or -vv")
    assert lines.count(more) == 1
    assert not any("left out here" in line for line in explain(case, [RUN], fixture="", recorded_at=""))
    short = diverged("a\nb", "a\nc")
    assert more not in explain(short, [RUN], fixture="", recorded_at="", more="--golden-diff=full or -vv")


def test_full_shows_whole_values():
    value = {"items": [{"name": f"item {number}", "price": number} for number in range(100)]}
    lines = explain(diverged({}, value), [RUN], fixture="", recorded_at="", limits=FULL)
    assert all(any(f'"name": "item {number}"' in line for line in lines) for number in range(100))


def test_bytes_are_shown_around_their_first_difference():
    (line,) = [
        line
        for line in explain(diverged(bytes(50), bytes(40) + b"ab"), [RUN], fixture="", recorded_at="")
        if "result" in line
    ]
    assert line == "    result: 50 → 42 bytes, from byte 40 on: 0000000000000000 → 6162"


def test_a_name_under_which_nothing_else_changed_is_called_a_new_name():
    renamed = diverged({"x": {"old": [1, 2]}}, {"x": {"new": [1, 2]}})
    assert "    result.x: old is called new now" in explain(renamed, [RUN], fixture="", recorded_at="")
    other = diverged({"x": {"old": [1, 2]}}, {"x": {"new": [1, 3]}})
    assert "    result.x.old: [1, 2] → (absent)" in explain(other, [RUN], fixture="", recorded_at="")


HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x00 \u202eback \ud800 \u2028 \x9b5n"


def test_what_a_payload_says_cannot_steer_a_terminal():
    said = ToolCallFailed(call_id=HOSTILE, error=HOSTILE, error_type=HOSTILE, duration_ms=1, attempt=1)
    divergence = replace(
        diverged({HOSTILE: HOSTILE}, {HOSTILE: f"{HOSTILE}\nmore"}),
        reason=HOSTILE,
        call_id=HOSTILE,
        produced=said,
        kind=Kind.ToolCallFailed,
    )
    lines = explain(divergence, [RUN], fixture="x.db", recorded_at="")
    assert all(line.isprintable() for line in lines)
    assert any("\\x1b[31mred" in line for line in lines)


def test_long_text_is_shown_as_a_line_diff_around_the_difference():
    old = "\n".join(f"line {number}" for number in range(60))
    new = old.replace("line 40", "line forty")
    assert changed_text(old, new) == ["  … 39 equal lines", "  line 39", "- line 40", "+ line forty", "  line 41"]


def test_equal_lines_between_changed_ones_are_counted():
    old = "\n".join(f"line {number}" for number in range(30))
    new = old.replace("line 5\n", "line five\n").replace("line 20", "line twenty").replace("line 23", "line 3x")
    assert changed_text(old, new) == [
        "  … 4 equal lines",
        "  line 4",
        "- line 5",
        "+ line five",
        "  line 6",
        "  … 12 equal lines",
        "  line 19",
        "- line 20",
        "+ line twenty",
        "  line 21",
        "  line 22",
        "- line 23",
        "+ line 3x",
        "  line 24",
    ]


def test_changes_far_apart_are_both_shown():
    new = ["first", *LINES[1:-1], "last"]
    assert changed_text("\n".join(LINES), "\n".join(new)) == [
        "- line 0",
        "+ first",
        "  line 1",
        "  … 99996 equal lines",
        "  line 99998",
        "- line 99999",
        "+ last",
    ]


def test_of_a_long_change_both_sides_are_shown():
    lines = changed_text("\n".join(LINES[:50]), "\n".join(f"{line}!" for line in LINES[:50]))
    assert lines[:2] == ["- line 0", "- line 1"]
    assert lines[12:15] == ["- … 38 more lines", "+ line 0!", "+ line 1!"]
    assert lines[-1] == "+ … 38 more lines"


def test_a_difference_far_inside_a_line_of_many_is_shown():
    old = f"first\n{'a' * 500}old\nlast"
    assert changed_text(old, old.replace("old", "new")) == [
        "  first",
        f"- …{'a' * 30}old",
        f"+ …{'a' * 30}new",
        "  last",
    ]


texts = st.lists(st.sampled_from(["a", "b", "c", "{", "}", ""]), max_size=60).map("\n".join)


@given(texts, texts, st.integers(1, 8))
def test_a_whole_diff_holds_both_texts(old, new, window):
    assume(old.splitlines() != new.splitlines())
    limits = replace(FULL, context=1_000, compared=window)
    lines = changed_text(old, new, limits)
    assert [line[2:] for line in lines if line[0] in "- "] == old.splitlines()
    assert [line[2:] for line in lines if line[0] in "+ "] == new.splitlines()


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


def test_a_tool_that_failed_before_it_asked_for_the_time_has_not_replaced_the_clock():
    produced = ToolCallFailed(call_id="c", error="no such order", error_type="tool", duration_ms=1, attempt=1)
    divergence = Divergence(
        run_id="run",
        seq=3,
        kind=produced.KIND,
        expected_kind=Kind.SideEffectRecorded,
        cls="kind",
        reason="",
        recorded=SideEffectRecorded(name="now", value=1, call_id="c"),
        produced=produced,
    )
    assert hints(divergence) == []


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
