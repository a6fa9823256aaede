"""Anthropic's Messages API, and every gateway that speaks the same wire.

Inside: `_request` (our request to the vendor's arguments) · `_stream` (the vendor's events to our chunks) · `_errors`
(the vendor's names for failures) · `_provider` (the official SDK, the only part that does IO).
"""

from starling.provider.anthropic._provider import Anthropic

__all__ = ["Anthropic"]
