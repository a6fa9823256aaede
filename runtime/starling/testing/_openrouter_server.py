"""A local server that speaks OpenRouter's chat completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.testing._openrouter_wire import OpenRouterWire
from starling.testing._wire_server import WireServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.testing._script import Script, Turn
    from starling.testing._wire import Reply

__all__ = ["OpenRouterServer"]


class OpenRouterServer(WireServer):
    """`WireServer` for OpenRouter's wire.

    Use::

        with OpenRouterServer(Script().text("hi").usage(9, 3, cost_usd=0.0001)) as server:
            provider = OpenRouter(base_url=server.base_url, api_key="")

    Args:
        script: what to answer, a turn a request.
    """

    def __init__(self, script: Script | Sequence[Turn | Reply]) -> None:
        super().__init__(script, OpenRouterWire())

    @property
    def base_url(self) -> str:
        """The endpoint, as a client's ``base_url``."""
        return f"{self.url}/api/v1"
