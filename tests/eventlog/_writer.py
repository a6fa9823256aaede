"""A writer in a process of its own: appends a run event by event and says after each one that it is in.

Usage: python _writer.py LOG RUN_ID EVENTS. It waits for a line on standard input before each append if told to by a
fourth argument, so that a test can hold it back.
"""

# ruff: noqa: T201 - standard output is how it answers
import sys

from starling.eventlog import SQLiteLog
from starling.testing.eventlog_contract import sample_run


def main(path, run_id, effects, held="no"):
    with SQLiteLog(path) as log:
        print("open", flush=True)
        for event in sample_run(run_id, int(effects)):
            if held == "held":
                sys.stdin.readline()
            log.append_sync(run_id, [event])
            print(event.seq, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
