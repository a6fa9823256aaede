"""The built-in prices: list prices of 2026-11, standard tier, shortest context band, USD per million tokens; those of
global endpoints, where a host charges extra for a region.

A row stands for a model and its snapshots; a snapshot with a price of its own has its own row. Rows stand in groups
that charge a prompt cache alike: reading and writing cost a multiple of the input rate (writing for the vendor's
shortest time). Sources: the vendors' price pages and what is quoted of them (developers.openai.com/api/docs/pricing,
platform.claude.com/docs/en/about-claude/pricing, ai.google.dev/gemini-api/docs/pricing,
aws.amazon.com/bedrock/pricing).
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BUILT_IN", "PRICED_ON", "Price"]

PRICED_ON = "2026-11"
"""The month of this table, for whoever wants to know how old it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Rates of one model in USD per million tokens.

    Attributes:
        cache_read_per_mtok, cache_write_per_mtok: of tokens that a prompt cache gave or took; None: such tokens are not
            charged apart.
        cached_in_input: whether the vendor counts those tokens as input tokens as well.
    """

    in_per_mtok: float
    out_per_mtok: float
    cache_read_per_mtok: float | None = None
    cache_write_per_mtok: float | None = None
    cached_in_input: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Models whose prompt cache is charged alike.

    Attributes:
        read, write: multiples of the input rate; None: not charged apart.
        cached_in_input: as in `Price`.
        rates: input and output rate by model.
    """

    read: float | None
    write: float | None
    cached_in_input: bool
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)

    def price(self, in_per_mtok: float, out_per_mtok: float) -> Price:
        return Price(
            in_per_mtok=in_per_mtok,
            out_per_mtok=out_per_mtok,
            cache_read_per_mtok=_multiple(in_per_mtok, self.read),
            cache_write_per_mtok=_multiple(in_per_mtok, self.write),
            cached_in_input=self.cached_in_input,
        )


def _multiple(rate: float, multiple: float | None) -> float | None:
    # Rounded: a price is a decimal number, and 1.1 * 0.1 is none.
    return None if multiple is None else round(rate * multiple, 6)


_OPENAI = (
    _Group(
        read=None,
        write=None,
        cached_in_input=True,
        rates={
            "gpt-3.5-turbo": (0.5, 1.5),
            "gpt-3.5-turbo-1106": (1.0, 2.0),
            "gpt-4": (30.0, 60.0),
            "gpt-4-0125-preview": (10.0, 30.0),
            "gpt-4-1106-preview": (10.0, 30.0),
            "gpt-4-turbo": (10.0, 30.0),
            "gpt-4o-2024-05-13": (5.0, 15.0),
            "gpt-5-pro": (15.0, 120.0),
            "gpt-5.2-pro": (21.0, 168.0),
            "o1-pro": (150.0, 600.0),
            "o3-pro": (20.0, 80.0),
        },
    ),
    _Group(
        read=0.5,
        write=None,
        cached_in_input=True,
        rates={
            "gpt-4o": (2.5, 10.0),
            "gpt-4o-mini": (0.15, 0.6),
            "o1": (15.0, 60.0),
            "o1-mini": (1.1, 4.4),
            "o3-mini": (1.1, 4.4),
        },
    ),
    _Group(
        read=0.25,
        write=None,
        cached_in_input=True,
        rates={
            "gpt-4.1": (2.0, 8.0),
            "gpt-4.1-mini": (0.4, 1.6),
            "gpt-4.1-nano": (0.1, 0.4),
            "o3": (2.0, 8.0),
            "o4-mini": (1.1, 4.4),
        },
    ),
    _Group(
        read=0.1,
        write=None,
        cached_in_input=True,
        rates={
            "gpt-5": (1.25, 10.0),
            "gpt-5-chat": (1.25, 10.0),
            "gpt-5-codex": (1.25, 10.0),
            "gpt-5-mini": (0.25, 2.0),
            "gpt-5-nano": (0.05, 0.4),
            "gpt-5.1": (1.25, 10.0),
            "gpt-5.1-chat": (1.25, 10.0),
            "gpt-5.1-codex": (1.25, 10.0),
            "gpt-5.2": (1.75, 14.0),
            "gpt-5.2-chat": (1.75, 14.0),
            "gpt-5.2-codex": (1.75, 14.0),
            "gpt-5.3-chat": (1.75, 14.0),
            "gpt-5.3-codex": (1.75, 14.0),
            "gpt-5.4": (2.5, 15.0),
            "gpt-5.4-mini": (0.75, 4.5),
            "gpt-5.4-nano": (0.2, 1.25),
            "gpt-5.4-pro": (30.0, 180.0),
            "gpt-5.5": (5.0, 30.0),
            "gpt-5.5-pro": (30.0, 180.0),
        },
    ),
    _Group(
        read=0.1,
        write=1.25,
        cached_in_input=True,
        rates={
            "gpt-5.6": (4.0, 20.0),
            "gpt-5.6-luna": (0.2, 1.2),
            "gpt-5.6-sol": (4.0, 20.0),
            "gpt-5.6-terra": (2.0, 12.0),
            "gpt-6-astra": (10.0, 50.0),
            "gpt-6-luna": (0.1, 0.5),
            "gpt-6-sol": (2.0, 10.0),
        },
    ),
    _Group(
        read=0.05,
        write=1.25,
        cached_in_input=True,
        rates={
            "gpt-6.1-sol": (2.0, 10.0),
            "gpt-6.1-terra": (1.0, 5.0),
            "gpt-6.2-astra": (8.0, 40.0),
            "gpt-6.2-sol": (2.0, 10.0),
        },
    ),
)

_ANTHROPIC = (
    _Group(
        read=0.1,
        write=1.25,
        cached_in_input=False,
        rates={
            "claude-3-opus": (15.0, 75.0),
            "claude-3-5-haiku": (0.8, 4.0),
            "claude-3-5-sonnet": (3.0, 15.0),
            "claude-3-7-sonnet": (3.0, 15.0),
            "claude-fable-5": (10.0, 50.0),
            "claude-haiku-4-5": (1.0, 5.0),
            "claude-haiku-5-5": (0.1, 0.5),
            "claude-mythos-5": (10.0, 50.0),
            "claude-opus-4": (15.0, 75.0),
            "claude-opus-4-0": (15.0, 75.0),
            "claude-opus-4-1": (15.0, 75.0),
            "claude-opus-4-5": (5.0, 25.0),
            "claude-opus-4-6": (5.0, 25.0),
            "claude-opus-4-7": (5.0, 25.0),
            "claude-opus-4-8": (5.0, 25.0),
            "claude-opus-5": (5.0, 25.0),
            "claude-sonnet-4": (3.0, 15.0),
            "claude-sonnet-4-0": (3.0, 15.0),
            "claude-sonnet-4-5": (3.0, 15.0),
            "claude-sonnet-4-6": (3.0, 15.0),
            "claude-sonnet-5": (2.0, 10.0),
        },
    ),
    _Group(
        read=0.12,
        write=1.2,
        cached_in_input=False,
        rates={"claude-3-haiku": (0.25, 1.25)},
    ),
    _Group(
        read=0.05,
        write=1.25,
        cached_in_input=False,
        rates={"claude-opus-5-5": (4.0, 20.0), "claude-sonnet-5-5": (2.0, 10.0)},
    ),
    _Group(
        read=0.025,
        write=1.25,
        cached_in_input=False,
        rates={
            "claude-fable-5-1": (10.0, 50.0),
            "claude-fable-5-2": (8.0, 40.0),
            "claude-mythos-5-1": (10.0, 50.0),
        },
    ),
)

_GEMINI = (
    _Group(
        read=0.25,
        write=None,
        cached_in_input=True,
        rates={
            "gemini-1.5-flash": (0.075, 0.3),
            "gemini-1.5-flash-8b": (0.0375, 0.15),
            "gemini-1.5-pro": (1.25, 5.0),
            "gemini-2.0-flash": (0.1, 0.4),
            "gemini-2.0-flash-lite": (0.075, 0.3),
        },
    ),
    _Group(
        read=0.1,
        write=None,
        cached_in_input=True,
        rates={
            "gemini-2.5-flash": (0.3, 2.5),
            "gemini-2.5-flash-lite": (0.1, 0.4),
            "gemini-2.5-pro": (1.25, 10.0),
            "gemini-3-flash-preview": (0.5, 3.0),
            "gemini-3-pro-preview": (2.0, 12.0),
            "gemini-3.1-flash-lite": (0.25, 1.5),
            "gemini-3.1-pro-preview": (2.0, 12.0),
            "gemini-3.5-flash": (1.5, 9.0),
            "gemini-3.5-flash-lite": (0.3, 2.5),
            # Introductory until 2026-12-31, twice as much from then on.
            "gemini-3.6-flash": (0.75, 3.75),
            "gemini-3.7-flash": (0.75, 3.75),
            "gemini-3.8-flash": (0.75, 3.75),
        },
    ),
)

# Bedrock's ids of Anthropic models are read as Anthropic's own.
_BEDROCK = (
    _Group(
        read=0.25,
        write=1.0,
        cached_in_input=False,
        rates={
            "amazon.nova-2-lite": (0.3, 2.5),
            "amazon.nova-micro": (0.035, 0.14),
            "amazon.nova-lite": (0.06, 0.24),
            "amazon.nova-pro": (0.8, 3.2),
            "amazon.nova-premier": (2.5, 12.5),
        },
    ),
    _Group(
        read=None,
        write=None,
        cached_in_input=False,
        rates={
            "meta.llama3-1-8b-instruct": (0.22, 0.22),
            "meta.llama3-1-70b-instruct": (0.72, 0.72),
            "meta.llama3-3-70b-instruct": (0.72, 0.72),
        },
    ),
)

BUILT_IN: dict[str, Price] = {
    model: group.price(*rates)
    for group in (*_OPENAI, *_ANTHROPIC, *_GEMINI, *_BEDROCK)
    for model, rates in group.rates.items()
}
