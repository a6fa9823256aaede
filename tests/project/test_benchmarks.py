"""Benchmarks run, and say what they are measured against."""

import re
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_collecting_is_measured_in_pairs_with_the_goal_beside_it():
    command = [sys.executable, BENCHMARKS / "collect_only.py", "2"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 3
    assert "2 pairs" in lines[0]
    for name, line in zip(("wall", "processor"), lines[1:], strict=True):
        assert re.fullmatch(
            rf"  {name} .* ms with, .* ms without: .* ms \(quartiles .*\); goal <= 5 ms (met|missed)", line
        )
