"""``--golden-report``: the same story as the summary's, as JSON in a published form and as Markdown."""

import json
import re
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from markdown_it import MarkdownIt

import pytest_starling
from pytest_starling._golden_report import VERSION
from pytest_starling._markdown import markdown
from pytest_starling._options import MODES
from pytest_starling._outcomes import OUTCOMES

SCHEMA = json.loads(resources.files("pytest_starling").joinpath("report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

GOOD = "import pytest, support\n\n@pytest.mark.golden_run\ndef test_good(): support.handle()\n"


@pytest.fixture
def good(project):
    project.write(test_good=GOOD)
    project.record(passed=1)
    return project


def report(project, *arguments, **expected):
    """Run pytest and return the JSON report, which is valid."""
    project.run("--golden-report=out/golden.json", *arguments, **expected)
    return read(project)


def read(project):
    value = json.loads((project.path / "out/golden.json").read_text())
    VALIDATOR.validate(value)
    return value


def outcomes(value):
    return {test["test"].partition("::")[2]: test["outcome"] for test in value["tests"]}


# --- the schema


def test_the_schema_is_one_and_has_the_words_of_the_code():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["version"]["const"] == VERSION
    assert SCHEMA["$defs"]["outcome"]["enum"] == list(OUTCOMES)
    assert set(MODES) <= set(SCHEMA["properties"]["mode"]["enum"])


def test_every_outcome_that_the_code_has_is_in_the_table():
    sources = [path.read_text() for path in Path(pytest_starling.__file__).parent.glob("*.py")]
    found = {word for text in sources for word in re.findall(r'outcome="(\w+)"', text)}
    assert {"missing", "unstable", "ignored"} <= found
    assert found <= set(OUTCOMES)


def test_the_schema_refuses_what_it_does_not_know(good):
    value = report(good)
    for wrong in ({**value, "more": 1}, {**value, "version": 2}, {**value, "counts": {"great": 1}}):
        assert not VALIDATOR.is_valid(wrong)


# --- outcomes


def test_a_session_in_which_all_is_well(good):
    value = report(good, passed=1)
    (test,) = value["tests"]
    assert test == {
        "test": "test_good.py::test_good",
        "outcome": "replayed",
        "mode": "replay",
        "fixture": "testdata/golden/test_good/test_good.db",
        "run_id": test["run_id"],
        "divergences": 0,
        "first": None,
        "undeclared": 0,
        "headline": "",
        "text": "",
        "command": 'pytest --record-golden "test_good.py::test_good"',
    }
    assert len(test["run_id"]) == 26
    assert value["counts"] == {"replayed": 1}
    assert (value["mode"], value["golden_dir"]) == ("replay", "testdata/golden")
    assert (value["exit_status"], value["complete"], value["not_run"], value["unused"]) == (0, True, 0, [])
    assert value["generator"].startswith("pytest-starling ")


def test_a_divergence(good):
    good.turn(total=43)
    (test,) = report(good, failed=1)["tests"]
    assert test["outcome"] == "diverged"
    assert test["first"] == {"seq": 11, "kind": "ToolCallCompleted", "class": "payload"}
    assert test["divergences"] == 1
    assert test["headline"] == "golden run diverged at seq 11 of 14 (ToolCallCompleted): payload"
    assert test["text"].startswith(test["headline"])
    assert "total" in test["text"]


MANY = """
import pathlib, pytest, support
from starling.errors import StarlingError

golden = pytest.mark.golden_run

@golden
def test_missing(): support.handle()

@golden
def test_unusable(): support.handle()

@golden
def test_diverged():
    if False: support.handle()

@golden
def test_failed():
    support.handle()
    assert 0

@golden
@pytest.mark.skip
def test_skipped(): support.handle()

@golden
def test_skips():
    support.handle()
    pytest.skip("enough")

@golden
def test_error(no_such_fixture): support.handle()
"""
FROM_REPLAY = {
    "test_missing": "missing",
    "test_unusable": "unusable",
    "test_diverged": "diverged",
    "test_failed": "failed",
    "test_skipped": "skipped",
    "test_skips": "skipped",
    "test_error": "failed",
}


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_outcomes_of_a_replay(good, workers):
    made = MANY.replace("assert 0", "...").replace('pytest.skip("enough")', "...").replace("if False: ", "")
    good.write(test_many=made)
    good.record("-k", "failed or skips or diverged", passed=3)
    good.fixture("test_unusable", "test_many").write_text("nonsense")
    good.write(test_many=MANY)
    value = report(good, "test_many.py", *workers)
    assert outcomes(value) == FROM_REPLAY
    assert value["complete"]
    assert value["not_run"] == 0
    assert sum(value["counts"].values()) == len(FROM_REPLAY)
    needy = {test["test"] for test in value["tests"] if test["headline"]}
    assert needy == {f"test_many.py::test_{name}" for name in ("missing", "unusable", "diverged")}
    good.run("--golden-report=golden.md", "test_many.py")
    tokens = MarkdownIt("commonmark").enable("table").parse((good.path / "golden.md").read_text())
    assert sum(token.type == "tr_open" for token in tokens) == 1 + 5


RECORDING = """
import pytest, random, support
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider

golden = pytest.mark.golden_run

@golden
def test_recorded(): support.handle()

@golden
def test_discarded():
    support.handle()
    assert 0

@golden
@pytest.mark.xfail
def test_expected():
    support.handle()
    assert 0

@golden
def test_unseen(): ...

seen = []

@golden
def test_unstable():
    support.handle()
    seen.append(1)
    assert len(seen) == 1
"""


def test_outcomes_of_a_recording(project):
    project.write(test_a=RECORDING)
    value = report(project, "--record-golden")
    assert outcomes(value) == {
        "test_recorded": "recorded",
        "test_discarded": "discarded",
        "test_expected": "expected",
        "test_unseen": "unseen",
        "test_unstable": "unstable",
    }
    assert {test["mode"] for test in value["tests"]} == {"record"}
    assert value["mode"] == "changed"


def test_a_fixture_that_was_taken_over(good):
    (good.path / "test_good.py").rename(good.path / "test_moved.py")
    (good.path / "testdata/golden/test_good").rename(good.path / "testdata/golden/test_moved")
    value = report(good, "--record-golden", passed=1)
    assert outcomes(value) == {"test_good": "adopted"}
    assert value["tests"][0]["mode"] == "replay"


def test_unused_fixtures_stand_in_it(good):
    good.write(test_good=GOOD + GOOD.replace("test_good", "test_other"))
    good.record(passed=2)
    good.write(test_good=GOOD)
    expected = {
        "file": "testdata/golden/test_good/test_other.db",
        "test": "test_good.py::test_other",
        "why": "there is no golden test test_good.py::test_other",
        "deleted": False,
    }
    assert report(good)["unused"] == [expected]
    assert report(good, "--golden-unused=fail")["exit_status"] == 1
    assert report(good, "--golden-unused=delete")["unused"] == [{**expected, "deleted": True}]


def test_the_last_outcome_counts_when_a_test_is_run_again(good):
    pytest.importorskip("pytest_rerunfailures")
    good.write(
        test_good=GOOD.replace(
            "def test_good(): ", "def test_good(seen=[]):\n    seen.append(1)\n    assert len(seen) > 1\n    "
        )
    )
    value = report(good, "-p", "rerunfailures", "--reruns=1", passed=1)
    assert outcomes(value) == {"test_good": "replayed"}


# --- when, and whether, it is written


def test_an_interrupted_session_says_so(good):
    good.write(
        test_good=GOOD + "\n@pytest.mark.golden_run\ndef test_stop(): pytest.exit('enough')\n"
        "\n@pytest.mark.golden_run\ndef test_never(): support.handle()\n"
    )
    value = report(good)
    assert outcomes(value) == {"test_good": "replayed"}
    assert (value["complete"], value["not_run"], value["exit_status"]) == (False, 2, 2)


def test_a_stop_at_the_first_failure_says_so(good):
    good.write(test_a="def test_fails(): assert 0\n")
    value = report(good, "-x", failed=1)
    assert (value["complete"], value["not_run"], value["exit_status"], value["tests"]) == (False, 1, 1, [])


def test_a_usage_error_found_by_collecting_is_reported_on(good):
    good.write(test_good=GOOD.replace("golden_run", "golden_run(nonsense=1)"))
    value = report(good)
    assert (value["complete"], value["exit_status"]) == (False, 4)


@pytest.mark.parametrize("arguments", [[], ["-n1"]])
def test_without_golden_tests_an_option_is_obeyed_and_an_ini_key_is_silent(project, arguments):
    project.write(test_plain="def test_plain(): ...\n")
    value = report(project, *arguments, passed=1)
    assert (value["tests"], value["counts"], value["complete"]) == ([], {}, True)
    project.run("-o", "golden_report=ini.json", *arguments, passed=1)
    assert not (project.path / "ini.json").exists()


def test_the_ini_keys_path_starts_at_the_ini_file_and_the_options_where_pytest_is_called(good, monkeypatch):
    (good.path / "sub").mkdir()
    monkeypatch.chdir(good.path / "sub")
    good.run("-o", "golden_report=ini.json", "..", passed=1)
    good.run("--golden-report=option.json", "-o", "golden_report=no.json", "..", passed=1)
    assert sorted(path.name for path in good.path.rglob("*.json")) == ["ini.json", "option.json"]
    assert (good.path / "ini.json").exists()
    assert (good.path / "sub/option.json").exists()


def test_only_the_controller_writes(good):
    good.write(test_more=GOOD.replace("test_good", "test_more"))
    good.record(passed=2)
    value = report(good, "-n2", passed=2)
    assert outcomes(value) == {"test_good": "replayed", "test_more": "replayed"}
    assert [path.name for path in (good.path / "out").iterdir()] == ["golden.json"]


def test_nothing_but_the_report_is_left(good):
    (good.path / "out").mkdir()
    (good.path / "out/golden.json").write_text("old")
    report(good, passed=1)
    assert [path.name for path in (good.path / "out").iterdir()] == ["golden.json"]


def test_a_report_that_cannot_be_written_in_the_end_fails_the_session_and_keeps_the_old_one(good, monkeypatch):
    from pytest_starling import _golden_report

    def replace(old, new):
        raise OSError(28, "No space left on device")

    (good.path / "golden.json").write_text("old")
    monkeypatch.setattr(_golden_report.os, "replace", replace)
    result = good.run("--golden-report=golden.json", passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the report *golden.json was not written: No space left on device"])
    assert (good.path / "golden.json").read_text() == "old"
    assert not list(good.path.glob(".golden*"))


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("--golden-report=golden.txt", "must end in .json or .md"),
        ("--golden-report=golden", "must end in .json or .md"),
        ("--golden-report=folder.json", "is a folder"),
        ("--golden-report=file/golden.json", "is a file where a folder is needed"),
        ("-ogolden_report=golden.txt", "must end in .json or .md"),
        ("-ogolden_report=file/golden.json", "is a file where a folder is needed"),
    ],
)
def test_a_path_that_cannot_be_is_a_usage_error_before_anything_runs(project, argument, fault):
    (project.path / "folder.json").mkdir()
    (project.path / "file").write_text("")
    result = project.run(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert fault in result.stderr.str()
    assert "test session starts" not in result.stdout.str()


# --- secrets


def test_the_value_of_a_secret_is_in_no_report(good, monkeypatch):
    value = "-".join(reversed(["7319", "battery", "horse", "correct"]))
    monkeypatch.setenv("SHOP_API_KEY", value)
    good.turn(prompt=f"The key is {value}.")
    for name in ("golden.json", "golden.md"):
        good.run(f"--golden-report={name}", failed=1)
        text = (good.path / name).read_text()
        assert "diverged" in text
        assert value not in text


# --- Markdown


def value_of(*tests, **changes):
    """A report as the code makes it."""
    counts = {}
    for test in tests:
        counts[test["outcome"]] = counts.get(test["outcome"], 0) + 1
    value = {
        "version": 1,
        "generator": "pytest-starling 1",
        "written_at": "2026-11-21T00:00:00+00:00",
        "mode": "replay",
        "golden_dir": "testdata/golden",
        "exit_status": 1,
        "complete": True,
        "counts": counts,
        "not_run": 0,
        "tests": list(tests),
        "unused": [],
        "patches": [],
        **changes,
    }
    VALIDATOR.validate(value)
    return value


def one(**changes):
    """A test in it."""
    return {
        "test": "test_a.py::test_a",
        "outcome": "diverged",
        "mode": "replay",
        "fixture": "testdata/golden/test_a/test_a.db",
        "run_id": "",
        "divergences": 0,
        "first": None,
        "undeclared": 0,
        "headline": "golden run diverged",
        "text": "golden run diverged\n\nand so on",
        "command": 'pytest --record-golden "test_a.py::test_a"',
        **changes,
    }


def html(text):
    return MarkdownIt("commonmark").enable("table").render(text)


def cells(text):
    """The table's cells as people see them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [tokens[at + 1] for at, token in enumerate(tokens) if token.type == "td_open"]
    return ["".join(child.content for child in token.children) for token in inline]


def test_markdown_of_a_session_in_which_all_is_well():
    value = value_of(one(outcome="replayed"), one(outcome="replayed"), one(outcome="recorded"), exit_status=0)
    assert markdown(value) == (
        "## Golden runs: fine\n\n"
        "2 replayed, 1 recorded. Mode `replay`, fixtures in `testdata/golden`.\n\n"
        "**Recorded**\n\n- `testdata/golden/test_a/test_a.db`\n"
    )


def test_markdown_shows_what_needs_a_look_first_as_a_table_then_in_full():
    text = markdown(value_of(one(outcome="replayed"), one(), one(outcome="failed", headline="", text="")))
    assert text.startswith("## Golden runs: 2 of 3 tests need a look\n")
    assert cells(text) == [
        *("test_a.py::test_a", "diverged", "golden run diverged", "testdata/golden/test_a/test_a.db"),
        'pytest --record-golden "test_a.py::test_a"',
        *("test_a.py::test_a", "failed", "the test itself failed; see pytest's own output"),
        *("testdata/golden/test_a/test_a.db", 'pytest --record-golden "test_a.py::test_a"'),
    ]
    assert text.count("<details>") == text.count("</details>") == 1
    assert "golden run diverged\n\nand so on\n" in html(text)


@pytest.mark.parametrize(
    "nasty",
    ["a|b", "a`b", "``", "*bold* _it_", "<b>&amp;", "[x](y)", "\\", "$x$ #1 ~~a~~", "a\nb|c", "end`", "`| x"],
)
def test_markdown_quotes_names_and_headlines(nasty):
    text = markdown(value_of(one(test=f"t.py::t[{nasty}]", headline=nasty, text=f"{nasty}\n```\n|")))
    shown = " ".join(nasty.split())
    found = cells(text)
    assert len(found) == 5
    assert found[0] == f"t.py::t[{shown}]"
    assert found[2] == shown
    assert f"<summary><code>t.py::t[{shown.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}]" in text
    (block,) = [token for token in MarkdownIt().parse(text) if token.type == "fence"]
    assert block.content == f"{nasty}\n```\n|\n"


def test_markdown_lets_nothing_through_that_is_not_printable():
    text = markdown(value_of(one(headline="a\x1b[31mb", text="a\x1b[31mb\x00\u202e")))
    assert not [char for char in text if not char.isprintable() and char != "\n"]


def test_markdown_says_when_it_is_not_the_whole_picture():
    text = markdown(value_of(one(outcome="replayed"), complete=False, not_run=2, exit_status=2))
    assert "## Golden runs: fine so far" in text
    assert "**Not the whole picture:** 2 tests without an outcome; pytest ended with exit status 2." in text
    assert markdown(value_of()).startswith("## Golden runs: none\n\nNo golden test has an outcome.")


def test_markdown_lists_unused_and_deleted_fixtures_and_patches():
    unused = {"file": "a.db", "test": "t", "why": "w", "deleted": False}
    text = markdown(value_of(unused=[unused, {**unused, "file": "b.db", "deleted": True}], patches=["patch 'x' *"]))
    assert "**Unused**\n\n- `a.db`\n\n**Deleted**\n\n- `b.db`\n\n**Patches**\n\n- patch 'x' \\*\n" in text


def test_markdown_fits_into_a_job_summary():
    long = one(text="ä" * 100_000)
    text = markdown(value_of(*[long] * 300))
    assert len(text.encode()) < 1024 * 1024
    assert "… 100 more" in text
    assert "… the texts of 296 more are in pytest's own output" in text


def test_markdown_of_a_real_session(good):
    good.turn(total=43)
    good.run("--golden-report=golden.MD", "-n1", failed=1)
    text = (good.path / "golden.MD").read_text()
    assert cells(text)[:3] == [
        "test_good.py::test_good",
        "diverged",
        "golden run diverged at seq 11 of 14 (ToolCallCompleted): payload",
    ]
    assert "pytest --record-golden" in html(text)
