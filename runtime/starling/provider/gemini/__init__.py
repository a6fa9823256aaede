"""Google's Gemini API, on its native wire.

Inside: `_request` (our request to the SDK's arguments) · `_stream` (the vendor's events to our chunks) · `_marks`
(where in an answer a thought signature stood) · `_errors` (the vendor's error reports) · `_provider` and `_handover`
(the official SDK and its connections, the only part that does IO).
"""

from starling.provider.gemini._provider import Gemini

__all__ = ["Gemini"]
