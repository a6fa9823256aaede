"""What a test's own code did past `starling.step` while it was recorded: a warning, or no recording.

The runtime finds it; here it is said, and where that is asked for (``golden_nondeterminism = error``, or warnings that
are errors) the recording is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_starling import StarlingWarning, _recording_failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem
    from pytest_starling._settings import Settings
    from starling.replay import UndeclaredCall, UndeclaredCalls

__all__ = ["as_cause", "judge", "watcher"]


def watcher(settings: Settings) -> UndeclaredCalls | None:
    """What looks at the runs of one recording; None where that is switched off."""
    if settings.nondeterminism == "off":
        return None
    from starling.replay import UndeclaredCalls

    return UndeclaredCalls([settings.root], foreign=[Path(__file__).parent])


def judge(golden: GoldenItem, calls: Sequence[UndeclaredCall]) -> Failure | None:
    """Warn of each call, or say why the recording is refused."""
    if golden.settings.nondeterminism == "error" and calls:
        return _recording_failures.undeclared(golden, _lines(golden, calls))
    try:
        for line in _lines(golden, calls):
            golden.item.warn(StarlingWarning(f"{golden.name.text}: {line}"))
    except StarlingWarning as warning:
        return replace(_recording_failures.undeclared(golden, _lines(golden, calls)), errors=(warning,))
    return None


def as_cause(golden: GoldenItem, failure: Failure | None, calls: Sequence[UndeclaredCall]) -> Failure | None:
    """Add what was found to a failure that it probably explains: a recording that does not replay."""
    if failure is None or not calls or failure.outcome != "unstable":
        return failure
    return replace(failure, details=(*failure.details, "", "While it was recorded:", *_lines(golden, calls)))


def _lines(golden: GoldenItem, calls: Sequence[UndeclaredCall]) -> list[str]:
    return [f"{_place(golden, call)}{call}" for call in calls]


def _place(golden: GoldenItem, call: UndeclaredCall) -> str:
    return f"{golden.settings.shown(Path(call.file))}:{call.line}: " if call.file else ""
