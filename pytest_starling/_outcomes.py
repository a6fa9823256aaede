"""What a golden run can come to: one table for the terminal's summary, the report and its schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OUTCOMES", "Outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A row of the table.

    Attributes:
        title: in words, behind a number: ``2 went live``.
        counted: the terminal's summary counts it; what just replayed, or is pytest's to tell, it leaves out.
        needs_a_look: the report lists it among what somebody has to see to.
        sentence: what is wrong, where the test's failure has no first line of ours.
    """

    title: str
    counted: bool = True
    needs_a_look: bool = True
    sentence: str = ""


OUTCOMES: Mapping[str, Outcome] = {
    "replayed": Outcome(title="replayed", counted=False, needs_a_look=False),
    "recorded": Outcome(title="recorded", counted=False, needs_a_look=False),
    "adopted": Outcome(title="taken over", counted=False, needs_a_look=False),
    "diverged": Outcome(title="diverged"),
    "missing": Outcome(title="missing"),
    "unusable": Outcome(title="unusable"),
    "live": Outcome(title="went live"),
    "unseen": Outcome(title="without a run"),
    "unfinished": Outcome(title="with a run that was not over"),
    "unstable": Outcome(title="not saved because the recording does not replay"),
    "undeclared": Outcome(title="not saved because of undeclared nondeterminism"),
    "secret": Outcome(title="not saved because of a secret"),
    "unsaved": Outcome(title="not saved"),
    "ignored": Outcome(title="recorded, but ignored by git"),
    "misused": Outcome(title="misused"),
    "discarded": Outcome(
        title="not recorded because the test failed", sentence="not recorded, because the test itself failed"
    ),
    "expected": Outcome(title="not recorded because the test is expected to fail (xfail)", needs_a_look=False),
    "failed": Outcome(title="failed", counted=False, sentence="the test itself failed; see pytest's own output"),
    "skipped": Outcome(title="skipped", counted=False, needs_a_look=False),
}
"""In the order in which they are counted. The first three are as it should be, the last two are pytest's own."""
