"""Benchmarks run, and say what they are measured against."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import _measure, detection, disk
from benchmarks._measure import Row, compare
from benchmarks._projects import GOLDEN, Project

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_collecting_is_measured_in_pairs_with_the_goal_beside_it():
    command = [sys.executable, BENCHMARKS / "collect_only.py", "2"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 3
    assert "2 pairs" in lines[0]
    for name, line in zip(("wall", "processor"), lines[1:], strict=True):
        assert re.fullmatch(
            rf"  {name} .* ms with, .* ms without: .* ms \(quartiles .*\); goal <= 5 ms (met|missed)", line
        )


def test_a_large_log_is_measured_with_the_goals_beside_it():
    command = [sys.executable, BENCHMARKS / "log_at_scale.py", "--runs", "200", "--events", "6", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (found["runs"], found["events"]) == (200, 1200)
    assert [figure["name"] for figure in found["figures"]] == [
        "first page",
        "first page and number of runs",
        "peak memory, pages",
        "peak memory, validation",
        "peak memory, export",
        "longest append beside a pruning",
    ]
    assert all(figure["value"] > 0 and figure["goal"] > 0 for figure in found["figures"])


def test_streaming_through_an_adapter_is_measured_beside_the_bare_sdk():
    command = [sys.executable, "-W", "always::ResourceWarning", BENCHMARKS / "provider_stream.py", "2", "openai"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert (len(lines), done.stderr) == (3, "")  # no client is left open
    assert lines[0].startswith("openai: 1000 chunks, 2 pairs")
    for name, line in zip(("wall", "processor"), lines[1:], strict=True):
        assert re.fullmatch(
            rf"  {name} .* ms adapter, .* ms bare SDK: .* x \(quartiles .*\); goal <= 1.25 x (met|missed)", line
        )


def row(figure, **changed):
    return Row(**{"what": "a thing", "against": "another", "goal": 2.0, "figure": figure, "details": "so", **changed})


@pytest.mark.parametrize(
    ("figure", "at_least", "goal", "met"),
    [
        (2.0, False, "≤ 2 ×", "yes"),
        (2.01, False, "≤ 2 ×", "**no**"),
        (2.0, True, "≥ 2 ×", "yes"),
        (1.99, True, "≥ 2 ×", "**no**"),
    ],
)
def test_the_table_has_goal_and_figure_beside_each_other(figure, at_least, goal, met):
    lines = benchmarks.table([row(figure, at_least=at_least)]).splitlines()
    assert lines[-1] == f"| a thing | another | {goal} | {figure:.2f} × | {met} | so |"
    assert {line.count("|") for line in lines} == {7}


def test_the_detection_table_has_a_column_a_side():
    found = {"one": "caught", "other": "not caught"}
    lines = benchmarks.detection_table([detection.Finding(change="prompt edited", found=found)]).splitlines()
    assert lines == ["| change | one | other |", "|---|---|---|", "| prompt edited | caught | not caught |"]


def test_what_was_measured_is_written_as_json(tmp_path):
    finding = detection.Finding(change="prompt edited", found={"one": "caught"})
    benchmarks._write(tmp_path / "found.json", [row(3.0)], [finding])
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["rows"][0]["figure"], found["rows"][0]["met"]) == (3.0, False)
    assert found["detection"] == [{"change": "prompt edited", "found": {"one": "caught"}}]


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(benchmarks.NEEDS, "peers", ("json", "nobody_has_this"))
    with pytest.raises(SystemExit, match=r"^not installed: nobody_has_this; `tox -e bench` installs"):
        benchmarks._require(["peers"])


def test_every_round_compares_both_sides(monkeypatch):
    monkeypatch.setattr(_measure, "ROUND_S", 0.0005)
    monkeypatch.setattr(_measure, "gc", SimpleNamespace(collect=lambda: None))  # slow among thousands of tests
    called = []
    found = compare(lambda: called.append("subject"), lambda: called.append("baseline"), rounds=3)
    assert set(called) == {"subject", "baseline"}
    assert 0 < found.low <= found.ratio <= found.high


def test_a_row_is_measured():
    fixture = disk._fixture()
    assert fixture.what == "a fixture on disk (38 events)"
    assert fixture.figure > 1


def test_what_a_change_leads_to_is_found_by_running_it(tmp_path):
    (finding,) = detection.findings((GOLDEN,), ("prompt edited",))
    assert finding.found == {"pytest-starling": "caught"}
    with pytest.raises(ValueError, match="out of date"):
        Project(tmp_path / "other", GOLDEN).edit("shop.py", "what it does not say", "")


def test_a_session_without_failures_has_caught_nothing():
    assert [detection._said(failed) for failed in (0, 1)] == ["not caught", "caught"]
