"""What can be wrong with a golden test → one value: a first line that stands alone, the rest, and an exception.

Divergences are put into words by `_explain`; this module has everything else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_starling._secrets import Hit
    from pytest_starling._session import GoldenItem
    from starling.errors import StarlingError
    from starling.replay import Divergence, Fixture, FixtureRun

__all__ = [
    "IF_MEANT",
    "RECORDABLE",
    "Failure",
    "after_redaction",
    "cassette",
    "does_not_replay",
    "fails_on_replay",
    "foreign",
    "from_errors",
    "kept",
    "missing",
    "not_saved",
    "secret",
    "undeclared",
    "unfinished",
    "unseen",
    "unusable",
    "unwritable",
    "with_blocks",
]

RECORDABLE = frozenset({"diverged", "missing", "unusable"})
"""Outcomes that a new recording mends."""
IF_MEANT = "If the change is meant, record it:"
_MOST_LINES = 60
_MOST_HITS = 20
_FETCH = "git lfs pull"
_GENERAL_ADVICE = re.compile(r"[:.] (restore it from [^.]*|record the test with [^.]*)\Z", re.IGNORECASE)
"""What the runtime says to do about a damaged file; the plugin says it with the command of the very test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a golden test fails.

    Attributes:
        outcome: one of the words that the summary counts, such as ``diverged``; see `_outcomes`.
        headline: the first line, all that short summaries and annotations show.
        details: the lines below it.
        errors: the exceptions that this is about, the first cause first.
    """

    outcome: str
    headline: str
    details: tuple[str, ...] = ()
    errors: tuple[BaseException, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The whole text."""
        return (self.headline, "", *self.details) if self.details else (self.headline,)

    @property
    def text(self) -> str:
        """The whole text, as one string."""
        return "\n".join(self.lines)

    @property
    def error(self) -> BaseException:
        """What to raise where nothing was raised."""
        if self.errors:
            return self.errors[0]
        from starling.errors import FixtureError

        return FixtureError(self.text)

    def raised(self) -> Failure:
        """The same, with an exception to raise made once, so that it is known again in the report."""
        return self if self.errors else replace(self, errors=(self.error,))


# --- the fixture ----------------------------------------------------------------------------------


def missing(golden: GoldenItem) -> Failure:
    """There is no recording."""
    moved = _recorded_elsewhere(golden)
    return Failure(
        outcome="missing",
        headline=f"golden run not recorded: {golden.shown_path} does not exist",
        details=(
            *(f"{path} was recorded for this test: move it there if the test or the folder moved" for path in moved),
            "Record it once, on a machine that can reach the provider, and commit the file:",
            f"    {golden.command}",
        ),
    ).raised()


def unusable(golden: GoldenItem, error: StarlingError) -> Failure:
    """There is a recording, but it cannot be read or believed."""
    message = error.message.replace(str(golden.path), golden.shown_path)
    if _FETCH in message:  # recording would put a fixture where git keeps a pointer
        first, _, advice = message.partition(": ")
        details: tuple[str, ...] = (f"{advice[:1].upper()}{advice[1:]}.",)
    else:
        first, _, rest = _GENERAL_ADVICE.sub("", message).partition(". ")
        details = (*((rest,) if rest else ()), *_record_anew(golden))
    return Failure(
        outcome="unusable", headline=f"golden fixture cannot be used: {first}", details=details, errors=(error,)
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
    """Fixtures that carry this test's node id in another place. Looked for only once one is missing."""
    from starling.errors import StarlingError
    from starling.replay import read_fixture

    found = []
    for path in sorted(golden.settings.folder.rglob("*.db")):
        try:
            if path != golden.path and read_fixture(path).test_id == golden.name.text:
                found.append(golden.settings.shown(path))
        except StarlingError:
            continue
    return found


def _record_anew(golden: GoldenItem) -> tuple[str, ...]:
    return ("Restore it from version control, or record it again:", f"    {golden.command}")


# --- the runs -------------------------------------------------------------------------------------


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
    from pytest_starling._explain import explain, headline
    from pytest_starling._values import FULL, SHORT

    runs: Sequence[FixtureRun] = fixture.runs if fixture else ()
    divergences = [one for error in errors for one in getattr(error, "divergences", ())]
    divergence = _without_secrets(golden, divergences[0])
    rejected = golden.source is not None  # a recording on trial is in no place that a person could look at
    lines = explain(
        divergence,
        runs,
        fixture="" if rejected else golden.shown_path,
        recorded_at=fixture.recorded_at if fixture else "",
        compare="" if golden.trial else _produced.keep(golden, runs, played, divergences),
        limits=FULL if golden.settings.diff == "full" else SHORT,
    )
    lines = [
        line.replace("pass force_provider=True", "set force_provider=True in the golden_run marker") for line in lines
    ]
    return headline(divergence, runs), (*lines, IF_MEANT, f"    {golden.command}")


def _without_secrets(golden: GoldenItem, divergence: Divergence) -> Divergence:
    """What differs, fit to be shown: a secret is found in whole values, not in what is left of them on a screen."""
    from pytest_starling._secrets import gate_of

    gate = gate_of(golden)
    changes = (
        replace(change, recorded=gate.scrubbed(change.recorded), produced=gate.scrubbed(change.produced))
        for change in divergence.changes
    )
    produced: Any = divergence.produced
    if produced is not None:
        content = {field.name: getattr(produced, field.name) for field in fields(produced)}
        produced = replace(produced, **{name: gate.scrubbed(value) for name, value in content.items()})
    return replace(divergence, reason=gate.scrubbed(divergence.reason), changes=tuple(changes), produced=produced)


def _went_wrong(error: Exception, *, live: bool) -> tuple[str, tuple[str, ...]]:
    mark = "; " if live else ": "
    first, _, rest = str(error).removeprefix("network blocked while replaying: ").partition(mark)
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


def with_blocks(failure: Failure, lines: Sequence[str]) -> Failure:
    """Add which connections were refused meanwhile: most likely the cause of what followed."""
    if not lines:
        return failure
    end = failure.details.index(IF_MEANT) if IF_MEANT in failure.details else len(failure.details)
    before, after = failure.details[:end], failure.details[end:]
    gap = [""] if before and before[-1] else []
    return replace(failure, details=(*before, *gap, *lines, "", *after) if after else (*before, *gap, *lines))


def unseen(*, recorded: int = 0) -> Failure:
    """The test made no run: nothing was compared, or there is nothing to save."""
    expected = f"The recording has {recorded} run{'' if recorded == 1 else 's'}; today's test made none."
    return Failure(
        outcome="unseen",
        headline="no run was seen: nothing in this golden test went through starling.Agent.run",
        details=(
            *([expected] if recorded else []),
            "A run is seen if it starts in this process while the test or its function-scoped fixtures are at work.",
            "If this test is meant to run no agent, take its golden_run marker away.",
        ),
    ).raised()


# --- recording ------------------------------------------------------------------------------------


def unfinished(count: int) -> Failure:
    """Runs were still going on when the test ended."""
    runs = "a run was" if count == 1 else f"{count} runs were"
    return Failure(
        outcome="unfinished",
        headline=f"golden run not recorded: {runs} not over when the test ended",
        details=("Await the run, or join its thread, before the test returns; only whole runs are kept.",),
    ).raised()


def cut_off(run_id: str) -> Failure:
    """A run's log failed, and the test did not resume the run."""
    return Failure(
        outcome="unfinished",
        headline=f"golden run not recorded: run {run_id} was cut off when its log failed, and not resumed",
        details=("Only whole runs are kept: mend the log in the test and go on with agent.resume(run_id).",),
    ).raised()


def undeclared(golden: GoldenItem, lines: Sequence[str]) -> Failure:
    """The test's code used clocks, randomness or IO past `starling.step`, and that is not to be recorded."""
    places = "place depends" if len(lines) == 1 else "places depend"
    return Failure(
        outcome="undeclared",
        headline=f"golden run not recorded: {len(lines)} {places} on something that is not recorded",
        details=(
            *lines,
            "",
            f"The recording was thrown away; {kept(golden)}.",
            "With golden_nondeterminism = warn, and StarlingWarning being no error, it is kept and this is a warning.",
        ),
    ).raised()


def secret(golden: GoldenItem, hits: Sequence[Hit]) -> Failure:
    """The recording holds what looks like a credential. What was found is shown nowhere."""
    first, *others = hits
    more = f" and in {len(others)} more {'place' if len(others) == 1 else 'places'}" if others else ""
    beside = len(hits) - _MOST_HITS
    by_id = any(not hit.run_id for hit in hits)
    return Failure(
        outcome="secret",
        headline=f"golden run not recorded: {first.what} is in {first.where}{more}",
        details=(
            *(f"    {hit.where}: {hit.what}" for hit in hits[:_MOST_HITS] if others),
            *([f"    and {beside} more"] if beside > 0 else []),
            f"Nothing was written{'' if by_id else f'; {kept(golden)}'}. What was found is not shown anywhere.",
            "Keep it out of the run (a side_effect need not return it, nor a tool), or have it rewritten at saving, in",
            "the configuration file or with the hook pytest_starling_redact(kind, payload):",
            "    golden_redact = <a regular expression that matches it> => [redacted]",
            *([_NAME_THEM] if by_id else []),
            "If it is no secret, say so:",
            f"    golden_secrets_allow = {' '.join(dict.fromkeys(hit.rule for hit in hits))}",
        ),
    ).raised()


_NAME_THEM = "A test's id is never rewritten: give its parameters ids, as in pytest.param(..., id=...)."


def not_saved(golden: GoldenItem, error: StarlingError) -> Failure:
    """The recording is sound, but the disk or the format refuses it."""
    message = error.message.replace(str(golden.path.parent), golden.settings.shown(golden.path.parent))
    return Failure(outcome="unsaved", headline=f"golden run not recorded: {message}", errors=(error,))


def cassette(golden: GoldenItem, error: Exception) -> Failure:
    """The cassette that is to answer for a provider cannot be used, or does not answer what is asked."""
    first, *lines = str(error).splitlines()
    return Failure(
        outcome="unsaved",
        headline=f"golden run not recorded: {first}",
        details=(
            *lines,
            *([""] if lines else []),
            f"No token was spent, and {kept(golden)}. To record with the provider itself:",
            f"    {golden.command} --golden-cassette=",
        ),
        errors=(error,),
    )


def unwritable(golden: GoldenItem) -> Failure | None:
    """There is no place for a recording. Found out before it is made, so that no tokens are spent on it."""
    folder, shown = golden.path.parent, golden.settings.shown
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if golden.path.is_dir():
        wrong, cure = f"{golden.shown_path} is a folder", "Move it away; the fixture is a file of that name."
    elif not nearest.is_dir():
        wrong = f"{_place(golden, nearest)} is a file where a folder is needed"
        cure = f"Move it away, or keep fixtures elsewhere (golden_dir); this one goes to {shown(folder)}."
    elif not os.access(nearest, os.W_OK | os.X_OK):
        wrong = f"the folder {_place(golden, nearest)} is not writable"
        cure = f"Make it writable, or keep fixtures elsewhere (golden_dir); this one goes to {shown(folder)}."
    else:
        return None
    return Failure(
        outcome="unsaved",
        headline=f"golden run not recorded: {wrong}",
        details=("Nothing was run, so no tokens were spent.", cure),
    ).raised()


def _place(golden: GoldenItem, path: Path) -> str:
    return str(path) if path == golden.settings.root else golden.settings.shown(path)


def does_not_replay(golden: GoldenItem, failure: Failure) -> Failure:
    """The new recording, replayed once, diverged; other failures stand as they are."""
    if failure.outcome != "diverged":
        return failure
    cut = failure.details.index(IF_MEANT) if IF_MEANT in failure.details else None
    return replace(
        failure,
        headline=f"the recording does not replay: {failure.headline}",
        details=(*_not_kept(golden), "", *failure.details[:cut]),
    )


def fails_on_replay(golden: GoldenItem, text: str) -> Failure:
    """The new recording, replayed once, did not diverge, but the test did not pass either."""
    lines = text.splitlines() or ["it was skipped"]
    return Failure(
        outcome="unstable",
        headline="the recording does not replay: the test passed while it was recorded, but not on replay",
        details=(*_not_kept(golden), "", *lines[:_MOST_LINES]),
    ).raised()


def after_redaction(failure: Failure) -> Failure:
    """A new recording that was redacted fails on replay: code may have seen the difference."""
    if failure.outcome not in {"diverged", "unstable"}:
        return failure
    return replace(failure, details=(*failure.details, "", *_REDACTED))


_REDACTED = (
    "The recording was redacted (golden_redact, pytest_starling_redact), so on replay code is given redacted values of",
    "models, tools and effects. Where it must not tell them from real ones (a schema's pattern, an assertion), put in",
    "what is like a real one.",
)


def kept(golden: GoldenItem) -> str:
    """What a recording that is thrown away leaves in the fixture's place."""
    return f"{golden.shown_path} is as it was" if golden.path.exists() else "no fixture was written"


def _not_kept(golden: GoldenItem) -> tuple[str, ...]:
    return (
        f"The new recording was replayed once and thrown away; {kept(golden)}.",
        "Something in the code under test changes from run to run: take clocks, random numbers and IO through",
        "starling.step (now, random, side_effect).",
    )
