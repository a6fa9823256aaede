"""What a person should look at though a recording replays: it is old, or its marker names a tool that it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_starling import StarlingWarning

if TYPE_CHECKING:
    from pytest_starling._marker import GoldenMark
    from pytest_starling._session import GoldenItem
    from starling.replay import Fixture, FixtureRun

__all__ = ["warn"]

_DAY_S = 86_400


def warn(golden: GoldenItem, fixture: Fixture, mark: GoldenMark) -> None:
    """Issue a `StarlingWarning` for each doubt about a fixture that is about to be replayed.

    Args:
        mark: what the marker and ``golden_run_config`` come to.
    """
    for text in (*_stale(golden, fixture, mark.max_age), *_unknown_tools(golden, fixture)):
        golden.item.warn(StarlingWarning(text))


def _stale(golden: GoldenItem, fixture: Fixture, max_age: float | None) -> list[str]:
    from datetime import UTC, datetime

    if max_age is None:
        return []
    days = (datetime.now(UTC) - datetime.fromisoformat(fixture.recorded_at)).total_seconds() / _DAY_S
    if days <= max_age:
        return []
    command = golden.command.replace("--record-golden", "--golden-mode=all")
    text = (
        f"{golden.shown_path} was recorded {days:.0f} days ago, and max_age is {max_age:g}: the provider may answer "
        f"differently by now. Record it anew: {command}"
    )
    return [text]


def _unknown_tools(golden: GoldenItem, fixture: Fixture) -> list[str]:
    """A policy for a misspelt tool does nothing: a tool that was meant to be stubbed is run.

    Only the marker's own are checked: ``golden_run_config`` may speak of the tools of many tests.
    """
    tools = golden.mark.tools
    if isinstance(tools, str):
        return []
    known = {schema.name for run in fixture.runs for schema in _started(run).tool_schemas}
    return [
        f"{golden.name.text}: the marker golden_run has a policy for the tool {name!r}, which no recorded run of this "
        f"test has; recorded with: {', '.join(sorted(known)) or 'no tools'}"
        for name in sorted(tools.keys() - known)
    ]


def _started(run: FixtureRun) -> Any:
    return run.events[0].decode()
