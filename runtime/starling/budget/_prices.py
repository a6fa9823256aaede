"""The built-in prices: list prices of 2026-02, standard tier, shortest context band, USD per million tokens.

A row stands for a model and its snapshots; a snapshot with a price of its own has its own row. Sources: the vendors'
price pages (openai.com/api/pricing, claude.com/pricing, ai.google.dev/gemini-api/docs/pricing,
aws.amazon.com/bedrock/pricing).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BUILT_IN", "Price"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Rates of one model in USD per million tokens. A cache rate of None: such tokens are not charged apart."""

    in_per_mtok: float
    out_per_mtok: float
    cache_read_per_mtok: float | None = None
    cache_write_per_mtok: float | None = None


_OPENAI = {
    "gpt-3.5-turbo": (0.5, 1.5),
    "gpt-3.5-turbo-1106": (1.0, 2.0),
    "gpt-4": (30.0, 60.0),
    "gpt-4-0125-preview": (10.0, 30.0),
    "gpt-4-1106-preview": (10.0, 30.0),
    "gpt-4-turbo": (10.0, 30.0),
    "gpt-4o": (2.5, 10.0),
    "gpt-4o-2024-05-13": (5.0, 15.0),
    "gpt-4o-mini": (0.15, 0.6),
    "gpt-4.1": (2.0, 8.0),
    "gpt-4.1-mini": (0.4, 1.6),
    "gpt-4.1-nano": (0.1, 0.4),
    "gpt-5": (1.25, 10.0),
    "gpt-5-chat": (1.25, 10.0),
    "gpt-5-codex": (1.25, 10.0),
    "gpt-5-mini": (0.25, 2.0),
    "gpt-5-nano": (0.05, 0.4),
    "gpt-5-pro": (15.0, 120.0),
    "gpt-5.1": (1.25, 10.0),
    "gpt-5.2": (1.75, 14.0),
    "o1": (15.0, 60.0),
    "o1-mini": (1.1, 4.4),
    "o1-pro": (150.0, 600.0),
    "o3": (2.0, 8.0),
    "o3-mini": (1.1, 4.4),
    "o3-pro": (20.0, 80.0),
    "o4-mini": (1.1, 4.4),
}

_ANTHROPIC = {
    "claude-3-haiku": (0.25, 1.25),
    "claude-3-opus": (15.0, 75.0),
    "claude-3-5-haiku": (0.8, 4.0),
    "claude-3-5-sonnet": (3.0, 15.0),
    "claude-3-7-sonnet": (3.0, 15.0),
    "claude-haiku-4-5": (1.0, 5.0),
    "claude-opus-4": (15.0, 75.0),
    "claude-opus-4-0": (15.0, 75.0),
    "claude-opus-4-1": (15.0, 75.0),
    "claude-opus-4-5": (5.0, 25.0),
    "claude-opus-4-6": (5.0, 25.0),
    "claude-sonnet-4": (3.0, 15.0),
    "claude-sonnet-4-0": (3.0, 15.0),
    "claude-sonnet-4-5": (3.0, 15.0),
    "claude-sonnet-4-6": (3.0, 15.0),
}

_GEMINI = {
    "gemini-1.5-flash": (0.075, 0.3),
    "gemini-1.5-flash-8b": (0.0375, 0.15),
    "gemini-1.5-pro": (1.25, 5.0),
    "gemini-2.0-flash": (0.1, 0.4),
    "gemini-2.0-flash-lite": (0.075, 0.3),
    "gemini-2.5-flash": (0.3, 2.5),
    "gemini-2.5-flash-lite": (0.1, 0.4),
    "gemini-2.5-pro": (1.25, 10.0),
    "gemini-3-pro-preview": (2.0, 12.0),
}

# Bedrock's ids of Anthropic models are read as Anthropic's own.
_BEDROCK = {
    "amazon.nova-micro": (0.035, 0.14),
    "amazon.nova-lite": (0.06, 0.24),
    "amazon.nova-pro": (0.8, 3.2),
    "amazon.nova-premier": (2.5, 12.5),
    "meta.llama3-1-8b-instruct": (0.22, 0.22),
    "meta.llama3-1-70b-instruct": (0.72, 0.72),
    "meta.llama3-3-70b-instruct": (0.72, 0.72),
}

BUILT_IN: dict[str, Price] = {
    model: Price(in_per_mtok=rates[0], out_per_mtok=rates[1])
    for vendor in (_OPENAI, _ANTHROPIC, _GEMINI, _BEDROCK)
    for model, rates in vendor.items()
}
