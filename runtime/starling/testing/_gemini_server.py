"""A local server that speaks the Gemini API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.testing._gemini_wire import GeminiWire
from starling.testing._wire_server import WireServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.testing._script import Script, Turn
    from starling.testing._wire import Reply

__all__ = ["GeminiServer"]


class GeminiServer(WireServer):
    """`WireServer` for Gemini's wire.

    Use::

        with GeminiServer(Script().text("hi")) as server:
            provider = Gemini(base_url=server.base_url, api_key="none")

    Args:
        script: what to answer, a turn a request.
    """

    def __init__(self, script: Script | Sequence[Turn | Reply]) -> None:
        super().__init__(script, GeminiWire())

    @property
    def base_url(self) -> str:
        """The endpoint, as a client's ``base_url``."""
        return self.url
