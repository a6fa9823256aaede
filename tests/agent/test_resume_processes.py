"""Processes that are really killed, at every commit of a run, and others that go on with it.

What is in the log is not done again, what is not in the log may be; nothing is lost, and the whole replays.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import mortal
import pytest

from starling import MemoryLog, SQLiteLog, replay
from starling.event import TERMINAL_KINDS, SideEffectRecorded, ToolCallCompleted, ToolCallScheduled, validate

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

SCRIPT = Path(mortal.__file__)
KILLED = -signal.SIGKILL

COMMITS = 26
"""How many an undisturbed run makes."""
AT_A_TIME = 3
"""Calls that run in parallel, at most."""

ACTS = Counter({"pay tea": 1, "pay jam": 1, "pack tea": 1, "pack jam": 1, "pack cup": 1, "mail tea": 1, "mail jam": 1})


@pytest.fixture(scope="module")
def nursery():
    """A small process that forks one child for each life; importing takes longer than living."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    yield process
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=60) == 0


@dataclass
class Story:
    """One run through the lives of its processes.

    `lost`: what was done and is not in the log, because its process was killed in between.
    """

    folder: Path
    threads: bool
    nursery: subprocess.Popen | None = None
    lost: list[str] = field(default_factory=list)

    @property
    def log(self):
        return str(self.folder / "log.db")

    @property
    def world(self):
        return mortal.World(str(self.folder / "world"))

    def events(self):
        if not Path(self.log).exists():
            return []
        log = SQLiteLog(self.log)
        try:
            return log.read_sync(mortal.RUN_ID)
        finally:
            log.close_sync()

    def live(self, dies_at=0, when="never"):
        """One life; what it did again must not have been in the log."""
        before, events = self.world.lines(), self.events()
        code = self._exit_code(dies_at, when)
        done, known = self.world.lines()[len(before) :], _effects(self.events())
        again = [line for line in done if line.removeprefix("entered ") in _finished(events)]
        assert again == []
        new = [line for line in done if not line.startswith("entered ") and line not in known]
        assert code == KILLED or new == []
        self.lost += new
        return code, new

    def _exit_code(self, dies_at, when):
        case = json.dumps(
            {
                "log": self.log,
                "world": str(self.folder / "world"),
                "dies_at": dies_at,
                "when": when,
                "threads": self.threads,
            }
        )
        if self.nursery is None:
            ended = subprocess.run(
                [sys.executable, str(SCRIPT), case], env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=False
            )
            return ended.returncode
        self.nursery.stdin.write(f"{case}\n")
        self.nursery.stdin.flush()
        return int(self.nursery.stdout.readline())

    def has_ended(self):
        return bool(events := self.events()) and events[-1].kind in TERMINAL_KINDS

    async def check(self):
        """The log is whole and replays, and the world is as if nobody had been killed, but for what was lost."""
        events = self.events()
        validate(events)
        acts = [line for line in self.world.lines() if not line.startswith("entered ")]
        known = _effects(events)
        assert Counter(acts) - Counter(known) == Counter(self.lost)
        counted = Counter(line.rpartition(" #")[0] for line in acts if line in known)
        assert counted.pop("ship") == (2 if "ship #1" in known else 1)
        assert counted == ACTS
        assert len(_finished(events)) == len({"order tea", "order jam", "pack tea", "pack jam", "pack cup", "ship"})
        log = SQLiteLog(self.log, read_only=True)
        try:
            today = mortal.agent(MemoryLog(), mortal.World(None), threads=self.threads)
            assert await replay(log, mortal.RUN_ID, today) == ()
        finally:
            log.close_sync()


def _effects(events):
    """The acts that the log knows of; what is recorded twice was served to a call that was reissued."""
    payloads = [event.decode() for event in events]
    return {effect.value for effect in payloads if isinstance(effect, SideEffectRecorded) and effect.name in _NAMES}


_NAMES = {"pay", "pack", "mail", "ship"}


def _finished(events):
    """The calls that have a result in the log, by tool and item."""
    payloads = [event.decode() for event in events]
    calls = {call.call_id: call for call in payloads if isinstance(call, ToolCallScheduled)}
    ended = [calls[result.call_id] for result in payloads if isinstance(result, ToolCallCompleted)]
    return {" ".join((call.tool, *call.args.values())) for call in ended}


async def test_nobody_is_killed(nursery, tmp_path):
    """The measure for the others."""
    story = Story(tmp_path, threads=False, nursery=nursery)

    assert story.live() == (COMMITS, [])

    await story.check()


def pytest_generate_tests(metafunc):
    """Ordinarily one second kill for every first one; the deep profile takes all of them."""
    if "second" not in metafunc.fixturenames:
        return
    deep = metafunc.config.getoption("--hypothesis-profile", default=None) == "deep"
    seconds = [*range(1, COMMITS + 1)] if deep else [0]
    metafunc.parametrize("second", seconds, ids="second kill {}".format if deep else ["one second kill"])
    metafunc.parametrize("threads", [False, True] if deep else [False], ids="threads={}".format)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("first", range(1, COMMITS + 1))
async def test_two_processes_are_killed_and_a_third_ends_the_run(nursery, tmp_path, first, when, second, threads):
    story = Story(tmp_path, threads=threads, nursery=nursery)

    for dies_at, dies in ((first, when), (second or first % 7 + 1, "after" if first % 2 else "before")):
        if not story.has_ended():
            code, lost = story.live(dies_at, dies)
            if not threads:
                assert len(lost) <= (1 if code == KILLED and dies == "before" else 0)
            assert len(lost) <= AT_A_TIME
    if not story.has_ended():
        code, _ = story.live()
        assert 0 < code <= COMMITS + 2

    await story.check()


@pytest.mark.parametrize("first", range(2, COMMITS, 5))
async def test_tools_in_threads(nursery, tmp_path, first):
    story = Story(tmp_path, threads=True, nursery=nursery)

    story.live(first, "before")
    story.live(first, "after")
    while not story.has_ended():
        story.live()

    await story.check()


async def test_without_a_fork(tmp_path):
    """The same in processes that share nothing but the files."""
    story = Story(tmp_path, threads=True)

    assert story.live(8, "after")[0] == KILLED
    assert story.live(4, "before")[0] == KILLED
    assert story.live()[0] > 0

    await story.check()
