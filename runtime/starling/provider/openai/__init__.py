"""OpenAI's chat completions, and every server that speaks the same wire.

Inside: `_request` (our request to the vendor's arguments) · `_sse` and `_stream` (the vendor's bytes to our chunks) ·
`_errors` (the SDK's exceptions to ours) · `_provider` (the official SDK, the only part that does IO).
"""

from starling.provider.openai._provider import OpenAI

__all__ = ["OpenAI"]
