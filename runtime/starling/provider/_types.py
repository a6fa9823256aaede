"""What the agent loop says to a provider, and what a provider says of itself: plain values, no IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "Capabilities",
    "Message",
    "ProviderInfo",
    "Reasoning",
    "Request",
    "ToolDefinition",
    "ToolResult",
    "ToolUse",
    "Usage",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """A provider's identity, written into RunStarted. Keep it stable: replay compares it."""

    id: str
    api_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an adapter supports; the contract suite skips what is False.

    Attributes:
        reasoning_signatures: the vendor signs reasoning (`ReasoningChunk.signature`), and wants it back so.
        token_counts: the vendor counts tokens. Nearly all do, and without counts budgets limit nothing, so a vendor
            that does not has to be named.
        states_cost: the vendor says what a call cost (`Usage.cost_usd`), so that replay compares no prices of ours.
    """

    tools: bool = False
    tool_choice: bool = False
    reasoning: bool = False
    reasoning_signatures: bool = False
    stop_sequences: bool = False
    cache_control: bool = False
    request_id: bool = False
    token_counts: bool = True
    states_cost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of one model call so far (cumulative within the call).

    ``cost_usd`` is what the vendor says the call cost; None, as with most vendors, leaves that to the price table.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_create_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A tool call that the model planned.

    ``args`` is canonical JSON text. Text that is not JSON is kept as the model wrote it, so that the model can
    be shown its own mistake.
    """

    call_id: str
    name: str
    args: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """A tool's answer as the model is shown it."""

    call_id: str
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """A reasoning block of an earlier turn, given back to the provider verbatim."""

    content: str
    signature: bytes = b""
    redacted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of the conversation. ``role`` is ``user``, ``assistant`` or ``tool``."""

    role: str
    content: str = ""
    tool_uses: tuple[ToolUse, ...] | None = None
    tool_result: ToolResult | None = None
    annotations: dict[str, Any] | None = None
    reasoning: tuple[Reasoning, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A tool as the model is told of it. ``schema`` is JSON Schema text."""

    name: str
    description: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One model call. ``tool_choice`` is "", ``auto``, ``any``, ``none`` or a tool's name.

    ``params`` are the vendor's own parameters, passed through; None and absent are the same.
    """

    model: str
    messages: tuple[Message, ...] | None = None
    system_prompt: str = ""
    tools: tuple[ToolDefinition, ...] | None = None
    tool_choice: str = ""
    stop_sequences: tuple[str, ...] | None = None
    top_k: int | None = None
    max_output_tokens: int = 0
    params: Any = None
