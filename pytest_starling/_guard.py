"""What stands in the runtime's slot while a golden test runs: a door in front of the session proper.

The session itself is only known once the test's fixtures say where the recording is kept, and fixtures that outlive
the test must not put their runs into it. Both are the door's business; everything else is the session's.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from starling.ambient import RunIntent
    from starling.replay import PatchUse, RecordingSession, ReplayingSession

__all__ = ["Guard"]


class _Found(list[Any]):
    """What went wrong, in the order in which it did.

    Args:
        on_found: given each, before whoever found it raises it.
    """

    def __init__(self, on_found: Callable[[Any], None]) -> None:
        super().__init__()
        self._on_found = on_found

    def append(self, error: Any) -> None:
        self._on_found(error)
        super().append(error)

    def extend(self, errors: Iterable[Any]) -> None:
        for error in errors:
            self.append(error)


class Guard:
    """Implements `starling.ambient.Session`.

    Args:
        replaying: whether no provider may be reached.
        on_begin: called whenever a run starts.
        on_found: given every failure before the code under test is.
    """

    def __init__(
        self,
        *,
        replaying: bool,
        on_begin: Callable[[], None] = lambda: None,
        on_found: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.replaying = replaying
        self._on_begin = on_begin
        self.session: RecordingSession | ReplayingSession | None = None
        self._outsider = ""
        self._unready: BaseException | None = None
        self._found = _Found(on_found)

    def open(self, session: RecordingSession | ReplayingSession) -> None:
        """Let runs through to a session from now on. What it finds stands in one list with what is refused here."""
        self.session = session
        if self.replaying:
            cast("ReplayingSession", session).failures = self._found

    def refuse(self, error: BaseException) -> None:
        """Answer every run that starts with ``error``: nothing can be recorded or replayed."""
        self._unready = error

    @contextmanager
    def closed_for(self, outsider: str) -> Iterator[None]:
        """Refuse runs while ``outsider``, something that outlives the test, is at work."""
        before, self._outsider = self._outsider, outsider
        try:
            yield
        finally:
            self._outsider = before

    def begin(self, intent: RunIntent) -> Any:
        """A run starts.

        Raises:
            StarlingError: it is started by something that outlives the test, or there is no session for it.
        """
        self._on_begin()
        if self._outsider:
            raise self._refusal(self._outsider)
        if self._unready is not None:
            self._found.append(self._unready)
            raise self._unready.with_traceback(None)
        if self.session is None:
            raise self._refusal("golden_run_dir or golden_run_config")
        return self.session.begin(intent)

    def refused(self, error: Exception) -> None:
        """Keep what fails the test even if it is swallowed: a provider or another machine was reached, or the like."""
        self._found.append(error)

    def patch_used(self, use: PatchUse) -> None:
        """A replayed run asked for a patch."""
        if self.session is not None:
            self.session.patch_used(use)

    @property
    def failures(self) -> list[Exception]:
        """Whatever went wrong, even if the code under test swallowed it: each once, the first cause first."""
        # A divergence of a run inside a tool call is passed on by the run around it, as the same object.
        return list({id(error): error for error in self._found}.values())

    def _refusal(self, who: str) -> Exception:
        from starling.errors import StarlingError

        error = StarlingError(
            f"a run was started by {who}, which outlives the test: a golden fixture holds the runs of one test. Start "
            "it in the test or in a fixture of function scope"
        )
        self._found.append(error)
        return error
