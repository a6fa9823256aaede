"""Amazon Bedrock's Converse API, for every model that it offers, on boto3.

Inside: `_request` (our request to the vendor's arguments) · `_stream` (the vendor's events to our chunks) · `_errors`
(the vendor's names for failures) · `_connections` (hanging up on a blocking call) · `_reading` (a blocking answer, read
from an event loop) · `_client` (the official SDK's client) · `_provider` (the adapter).
"""

from starling.provider.bedrock._provider import Bedrock

__all__ = ["Bedrock"]
