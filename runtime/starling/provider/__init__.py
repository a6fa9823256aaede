"""Talking to a model: what is asked, the pieces in which the answer comes, and how they become one response.

Inside: `_types` (request, messages, usage) · `_chunks` (one class a chunk kind) · `_protocol` (what an adapter must be)
· `_assemble` (chunks to a response, the state machine) · `_request_hash` (a request's hash and size) · `_prompt_hasher`
(those of one request after another) · `_errors` (how failures are classed) · `_transport` (which exceptions are the
network's) · the other modules, what our own adapters share. Each adapter is a package of its own, named for its vendor
and imported only by who uses it: `starling.provider.openai`, `.anthropic`, `.gemini`, `.bedrock`, `.openrouter`.
`starling.provider.cassette` gives vcrpy's recordings for a model's answers.
Importing this package brings in no SDK.

Write an adapter: `info()`, `stream(request)` that yields chunks, errors through `wrap_http_status`; call
`starling.ambient.refuse_live_call` before anything is sent.
"""

from starling.errors import (
    AuthError,
    InvalidStreamError,
    LiveCallError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from starling.provider._assemble import Assembler, PlannedCall, Response, assemble
from starling.provider._chunks import (
    Chunk,
    EndChunk,
    ReasoningChunk,
    RedactedThinkingChunk,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    UsageChunk,
)
from starling.provider._errors import classify_transport, provider_error_text, wrap_http_status
from starling.provider._protocol import Capable, Counting, Provider
from starling.provider._request_hash import estimate_input_tokens, prompt_hash, request_map
from starling.provider._types import (
    Capabilities,
    Message,
    ProviderInfo,
    Reasoning,
    Request,
    ToolDefinition,
    ToolResult,
    ToolUse,
    Usage,
)

__all__ = [
    "Assembler",
    "AuthError",
    "Capabilities",
    "Capable",
    "Chunk",
    "Counting",
    "EndChunk",
    "InvalidStreamError",
    "LiveCallError",
    "Message",
    "NetworkError",
    "PlannedCall",
    "Provider",
    "ProviderError",
    "ProviderInfo",
    "RateLimitError",
    "Reasoning",
    "ReasoningChunk",
    "RedactedThinkingChunk",
    "Request",
    "Response",
    "ServerError",
    "TextChunk",
    "ToolDefinition",
    "ToolResult",
    "ToolUse",
    "ToolUseDelta",
    "ToolUseEnd",
    "ToolUseStart",
    "Usage",
    "UsageChunk",
    "assemble",
    "classify_transport",
    "estimate_input_tokens",
    "prompt_hash",
    "provider_error_text",
    "request_map",
    "wrap_http_status",
]
