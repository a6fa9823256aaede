"""What can be wrong with a golden test, as one value: a first line that stands alone, the rest, and an exception.

What it says about a replay stands in `_replay_failures`, about a recording in `_recording_failures`; here is what both
can come to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IF_MEANT", "RECORDABLE", "Failure", "unseen", "with_blocks"]

RECORDABLE = frozenset({"diverged", "missing", "unusable"})
"""Outcomes that a new recording mends."""
IF_MEANT = "If the change is meant, record it:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a golden test fails.

    Attributes:
        outcome: one of the words that the summary counts, such as ``diverged``; see `_outcomes`.
        headline: the first line, all that short summaries and annotations show.
        details: the lines below it.
        errors: the exceptions that this is about, the first cause first.
        unfetched: the fixture is elsewhere (a Git LFS pointer stands for it), and no new recording is wanted.
    """

    outcome: str
    headline: str
    details: tuple[str, ...] = ()
    errors: tuple[BaseException, ...] = ()
    unfetched: bool = False

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


def with_blocks(failure: Failure, lines: Sequence[str]) -> Failure:
    """Add which connections were refused meanwhile: most likely the cause of what followed."""
    if not lines:
        return failure
    end = failure.details.index(IF_MEANT) if IF_MEANT in failure.details else len(failure.details)
    before, after = failure.details[:end], failure.details[end:]
    gap = [""] if before and before[-1] else []
    return replace(failure, details=(*before, *gap, *lines, "", *after) if after else (*before, *gap, *lines))
