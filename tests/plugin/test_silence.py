"""A session without golden tests: the plugin prints, writes and opens nothing."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import pytest_starling

PACKAGE = str(Path(pytest_starling.__file__).parent)
# Loaded before any plugin of a third party: what is opened from then on is heard.
WATCH = """
import json, os, sys

opened = []

def hear(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append([os.fsdecode(arguments[0]), bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))])
    elif event in ("os.mkdir", "os.rename", "os.remove", "sqlite3.connect", "socket.connect", "subprocess.Popen"):
        opened.append([f"{event} {arguments[0]}", True])

sys.addaudithook(hear)

def pytest_unconfigure():
    json.dump(opened, open(os.environ["HEARD"], "w"))
"""
SESSIONS = {
    "tests": {"test_plain.py": "def test_a(): pass\ndef test_b(monkeypatch): pass\n"},
    "a failure": {"test_plain.py": "def test_a(): assert 0\n"},
    "a skip and a doctest": {
        "test_plain.py": "import pytest\n@pytest.mark.skip\ndef test_a():\n    '''\n    >>> 1\n    1\n    '''\n"
    },
    "no tests": {"other.py": ""},
    "a broken module": {"test_plain.py": "import nowhere\n"},
}
ARGUMENTS = [[], ["-q"], ["-v"], ["--collect-only"], ["--doctest-modules"]]


class Sessions:
    def __init__(self, path):
        self.project = path / "project"
        self.project.mkdir()
        (path / "watch.py").write_text(WATCH)
        (path / "nothing.py").touch()  # a plugin, since pytest looks for any by its name among all that is installed
        (self.project / "pytest.ini").write_text("[pytest]\n")
        self.heard = path / "heard.json"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "STARLING_"))},
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(path),
            "HEARD": str(self.heard),
        }

    def run(self, plugin, *arguments):
        """What is printed, what is opened, and what there is afterwards."""
        command = [sys.executable, "-m", "pytest", "-p", "watch", "-p", "no:cacheprovider", *arguments]
        environment = {**self.environment, "PYTEST_PLUGINS": plugin}
        done = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, check=False)
        # The only words that differ by themselves: how long it took, and which plugins there are.
        printed = re.sub(rb" in \d+\.\d+s|^plugins: .*\n", b"", done.stdout, flags=re.MULTILINE)
        files = {path.name: path.read_bytes() for path in self.project.rglob("*") if path.is_file()}
        return done.returncode, printed, done.stderr, files, json.loads(self.heard.read_text())


@pytest.mark.parametrize("files", SESSIONS.values(), ids=SESSIONS)
def test_it_is_as_if_the_plugin_were_not_there(tmp_path, files):
    sessions = Sessions(tmp_path)
    for name, content in files.items():
        (sessions.project / name).write_text(content)
    for arguments in ARGUMENTS if files is SESSIONS["tests"] else ARGUMENTS[:1]:
        *without, heard_without = sessions.run("nothing", *arguments)
        *with_it, heard = sessions.run("pytest_starling.plugin", *arguments)
        assert with_it == without
        known = {_steady(path) for path, _ in heard_without}
        extra = [(path, writes) for path, writes in heard if _steady(path) not in known]
        # The plugin's own modules are read, and the modules of the standard library that they need.
        assert [path for path, _ in extra if not path.endswith((".py", ".pyc"))] == []
        assert not any(writes for _, writes in extra)
        ours = {Path(path).name.partition(".")[0] for path, _ in extra if path.startswith(PACKAGE)}
        assert ours <= {
            "__init__",
            "plugin",
            "hookspecs",
            "_fixtures",
            "_hooks",
            "_options",
            "_state",
            "_variable",
            "_xdist",
        }


def _steady(path):
    """A path without what differs from run to run: numbers, and the names of pytest's own temporary files."""
    temporary = re.escape(tempfile.gettempdir() + os.sep) + r"\w{8}$"
    return re.sub(r"\d+", "N", re.sub(temporary, "temporary", path))


def test_what_is_heard_is_heard(tmp_path):
    """The test above would find a plugin that opens files."""
    sessions = Sessions(tmp_path)
    (sessions.project / "test_plain.py").write_text("def test_a(): pass\n")
    (tmp_path / "loud.py").write_text("def pytest_configure(config):\n    open('trace.txt', 'w').close()\n")
    *without, _ = sessions.run("nothing")
    *with_it, heard = sessions.run("loud")
    assert ["trace.txt", True] in heard
    assert with_it != without
