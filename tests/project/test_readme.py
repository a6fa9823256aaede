"""The README does what it says: its files are written, its commands run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL))


def command(name):
    (line,) = re.findall(rf"<!-- {name} -->\n```console\n(.*?)\n```", README, re.DOTALL)
    return line


@pytest.fixture
def project(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def keyless():
    return {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "CI", "PYTEST_"))}


def run_pytest(project, *arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return forked.run(command, cwd=project, env=keyless())


def run_pytest_anew(project, *arguments):
    """In an interpreter of its own, as a reader does."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=project, env=keyless(), capture_output=True, text=True, check=False)


def test_the_quickstart_records_and_replays(project):
    recorded = run_pytest_anew(project, "--record-golden")
    assert recorded.returncode == 0, recorded.stdout
    assert (project / "testdata/golden/test_clock/test_tells_the_time.db").is_file()
    (project / "conftest.py").unlink()  # no server, no key
    replayed = run_pytest_anew(project)
    assert replayed.returncode == 0, replayed.stdout


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory):
    """The quickstart's project with its recording; to be copied."""
    folder = tmp_path_factory.mktemp("recorded") / "project"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    assert run_pytest(folder, "--record-golden").returncode == 0
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "where", "field"),
    [
        ("test_clock.py", "What time is it?", "What is the time?", "seq 1 of", "goal"),
        ("clock_agent.py", "The current UTC time in", "The time in", "seq 1 of", "description"),
        ("clock_agent.py", "isoformat()", "isoformat(' ')", "(ToolCallCompleted): payload", "result"),
    ],
)
def test_the_changes_that_the_quickstart_names_are_caught(tmp_path, recorded_once, file, old, new, where, field):
    project = shutil.copytree(recorded_once, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    path = project / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    diverged = run_pytest(project)
    assert diverged.returncode == 1
    assert "golden run diverged at" in diverged.stdout
    assert where in diverged.stdout
    assert field in diverged.stdout
    assert run_pytest(project, "--record-golden").returncode == 0
    assert run_pytest(project).returncode == 0


@pytest.fixture(scope="module")
def demo():
    script = command("demo").rpartition(" && ")[2].split()[-1]
    return subprocess.run([sys.executable, ROOT / script], capture_output=True, text=True, check=False)


def test_the_demo_runs_and_shows_seq_kind_and_class(demo):
    assert demo.returncode == 0, demo.stdout
    assert re.search(r"golden run diverged at seq 1 of \d+ \(RunStarted\): payload", demo.stdout)


def test_the_picture_in_the_readme_is_what_the_demo_prints(demo):
    (picture,) = re.findall(r"<!-- picture -->\n```text\n(.*?)```", README, re.DOTALL)
    printed = [line.rstrip() for line in demo.stdout.splitlines()]
    for line in picture.splitlines():
        assert line.rstrip() in printed or line.strip() in ("", "…"), line


def test_ci_runs_the_command_of_the_readme():
    done = subprocess.run(["bash", ROOT / ".ci/run", "--show"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == command("test")
