"""What it costs that we are there: importing `starling`, and our plugin in a session that has nothing to do with it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from benchmarks._measure import Row
from benchmarks.collect_only import Session, paired, processor_s

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["rows"]

PAIRS = 40
SDKS = ("openai", "anthropic", "google.genai", "boto3", "botocore", "httpx", "httpx2", "psycopg", "pytest", "vcr")
"""What `import starling` must not import: vendors' SDKs, and whatever else is somebody's extra."""


def rows() -> Iterator[Row]:
    """Measure."""
    yield _import()
    yield _sdks()
    yield _collect()


def _import() -> Row:
    _importing("import starling")  # compiles what nobody has compiled yet
    found = []
    for number in range(PAIRS):
        order = ("import starling", "pass") if number % 2 else ("pass", "import starling")
        took = {code: _importing(code) for code in order}
        found.append((took["import starling"], took["pass"]))
    return _more("`import starling`", "a bare interpreter", 60.0, found)


def _importing(code: str) -> Session:
    before, begun = processor_s(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    wall, processor = time.perf_counter() - begun, processor_s() - before
    return Session(wall=wall * 1000, processor=processor * 1000)


def _sdks() -> Row:
    code = f"import json, starling, sys; print(json.dumps([name for name in {SDKS} if name in sys.modules]))"
    found = json.loads(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)
    return Row(
        what="SDKs that `import starling` imports",
        against="none",
        goal=0.0,
        figure=float(len(found)),
        unit="SDKs",
        details=", ".join(found) or f"looked for {', '.join(SDKS)}",
    )


def _collect() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        found = paired(folder, PAIRS)
    return _more("`pytest --collect-only` in an empty folder", "the same with `-p no:starling`", 5.0, found)


def _more(what: str, against: str, goal: float, found: list[tuple[Session, Session]]) -> Row:
    """How much longer the first of each pair takes: the processor's time, which other processes do not lengthen."""
    low, more, high = statistics.quantiles([one.processor - other.processor for one, other in found], n=4)
    one, other = (statistics.median(session.processor for session in side) for side in zip(*found, strict=True))
    wall = statistics.median(one.wall - other.wall for one, other in found)
    return Row(
        what=what,
        against=against,
        goal=goal,
        figure=more,
        unit="ms more",
        details=f"{one:.0f} ms to {other:.0f} ms; quartiles {low:+.1f} to {high:+.1f}; on the wall {wall:+.1f} ms",
    )
