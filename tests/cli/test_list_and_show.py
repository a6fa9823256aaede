"""`starling list`, `show` and `diff`: what is there, for people and for scripts."""

import io
import json

import pytest
from cli_kit import damage, golden_fixture, service_log, shop

from starling import SQLiteLog


def test_a_listing_is_newest_first_and_says_what_each_run_used(tmp_path, starling):
    called = starling("list", service_log(tmp_path / "log.db", "first", "second", unfinished=["third"]))

    head, *rows = (line.split() for line in called.lines)
    assert head == ["RUN", "STARTED", "STATUS", "EVENTS", "TURNS", "CALLS", "TOKENS", "IN", "OUT", "USD", "TOOK"]
    assert [row[0] for row in rows] == ["third", "second", "first"]
    assert rows[1][2:8] == ["completed", "9", "2", "1", "20", "10"]
    assert rows[0][2:4] == ["in", "progress"]
    assert rows[0][1].endswith("Z")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], ["c", "b", "a/2", "a/1"]),
        (["--status", "in progress"], ["c"]),
        (["--status", "completed"], ["b", "a/2", "a/1"]),
        (["--prefix", "a/"], ["a/2", "a/1"]),
        (["--query", "/2"], ["a/2"]),
        (["--tools"], ["b", "a/2", "a/1"]),
        (["--limit", "2"], ["c", "b"]),
        (["--before", "2026-01-01"], []),
        (["--before", "9999-12-31T23:59:59-12:00"], ["c", "b", "a/2", "a/1"]),
        (["--before", "0001-01-01"], []),
        (["--after", "0001-01-01"], ["c", "b", "a/2", "a/1"]),
        (["--after", "2999-01-01"], []),
        (["--after", "2026-01-01T00:00:00+02:00", "--limit", "1"], ["c"]),
    ],
)
def test_filters_narrow_a_listing(tmp_path, starling, filters, found):
    log = service_log(tmp_path / "log.db", "a/1", "a/2", "b", unfinished=["c"])

    assert [run["run_id"] for run in starling("list", log, "--json", *filters).objects] == found


def test_filters_that_nothing_fits_are_said_so_on_stderr(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "a")

    called = starling("list", log, "--status", "failed")

    assert (called.code, called.err) == (0, "no run fits\n")
    assert starling("list", log, "--status", "completed").err == ""


def test_what_a_listing_leaves_out_is_said_on_stderr(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "a", "b", "c")

    assert starling("list", log, "-n", "1").err == "2 more runs: see --limit and --all\n"
    assert starling("list", log, "-n", "3").err == ""


def test_all_runs_are_listed_over_several_pages(tmp_path, starling, monkeypatch):
    from starling.cli import _list

    monkeypatch.setattr(_list, "_PAGE", 2)
    log = service_log(tmp_path / "log.db", *"abcde")

    assert [line.split()[0] for line in starling("list", log, "--all").lines] == ["RUN", *"edcba"]
    assert [line.split()[0] for line in starling("list", log, "-n", "3").lines] == ["RUN", *"edc"]


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01"])
def test_a_time_that_is_none_is_a_mistake_in_using_it(tmp_path, starling, capsys, text):
    with pytest.raises(SystemExit) as ended:
        starling("list", tmp_path / "log.db", "--after", text)

    assert ended.value.code == 2
    assert "is no time" in capsys.readouterr().err


def test_a_run_is_shown_event_by_event(tmp_path, starling):
    called = starling("show", service_log(tmp_path / "log.db", "r1"), "r1")

    assert called.code == 0
    assert "status    completed" in called.out
    assert "model     gpt-4o-mini (scripted v0)" in called.out
    assert "app 1.2" in called.out
    assert "turns     2, 1 tool call\n" in called.out
    assert [line.split()[0] for line in called.lines[-9:]] == list("123456789")
    assert called.lines[-6].split(maxsplit=3)[2:] == ["ToolCallScheduled", 'stock({"article": "tea"})']


def test_one_event_is_shown_whole(tmp_path, starling):
    called = starling("show", service_log(tmp_path / "log.db", "r1"), "r1", "--seq", "4")

    event = json.loads(called.out)
    assert event["kind"] == "ToolCallScheduled"
    assert event["payload"]["args"] == {"article": "tea"}
    assert len(bytes.fromhex(event["hash"])) == 32


def test_a_seq_that_is_not_there_is_a_mistake_in_using_it(tmp_path, starling):
    called = starling("show", service_log(tmp_path / "log.db", "r1"), "r1", "--seq", "10")

    assert called.code == 2
    assert "no event with seq 10" in called.err


def test_a_run_for_scripts_is_one_object(tmp_path, starling):
    (run,) = starling("show", service_log(tmp_path / "log.db", "r1"), "r1", "--json").objects

    assert (run["run_id"], run["status"], run["events"], len(run["log"])) == ("r1", "completed", 9, 9)


def test_a_transcript_is_what_textconv_prints(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1")

    assert starling("show", log, "r1", "--transcript").out in starling("textconv", log).out


def test_a_damaged_event_is_shown_as_one(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1")
    damage(log, "r1", 4)

    assert starling("show", log, "r1").code == 0
    assert "unreadable" in json.loads(starling("show", log, "r1", "--seq", "4").out)["payload"]


def test_what_a_model_said_does_not_steer_the_terminal(tmp_path, starling):
    with SQLiteLog(tmp_path / "log.db") as log:
        shop(log, answer="\x1b]0;title\x07\x9b2J\u202e").run_with_id_sync("r\x1b[31m", "go")

    for arguments in (
        ["list"],
        ["show", "r"],
        ["show", "r", "--transcript"],
        ["show", "r", "--json"],
        ["show", "r", "--seq", "9"],
        ["validate", "r"],
        ["replay", "--agent", "cli_kit:shop"],
    ):
        command, *rest = arguments
        called = starling(command, tmp_path / "log.db", *rest)
        assert all(line.isprintable() for line in called.lines), arguments
    shown = json.loads(starling("show", tmp_path / "log.db", "r", "--seq", "9").out)
    assert shown["payload"]["final_text"] == "\x1b]0;title\x07\x9b2J\u202e"


# --- which run


def test_an_exact_id_wins_over_longer_ones(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "run", "run2")

    assert starling("show", log, "run", "--json").objects[0]["run_id"] == "run"


def test_a_beginning_of_several_ids_is_refused_and_names_them(tmp_path, starling):
    called = starling("show", service_log(tmp_path / "log.db", "run1", "run2"), "ru")

    assert called.code == 2
    assert called.err == "starling show: several runs begin with 'ru': run2, run1\n"


@pytest.mark.parametrize("text", ["x", ""])
def test_a_run_that_is_not_there_is_a_mistake_in_using_it(tmp_path, starling, text):
    called = starling("show", service_log(tmp_path / "log.db", "run1"), text)

    assert called.code == 2
    assert "there is no run" in called.err


# --- diff


def test_two_runs_of_a_log_are_compared(tmp_path, starling):
    with SQLiteLog(tmp_path / "log.db") as log:
        for run_id, answer in (("old", "Yes, 12."), ("new", "No."), ("same", "Yes, 12.")):
            shop(log, answer=answer).run_with_id_sync(run_id, "go")

    differ, same = (starling("diff", tmp_path / "log.db", "o", one) for one in ("new", "same"))

    assert (differ.code, same.code, same.out) == (1, 0, "")
    assert differ.lines[:2] == ["--- old", "+++ new"]
    assert "-    Yes, 12.\n+    No." in differ.out


def test_a_fixture_is_compared_with_a_service_log(tmp_path, starling):
    fixture = golden_fixture(tmp_path / "f.db")
    with SQLiteLog(tmp_path / "log.db") as log:
        shop(log).run_sync("Do you have coffee?")

    called = starling("diff", fixture, tmp_path / "log.db")

    assert called.code == 1
    assert "-  Do you have tea?\n+  Do you have coffee?" in called.out


# --- colours


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "stream", "colours"),
    [
        ({}, Terminal, True),
        ({"NO_COLOR": "1"}, Terminal, False),
        ({"TERM": "dumb"}, Terminal, False),
        ({}, io.StringIO, False),
    ],
)
def test_colours_are_for_terminals_and_never_with_no_color(monkeypatch, environment, stream, colours):
    from starling.cli._output import coloured

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert (coloured("x", "red", stream()) != "x") is colours


@pytest.mark.parametrize(("wanted", "drawn"), [(None, True), (True, True), (False, False)])
def test_progress_on_a_terminal_stands_on_one_line_and_goes_away(monkeypatch, wanted, drawn):
    from starling.cli._output import Progress

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    with Progress(wanted) as progress:
        progress.at("1 run")
        progress.at("2 runs")  # too soon to be drawn

    assert terminal.getvalue() == ("\r\x1b[K1 run\r\x1b[K" if drawn else "")
