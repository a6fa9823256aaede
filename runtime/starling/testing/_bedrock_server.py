"""A local server that speaks Bedrock's ConverseStream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.testing._bedrock_wire import BedrockWire
from starling.testing._wire_server import WireServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.testing._script import Script, Turn
    from starling.testing._wire import Reply

__all__ = ["BedrockServer"]


class BedrockServer(WireServer):
    """`WireServer` for Bedrock's wire. It looks at no signature.

    Use::

        session = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")
        with BedrockServer(Script().text("hi")) as server:
            provider = Bedrock(base_endpoint=server.base_url, session=session)

    Args:
        script: what to answer, a turn a request.
    """

    def __init__(self, script: Script | Sequence[Turn | Reply]) -> None:
        super().__init__(script, BedrockWire())

    @property
    def base_url(self) -> str:
        """The endpoint, as an adapter's ``base_endpoint``."""
        return self.url
