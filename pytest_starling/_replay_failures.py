"""What can be wrong when a golden test is replayed: its fixture, or what a replay of it found.

Divergences are put into words by `starling.explain`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_starling._failure import IF_MEANT, Failure
from pytest_starling._recording_failures import cassette
from pytest_starling._settings import UNSETTLED
from pytest_starling._state import GOLDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_starling._session import GoldenItem
    from starling.errors import StarlingError
    from starling.replay import Divergence, Fixture, FixtureRun

__all__ = ["foreign", "from_errors", "missing", "unusable"]

_FETCH = "git lfs pull"
_GENERAL_ADVICE = re.compile(r"[:.] (restore it from [^.]*|record the test with [^.]*)\Z", re.IGNORECASE)
"""What the runtime says to do about a damaged file; the plugin says it with the command of the very test."""


# --- the fixture


def missing(golden: GoldenItem) -> Failure:
    """There is no recording."""
    moved = _recorded_elsewhere(golden)
    return Failure(
        outcome="missing",
        headline=f"golden run not recorded: {golden.shown_path} does not exist",
        details=(
            *(f"{path} was recorded for this test: move it there if the test or the folder moved" for path in moved),
            *_unsettled(golden),
            "Record it once, on a machine that can reach the provider, and commit the file:",
            f"    {golden.command}",
            *_excused(golden),
        ),
    ).raised()


def _unsettled(golden: GoldenItem) -> tuple[str, ...]:
    """Where fixtures are looked for, if that depends on where pytest is called."""
    return () if golden.settings.settled else (f"It is looked for below {golden.settings.root}. {UNSETTLED}",)


def _excused(golden: GoldenItem) -> tuple[str, ...]:
    """Why that command alone will not help."""
    mark = golden.excuse
    return (f"It is marked {mark}, and what fails is not recorded: take the mark off until it is.",) if mark else ()


def unusable(golden: GoldenItem, error: StarlingError) -> Failure:
    """There is a recording, but it cannot be read or believed."""
    message = error.message.replace(str(golden.path), golden.shown_path)
    unfetched = _FETCH in message
    if unfetched:  # recording would put a fixture where git keeps a pointer
        first, _, advice = message.partition(": ")
        details: tuple[str, ...] = (f"{advice[:1].upper()}{advice[1:]}.",)
    else:
        first, _, rest = _GENERAL_ADVICE.sub("", message).partition(". ")
        details = (*((rest,) if rest else ()), *_record_anew(golden))
    return Failure(
        outcome="unusable",
        headline=f"golden fixture cannot be used: {first}",
        details=details,
        errors=(error,),
        unfetched=unfetched,
    )


def foreign(golden: GoldenItem, fixture: Fixture) -> Failure:
    """The file at this test's place was recorded for another test."""
    return Failure(
        outcome="unusable",
        headline=f"golden fixture cannot be used: {golden.shown_path} was recorded for another test",
        details=(
            f"It was recorded for  {fixture.test_id}",
            f"and this is          {golden.name.text}",
            "If the test was renamed or moved together with its fixture, this takes the fixture over without calling a",
            "provider, as long as it still replays; otherwise it records a new one:",
            f"    {golden.command}",
        ),
    ).raised()


def _recorded_elsewhere(golden: GoldenItem) -> list[str]:
    """Fixtures that carry this test's node id in another place."""
    state = golden.item.config.stash[GOLDEN]
    if state.recorded is None:
        state.recorded = _by_test(golden.settings.folder)
    paths = state.recorded.get(golden.name.text, ())
    return [golden.settings.shown(path) for path in paths if path != golden.path and path.exists()]


def _by_test(folder: Path) -> dict[str, list[Path]]:
    """The fixtures in a folder by the node id that they carry. Read once a session, when the first one is missing."""
    from starling.errors import StarlingError
    from starling.replay import read_fixture

    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.db")):
        with suppress(StarlingError):
            found.setdefault(read_fixture(path).test_id, []).append(path)
    return found


def _record_anew(golden: GoldenItem) -> tuple[str, ...]:
    return ("Restore it from version control, or record it again:", f"    {golden.command}", *_excused(golden))


# --- the runs


def from_errors(
    golden: GoldenItem, errors: Sequence[Exception], fixture: Fixture | None, played: Sequence[FixtureRun] = ()
) -> Failure:
    """What a session found: divergences, live calls, runs of fixtures that outlive the test.

    Args:
        played: the recorded runs that were asked for.
    """
    from starling.errors import (
        CassetteError,
        LiveCallError,
        NetworkBlockedError,
        NondeterminismError,
        RedactionError,
    )

    first = errors[0]
    if isinstance(first, CassetteError):
        return cassette(golden, first)
    diverged = any(isinstance(error, NondeterminismError) for error in errors) and not isinstance(first, RedactionError)
    outcome = "diverged" if diverged else "misused"
    if isinstance(first, NondeterminismError):
        headline, details = _diverged(golden, errors, fixture, played)
    else:
        live = isinstance(first, LiveCallError | NetworkBlockedError)
        headline, details = _went_wrong(first, live=live)
        outcome = "live" if live and outcome != "diverged" else outcome
    return Failure(
        outcome=outcome,
        headline=headline,
        details=(*details, *_folded(errors)),
        errors=tuple(errors),
    )


def _diverged(
    golden: GoldenItem, errors: Sequence[Any], fixture: Fixture | None, played: Sequence[FixtureRun]
) -> tuple[str, tuple[str, ...]]:
    from pytest_starling import _produced
    from starling.explain import FULL, SHORT, explain, headline

    runs: Sequence[FixtureRun] = fixture.runs if fixture else ()
    divergences = [one for error in errors for one in getattr(error, "divergences", ())]
    divergence = _fit_to_be_shown(golden, divergences[0])
    full = golden.settings.diff == "full"
    rejected = golden.plan.source is not None  # a recording on trial is in no place that a person could look at
    lines = explain(
        divergence,
        runs,
        fixture="" if rejected else golden.shown_path,
        recorded_at=fixture.recorded_at if fixture else "",
        compare="" if golden.plan.trial else _produced.keep(golden, runs, played, divergences),
        more="" if full else "--golden-diff=full or -vv",
        limits=FULL if full else SHORT,
    )
    lines = [
        line.replace("pass force_provider=True", "set force_provider=True in the golden_run marker") for line in lines
    ]
    return headline(divergence, runs), (*lines, IF_MEANT, f"    {golden.command}", *_excused(golden))


def _fit_to_be_shown(golden: GoldenItem, divergence: Divergence) -> Divergence:
    """What differs, with files as people are shown them, without secrets, and without what is told elsewhere.

    A secret is found in whole values, not in what is left of them on a screen.
    """
    from pytest_starling._secrets import gate_of

    gate, network = gate_of(golden), golden.attempt.network if golden.attempt else None

    def told(value: Any) -> Any:
        return gate.scrubbed(network.shortened(value) if network and isinstance(value, str) else value)

    changes = (
        replace(change, recorded=told(change.recorded), produced=told(change.produced)) for change in divergence.changes
    )
    produced: Any = divergence.produced
    if produced is not None:
        content = {field.name: getattr(produced, field.name) for field in fields(produced)}
        produced = replace(produced, **{name: told(value) for name, value in content.items()})
    raised = divergence.raised
    if raised is not None:
        file = golden.settings.shown(Path(raised.file)) if raised.file else ""
        raised = replace(raised, file=file, text=told(raised.text))
    return replace(
        divergence,
        reason=told(divergence.reason),
        changes=tuple(changes),
        produced=produced,
        raised=raised,
    )


_BLOCKED = re.compile(r"\Anetwork blocked while [^:]*: ")


def _went_wrong(error: Exception, *, live: bool) -> tuple[str, tuple[str, ...]]:
    mark = "; " if live else ": "
    first, _, rest = _BLOCKED.sub("", str(error)).partition(mark)
    lines = tuple(rest[:1].upper() + rest[1:] for rest in rest.splitlines())
    return f"golden run {'went live' if live else 'misused'}: {first}", lines


_CONSEQUENCES = "The same change shows in {} more place{}, and is not shown again."


def _folded(errors: Sequence[Exception]) -> tuple[str, ...]:
    """What followed the first cause, in one line: the same change seen again, and what may have causes of its own."""
    from starling.replay import fold_consequences

    divergences = fold_consequences(one for error in errors for one in getattr(error, "divergences", ()))
    others = [error for error in errors if not getattr(error, "divergences", ())]
    consequences = sum(1 for divergence in divergences if divergence.cause_seq)
    count = len(divergences) + len(others) - consequences - 1
    parts = [
        *([_CONSEQUENCES.format(consequences, "" if consequences == 1 else "s")] if consequences else []),
        *(
            [f"{count} more {'failure' if count == 1 else 'failures'} followed; mend the first cause first."]
            * (count > 0)
        ),
    ]
    return ("", *parts) if parts else ()
