"""The file of ``--golden-report``: what became of every golden run, for machines (JSON) or for a CI job's summary.

The value is made of what the summary is made of, so both say the same. ``report.schema.json`` beside this module is its
published form; a change that readers could stumble over raises `VERSION`.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling import _patches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_starling._state import Golden

__all__ = ["VERSION", "report", "write"]

VERSION = 1
"""The version of the report's form."""
_CUT_OFF = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)


def write(golden: Golden, session: pytest.Session) -> str:
    """Write the report, all or nothing. Returns why it is not there; empty if it is.

    An ini key says what is wanted of golden tests: where there are none, it has nothing written. An option is an order.
    """
    path = golden.settings.report
    asked = session.config.getoption("golden_report")
    if path is None or not (asked or golden.items or golden.outcomes or golden.told):
        return ""
    value = report(golden, session)
    if path.suffix.lower() == ".md":
        from pytest_starling._markdown import markdown

        text = markdown(value)
    else:
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    return _put(path, text.encode(errors="backslashreplace"))


def report(golden: Golden, session: pytest.Session) -> dict[str, Any]:
    """The report as plain data, in the form of ``report.schema.json``."""
    from datetime import UTC, datetime
    from importlib import metadata

    settings, outcomes = golden.settings, list(golden.outcomes.values())
    known = [len(golden.items), len(outcomes), *(one.get("tests", 0) for one in (*outcomes, *golden.told))]
    not_run = max(known) - len(outcomes)
    return {
        "version": VERSION,
        "generator": f"pytest-starling {metadata.version('pytest-starling')}",
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": settings.mode,
        "golden_dir": settings.shown(settings.folder),
        "exit_status": int(session.exitstatus),
        "complete": not not_run and session.exitstatus not in _CUT_OFF,
        "counts": _counts(outcomes),
        "not_run": not_run,
        "tests": [_test(node_id, outcome) for node_id, outcome in golden.outcomes.items()],
        "unused": [
            {"file": settings.shown(Path(one.path)), "test": one.test_id, "why": one.why, "deleted": one.deleted}
            for one in golden.unused
        ],
        "patches": _patches.lines(golden, session.config),
    }


def _counts(outcomes: list[dict[str, Any]]) -> dict[str, int]:
    """How many tests came to what, the most frequent first."""
    from collections import Counter

    return dict(Counter(one["outcome"] for one in outcomes).most_common())


def _test(node_id: str, outcome: Mapping[str, Any]) -> dict[str, Any]:
    first = None
    if "starling.first_seq" in outcome:
        names = {"seq": "first_seq", "kind": "first_kind", "class": "first_class"}
        first = {name: outcome[f"starling.{source}"] for name, source in names.items()}
    return {
        "test": outcome.get("test", node_id),
        "outcome": outcome["outcome"],
        "mode": outcome["starling.mode"],
        "fixture": outcome["starling.fixture"],
        "run_id": outcome["starling.run_id"],
        "divergences": outcome["starling.divergences"],
        "first": first,
        "undeclared": outcome.get("starling.undeclared", 0),
        "headline": outcome.get("headline", ""),
        "text": outcome.get("text", ""),
        "command": outcome.get("command", ""),
    }


def _put(path: Path, content: bytes) -> str:
    """Write a file beside its place and move it there."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)  # noqa: PTH105 - the name of the guarantee
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        return f"the report {path} was not written: {error.strerror}"
    return ""
