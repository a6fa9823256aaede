"""What today's code produced is kept under pytest's cache directory, and goes when the test passes again."""

import re
import sqlite3
from contextlib import closing

import pytest

from pytest_starling import _produced
from pytest_starling._produced import produced_runs
from starling import open_log
from starling.event import Kind, ToolCallCompleted
from starling.fixture import read_fixture

KEPT = ".pytest_cache/d/starling/testdata/golden/test_support/test_refund.db"


@pytest.fixture
def diverging(recorded):
    recorded.turn(total=43)
    return recorded


def made_up_key():
    return "".join(chr(97 + number * 7 % 26) for number in range(16))


def kept(project):
    folder = project.path / ".pytest_cache" / "d" / "starling"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def events_of(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT run_id, seq, kind, payload FROM eventlog_events ORDER BY ts, seq").fetchall()


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_the_events_up_to_the_divergence_are_kept_as_a_log(diverging, workers):
    result = diverging.run_cached(*workers, failed=1)
    result.stdout.fnmatch_lines([f"E   compare  starling diff testdata/golden/test_support/test_refund.db {KEPT}"])
    recorded = events_of(diverging.fixture())
    produced = events_of(diverging.path / KEPT)
    assert produced[:10] == recorded[:10]
    assert len(produced) == 11
    assert b"\x18\x2b" in produced[10][3]  # 43


def test_the_kept_log_is_one_that_the_runtime_opens(diverging):
    diverging.run_cached(failed=1)
    log = open_log(diverging.path / KEPT, read_only=True)
    try:
        (run,) = read_fixture(diverging.fixture()).runs
        events = log.read_sync(run.run_id)
    finally:
        log.close_sync()
    assert [event.seq for event in events] == list(range(1, 12))
    assert events[-1].decode().result == {"order": 7, "total": 43}


def test_the_line_that_compares_both_can_be_run(diverging, monkeypatch, capsys):
    from starling.cli import main

    result = diverging.run_cached(failed=1)
    (line,) = [line for line in result.outlines if line.startswith("E   compare")]
    monkeypatch.chdir(diverging.path)
    capsys.readouterr()
    assert main(line.split()[3:]) == 1
    lines = capsys.readouterr().out.splitlines()
    removed = [line[1:].strip() for line in lines[2:] if line.startswith("-")]
    assert removed[0] == '"total": 42'
    assert '"total": 43' in [line[1:].strip() for line in lines[2:] if line.startswith("+")]
    assert not any("test_support.py::" in line for line in lines)  # only fixtures know the test


def test_it_goes_when_the_test_passes_again(diverging):
    diverging.run_cached(failed=1)
    assert kept(diverging) == ["testdata/golden/test_support/test_refund.db"]
    diverging.turn(total=42)
    diverging.run_cached(passed=1)
    assert not (diverging.path / ".pytest_cache" / "d" / "starling").exists()


def test_it_goes_when_the_change_is_recorded(diverging):
    diverging.run_cached(failed=1)
    diverging.run_cached("--record-golden", "--golden-verify=off", passed=1)
    assert kept(diverging) == []


def test_it_is_replaced_by_the_next_divergence(diverging):
    diverging.run_cached(failed=1)
    diverging.turn(prompt="Be rude.")
    diverging.run_cached(failed=1)
    assert len(events_of(diverging.path / KEPT)) == 1
    assert kept(diverging) == ["testdata/golden/test_support/test_refund.db"]


def test_a_passing_session_makes_no_folder(recorded):
    recorded.run_cached(passed=1)
    assert not (recorded.path / ".pytest_cache" / "d").exists()


def test_without_a_cache_nothing_is_kept_and_nothing_is_said(diverging):
    output = diverging.run(failed=1).stdout.str()
    assert "compare" not in output
    assert not (diverging.path / ".pytest_cache").exists()


def test_where_the_cache_cannot_be_written_nothing_is_kept_and_nothing_is_said(diverging):
    (diverging.path / "blocked").write_text("a file")
    result = diverging.run_cached("-o", "cache_dir=blocked/cache", "-p", "no:lfplugin", failed=1)
    assert "compare  " not in result.stdout.str()
    assert "golden run diverged at seq 11 of 14" in result.stdout.str()


def test_a_secret_is_kept_as_the_name_of_its_variable(diverging, monkeypatch):
    value = made_up_key()
    monkeypatch.setenv("SHOP_API_KEY", value)
    diverging.turn(total=value)
    output = diverging.run_cached(failed=1).stdout.str()
    assert "compare  " in output
    assert value not in output
    (name,) = kept(diverging)
    data = (diverging.path / ".pytest_cache" / "d" / "starling" / name).read_bytes()
    assert value.encode() not in data
    assert b"<SHOP_API_KEY>" in data


def test_what_a_secret_cannot_be_replaced_in_is_not_kept(diverging, monkeypatch):
    monkeypatch.setenv("SHOP_API_KEY", "8675309123")
    diverging.turn(total=8675309123)
    assert "compare  " not in diverging.run_cached(failed=1).stdout.str()
    assert kept(diverging) == []


def test_a_secret_that_is_cut_is_not_shown_in_part(diverging, monkeypatch):
    value = made_up_key()
    monkeypatch.setenv("SHOP_API_KEY", value)
    diverging.turn(total=f"{'x' * 136}{value}{'x' * 400}")
    output = diverging.run_cached(failed=1).stdout.str()
    assert value[:5] not in output


@pytest.mark.parametrize("mode", ["--record-golden", "--golden-mode=all"])
def test_recording_keeps_nothing(project, mode):
    project.write(
        test_support="""
        import pytest, random, support

        @pytest.mark.golden_run
        def test_refund():
            support.handle(str(random.random()))
        """
    )
    output = project.run_cached(mode, failed=1).stdout.str()
    assert "the recording does not replay" in output
    assert "compare  " not in output
    assert kept(project) == []


def test_the_line_starts_where_pytest_was_called(diverging):
    folder = diverging.path / "some where"
    folder.mkdir()
    diverging.monkeypatch.chdir(folder)
    diverging.run_cached(
        "--rootdir", str(diverging.path), "-c", str(diverging.path / "pytest.ini"), ".."
    ).stdout.fnmatch_lines([f"E   compare  starling diff ../testdata/golden/test_support/test_refund.db ../{KEPT}"])


def test_fixtures_outside_of_the_rootdir_are_told_apart(diverging, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("golden")
    diverging.turn(total=42)
    diverging.record("-o", f"golden_dir={elsewhere}", passed=1)
    diverging.turn(total=43)
    diverging.run_cached("-o", f"golden_dir={elsewhere}", failed=1)
    (name,) = kept(diverging)
    assert re.fullmatch(r"elsewhere/[0-9a-f]{8}/test_refund\.db", name)


def test_what_is_kept_is_bounded(project, monkeypatch):
    monkeypatch.setattr(_produced, "_MOST_FILES", 3)
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        @pytest.mark.parametrize("number", range(6))
        def test_refund(number):
            support.handle()
        """
    )
    project.record("--golden-verify=off", passed=6)
    project.turn(total=43)
    result = project.run_cached(failed=6)
    assert len(kept(project)) == 3
    assert "testdata/golden/test_support/test_refund[5].db" in kept(project)
    assert result.stdout.str().count("E   compare  ") == 6


def test_two_runs_are_compared_run_by_run(project):
    source = """
    import contextlib, pytest, support

    @pytest.mark.golden_run
    def test_refund():
        for goal in {goals}:
            with contextlib.suppress(Exception):
                support.handle(goal)
    """
    project.write(test_support=source.format(goals=["one", "two"]))
    project.record(passed=1)
    one, two = read_fixture(project.fixture()).runs
    project.write(test_support=source.format(goals=["one", "other", "more"]))
    project.run_cached(failed=1)
    rows = events_of(project.path / KEPT)
    assert [row[0] for row in rows] == [one.run_id] * 14 + [two.run_id] + ["not-recorded-1"]
    assert [row[2] for row in rows[-2:]] == [Kind.RunStarted] * 2


def test_a_run_ends_before_the_call_in_which_another_one_diverged(project):
    project.write(
        agents="""
        from pathlib import Path
        from starling import Agent, Config, MemoryLog, tool
        from starling.testing import ScriptedProvider

        @tool
        async def ask() -> str:
            goal = Path(__file__).with_name("goal.txt").read_text()
            inner = Agent(ScriptedProvider().text("inner"), Config(model="m"), MemoryLog())
            return (await inner.run(goal)).final_text

        def handle():
            script = ScriptedProvider().tool_call("ask").turn().text("outer")
            return Agent(script, Config(model="m"), MemoryLog(), tools=[ask]).run_sync("go")
        """,
        test_support="""
        import agents, pytest

        @pytest.mark.golden_run
        def test_refund():
            agents.handle()
        """,
    )
    goal = project.path / "goal.txt"
    goal.write_text("one")
    project.record(passed=1)
    outer, inner = read_fixture(project.fixture()).runs
    goal.write_text("two")
    project.run_cached(failed=1)
    rows = events_of(project.path / KEPT)
    assert [row[:3] for row in rows if row[0] == outer.run_id] == [
        (outer.run_id, event.seq, event.kind) for event in outer.events[:4]
    ]
    assert [row[1:3] for row in rows if row[0] == inner.run_id] == [(1, Kind.RunStarted)]


def test_a_run_that_was_not_asked_for_is_not_there(recorded):
    (run,) = read_fixture(recorded.fixture()).runs
    assert produced_runs([run], [], []) == []
    (whole,) = produced_runs([run], [run], [])
    assert whole == run.events
    assert isinstance(run.events[10].decode(), ToolCallCompleted)
