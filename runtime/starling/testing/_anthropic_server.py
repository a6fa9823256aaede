"""A local server that speaks Anthropic's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.testing._anthropic_wire import AnthropicWire
from starling.testing._wire_server import WireServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.testing._script import Script, Turn
    from starling.testing._wire import Reply

__all__ = ["AnthropicServer"]


class AnthropicServer(WireServer):
    """`WireServer` for Anthropic's wire.

    Use::

        with AnthropicServer(Script().text("hi")) as server:
            provider = Anthropic(base_url=server.base_url, api_key="")

    Args:
        script: what to answer, a turn a request.
    """

    def __init__(self, script: Script | Sequence[Turn | Reply]) -> None:
        super().__init__(script, AnthropicWire())

    @property
    def base_url(self) -> str:
        """The endpoint, as a client's ``base_url``."""
        return self.url
