"""Writers of a log, in processes that may be killed or run out of space; `fault_kit` starts them.

As a script it takes one case after the other from its input, each as a line of JSON, and forks a process for it: what
is imported is imported once. What the child says goes to the same output, a line at a time and each in one `write`, so
that a kill leaves no half of one:

    pid N                   the child
    open                    it has opened the log
    wants RUN SEQ           it is about to append events up to this one
    has RUN SEQ HASH ...    the append came back; the hashes of its events, the last of which is SEQ
    refused RUN SEQ TEXT    the append raised
    end CODE                the child is gone; a negative code is a signal
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import traceback
from typing import Any

from starling import SQLiteLog
from starling.errors import InvalidAppendError, LogError
from starling.event import Chain, RunCompleted, SideEffectRecorded, event_hash, validate_prefix
from starling.eventlog import open_log, run_ids_sync
from starling.testing.eventlog_contract import sample_run

RUN_STARTED = sample_run("any", 0)[0].decode()
SIZES = (0, 10, 300, 3_000, 20_000)
"""Characters of an event's payload: within a page, as much as one, several of them."""


def say(*words: object) -> None:
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def completed(root: bytes) -> RunCompleted:
    return RunCompleted(
        final_text="done",
        turn_count=0,
        tool_call_count=0,
        total_cost_usd=0.0,
        total_input_tokens=0,
        total_output_tokens=0,
        duration_ms=1,
        merkle_root=root,
    )


class Author:
    """Makes events of several runs at a time, in batches of several sizes; the same for the same seed."""

    def __init__(self, seed: str, *, runs: int = 3) -> None:
        self._chance = random.Random(seed)
        self._names = (f"{seed}-{number}" for number in range(1_000_000))
        self._chains = [Chain(next(self._names)) for _ in range(runs)]

    def batch(self) -> tuple[str, list[Any]]:
        """The run that goes on now, and its next events; one in ten batches ends its run."""
        at = self._chance.randrange(len(self._chains))
        chain = self._chains[at]
        events = [self._event(chain) for _ in range(self._chance.randint(1, 4))]
        if self._chance.random() < 0.1:
            events.append(chain.append(completed(chain.root()), chain.next_seq))
            self._chains[at] = Chain(next(self._names))
        return chain.run_id, events

    def _event(self, chain: Chain) -> Any:
        if chain.next_seq == 1:
            return chain.append(RUN_STARTED, 1)
        text = "x" * self._chance.choice(SIZES)
        return chain.append(SideEffectRecorded(name="count", value=[chain.next_seq, text]), chain.next_seq)


def append(log: Any, run_id: str, events: list[Any]) -> None:
    """Append, and say so before and after."""
    say("wants", run_id, events[-1].seq)
    log.append_sync(run_id, events)
    say("has", run_id, events[-1].seq, *(event_hash(event).hex() for event in events))


# -- the cases


def write_for_ever(path: str, seed: str) -> None:
    """Until it is killed, or the storage refuses."""
    author = Author(seed)
    with open_log(path) as log:  # type: ignore[attr-defined]
        say("open")
        while True:
            append(log, *author.batch())


def die_at_step(path: str, seed: str, step: int) -> None:
    """Kills itself in the middle of an append: when SQLite has done so many steps of its virtual machine."""
    author = Author(seed)
    with SQLiteLog(path) as log:
        say("open")
        countdown = iter(range(step))

        def at_each_step() -> None:
            if next(countdown, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        log._connection.set_progress_handler(at_each_step, 1)
        while True:
            append(log, *author.batch())


def die_at_byte(path: str, seed: str, byte: int) -> None:
    """The kernel kills it where a file would grow beyond so many bytes, after it has written up to there."""
    author = Author(seed)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with SQLiteLog(path) as log:
        say("open")
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_FSIZE, (byte, byte))
        while True:
            append(log, *author.batch())


def share_runs(path: str, seed: str, runs: list[str], appends: int) -> None:
    """Adds events to runs that others add to as well, until so many appends came back."""
    chance = random.Random(seed)
    with open_log(path) as log:  # type: ignore[attr-defined]
        say("open")
        while appends:
            run_id = chance.choice(runs)
            events = log.read_sync(run_id)
            validate_prefix(events)
            chain = Chain.resume(events)
            batch = [chain.append(SideEffectRecorded(name=seed, value=n), 1) for n in range(chance.randint(1, 3))]
            try:
                append(log, run_id, batch)
            except InvalidAppendError:
                say("refused", run_id, batch[-1].seq, "another one was faster")
            else:
                appends -= 1


def write_where_it_may(path: str, seed: str, appends: int, closing: bool = False) -> None:
    """Opens, appends so often and closes; says what was refused. ``closing``: its folder becomes read-only midway."""
    author = Author(seed)
    try:
        with SQLiteLog(path) as log:
            say("open")
            for number in range(appends):
                if closing and number == appends // 2:
                    os.chmod(os.path.dirname(path), 0o500)  # noqa: PTH101, PTH120
                append(log, *author.batch())
    except LogError as error:
        say("refused", "-", 0, type(error).__name__, error)


def read_where_it_may(path: str) -> None:
    """Opens for reading, and says that it could, or what was refused."""
    try:
        with SQLiteLog(path, read_only=True) as log:
            for run_id in run_ids_sync(log):
                log.read_sync(run_id)
            say("open")
    except LogError as error:
        say("refused", "-", 0, type(error).__name__, error)


CASES = {
    case.__name__: case
    for case in (write_for_ever, die_at_step, die_at_byte, share_runs, write_where_it_may, read_where_it_may)
}


def live(case: str, arguments: dict[str, Any]) -> int:
    """Do it, and return the exit code."""
    say("pid", os.getpid())
    try:
        CASES[case](**arguments)
    except BaseException:
        traceback.print_exc()
        return 255
    return 0


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = live(*json.loads(line))
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        say("end", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
