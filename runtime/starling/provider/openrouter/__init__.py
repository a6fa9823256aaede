"""OpenRouter: many vendors' models behind OpenAI's wire, with some words of its own.

Inside: `_request` (our request to the arguments, on top of OpenAI's) · `_details` (reasoning blocks as this wire has
them) · `_stream` (the answer's events) · `_errors` (the gateway's reports) · `_provider` (the official OpenAI SDK, the
only part that does IO).
"""

from starling.provider.openrouter._provider import OpenRouter

__all__ = ["OpenRouter"]
