"""What the terminal shows of a session's golden runs: one line after collection, a section at the end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_starling import _patches
from pytest_starling._failure import RECORDABLE
from pytest_starling._outcomes import OUTCOMES
from pytest_starling._settings import UNSETTLED

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_starling._state import Golden
    from pytest_starling._unused import Unused

__all__ = ["announce", "collection_line", "summarise"]

_VERBS = {
    "replay": "replaying from",
    "new": "recording what is missing in",
    "changed": "recording what is missing or diverges in",
    "tail": "recording what is missing, and what diverges from there on, in",
    "all": "recording all of them in",
}


_MOST_UNUSED = 20
"""Files that are named; an agent's tests may be renamed all at once."""


def announce(golden: Golden, terminal: TerminalReporter, count: int) -> None:
    """Write the one line after collection; on xdist's controller, which collects nothing, before the first outcome."""
    if terminal.verbosity >= 0:
        terminal.write_line(collection_line(golden, count))


def collection_line(golden: Golden, count: int) -> str:
    """How many tests are golden, and what is going to happen to them."""
    settings = golden.settings
    tests = f"{count} test{'' if count == 1 else 's'}"
    source = f", with answers from {settings.shown(Path(settings.cassette))}" if settings.uses_cassette else ""
    return f"golden: {tests}, {_VERBS[settings.mode]} {settings.shown(settings.folder)}{source}"


def summarise(golden: Golden, terminal: TerminalReporter) -> None:
    """The summary section: what was recorded, and how much diverged or is missing. Nothing if all just replayed."""
    lines = [*_changed_files(golden), *_in_need(golden)] or _nothing_recorded(golden)
    lines += [*_unused_files(golden), *golden.notes, *_patches.lines(golden, terminal.config)]
    if lines and terminal.verbosity >= -1:
        terminal.write_sep("=", "golden runs")
        for line in lines:
            terminal.write_line(line)


_FILES = {
    "recorded": "recorded  {fixture}{kept}{undeclared}",
    "adopted": "adopted   {fixture} (it replays under its new name; no provider was called)",
}


def _changed_files(golden: Golden) -> list[str]:
    lines = [
        text.format(fixture=outcome.get("starling.fixture", ""), kept=_kept(outcome), undeclared=_undeclared(outcome))
        for kind, text in _FILES.items()
        for outcome in golden.outcomes.values()
        if outcome["outcome"] == kind
    ]
    settled = golden.settings.settled or not lines
    return lines if settled else [*lines, f"These are below {golden.settings.root}. {UNSETTLED}"]


def _kept(outcome: dict[str, Any]) -> str:
    """How many of its turns cost nothing, because they are those of the recording before."""
    if "starling.turns_kept" not in outcome:
        return ""
    turns = outcome["starling.turns"]
    return f" (kept {outcome['starling.turns_kept']} of {turns} turn{'' if turns == 1 else 's'})"


def _undeclared(outcome: dict[str, Any]) -> str:
    """What to say beside a recording that may not hold."""
    count = outcome.get("starling.undeclared", 0)
    return (
        f" (undeclared nondeterminism in {count} place{'' if count == 1 else 's'}, see the warnings)" if count else ""
    )


def _in_need(golden: Golden) -> list[str]:
    counts = Counter(outcome["outcome"] for outcome in golden.outcomes.values())
    parts = [
        f"{counts[kind]} {outcome.title}" for kind, outcome in OUTCOMES.items() if outcome.counted and counts[kind]
    ]
    if not parts:
        return []
    if golden.settings.records:
        return [", ".join(parts)]
    pointers = sum(1 for outcome in golden.outcomes.values() if outcome.get("unfetched"))
    marked = Counter(
        told["outcome"] for told in golden.outcomes.values() if told.get("excuse") and not told.get("unfetched")
    )
    return [", ".join(parts) + _cure(counts - marked, pointers) + _unmarking(marked)]


def _cure(counts: Counter[str], pointers: int) -> str:
    """What to do, behind how much is wrong. Recording would put a fixture where git keeps a pointer."""
    fetching = "; fetch Git LFS pointers with: git lfs pull" if pointers else ""
    return fetching + _recording(counts, counts["missing"] + counts["unusable"] - pointers)


def _unmarking(marked: Counter[str]) -> str:
    """What to do about tests that are expected to fail, and are therefore not recorded."""
    if not any(marked[kind] for kind in RECORDABLE):
        return ""
    return "; what is marked as an expected failure is not recorded until the mark is taken off"


def _recording(counts: Counter[str], lost: int) -> str:
    if counts["diverged"]:
        what = (
            "record what is missing, and what diverged where that is meant," if lost else "where that is meant, record"
        )
    elif lost:
        what = "record"
    else:
        return ""
    return f"; {what} with: pytest --record-golden"


def _nothing_recorded(golden: Golden) -> list[str]:
    """What to say where recording was asked for and there was no need."""
    if not golden.settings.records or not any(one["outcome"] == "replayed" for one in golden.outcomes.values()):
        return []
    return ["nothing recorded: every recording still holds (pytest --golden-mode=all records anew)"]


def _unused_files(golden: Golden) -> list[str]:
    """The fixtures that no test owns, and what to do about them."""
    lines = [_unused_file(golden, one) for one in golden.unused[:_MOST_UNUSED]]
    more = len(golden.unused) - _MOST_UNUSED
    left = sum(1 for one in golden.unused if not one.deleted)
    action = golden.settings.unused
    return [
        *lines,
        *([f"          … {more} more"] if more > 0 else []),
        *([_UNUSED[action].format(count=left)] if left and action in _UNUSED else []),
        *([_RENAMED] if left and _is_missing_any(golden) else []),
    ]


_RENAMED = (
    "Was a test renamed or moved? Give its recording the new name (git mv), then pytest --record-golden takes it over "
    "without asking the provider"
)


def _is_missing_any(golden: Golden) -> bool:
    return any(outcome["outcome"] == "missing" for outcome in golden.outcomes.values())


_UNUSED = {
    "warn": "{count} unused; what nobody needs is deleted with: pytest --golden-unused=delete",
    "fail": "{count} unused, so the session fails (golden_unused = fail); delete with: pytest --golden-unused=delete",
}


def _unused_file(golden: Golden, unused: Unused) -> str:
    verb = "deleted" if unused.deleted else "unused"
    problem = f"; it could not be deleted: {unused.problem}" if unused.problem else ""
    return f"{verb:<9} {golden.settings.shown(Path(unused.path))} ({unused.why}{problem})"
