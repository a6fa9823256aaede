"""Fixtures that no test owns: found without false alarms, deleted only where nothing else can be meant."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pytest_starling import _summary

HEAD = "import pytest, support\n"
ONE = "\n@pytest.mark.golden_run\ndef test_one(): support.handle()\n"
TWO = "\n@pytest.mark.golden_run\ndef test_two(): support.handle()\n"
INSIDE = "\nclass TestInside:\n    @pytest.mark.golden_run\n    def test_in(self): support.handle()\n"
EACH = "\n@pytest.mark.golden_run\n@pytest.mark.parametrize('x', {})\ndef test_each(x): support.handle()\n"
PLAIN = "\ndef test_plain(): ...\n"

SUPPORT = """
from starling import Agent, Config, MemoryLog
from starling.testing import ScriptedProvider

def handle():
    Agent(ScriptedProvider().text("hi"), Config(model="m"), MemoryLog()).run_sync("hello")
"""


@pytest.fixture
def project(project):
    """A project whose recordings take no time."""
    project.write(support=SUPPORT)
    with (project.path / "pytest.ini").open("a") as file:
        file.write("\ngolden_verify = false\n")
    return project


@pytest.fixture
def two(project):
    """A project with two recorded tests in one module."""
    project.write(test_a=HEAD + ONE + TWO)
    project.record(passed=2)
    return project


@pytest.fixture
def stale(two):
    """The same, and the second test is gone."""
    two.write(test_a=HEAD + ONE)
    return two


def lines(result, verb="unused"):
    """The files that the summary names, with the reason."""
    found = [line for line in result.outlines if line.startswith(f"{verb} ")]
    return {line.split()[1].removeprefix("testdata/golden/"): line.split(" (", 1)[1][:-1] for line in found}


def names(result, verb="unused"):
    return list(lines(result, verb))


def with_cache(project, *arguments):
    """Run pytest with the plugin that keeps what failed last."""
    quiet = [f"-pno:{name}" for name in ("hypothesispytest", "respx", "timeout")]
    return project.pytester.runpytest_inprocess(*quiet, *arguments)


# --- what is unused


def test_nothing_is_said_while_every_fixture_has_its_test(two):
    assert "golden runs" not in two.run(passed=2).stdout.str()


def test_the_fixture_of_a_test_that_is_gone(stale):
    result = stale.run(passed=1)
    assert lines(result) == {"test_a/test_two.db": "there is no golden test test_a.py::test_two"}
    result.stdout.fnmatch_lines(["1 unused; what nobody needs is deleted with: pytest --golden-unused=delete"])
    assert result.ret == pytest.ExitCode.OK


def test_a_test_that_is_no_golden_test_any_more(two):
    two.write(test_a=HEAD + ONE + "\ndef test_two(): ...\n")
    assert lines(two.run(passed=2)) == {"test_a/test_two.db": "there is no golden test test_a.py::test_two"}


def test_parameters_and_classes_that_are_gone(project):
    project.write(test_a=HEAD + INSIDE + EACH.format("[1, 2, 3]"))
    project.record(passed=4)
    project.write(test_a=HEAD + EACH.format("[1, 3]"))
    assert names(project.run(passed=2)) == ["test_a/TestInside.test_in.db", "test_a/test_each[2].db"]


def test_a_test_that_keeps_its_recording_elsewhere_now(two):
    moved = ONE.replace("golden_run", "golden_run(path='testdata/golden/elsewhere.db')")
    two.write(test_a=HEAD + moved + TWO)
    shutil.copy(two.fixture("test_one", "test_a"), two.path / "testdata/golden/elsewhere.db")
    assert lines(two.run(passed=2)) == {"test_a/test_one.db": "test_a.py::test_one keeps its recording elsewhere"}


def test_a_path_that_is_written_down_is_judged_like_any_other(two):
    two.write(test_a=HEAD + ONE + TWO.replace("golden_run", "golden_run(path='testdata/golden/mine.db')"))
    two.record(passed=2)
    assert names(two.run(passed=2)) == ["test_a/test_two.db"]
    two.write(test_a=HEAD + ONE)
    assert names(two.run(passed=1)) == ["mine.db", "test_a/test_two.db"]


@pytest.mark.parametrize(
    ("arguments", "judged"), [([], True), (["."], True), (["tests"], True), (["tests/test_b.py"], False)]
)
def test_a_module_that_is_gone_is_judged_if_its_folder_was_collected(project, arguments, judged):
    tests = project.path / "tests"
    tests.mkdir()
    for name in "ab":
        (tests / f"test_{name}.py").write_text(HEAD + ONE)
    project.record(passed=2)
    (tests / "test_a.py").unlink()
    result = project.run(*arguments, passed=1)
    assert lines(result) == ({"tests/test_a/test_one.db": "tests/test_a.py is gone"} if judged else {})


def test_a_folder_that_other_projects_may_share_is_not_searched_for_modules_that_are_gone(project):
    shared = ["-o", "golden_dir=../shared-golden"]
    project.write(test_a=HEAD + ONE, test_b=HEAD + ONE + TWO)
    project.record(*shared, passed=3)
    (project.path / "test_a.py").unlink()
    project.write(test_b=HEAD + ONE)
    result = project.run(*shared, passed=1)
    assert [name.rpartition("/")[2] for name in names(result)] == ["test_two.db"]


# --- false alarms


PARTS = {
    "a keyword": ["-k", "one"],
    "a marker": ["-m", "picked"],
    "a node id": ["test_a.py::test_one"],
    "a class": ["test_a.py::TestInside"],
    "one test of a class": ["test_a.py::TestInside::test_in"],
    "one parameter": ["test_a.py::test_each[1]"],
    "another module": ["test_b.py"],
    "a deselected test": ["--deselect", "test_a.py::test_two"],
    "an ignored module": ["--ignore", "test_a.py"],
    "workers": ["-n2"],
    "workers with a keyword": ["-n1", "-k", "one"],
    "groups of workers": ["-n2", "--dist=loadgroup"],
}


@pytest.fixture
def many(project):
    """A project with tests of every shape, all recorded."""
    group = (
        "\n@pytest.mark.xdist_group('g')\n@pytest.mark.picked\n@pytest.mark.golden_run\ndef test_g(): support.handle()"
    )
    project.write(test_a=HEAD + ONE + TWO + INSIDE + EACH.format("[1, 2]"), test_b=HEAD + ONE + group)
    with (project.path / "pytest.ini").open("a") as file:
        file.write("markers = picked\n")
    project.record(passed=7)
    return project


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_tests_raises_no_false_alarm(many, part):
    result = many.run("--golden-unused=fail", *PARTS[part])
    assert names(result) == []
    assert result.ret == pytest.ExitCode.OK


def test_a_module_of_which_only_a_class_was_collected_is_not_judged(many):
    many.write(test_a=HEAD + ONE + INSIDE + "\nclass TestOther:\n    def test_x(self): ...\n")
    assert names(many.run("test_a.py::TestInside", passed=1)) == []
    assert len(names(many.run("test_a.py", passed=3))) == 3


def test_a_plugin_that_deals_out_tests_raises_no_false_alarm(many):
    many.pytester.makeconftest("def pytest_collection_modifyitems(items): items[:] = items[::3]\n")
    result = many.run("--golden-unused=fail", passed=3)
    assert names(result) == []
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("option", ["--lf", "--ff", "--sw"])
def test_what_failed_last_raises_no_false_alarm(many, option):
    failing = (
        HEAD + ONE + TWO.replace("support.handle()", "support.handle(); assert 0") + INSIDE + EACH.format("[1, 2]")
    )
    many.write(test_a=failing)
    with_cache(many).assert_outcomes(passed=6, failed=1)
    result = with_cache(many, option)
    assert result.parseoutcomes()["failed"] == 1
    assert names(result) == []


def test_a_module_that_last_time_had_no_failure_is_not_taken_for_empty(many):
    module = many.path / "test_b.py"
    module.write_text(module.read_text().replace("support.handle()", "assert 0", 1))
    with_cache(many, "test_b.py").assert_outcomes(failed=1, passed=1)
    result = with_cache(many, "--lf", "--golden-unused=warn")
    assert names(result) == []


def test_a_golden_folder_that_only_a_fixture_knows(project):
    conftest = "import pytest\n@pytest.fixture\ndef golden_run_dir(golden_run_dir): return golden_run_dir / 'en'\n"
    project.pytester.makeconftest(conftest)
    project.write(test_a=HEAD + ONE + TWO)
    project.record(passed=2)
    assert project.fixtures == ["en/test_a/test_one.db", "en/test_a/test_two.db"]
    assert names(project.run("--golden-unused=fail", passed=2)) == []
    assert names(project.run("--golden-unused=fail", "-k", "one", passed=1)) == []
    project.write(test_a=HEAD + ONE)
    assert names(project.run(passed=1)) == ["en/test_a/test_two.db"]


def test_a_marker_that_a_hook_gives_to_selected_tests_only(project):
    marking = "import pytest\n@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items):\n"
    marking += "    for item in items: item.add_marker(pytest.mark.golden_run)\n"
    project.pytester.makeconftest(marking)
    project.write(test_a=(HEAD + ONE + TWO).replace("@pytest.mark.golden_run\n", ""))
    project.record(passed=2)
    assert names(project.run("--golden-unused=fail", "-k", "one", passed=1)) == []


NOT_COLLECTED = {
    "skipped as a whole": "import pytest\npytest.skip('not today', allow_module_level=True)\n",
    "in need of what is missing": "import pytest\npytest.importorskip('no_such_module')\n",
    "broken": "import no_such_module\n",
}


@pytest.mark.parametrize("why", NOT_COLLECTED)
def test_a_module_that_could_not_be_collected_is_not_judged(project, why):
    project.write(test_a=HEAD + ONE, test_b=HEAD + ONE)
    project.record(passed=2)
    project.write(test_a=NOT_COLLECTED[why])
    assert names(project.run("--continue-on-collection-errors")) == []


def test_links_on_the_way_to_a_fixture_are_followed(two):
    (two.path / "alias").symlink_to(two.path / "testdata/golden")
    moved = TWO.replace("golden_run", "golden_run(path='alias/test_a/test_two.db')")
    two.write(test_a=HEAD + ONE + moved)
    assert names(two.run("--golden-unused=fail", passed=2)) == []


# --- what is none of ours


def _text(path, fixture):
    path.write_text("notes")


def _pointer(path, fixture):
    path.write_text("version https://git-lfs.github.com/spec/v1\n")


def _other_database(path, fixture):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")


def _damaged(path, fixture):
    path.write_bytes(fixture.read_bytes()[:-1])


def _link(path, fixture):
    path.symlink_to(fixture)


def _hidden(path, fixture):
    folder = path.parent / ".cache"
    folder.mkdir()
    shutil.copy(fixture, folder / path.name)


@pytest.mark.parametrize("make", [_text, _pointer, _other_database, _damaged, _link, _hidden])
def test_a_file_that_is_no_fixture_of_ours_is_left_alone(two, make):
    stranger = two.path / "testdata/golden/test_a/stranger.db"
    make(stranger, two.fixture("test_one", "test_a"))
    before = set((two.path / "testdata").rglob("*"))
    assert names(two.run(passed=2)) == []
    assert names(two.run("--golden-unused=delete", passed=2), "deleted") == []
    assert set((two.path / "testdata").rglob("*")) == before


def test_nothing_outside_the_golden_folder_is_touched(stale):
    other = stale.path / "elsewhere" / "test_two.db"
    other.parent.mkdir()
    shutil.copy(stale.fixture("test_two", "test_a"), other)
    stale.run("--golden-unused=delete", passed=1)
    assert other.exists()


def _temporary(project, name, *, age_s, content=b"SQLite format 3\0half of it"):
    path = project.path / "testdata/golden/test_a" / f".{name}.db.tmp"
    path.write_bytes(content)
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def test_what_a_recording_left_behind_long_ago_is_named_and_deleted(two):
    old = _temporary(two, "test_one", age_s=7200)
    others = [
        _temporary(two, "test_two", age_s=0),
        _temporary(two, "no_test", age_s=7200),
        _temporary(two, "text", age_s=7200, content=b"notes"),
    ]
    assert lines(two.run(passed=2)) == {"test_a/.test_one.db.tmp": "a recording that was cut off left it behind"}
    two.run("--golden-unused=delete", passed=2)
    assert not old.exists()
    assert all(path.exists() for path in others)


# --- what is done about it


def test_the_help_names_the_options(project):
    text = project.run("--help").stdout.str()
    assert all(name in text for name in ("--golden-unused", "--golden-report", "golden_unused", "golden_report"))


def test_off_does_not_look(stale):
    assert names(stale.run("--golden-unused=off", passed=1)) == []
    assert names(stale.run("-o", "golden_unused=off", passed=1)) == []


@pytest.mark.parametrize(
    "arguments", [["--golden-unused=fail"], ["-o", "golden_unused=fail"], ["--golden-unused=fail", "-n1"]]
)
def test_fail_lets_the_session_fail(stale, arguments):
    result = stale.run(*arguments, passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert names(result) == ["test_a/test_two.db"]
    result.stdout.fnmatch_lines(["1 unused, so the session fails (golden_unused = fail); delete with: *"])
    assert len(stale.fixtures) == 2


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_delete_deletes_after_a_whole_run_that_passed(project, workers):
    project.write(test_a=HEAD + ONE, test_b=HEAD + ONE + TWO)
    project.record(passed=3)
    (project.path / "test_a.py").unlink()
    project.write(test_b=HEAD + TWO)
    result = project.run("--golden-unused=delete", *workers, passed=1)
    assert names(result, "deleted") == ["test_a/test_one.db", "test_b/test_one.db"]
    assert result.ret == pytest.ExitCode.OK
    assert project.fixtures == ["test_b/test_two.db"]
    assert not (project.path / "testdata/golden/test_a").exists()
    assert (project.path / "testdata/golden").exists()
    assert "golden runs" not in project.run(*workers, passed=1).stdout.str()


def test_the_command_line_wins_over_the_ini_file(stale):
    assert stale.run("-o", "golden_unused=fail", "--golden-unused=warn", passed=1).ret == pytest.ExitCode.OK


def test_an_unknown_word_in_the_ini_file_is_a_usage_error(two):
    result = two.run("-o", "golden_unused=remove")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "golden_unused = 'remove' is none of off, warn, fail, delete" in result.stderr.str()


FAILING = "\ndef test_fails(): assert 0\n"
HINDRANCES = {
    "a keyword": (["-k", "one"], "", "some tests were left out"),
    "a deselected plain test": (["--deselect", "test_b.py::test_plain"], "", "some tests were left out"),
    "a module": (["test_a.py"], "", "the command line says what to run"),
    "a node id": (["test_a.py::test_one"], "", "the command line says what to run"),
    "workers with a keyword": (["-n1", "-k", "one"], "", "some tests were left out"),
    "a failed test": ([], FAILING, "not everything passed"),
    "a stop at the first failure": (["-x"], FAILING, "not everything passed"),
    "an interruption": ([], "\ndef test_stop(): pytest.exit('enough')\n", "not everything passed"),
    "a module that is broken": (
        ["--continue-on-collection-errors"],
        "\nimport no_such_module\n",
        "not everything passed",
    ),
    "only collecting": (["--collect-only"], "", "no test was run"),
    "only setting up": (["--setup-only"], "", "no test was run"),
}


@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_delete_does_nothing_after_a_partial_run(stale, hindrance):
    arguments, more, reason = HINDRANCES[hindrance]
    stale.write(test_b="import pytest\n" + PLAIN + more)
    result = stale.run("--golden-unused=delete", *arguments)
    assert names(result, "deleted") == []
    assert f"nothing was deleted, because {reason}" in result.outlines
    assert names(result) == ["test_a/test_two.db"]
    assert stale.fixtures == ["test_a/test_one.db", "test_a/test_two.db"]


def test_delete_does_nothing_where_a_plugin_deals_out_tests(stale):
    stale.write(test_b="def test_plain(): ...\ndef test_other(): ...\n")
    stale.pytester.makeconftest("def pytest_collection_modifyitems(items): items[:] = items[:2]\n")
    result = stale.run("--golden-unused=delete", passed=2)
    assert "nothing was deleted, because some tests were left out" in result.outlines
    assert len(stale.fixtures) == 2


def test_delete_does_nothing_where_only_what_failed_last_is_run(stale):
    stale.write(test_b=FAILING)
    with_cache(stale).assert_outcomes(passed=1, failed=1)
    stale.write(test_b=FAILING.replace("assert 0", "..."), test_a=HEAD + ONE)
    result = with_cache(stale, "--lf", "--golden-unused=delete")
    result.assert_outcomes(passed=1)
    assert names(result, "deleted") == []
    assert len(stale.fixtures) == 2


def test_delete_does_nothing_from_within_a_folder(stale, monkeypatch):
    (stale.path / "sub").mkdir()
    (stale.path / "sub/test_c.py").write_text(HEAD + ONE)
    stale.record("-k", "sub or test_c", passed=1)
    (stale.path / "sub/test_c.py").write_text(HEAD + TWO)
    monkeypatch.chdir(stale.path / "sub")
    stale.record(passed=1)
    result = stale.run("--golden-unused=delete", passed=1)
    assert names(result) == ["sub/test_c/test_one.db"]
    assert "nothing was deleted, because pytest was not started at the top of the tests" in result.outlines
    assert stale.fixture("test_one", "sub/test_c").exists()


def test_what_cannot_be_deleted_fails_the_session(stale, monkeypatch):
    original = Path.unlink

    def unlink(path, *arguments, **options):
        if path.name == "test_two.db":
            raise PermissionError(13, "Permission denied")
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    result = stale.run("--golden-unused=delete", passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert lines(result)["test_a/test_two.db"].endswith("it could not be deleted: Permission denied")


def test_recording_and_tidying_up_in_one_go(two):
    two.write(test_a=HEAD + ONE + TWO.replace("test_two", "test_renamed"))
    result = two.record("--golden-unused=delete", passed=2)
    assert names(result, "deleted") == ["test_a/test_two.db"]
    assert two.fixtures == ["test_a/test_one.db", "test_a/test_renamed.db"]


# --- sessions without golden tests


def test_a_session_without_golden_tests_says_nothing_unless_it_is_asked_to(two):
    two.write(test_a=PLAIN)
    result = two.run("-o", "golden_unused=fail", passed=1)
    assert not [line for line in result.outlines if line.startswith(("golden", "unused")) or "= golden" in line]
    result = two.run("--golden-unused=fail", passed=1)
    assert names(result) == ["test_a/test_one.db", "test_a/test_two.db"]
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    two.run("--golden-unused=delete", passed=1)
    assert two.fixtures == []


def test_the_list_is_bounded(project, monkeypatch):
    monkeypatch.setattr(_summary, "_MOST_UNUSED", 2)
    project.write(test_a=HEAD + EACH.format("range(5)"))
    project.record(passed=5)
    project.write(test_a=HEAD + EACH.format("[0]"))
    result = project.run(passed=1)
    assert len(names(result)) == 2
    result.stdout.fnmatch_lines(["* 2 more", "4 unused; *"])


def test_a_run_of_one_module_reads_no_fixtures_of_others(many, monkeypatch):
    import starling.replay

    read = []
    original = starling.replay.read_fixture
    monkeypatch.setattr(starling.replay, "read_fixture", lambda path: read.append(path.parent.name) or original(path))
    many.run("test_b.py", passed=2)
    assert set(read) == {"test_b"}


def test_a_renamed_test_is_told_to_take_its_recording_along(project):
    text = "import pytest, support\n\n@pytest.mark.golden_run\ndef test_refund():\n    support.handle()\n"
    project.write(test_support=text)
    project.record(passed=1)
    assert "git mv" not in project.run(passed=1).stdout.str()
    project.write(test_support=text.replace("test_refund", "test_money_back"))

    output = project.run(failed=1).stdout.str()

    assert "Was a test renamed or moved? Give its recording the new name (git mv)" in output
    project.fixture().rename(project.fixture("test_money_back"))
    project.record(passed=1)
    assert "git mv" not in project.run(passed=1).stdout.str()
