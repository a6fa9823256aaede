"""Why a golden test is not recorded, or its new recording is thrown away."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_starling._failure import IF_MEANT, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_starling._secrets import Hit
    from pytest_starling._session import GoldenItem
    from starling.errors import StarlingError

__all__ = [
    "after_redaction",
    "cassette",
    "contended",
    "cut_off",
    "does_not_replay",
    "fails_on_replay",
    "kept",
    "leads_astray",
    "not_saved",
    "secret",
    "undeclared",
    "unfinished",
    "unwritable",
]

_MOST_LINES = 60
_MOST_HITS = 20


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
            f"What was found is shown nowhere, and {'nothing was written' if by_id else kept(golden)}.",
            "Keep it out of the run (a side_effect need not return it, nor a tool), or have it rewritten at saving, in",
            "the configuration file or with the hook pytest_starling_redact(kind, payload):",
            "    golden_redact = <a regular expression that matches it> => [redacted]",
            *([_NAME_THEM] if by_id else []),
            "If it is no secret, say so in the configuration file:",
            f"    golden_secrets_allow = {' '.join(dict.fromkeys(hit.rule for hit in hits))}",
        ),
    ).raised()


_NAME_THEM = "A test's id is never rewritten: give its parameters ids, as in pytest.param(..., id=...)."


def not_saved(golden: GoldenItem, error: StarlingError) -> Failure:
    """The recording is sound, but the disk or the format refuses it."""
    message = error.message.replace(str(golden.path.parent), golden.settings.shown(golden.path.parent))
    return Failure(outcome="unsaved", headline=f"golden run not recorded: {message}", errors=(error,))


def leads_astray(golden: GoldenItem, owner: str) -> str:
    """What to say of a test that comes second to a file where only ``golden_run_dir`` knows the place."""
    return (
        f"golden_run_dir leads {golden.name.text} to {golden.shown_path}, which is the fixture of {owner}: one file, "
        "one test. Let golden_run_dir name another folder"
    )


def contended(golden: GoldenItem, owner: str) -> Failure:
    """Another test has put its recording into the file of this one meanwhile."""
    return Failure(
        outcome="unsaved",
        headline=f"golden run not recorded: {leads_astray(golden, owner)}",
        details=(f"If {owner} keeps its recording elsewhere by now, remove the file.",),
    ).raised()


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
        outcome="unstable",
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
    if failure.outcome != "unstable":
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
