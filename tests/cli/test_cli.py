"""The command line: what it prints, how it exits, what git makes of it."""

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import starling
from starling import Agent, Config, MemoryLog, SQLiteLog
from starling.cli import main
from starling.cli._main import build_parser
from starling.replay import Fixture, RecordingSession, install_fixture, write_fixture
from starling.testing import ScriptedProvider

GIT = shutil.which("git")


def fixture(path, answer="Hello.", goal="hi"):
    from starling.ambient import activate

    session = RecordingSession()
    with activate(session):
        Agent(ScriptedProvider().text(answer), Config(model="m"), MemoryLog()).run_sync(goal)
    value = Fixture(
        test_id="test_x.py::test_f", recorded_at="2026-11-21T12:00:00+00:00", versions={}, runs=session.runs
    )
    install_fixture(write_fixture(path, value), path)
    return path


def service_log(path, *goals):
    with SQLiteLog(path) as log:
        for goal in goals:
            Agent(ScriptedProvider().text("ok"), Config(model="m"), log).run_sync(goal)
    return path


def starling_command(*arguments, **options):
    command = [sys.executable, "-m", "starling", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, **options)


def test_textconv_of_a_fixture_names_the_test_and_tells_the_run(tmp_path, capsys):
    assert main(["textconv", str(fixture(tmp_path / "f.db"))]) == 0

    lines = capsys.readouterr().out.split("\n")
    assert lines[:5] == ["test_x.py::test_f", "", "# run 1", "goal", "  hi"]


def test_textconv_of_a_service_log_tells_its_runs_in_the_order_in_which_they_began(tmp_path, capsys):
    main(["textconv", str(service_log(tmp_path / "log.db", "first", "second"))])

    out = capsys.readouterr().out
    assert out.index("# run 1\ngoal\n  first") < out.index("# run 2\ngoal\n  second")


def test_textconv_leaves_no_trace_beside_the_file(tmp_path):
    fixture(tmp_path / "f.db")
    before = (tmp_path / "f.db").read_bytes()

    main(["textconv", str(tmp_path / "f.db")])

    assert [path.name for path in tmp_path.iterdir()] == ["f.db"]
    assert (tmp_path / "f.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_textconv_of_something_else_says_so_and_lets_git_go_on(tmp_path, capsys, content):
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)

    assert main(["textconv", str(path)]) == 0
    assert capsys.readouterr().out.startswith("not readable: ")


def test_diff_finds_nothing_between_two_recordings_of_one_conversation(tmp_path, capsys):
    one, other = fixture(tmp_path / "a.db"), fixture(tmp_path / "b.db")
    assert one.read_bytes() != other.read_bytes()

    assert main(["diff", str(one), str(other)]) == 0
    assert capsys.readouterr().out == ""


def test_diff_shows_what_differs(tmp_path, capsys):
    code = main(["diff", str(fixture(tmp_path / "a.db")), str(fixture(tmp_path / "b.db", answer="Go away."))])

    out = capsys.readouterr().out
    assert code == 1
    assert "-    Hello.\n+    Go away." in out


def test_a_file_that_is_not_there_is_a_mistake_in_using_it(tmp_path, capsys):
    assert main(["diff", str(fixture(tmp_path / "a.db")), str(tmp_path / "none.db")]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("starling diff: ")
    assert "none.db" in told.err


def test_an_unknown_command_is_a_mistake_in_using_it():
    ran = starling_command("inspekt")

    assert ran.returncode == 2
    assert "inspekt" in ran.stderr


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("replay log.db --agent shop:agent r3", "run_id", "r3"),
        ("replay log.db --agent shop:agent --ignore a r3 --ignore b", "ignore", ["a", "b"]),
        ("validate log.db --json r3", "run_id", "r3"),
        ("validate log.db -- --json", "run_id", "--json"),
        ("import log.db --json lines", "file", "lines"),
        ("diff log.db r1 -U 5 r2", "run_id", "r2"),
        ("doctor --runs 3 log.db", "log", "log.db"),
    ],
)
def test_what_may_be_left_out_may_stand_behind_an_option(line, name, value):
    assert getattr(build_parser().parse_args(line.split()), name) == value


@pytest.mark.parametrize("line", ["validate log.db --json r1 r2", "validate log.db --jsonn r1"])
def test_what_is_too_much_is_named(line, capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(line.split())
    assert f"unrecognized arguments: {'r2' if 'r2' in line else '--jsonn'}" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="a shell closes streams otherwise there")
def test_a_closed_stdout_is_a_mistake_and_nothing_is_done(tmp_path):
    path = service_log(tmp_path / "log.db", "hi")

    ran = subprocess.run(
        f'"{sys.executable}" -m starling prune "{path}" --older-than 0s --confirm >&-',
        shell=True,
        stderr=subprocess.PIPE,
        check=False,
    )

    assert ran.returncode == 2
    assert ran.stderr.startswith(b"starling: stdout is closed: ")
    with SQLiteLog(path, read_only=True) as log:
        assert len(log.list_runs_sync()) == 1


@pytest.mark.skipif(os.name == "nt", reason="a shell closes streams otherwise there")
@pytest.mark.parametrize(("closed", "command", "code"), [("2>&-", "validate", 0), ("<&-", "import", 2)])
def test_other_streams_that_are_closed_do_not_turn_into_a_verdict(tmp_path, closed, command, code):
    path = service_log(tmp_path / "log.db", "hi")

    ran = subprocess.run(
        f'"{sys.executable}" -m starling {command} "{path}" {closed}', shell=True, capture_output=True, check=False
    )

    assert ran.returncode == code
    assert ran.stderr == (
        b"starling import: stdin is closed: name the file, or give it one to read from\n" * (code == 2)
    )


def test_another_stream_in_stdout_s_place_is_written_to():
    with redirect_stdout(io.StringIO()) as out:
        assert main(["version"]) == 0
    assert out.getvalue().startswith("pytest-starling ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_written_is_said(option, unbuffered):
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "starling", option],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )

    assert ran.returncode == 2
    assert ran.stderr == "starling: the output cannot be written: No space left on device\n"


def test_help_needs_no_database_and_no_sdk():
    program = "import sys\nfrom starling.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    program += "print([name for name in ('sqlite3', 'asyncio', 'pydantic', 'openai') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout.strip().endswith("[]")


def test_the_version_is_the_package_s(capsys):
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"pytest-starling {starling.__version__} ")


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise there")
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    path = fixture(tmp_path / "f.db", answer="line\n" * 200_000)

    ran = subprocess.run(
        f'"{sys.executable}" -m starling textconv "{path}" | head -n 1', shell=True, capture_output=True, check=False
    )

    assert ran.stdout == b"test_x.py::test_f\n"
    assert ran.stderr == b""


# --- git


@pytest.fixture
def repository(tmp_path, monkeypatch):
    top = tmp_path / "shop"
    top.mkdir()
    monkeypatch.chdir(top)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for variable in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(variable, "a@example.invalid")
    git("init", "-q")
    return top


def git(*arguments):
    ran = subprocess.run([GIT, *arguments], capture_output=True, text=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_git_diff_shows_what_changed_in_a_recording(repository):
    path = repository / "testdata" / "golden" / "test_x" / "test_f.db"
    assert starling_command("git-setup").returncode == 0
    fixture(path)
    git("add", ".")
    git("commit", "-qm", "record")
    fixture(path, answer="Go away.")

    shown = git("diff")

    assert "-    Hello.\n+    Go away." in shown
    assert "Binary files" not in shown


def test_two_branches_that_recorded_one_test_conflict_and_mix_nothing(repository):
    path = repository / "testdata" / "golden" / "test_x" / "test_f.db"
    starling_command("git-setup")
    fixture(path)
    git("add", ".")
    git("commit", "-qm", "record")
    git("switch", "-qc", "other")
    fixture(path, answer="Theirs.")
    git("commit", "-qam", "theirs")
    git("switch", "-q", "-")
    ours = fixture(path, answer="Ours.").read_bytes()
    git("commit", "-qam", "ours")

    merged = subprocess.run([GIT, "merge", "other"], capture_output=True, text=True, check=False)

    assert merged.returncode == 1
    assert "CONFLICT" in merged.stdout
    assert path.read_bytes() == ours


def test_git_setup_twice_changes_nothing_more(repository):
    (repository / ".gitattributes").write_text("*.png binary")
    starling_command("git-setup")
    once = (repository / ".gitattributes").read_text(), (repository / ".git" / "config").read_text()

    second = starling_command("git-setup")

    assert once[0] == "*.png binary\n/testdata/golden/**/*.db diff=starling -merge -text\n"
    assert ((repository / ".gitattributes").read_text(), (repository / ".git" / "config").read_text()) == once
    assert "has the line already" in second.stdout


def test_git_setup_from_a_subfolder_and_for_another_folder(repository):
    (repository / "api" / "tests").mkdir(parents=True)

    starling_command("git-setup", "--golden-dir", "gold en", cwd=repository / "api" / "tests")

    assert (repository / ".gitattributes").read_text() == '"/api/tests/gold en/**/*.db" diff=starling -merge -text\n'


def test_a_dry_run_does_nothing(repository):
    ran = starling_command("git-setup", "--dry-run")

    assert ran.stdout.startswith("would do:")
    assert not (repository / ".gitattributes").exists()
    assert "starling" not in (repository / ".git" / "config").read_text()


def test_git_setup_says_if_there_is_no_such_folder(repository):
    assert "There is no folder" in starling_command("git-setup").stdout
    (repository / "testdata" / "golden").mkdir(parents=True)
    assert "There is no folder" not in starling_command("git-setup").stdout


def test_git_setup_warns_of_fixtures_that_git_ignores(repository):
    (repository / ".gitignore").write_text("*.db\n")

    ran = starling_command("git-setup")

    assert "!/testdata/golden/**/*.db" in ran.stdout
    (repository / ".gitignore").write_text("*.db\n!/testdata/golden/**/*.db\n")
    assert "ignores" not in starling_command("git-setup").stdout


@pytest.mark.skipif(os.name == "nt", reason="another error there")
def test_a_file_that_cannot_be_used_is_said_and_no_traceback(repository):
    (repository / ".gitattributes").mkdir()

    ran = starling_command("git-setup")

    assert ran.returncode == 2
    assert ran.stderr.endswith(".gitattributes: Is a directory\n")
    assert ran.stderr.startswith("starling git-setup: ")


def test_git_setup_outside_of_a_repository_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    ran = starling_command("git-setup", cwd=tmp_path)

    assert ran.returncode == 2
    assert "not a git repository" in ran.stderr


def test_a_fixture_s_damage_is_said_in_its_diff(tmp_path, capsys):
    path = fixture(tmp_path / "f.db")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    assert main(["textconv", str(path)]) == 0
    assert "not readable" in capsys.readouterr().out
