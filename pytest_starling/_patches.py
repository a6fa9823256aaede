"""Which `step.patched` no recording needs any more: gathered from every replay, told at the end of a whole session.

What part of the recordings say proves nothing about the rest, so nothing is told where tests were deselected, named on
the command line, or did not replay.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from pytest_starling._attempt import Attempt
    from pytest_starling._state import Golden

__all__ = ["lines", "told"]


def told(golden: Golden, attempt: Attempt) -> dict[str, Any]:
    """What a report carries: the patches that its replays asked for, and how many golden tests there are."""
    return {"patches": [asdict(use) for use in attempt.patches], "tests": len(golden.items), "partial": golden.partial}


def lines(golden: Golden, config: pytest.Config) -> list[str]:
    """The lines of the summary; none where the session was not a whole one."""
    outcomes = list(golden.outcomes.values())
    uses = [use for outcome in outcomes for use in outcome.get("patches", ())]
    if not uses or _is_partial(golden, config):
        return []
    from starling.replay import PatchUse, unneeded_patches

    folder = f"{config.rootpath}/"
    patches = unneeded_patches(PatchUse(**{**use, "where": use["where"].removeprefix(folder)}) for use in uses)
    return [f"patch {patch}" for patch in patches]


def _is_partial(golden: Golden, config: pytest.Config) -> bool:
    outcomes = golden.outcomes.values()
    count = max(outcome.get("tests", 0) for outcome in outcomes)
    return (
        config.args_source is config.ArgsSource.ARGS
        or any(outcome.get("partial", True) for outcome in outcomes)
        or any(outcome["outcome"] not in ("replayed", "recorded", "adopted") for outcome in outcomes)
        or len(golden.outcomes) < count
    )
