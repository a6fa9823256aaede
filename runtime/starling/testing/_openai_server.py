"""A local server that speaks OpenAI's chat completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.testing._openai_wire import OpenAIWire
from starling.testing._wire_server import WireServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.testing._script import Script, Turn
    from starling.testing._wire import Reply

__all__ = ["OpenAIServer"]


class OpenAIServer(WireServer):
    """`WireServer` for OpenAI's wire.

    Use::

        with OpenAIServer(Script().text("hi")) as server:
            provider = OpenAI(base_url=server.base_url, api_key="")

    Args:
        script: what to answer, a turn a request.
    """

    def __init__(self, script: Script | Sequence[Turn | Reply]) -> None:
        super().__init__(script, OpenAIWire())

    @property
    def base_url(self) -> str:
        """The endpoint, as a client's ``base_url``."""
        return f"{self.url}/v1"
