"""Starting writers, hearing what they were promised, and comparing it with what is left of their log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mortal_writers
from hypothesis import settings
from mortal_writers import completed

from starling.event import TERMINAL_KINDS, Chain, SideEffectRecorded, event_hash, validate, validate_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEEP = settings.default.max_examples > 1000
KILLED = -signal.SIGKILL


class Writer:
    """One life of a writer, and what was acknowledged in it: by run, the hashes of its events in order."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = 0
        self.opened = False
        self.acknowledged: dict[str, list[str]] = defaultdict(list)
        self.wanted: dict[str, int] = {}
        self.appends = 0
        self.refused: list[str] = []
        self.exit_code: int | None = None

    def hear(self) -> bool:
        """Take in one line; False when the writer is gone."""
        what, *words = self._process.stdout.readline().split()
        match what:
            case "pid":
                self.pid = int(words[0])
            case "open":
                self.opened = True
            case "wants":
                self.wanted[words[0]] = int(words[1])
            case "has":
                self.appends += 1
                self.acknowledged[words[0]] += words[2:]
            case "refused":
                self.refused.append(" ".join(words[2:]))
            case _:
                self.exit_code = int(words[0])
        return self.exit_code is None

    def kill(self, *, after: int | None) -> None:
        """Kill it when so many appends have come back; with None at once, which is while it opens the log."""
        while after is not None and not (self.opened and self.appends >= after):
            assert self.hear(), f"the writer ended by itself with {self.exit_code}"
        os.kill(self.pid, signal.SIGKILL)
        assert self.end() == KILLED

    def end(self) -> int:
        """Wait for it, and return its exit code."""
        while self.exit_code is None:
            self.hear()
        return self.exit_code


class Host:
    """A small process that forks one writer after the other; importing takes longer than living."""

    def __init__(self, before_start: Callable[[], None] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(mortal_writers.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=before_start,  # noqa: PLW1509 - a prctl, which takes no lock
        )

    def start(self, case: Callable[..., None], path: Any, **arguments: Any) -> Writer:
        """A writer in a process of its own. One at a time."""
        order = json.dumps([case.__name__, {"path": str(path), **arguments}])
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        writer = Writer(self._process)
        writer.hear()
        return writer

    def close(self) -> None:
        self._process.stdin.close()
        code = self._process.wait(timeout=60)
        self._process.stdout.close()
        assert code == 0


@contextmanager
def hosting(count: int = 1, before_start: Callable[[], None] | None = None) -> Iterator[list[Host]]:
    hosts = [Host(before_start) for _ in range(count)]
    yield hosts
    for host in hosts:
        host.close()


def assert_kept(log: Any, writer: Writer) -> None:
    """What was acknowledged is there, to the byte; of the append that was cut off, all or nothing."""
    for run_id, wanted in writer.wanted.items():
        acknowledged = writer.acknowledged.get(run_id, [])
        events = log.read_sync(run_id)
        assert hashes(events)[: len(acknowledged)] == acknowledged, run_id
        assert len(events) in {len(acknowledged), wanted}, f"{run_id}: half an append"
        assert_sound(events)


def hashes(events: list[Any]) -> list[str]:
    return [event_hash(event).hex() for event in events]


def assert_sound(events: list[Any]) -> None:
    """A run that is complete, or the beginning of one; there may be nothing of it."""
    if events:
        (validate if events[-1].kind in TERMINAL_KINDS else validate_prefix)(events)


def finish_run(log: Any, run_id: str) -> None:
    """Go on with a run where its writer left it, to its end."""
    events = log.read_sync(run_id)
    if events and events[-1].kind in TERMINAL_KINDS:
        return
    chain = Chain.resume(events) if events else Chain(run_id)
    more = [] if events else [chain.append(mortal_writers.RUN_STARTED, 1)]
    more.append(chain.append(SideEffectRecorded(name="after the fault", value=1), 2))
    log.append_sync(run_id, [*more, chain.append(completed(chain.root()), 3)])
    validate(log.read_sync(run_id))
