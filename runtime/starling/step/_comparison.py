"""What today's code produces beside what is recorded: equal, or a divergence, which is described and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.errors import NondeterminismError
from starling.event import TurnStarted, ValidRun, decode_payload, encode_payload
from starling.step._compare import carry_over, describe
from starling.step._consequences import fold_consequences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starling.ambient import ReplayOptions
    from starling.event import Event, Payload
    from starling.provider import Request
    from starling.step._divergence import Divergence, Explanation
    from starling.step._frame import Frame

__all__ = ["Comparison"]


class Comparison:
    """Compares payloads by index, and remembers what differed; who uses it holds a lock.

    Args:
        events: the recorded run. payloads: the same, decoded.
        explain: what stands behind the hash of the request recorded at an index, beside today's request.

    Attributes:
        request: what the next turn is about, for explanations.
        divergences: all that were found, in the order in which they were.
        failure: what stopped the run's own code.
        latches: whether code gets no further than where it diverged.
    """

    def __init__(
        self,
        events: Sequence[Event],
        payloads: Sequence[Payload],
        options: ReplayOptions,
        explain: Callable[[int, TurnStarted, Request], Explanation],
    ) -> None:
        self.options = options
        self.request: Request | None = None
        self.divergences: list[Divergence] = []
        self.failure: NondeterminismError | None = None
        self.latches = True
        self._events = events
        self._payloads = payloads
        self._exact = isinstance(events, ValidRun) and events.exact
        self._explain = explain

    def are_equal(self, index: int, produced: Payload) -> bool:
        """Whether today's payload is the recorded one, but for what the environment decided."""
        compared = produced
        if produced is not self._payloads[index] or self.options.redact is not None:
            compared = self._carried_over(index, produced)
        if self._exact and compared is self._payloads[index]:  # code went on with what is recorded
            return True
        return encode_payload(compared) == self._events[index].payload

    def shown(self, index: int, produced: Payload) -> Payload:
        """Today's payload as a reader is shown it: plain, with what the environment decided carried over."""
        return self._carried_over(index, _plain(produced))

    def _carried_over(self, index: int, produced: Payload) -> Payload:
        return carry_over(self._payloads[index], produced, self.options)

    def described(self, index: int, produced: Payload | None, frame: Frame | None = None) -> Divergence:
        """The divergence at an index; None for ``produced`` where the code stopped short of it."""
        recorded = self._payloads[index] if index < len(self._events) else None
        explained: Explanation | None = None
        if isinstance(recorded, TurnStarted) and isinstance(produced, TurnStarted) and self.request is not None:
            explained = self._explain(index, recorded, self.request)
        return describe(
            recorded,
            None if produced is None else _plain(produced),
            self.options,
            run_id=self._events[0].run_id,
            seq=index + 1,
            length=len(self._events),
            call_id=frame.call_id if frame else "",
            tool=frame.tool if frame else "",
            explained=explained,
            raised=frame.raised if frame else None,
        )

    def latched(self, divergence: Divergence, frame: Frame | None = None) -> NondeterminismError:
        """Keep a divergence behind which that frame, or the run, gets no further; return it as an error to raise."""
        self.divergences.append(divergence)
        error = NondeterminismError(divergence.text, divergences=(divergence,))
        if self.latches and frame is not None and frame.call_id:
            frame.failure = error
        elif self.latches:
            self.failure = error
        return error

    def found_at(self, index: int) -> Divergence | None:
        """What was found at an index before, if anything."""
        return next((divergence for divergence in self.divergences if divergence.seq == index + 1), None)

    def check(self) -> None:
        """Let the run's own code get no further than where it diverged."""
        if self.failure is not None:
            raise self.failure

    def collected(self) -> NondeterminismError | None:
        """Everything that diverged in one error, first cause first, if ``collect`` asked for that.

        In the order of the recording: in which order parallel calls came upon it, is chance.
        """
        if not self.options.collect or not self.divergences:
            return None
        found = fold_consequences(sorted(self.divergences, key=lambda divergence: divergence.seq))
        return NondeterminismError(found[0].text, divergences=found)


def _plain(payload: Payload) -> Payload:
    """A payload with plain values, as a recorded one has them."""
    return decode_payload(payload.KIND, encode_payload(payload))
