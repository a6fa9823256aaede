"""No two tests write one file, however they come to it."""

import pytest

from pytest_starling._session import key

TWO = """
import pytest, support

@pytest.mark.golden_run("kept/x.db")
def test_one(): support.handle("one")

@pytest.mark.golden_run({other!r})
def test_two(): support.handle("two")
"""
SHARED = "test_two.py::test_one and test_two.py::test_two would share the fixture"


@pytest.mark.parametrize("other", ["kept/../kept/x.db", "KEPT/X.db", "linked/x.db", "kept/link.db"])
@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_one_file_by_two_names_is_a_usage_error(project, other, workers):
    (project.path / "kept").mkdir()
    (project.path / "linked").symlink_to("kept")
    (project.path / "kept" / "link.db").symlink_to("x.db")
    project.write(test_two=TWO.format(other=other))
    result = project.record(*workers)
    assert result.ret != pytest.ExitCode.OK
    assert SHARED in result.stdout.str() + result.stderr.str()
    assert not (project.path / "kept" / "x.db").exists()
    assert "INTERNALERROR" not in result.stdout.str()
    assert "worker [2 items]" not in result.stdout.str()  # told of a collection, the controller would send it tests


def test_a_name_is_one_name_in_every_unicode_form(tmp_path):
    assert key(tmp_path / "caf\N{LATIN SMALL LETTER E WITH ACUTE}.db") == key(
        tmp_path / "cafe\N{COMBINING ACUTE ACCENT}.db"
    )
    assert key(tmp_path / "a.db") != key(tmp_path / "b.db")


IN_A_FOLDER = "import pytest, support\n@pytest.mark.golden_run\ndef test_{0}(): support.handle('{0}')\n"


@pytest.mark.parametrize("mode", ["all", "replay"])
def test_a_folder_that_only_a_fixture_knows_cannot_lead_to_another_tests_file(project, mode):
    (project.path / "sub").mkdir()
    (project.path / "sub" / "test_x.py").write_text(IN_A_FOLDER.format("x"))
    project.record(passed=1)
    before = project.state
    (project.path / "test_x.py").write_text(
        IN_A_FOLDER.format("x") + "@pytest.fixture\ndef golden_run_dir():\n    return 'testdata/golden/sub'\n"
    )
    # Two modules of one name are fine with importlib's mode only.
    output = project.run(f"--golden-mode={mode}", "--import-mode=importlib", passed=1, errors=1).stdout.str()
    assert "golden_run_dir leads test_x.py::test_x to testdata/golden/sub/test_x/test_x.db" in output
    assert "which is the fixture of sub/test_x.py::test_x" in output
    assert set(project.state) == set(before)
    if mode == "replay":
        assert project.state == before


def test_two_folders_that_only_fixtures_know_cannot_lead_to_one_file(project):
    for name in ("a", "b"):
        (project.path / name).mkdir()
        (project.path / name / "conftest.py").write_text(
            f"import pytest\n@pytest.fixture\ndef golden_run_dir():\n    return 'kept'{'+chr(47)+chr(98)' if name == 'a' else ''}\n"
        )
    (project.path / "a" / "test_x.py").write_text(IN_A_FOLDER.format("x"))
    (project.path / "b" / "a").mkdir()
    (project.path / "b" / "a" / "test_x.py").write_text(IN_A_FOLDER.format("x"))
    output = project.run("--record-golden", "--import-mode=importlib", passed=1, errors=1).stdout.str()
    assert "one file, one test" in output
    assert [path.name for path in (project.path / "kept").rglob("*") if path.is_file()] == ["test_x.db"]


def test_a_linked_folder_of_tests_has_recordings_of_its_own(project):
    (project.path / "one").mkdir()
    (project.path / "one" / "test_x.py").write_text(IN_A_FOLDER.format("x"))
    (project.path / "two").symlink_to("one")
    arguments = ["--import-mode=importlib", "one", "two"]
    project.run("--record-golden", *arguments, passed=2)
    assert project.fixtures == ["one/test_x/test_x.db", "two/test_x/test_x.db"]
    project.run(*arguments, passed=2)


# --- in processes of their own

ROOT_TEST = IN_A_FOLDER.format("x") + "@pytest.fixture\ndef golden_run_dir(): return 'kept/a'\n"
INNER_TEST = IN_A_FOLDER.format("x") + "@pytest.fixture\ndef golden_run_dir(): return 'kept'\n"
ASTRAY = "golden_run_dir leads {0} to kept/a/test_x/test_x.db, which is the fixture of {1}: one file, one test."
ONE, TWO_ = "test_x.py::test_x", "a/test_x.py::test_x"


@pytest.fixture
def led_to_one_file(project):
    (project.path / "a").mkdir()
    (project.path / "test_x.py").write_text(ROOT_TEST)
    (project.path / "a" / "test_x.py").write_text(INNER_TEST.replace("support.handle('x')", "support.handle('other')"))
    return project


def kept(project):
    return [path.name for path in (project.path / "kept").rglob("*") if path.is_file()]


def test_of_two_workers_that_are_led_to_one_file_one_records(led_to_one_file):
    """Whoever comes second is refused: by the file, or while the first is still at it."""
    result = led_to_one_file.run("--record-golden", "--import-mode=importlib", "-n2", "-v")
    counts = result.parseoutcomes()
    assert (counts["passed"], counts.get("failed", 0) + counts.get("errors", 0)) == (1, 1)
    output = result.stdout.str()
    assert "[gw0]" in output
    assert "[gw1]" in output
    assert "one file, one test" in output or "another process is recording this test" in output
    assert kept(led_to_one_file) == ["test_x.db"]


@pytest.mark.parametrize("mode", ["changed", "all", "replay"])
def test_a_file_of_another_collected_test_is_refused_though_that_test_does_not_run(led_to_one_file, mode):
    arguments = ("--import-mode=importlib", "a/test_x.py", "test_x.py", "--deselect")
    led_to_one_file.record(*arguments, ONE, passed=1, deselected=1)
    before = (led_to_one_file.path / "kept/a/test_x/test_x.db").read_bytes()
    output = led_to_one_file.run(f"--golden-mode={mode}", *arguments, TWO_, errors=1, deselected=1).stdout.str()
    assert ASTRAY.format(ONE, TWO_) in output
    assert (led_to_one_file.path / "kept/a/test_x/test_x.db").read_bytes() == before


def test_a_file_that_another_test_wrote_meanwhile_is_left_alone(led_to_one_file):
    """As when a worker puts its recording in place while another is recording."""
    arguments = ("--import-mode=importlib", "a/test_x.py", "test_x.py", "--deselect")
    led_to_one_file.record(*arguments, ONE, passed=1, deselected=1)
    (led_to_one_file.path / "kept/a/test_x/test_x.db").rename(led_to_one_file.path / "theirs.db")
    late = "    import pathlib; pathlib.Path('theirs.db').replace('kept/a/test_x/test_x.db')\n"
    (led_to_one_file.path / "test_x.py").write_text(
        "import pytest, support\n@pytest.mark.golden_run\ndef test_x():\n    support.handle('x')\n"
        + late
        + ROOT_TEST.partition("handle('x')\n")[2]
    )
    output = led_to_one_file.record(*arguments, TWO_, "--golden-verify=off", failed=1, deselected=1).stdout.str()
    assert f"golden run not recorded: {ASTRAY.format(ONE, TWO_)}" in output
    assert "a/test_x.py::test_x keeps its recording elsewhere by now, remove the file" in output
    assert kept(led_to_one_file) == ["test_x.db"]


def test_a_test_that_was_renamed_takes_its_file_along(led_to_one_file):
    led_to_one_file.run("--record-golden", "--import-mode=importlib", "test_x.py", passed=1)
    (led_to_one_file.path / "test_x.py").write_text(ROOT_TEST.replace("test_x", "test_y"))
    file = led_to_one_file.path / "kept/a/test_x/test_x.db"
    file.rename(file.with_name("test_y.db"))
    result = led_to_one_file.run("--record-golden", "--import-mode=importlib", "test_x.py", passed=1)
    result.stdout.fnmatch_lines(["adopted *test_y.db *"])
