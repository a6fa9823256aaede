"""Two small pytest projects with the same conversation: one of golden tests, one of cassettes (pytest-recording).

Their files are those of `shop`, copied to a temporary folder. Sessions are processes of their own, with no other plugin
than the one in question. What the model says comes from the local server of `starling.testing` while it is recorded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.collect_only import processor_s
from starling.testing import OpenAIServer, Script

__all__ = ["CASSETTES", "GOLDEN", "Outcome", "Project", "Side", "conversation"]

SHOP = Path(__file__).parent / "shop"
CALLS = (3, 3, 2, 2)
"""Tool calls of each turn but the last, which answers."""
ANSWER = (
    "Yes. All ten orders of this week were shipped in time: seven on the day after they came in, two on the same day, "
    "and one, which waited for a part, on the last day that its customer was told of. None was returned."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the tools that are compared, and how it is called.

    Attributes:
        name: as the tables say it.
        plugin: the only plugin of its sessions.
        files: name in the project → name in `shop`; ``test_*.py`` stands for every test module.
        record: options of the session that records.
        replay: options of those that replay.
        env: variables of both.
    """

    name: str
    plugin: str
    files: dict[str, str]
    record: tuple[str, ...]
    replay: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


GOLDEN = Side(
    name="pytest-starling",
    plugin="pytest_starling.plugin",
    files={"test_*.py": "golden.py", "with_starling.py": "with_starling.py", "shop.py": "shop.py"},
    record=("--record-golden",),
)
CASSETTES = Side(
    name="vcrpy",
    plugin="pytest_recording.plugin",
    files={
        "test_*.py": "cassettes.py",
        "conftest.py": "cassettes_conftest.py",
        "with_sdk.py": "with_sdk.py",
        "shop.py": "shop.py",
    },
    record=("--record-mode=once",),
    env={"STREAM": "no", "MATCH_ALSO": ""},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a session, and what it took: seconds on the wall, and of the processor."""

    passed: int
    failed: int
    wall: float
    processor: float
    output: str


class Project:
    """A project of one side in a folder, with as many test modules as are named, of as many tests each."""

    def __init__(self, folder: Path, side: Side, *, modules: tuple[str, ...] = ("test_shop",), tests: int = 1) -> None:
        self.folder = folder
        self.side = side
        self.modules = modules
        self.tests = tests
        self._url = "http://127.0.0.1:9/v1"
        folder.mkdir(parents=True)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for name, source in side.files.items():
            for target in [f"{module}.py" for module in modules] if name == "test_*.py" else [name]:
                shutil.copy(SHOP / source, folder / target)

    def record(self, **env: str) -> Outcome:
        """Record every test, from a local server."""
        turns = conversation().turns * (self.tests * len(self.modules))
        with OpenAIServer(turns) as server:
            self._url = server.base_url
            return self._session(self.side.record, self.modules, env)

    def replay(self, modules: tuple[str, ...] | None = None, **env: str) -> Outcome:
        """Replay the tests of all modules, or of these. The server is gone, but its address stays: it is compared."""
        return self._session(self.side.replay, modules or self.modules, env)

    def edit(self, name: str, before: str, after: str) -> None:
        """Change the text of a file, in every place."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        if before not in text:
            raise ValueError(f"{name} does not say {before!r}: the benchmark is out of date")
        path.write_text(text.replace(before, after), encoding="utf-8")

    def _session(self, options: tuple[str, ...], modules: tuple[str, ...], env: dict[str, str]) -> Outcome:
        paths = [f"{module}.py" for module in modules]
        command = [sys.executable, "-m", "pytest", "-p", self.side.plugin, "-p", "no:cacheprovider", "-q", "-rN"]
        before, begun = processor_s(), time.perf_counter()
        done = subprocess.run(
            [*command, *options, *paths],
            cwd=self.folder,
            env=self._environment(env),
            capture_output=True,
            text=True,
            check=False,
        )
        wall, processor = time.perf_counter() - begun, processor_s() - before
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|errors?)\b", done.stdout)}
        if not counts:
            raise RuntimeError(f"a session of {self.side.name} ran no test:\n{done.stdout}{done.stderr}")
        passed = counts.pop("passed", 0)
        return Outcome(passed=passed, failed=sum(counts.values()), wall=wall, processor=processor, output=done.stdout)

    def _environment(self, env: dict[str, str]) -> dict[str, str]:
        """Nothing of the developer's, and no CI, in which nothing is recorded."""
        kept = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT", "TMPDIR") if name in os.environ
        }
        own = {
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": self._url,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "TESTS": str(self.tests),
        }
        return {**kept, **own, **self.side.env, **env}


def conversation() -> Script:
    """What the model says: calls of tools in four turns, then an answer, a word at a time."""
    script = Script()
    for turn, calls in enumerate(CALLS):
        for call in range(calls - (turn == 0)):
            script.tool_call("look_up", {"order": 100 * turn + call})
        if turn == 0:
            script.tool_call("today", {})
        script.turn()
    for word in re.findall(r"\S+\s*", ANSWER):
        script.text(word)
    return script
