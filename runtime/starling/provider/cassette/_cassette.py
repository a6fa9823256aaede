"""Which recorded answer belongs to which request, and what stands in for an agent's provider while it is recorded.

Strategy: a request gets the first answer that was not given yet and was recorded for the same request, so runs that
overlap may ask in any order, and equal requests get their answers in theirs. Where none was, the request is refused
and compared with the next in the file: that is the one it was meant to be.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from starling.errors import CassetteError
from starling.provider._types import Capabilities
from starling.provider.cassette._answer import chunks_of
from starling.provider.cassette._conversation import asked_then, asked_today, difference
from starling.provider.cassette._file import read_interactions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from starling.provider._chunks import Chunk
    from starling.provider._protocol import Provider
    from starling.provider._types import ProviderInfo, Request
    from starling.provider.cassette._file import Interaction

__all__ = ["Cassette"]


class Cassette:
    """The model calls of one cassette, each of which answers once. Used from any thread.

    Args:
        path: a file that vcrpy has written, YAML or JSON.
        name: the file as errors name it; by default its path.
        refused: told of each request that the cassette does not answer, before the error is raised: code under test may
            swallow it.

    Raises:
        MissingExtraError: vcrpy is not installed.
        CassetteError: the file is not there, is no cassette, or holds no model call that can be used.
    """

    def __init__(
        self, path: Path, *, name: str = "", refused: Callable[[CassetteError], None] = lambda _: None
    ) -> None:
        self.name = name or str(path)
        self._refused = refused
        self._calls = read_interactions(path, self.name)
        self._left = [(one, asked_then(one.vendor, one.request)) for one in self._calls]
        self._lock = threading.Lock()

    @property
    def unused(self) -> tuple[int, ...]:
        """The numbers, from 1, of the interactions with a model that nothing has asked for."""
        return tuple(one.number for one, _ in self._left)

    @property
    def size(self) -> int:
        """How many model calls it holds."""
        return len(self._calls)

    def stand_in(self, own: Provider) -> Provider:
        """A provider that is ``own`` by name, and answers from this cassette."""
        return _StandIn(own, self)

    def answer(self, request: Request) -> Interaction:
        """The recorded answer to a request, which is then used up.

        Raises:
            CassetteError: there is none. The message shows the lines in which the next recorded request differs.
        """
        today = asked_today(request)
        with self._lock:
            for at, (interaction, then) in enumerate(self._left):
                if then == today:
                    del self._left[at]
                    return interaction
            error = self._differs(today) if self._left else self._exhausted()
        self._refused(error)
        raise error

    def _differs(self, today: str) -> CassetteError:
        interaction, then = self._left[0]
        lines = "\n".join(difference(then, today))
        return CassetteError(
            f"{self.name}, interaction {interaction.number}: what was asked then is not what is asked today\n{lines}\n"
            "(- in the cassette, + today)",
            path=self.name,
            interaction=interaction.number,
        )

    def _exhausted(self) -> CassetteError:
        calls = "its one model call is" if self.size == 1 else f"all of its {self.size} model calls are"
        return CassetteError(f"{self.name} has no further answer: {calls} used up", path=self.name)


class _StandIn:
    """Answers from a cassette under the name of a provider that is not called."""

    def __init__(self, own: Provider, cassette: Cassette) -> None:
        self._own = own
        self._cassette = cassette

    def info(self) -> ProviderInfo:
        return self._own.info()

    def capabilities(self) -> Capabilities:
        return Capabilities(tools=True, reasoning=True, request_id=True)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        for chunk in chunks_of(self._cassette.answer(request), provider=self._own.info().id):
            yield chunk
