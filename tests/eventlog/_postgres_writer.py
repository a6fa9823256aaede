"""A writer in a process of its own, on Postgres: appends a run event by event and says after each one what became of it.

Usage: python _postgres_writer.py URL RUN_ID EFFECTS. With several of them on one run each event is written by one: the
others read where the run stands and try the next. It waits for a line on standard input before it begins.
"""

# ruff: noqa: T201 - standard output is how it answers
import sys

from starling.errors import InvalidAppendError
from starling.eventlog import PostgresLog
from starling.testing.eventlog_contract import sample_run


def main(url, run_id, effects):
    run = sample_run(run_id, int(effects))
    with PostgresLog(url) as log:
        log.read_sync(run_id)
        print("open", flush=True)
        sys.stdin.readline()
        next_seq = 1
        while next_seq <= len(run):
            try:
                log.append_sync(run_id, [run[next_seq - 1]])
            except InvalidAppendError:
                next_seq = len(log.read_sync(run_id)) + 1
            else:
                print(next_seq, flush=True)
                next_seq += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
