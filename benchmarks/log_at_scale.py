"""What a large log costs: 10,000 runs of 100 events beside small ones, in one SQLite file.

Run: ``python benchmarks/log_at_scale.py [--runs N] [--events N] [--json]``. It builds a log of so many runs, one of a
tenth and one of 100, in a temporary folder, and measures each thing in a process of its own:

* the first page of the listing, with and without counting what matches, in the largest log and in the smallest;
* the peak memory of going through a log to its end (pages, validation of every run, export), in the largest and in the
  one of a tenth;
* the time that each append of a writer takes while another process prunes half of the log.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS, EVENTS = 10_000, 100
SMALL = 100
"""Runs of the smallest log: more than a page shows, whatever the others have."""
PAGE_GOAL = 3.0
"""First page of the largest log, in first pages of the smallest (issue: no more than three)."""
MEMORY_GOAL = 1.1
"""Peak memory in the largest log, in peaks of the one of a tenth: constant, but for what an allocator does."""
WAIT_GOAL_MS = 250.0
"""Longest append beside a pruning: a twentieth of what a writer waits for a lock before it gives up."""
FIRST_PAGES = 100
APPENDS_ALONE = 500
START_NS = 1_600_000_000 * 10**9
ENDED_CALLS = 4
"""Events of a sample run that are no tool call's: RunStarted, a turn's two, the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the report: a value, what it is compared with, and how large it may be."""

    name: str
    value: float
    unit: str
    goal: float
    details: str

    @property
    def met(self) -> bool:
        return self.value <= self.goal

    def __str__(self) -> str:
        verdict = "met" if self.met else "missed"
        return f"  {self.name:<38} {self.value:8.2f} {self.unit:<3} goal <= {self.goal:g} {verdict:<6} ({self.details})"


# -- what is measured, each in a process of its own


def build(path: str, runs: int, events: int) -> float:
    """Write a log of valid runs of every ending, and return the seconds that it took."""
    from starling import SQLiteLog
    from starling.event import TERMINAL_KINDS
    from starling.testing.eventlog_contract import dated_run

    begun = time.perf_counter()
    ends = sorted(TERMINAL_KINDS)
    with SQLiteLog(path) as log:
        for number in range(runs):
            run_id = f"run-{number:06}"
            start = START_NS + number * 10**9
            calls = (events - ENDED_CALLS) // 2
            log.append_sync(run_id, dated_run(run_id, start, ends[number % len(ends)], tool_calls=calls))
    return time.perf_counter() - begun


def first_page(path: str, count: bool) -> float:
    """The median of some first pages, in milliseconds."""
    from starling import SQLiteLog
    from starling.eventlog import RunPageOptions

    took = []
    with SQLiteLog(path, read_only=True) as log:
        for _ in range(FIRST_PAGES):
            begun = time.perf_counter()
            page = log.list_runs_page_sync(RunPageOptions(count=count))
            took.append((time.perf_counter() - begun) * 1000)
            assert page.runs
    return statistics.median(took)


def walk_pages(path: str) -> int:
    """Go to the last page, and return how many runs there were."""
    from starling import SQLiteLog
    from starling.eventlog import RunPageOptions

    seen, cursor = 0, "begin"
    with SQLiteLog(path, read_only=True) as log:
        while cursor:
            page = log.list_runs_page_sync(RunPageOptions(cursor="" if cursor == "begin" else cursor, count=False))
            seen, cursor = seen + len(page.runs), page.next_cursor
    return seen


def walk_validating(path: str) -> int:
    """Validate every run, and return how many there were."""
    from starling import SQLiteLog
    from starling.event import validate
    from starling.eventlog import events_of_sync, run_ids_sync

    seen = 0
    with SQLiteLog(path, read_only=True) as log:
        for run_id in run_ids_sync(log):
            validate(events_of_sync(log, run_id))
            seen += 1
    return seen


def walk_exporting(path: str) -> int:
    """Make every line of an export, and return how many runs begin in them."""
    from starling import SQLiteLog
    from starling.eventlog import export_runs_sync

    with SQLiteLog(path, read_only=True) as log:
        return sum("RunStarted" in line for line in export_runs_sync(log))


def walked(walk: Callable[[str], int], path: str) -> dict[str, Any]:
    """Go through a log: how many runs, the seconds and this process's peak of memory."""
    begun = time.perf_counter()
    return {"runs": walk(path), "seconds": time.perf_counter() - begun, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """The most memory that this process had; ``getrusage`` alone would count that of the process which forked it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def prune_half(path: str, runs: int) -> dict[str, Any]:
    """Delete the older half of the runs."""
    from starling import SQLiteLog
    from starling.eventlog import prune_runs_sync

    begun = time.perf_counter()
    with SQLiteLog(path) as log:
        report = prune_runs_sync(log, older_than=timedelta(0), limit=runs // 2, dry_run=False)
    return {"seconds": time.perf_counter() - begun, "runs": report.deleted_runs, "events": report.deleted_events}


def write_beside(path: str) -> dict[str, Any]:
    """Append one event after the other, as fast as it goes: alone at first, then until standard input ends."""
    from starling import SQLiteLog
    from starling.event import Chain, SideEffectRecorded
    from starling.testing.eventlog_contract import sample_run

    chain = Chain("beside")
    with SQLiteLog(path) as log:

        def append(payload: Any) -> float:
            event = chain.append(payload, time.time_ns())
            begun = time.perf_counter()
            log.append_sync("beside", [event])
            return (time.perf_counter() - begun) * 1000

        append(sample_run("beside", 0)[0].decode())
        effect = SideEffectRecorded(name="tick", value="x" * 100)
        alone = [append(effect) for _ in range(APPENDS_ALONE)]
        print("ready", flush=True)
        beside = []
        while not select.select([sys.stdin], [], [], 0)[0]:
            beside.append(append(effect))
    return {"alone": spread(alone), "beside": spread(beside)}


def spread(took_ms: list[float]) -> dict[str, float]:
    """How long appends took, in milliseconds."""
    ordered = sorted(took_ms)
    at = {"median_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {
        "appends": len(ordered),
        **{name: ordered[min(int(len(ordered) * part), len(ordered) - 1)] for name, part in at.items()},
    }


STEPS: dict[str, Callable[..., Any]] = {
    "build": build,
    "first-page": first_page,
    "pages": lambda path: walked(walk_pages, path),
    "validation": lambda path: walked(walk_validating, path),
    "export": lambda path: walked(walk_exporting, path),
    "prune": prune_half,
    "write": write_beside,
}
WALKS = ("pages", "validation", "export")


def command(step: str, *arguments: Any) -> list[str]:
    return [sys.executable, __file__, "--step", json.dumps([step, *arguments])]


def measured(step: str, *arguments: Any) -> Any:
    """What a step gives, done in a process of its own."""
    return json.loads(subprocess.run(command(step, *arguments), stdout=subprocess.PIPE, check=True).stdout)


# -- the report


def page_figures(small: Path, large: Path, sizes: tuple[int, int]) -> list[Figure]:
    figures = []
    for name, count in (("first page", False), ("first page and number of runs", True)):
        one, other = (measured("first-page", str(path), count) for path in (small, large))
        details = f"{other:.2f} ms of {sizes[1]:,} runs, {one:.2f} ms of {sizes[0]:,}"
        figures.append(Figure(name=name, value=other / one, unit="x", goal=PAGE_GOAL, details=details))
    return figures


def memory_figures(tenth: Path, large: Path) -> list[Figure]:
    figures = []
    for walk in WALKS:
        one, other = (measured(walk, str(path)) for path in (tenth, large))
        details = (
            f"{other['peak_mb']:.1f} MB and {other['seconds']:.1f} s for {other['runs']:,} runs, "
            f"{one['peak_mb']:.1f} MB for {one['runs']:,}"
        )
        value = other["peak_mb"] / one["peak_mb"]
        figures.append(Figure(name=f"peak memory, {walk}", value=value, unit="x", goal=MEMORY_GOAL, details=details))
    return figures


def pruning_figure(large: Path, runs: int) -> Figure:
    writer = subprocess.Popen(command("write", str(large)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    writer.stdout.readline()  # it has been alone
    pruned = measured("prune", str(large), runs)
    took = json.loads(writer.communicate()[0])
    alone, beside = took["alone"], took["beside"]
    details = (
        f"{beside['appends']:,} appends while {pruned['runs']:,} runs of {pruned['events']:,} events went in "
        f"{pruned['seconds']:.1f} s: median {beside['median_ms']:.2f}, p99 {beside['p99_ms']:.1f}; alone "
        f"{alone['median_ms']:.2f}, p99 {alone['p99_ms']:.1f}"
    )
    return Figure(
        name="longest append beside a pruning", value=beside["max_ms"], unit="ms", goal=WAIT_GOAL_MS, details=details
    )


def report(folder: Path, runs: int, events: int) -> dict[str, Any]:
    """Build and measure everything."""
    sizes = (SMALL, runs // 10, runs)
    small, tenth, large = (folder / f"{size}.db" for size in sizes)
    seconds = {size: measured("build", str(folder / f"{size}.db"), size, events) for size in set(sizes)}
    megabytes = large.stat().st_size / 2**20
    figures = [
        *page_figures(small, large, (sizes[0], runs)),
        *memory_figures(tenth, large),
        pruning_figure(large, runs),
    ]
    return {"runs": runs, "events": runs * events, "megabytes": megabytes, "seconds": seconds[runs], "figures": figures}


def main() -> None:
    """Measure and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="runs of the largest log, more than 100 (default: %(default)s)"
    )
    parser.add_argument(
        "--events", type=int, default=EVENTS, help="events of a run, an even number (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, *arguments = json.loads(options.step)
        print(json.dumps(STEPS[name](*arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = report(Path(folder), options.runs, options.events)
    if options.json:
        print(json.dumps({**found, "figures": [{**asdict(one), "met": one.met} for one in found["figures"]]}, indent=2))
        return
    print(
        f"SQLite, {found['runs']:,} runs, {found['events']:,} events, {found['megabytes']:.0f} MB, written in "
        f"{found['seconds']:.0f} s; Python {sys.version.split()[0]}, {os.cpu_count()} processors"
    )
    print(*found["figures"], sep="\n")


if __name__ == "__main__":
    main()
