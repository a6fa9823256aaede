"""Where in a run the current code is executing: in the run itself, or inside one of its tool calls.

A frame travels in a context variable, so that `step.now()` needs no argument in async tools, sync tools (their thread
gets a copy of the context) and whatever they await.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from threading import Lock
from typing import TYPE_CHECKING, Any

from starling.errors import StepContextError

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable

    from starling.provider._prompt_hasher import PromptHasher
    from starling.step._raised import Raised
    from starling.step._run import Run

__all__ = ["Frame", "current", "current_frame", "enclosing", "enter_effect", "leave"]


class Frame:
    """One call that is being executed, or the run's own code (``call_id`` is then empty).

    Attributes:
        tool: the name of the tool that is called.
        node: what the journal knows of this call: on replay its recorded events, live what a crash left of it.
        closed: the call has its outcome; nothing may be recorded for it any more.
        failure: what ended the run inside this call (a divergence, a write error, a failed model call); every later
            step raises it again.
        finished: how many effects of a name have finished. answered: the highest request of a name that has an answer
            in the log. Both over all attempts of the call; the journal's lock guards them.
        asked: effects, by name and request, that have been asked for and have no answer yet.
        strand: the task in which the attempt's function runs.
        raised: on replay, what made the attempt fail today.
        prompts: what is known of the requests that its code made, once it has; used by whoever holds ``run.turn``.
        patches: the answers of `step.patched`, by mark: a call takes one way, over all its attempts.
    """

    __slots__ = (
        "_counts",
        "_lock",
        "answered",
        "asked",
        "call_id",
        "closed",
        "failure",
        "finished",
        "node",
        "parent",
        "patches",
        "prompts",
        "raised",
        "run",
        "strand",
        "tool",
    )

    def __init__(
        self, run: Run, *, call_id: str = "", tool: str = "", parent: Frame | None = None, node: Any = None
    ) -> None:
        self.run = run
        self.call_id = call_id
        self.tool = tool
        self.parent = parent
        self.node = node
        self.closed = False
        self.failure: Exception | None = None
        self.strand: Task[Any] | None = None
        self.raised: Raised | None = None
        self.prompts: PromptHasher | None = None
        self.finished: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        self.asked: dict[tuple[str, int], None] = {}
        self.patches: dict[str, bool] = {}
        self._counts: dict[str, int] = {}
        self._lock = Lock()

    @property
    def first_attempt(self) -> int:
        """The attempt that it begins with: a reissued call goes on where a crash cut it off."""
        return 1 if self.node is None else int(self.node.first_attempt)

    def renew(self) -> Frame:
        """A frame for a further attempt, which shuts out code that is left over from this one.

        Requests are counted on from what the log can answer: an attempt that was cut off is not run again on replay,
        and what it had merely asked for left no trace.
        """
        renewed = Frame(self.run, call_id=self.call_id, tool=self.tool, parent=self.parent, node=self.node)
        renewed.finished, renewed.answered, renewed._counts = self.finished, self.answered, dict(self.answered)
        renewed.patches = self.patches
        return renewed

    def answer(self, name: str, request: int) -> None:
        """Note that a request has its answer in the log."""
        self.answered[name] = max(request, self.answered.get(name, 0))
        self.asked.pop((name, request), None)

    def request(self, name: str) -> int:
        """Count one request of an effect of this name; the first is 1."""
        with self._lock:
            self._counts[name] = count = self._counts.get(name, 0) + 1
            self.asked[name, count] = None
        return count

    def way(self, name: str, decide: Callable[[], bool]) -> tuple[bool, bool]:
        """The answer for a patch's mark, decided once a call; the second value says whether that was just now."""
        with self._lock:
            known = name in self.patches
            if not known:
                self.patches[name] = decide()
            return self.patches[name], not known

    def check(self) -> None:
        """Refuse to go on in a call that has ended or failed."""
        if self.failure is not None:
            raise self.failure
        if self.closed:
            what = f"call {self.call_id!r} of run" if self.call_id else "the loop of run"
            raise StepContextError(
                f"{what} {self.run.run_id} has ended (timed out, cancelled or returned); nothing that it does "
                "afterwards can be recorded. Await what it starts before it returns",
                run_id=self.run.run_id,
            )


class _InEffect:
    """Marks code that runs inside a side effect: its value is recorded as a whole, steps in it are not."""

    __slots__ = ("frame", "name")

    def __init__(self, frame: Frame, name: str) -> None:
        self.frame = frame
        self.name = name


current: ContextVar[Frame | _InEffect | None] = ContextVar("starling_frame", default=None)


def current_frame(what: str) -> Frame | None:
    """The frame for a step function; None inside a side effect, where nothing is recorded separately.

    Raises:
        StepContextError: no run is active in this task or thread.
    """
    frame = current.get()
    if isinstance(frame, Frame):
        frame.check()
        return frame
    if frame is not None:
        return None
    raise StepContextError(
        f"step.{what} was called outside of a run. Call it from a tool or from code that a run executes; a thread of "
        "your own needs a copy of the context (contextvars.copy_context().run)"
    )


def enter_effect(frame: Frame, name: str) -> _InEffect:
    """The marker to put into `current` while an effect's callable runs."""
    return _InEffect(frame, name)


def leave(token: Token[Frame | _InEffect | None]) -> None:
    """Give `current` back what it held. A forgotten task is closed by the garbage collector, in no context of ours."""
    try:  # noqa: SIM105 - `suppress` takes longer than the rest of a call's bookkeeping of its frame
        current.reset(token)
    except ValueError:
        pass


def enclosing() -> tuple[Frame | None, str]:
    """The frame around the current code, and the effect it runs in (empty if none)."""
    here = current.get()
    return (here.frame, here.name) if isinstance(here, _InEffect) else (here, "")
