"""What the plugin costs a session without golden tests: ``pytest --collect-only`` with it and with ``-p no:starling``.

Run: ``python benchmarks/collect_only.py [pairs]``. Each pair is two sessions, one right after the other and in changing
order, so that whatever else the machine does falls on both. What counts is the median of the differences within pairs:
of the time on the wall, and, for a machine that is not idle, of the processor's.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

GOAL_MS = 5.0
PAIRS = 40
NOTHING_COLLECTED = 5
"""Pytest's exit status in an empty folder."""
MODULE = "import pytest\n\n" + "\n".join(f"def test_{number}(): ...\n" for number in range(50))
OTHERS = [
    word
    for entry in metadata.entry_points(group="pytest11")
    if entry.name != "starling"
    for word in ("-p", f"no:{entry.name}")
]
"""Other plugins would be the same in both sessions, and noise in their difference."""


@dataclass(frozen=True)
class Session:
    """What one session took, in milliseconds."""

    wall: float
    processor: float


def session(folder: str, options: list[str]) -> Session:
    """One session, from the start of its process to its end."""
    command = [sys.executable, "-m", "pytest", *OTHERS, *options, "-p", "no:cacheprovider", "--collect-only", "-q"]
    before, begun = processor_s(), time.perf_counter()
    status = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode
    if status not in (0, NOTHING_COLLECTED):
        raise RuntimeError(f"{command} ended with status {status}")
    wall, processor = time.perf_counter() - begun, processor_s() - before
    return Session(wall=wall * 1000, processor=processor * 1000)


def processor_s() -> float:
    """What all ended child processes took of the processor so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def paired(folder: str, pairs: int) -> list[tuple[Session, Session]]:
    """With the plugin and without it, after one pair that fills the caches."""
    sessions: dict[str, list[str]] = {"with": [], "without": ["-p", "no:starling"]}
    found = []
    for number in range(pairs + 1):
        order = ("with", "without") if number % 2 else ("without", "with")
        took = {name: session(folder, sessions[name]) for name in order}
        found.append((took["with"], took["without"]))
    return found[1:]


def line(name: str, found: list[tuple[float, float]]) -> str:
    """Medians of both sides, and of the differences within pairs."""
    one, other = (statistics.median(side) for side in zip(*found, strict=True))
    differences = [first - second for first, second in found]
    low, median, high = statistics.quantiles(differences, n=4) if len(found) > 1 else differences * 3
    verdict = "met" if median <= GOAL_MS else "missed"
    return (
        f"  {name:<10} {one:7.1f} ms with, {other:7.1f} ms without: {median:+6.1f} ms (quartiles {low:+.1f} and "
        f"{high:+.1f}); goal <= {GOAL_MS:.0f} ms {verdict}"
    )


def stay_on_one_processor() -> None:
    """Being moved from one to another costs a session more than the plugin does. Sessions inherit it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    """Measure and say so."""
    stay_on_one_processor()
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_plain.py").write_text(MODULE)
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        found = paired(folder, pairs)
    print(f"pytest --collect-only, 50 plain tests, {pairs} pairs, Python {sys.version.split()[0]}, paired medians")
    print(line("wall", [(one.wall, other.wall) for one, other in found]))
    print(line("processor", [(one.processor, other.processor) for one, other in found]))


if __name__ == "__main__":
    main()
