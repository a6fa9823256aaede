"""From tokens to US dollars.

Strategy: one lookup over two tables, yours before the built-in one. A name that is in neither is tried again without
what vendors add to it: a host's prefix (``us.anthropic.``, ``openai/``) and a snapshot's suffix (``-2024-07-18``).
"""

from __future__ import annotations

import logging
import re
from collections import ChainMap
from typing import NamedTuple

from starling.budget._prices import BUILT_IN, Price
from starling.errors import AgentConfigError

__all__ = ["cost_usd", "is_priced", "register_pricing"]

_log = logging.getLogger("starling.budget")

_registered: dict[str, Price] = {}
_prices = ChainMap(_registered, BUILT_IN)
_warned: set[str] = set()

_REQUIRED = frozenset({"in_per_mtok", "out_per_mtok"})
_LARGEST_RATE = 1e100
"""Beyond it no price is meant, and products with counts of tokens might not be finite."""

# OpenRouter and Gemini put a path before the name; Bedrock a region and the vendor, and an ARN before those.
_PREFIX = re.compile(
    r"^(?:(?:models|openai|anthropic|google)/|"
    r"(?:arn:aws[a-z-]*:bedrock:[^/]*:(?:inference-profile|foundation-model)/)?"
    r"(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|in|global)\.)?(?:anthropic\.)?)"
)
# OpenAI dates snapshots -2024-07-18, once -0613, Anthropic -20250929 (on Vertex @20250929); Gemini numbers them -001,
# Bedrock appends -v1:0.
_SUFFIX = re.compile(r"(?:-\d{4}-\d{2}-\d{2}|[-@]\d{8}|-\d{3,4}|-latest)?(?:-v\d+(?::\d+)?)?$")
# OpenRouter's variants: these choose who answers, at the model's price (what :online searches is charged besides), ...
_ROUTING = re.compile(r":(?:online|nitro|floor|exacto)$")
# ... and this one is free. Others (:thinking, :extended, :batch) are sold at prices of their own.
_FREE_VARIANT = re.compile(r"[^/]+/.+:free$")
_FREE = Price(in_per_mtok=0.0, out_per_mtok=0.0)


def register_pricing(
    model: str,
    in_per_mtok: float,
    out_per_mtok: float,
    *,
    cache_read_per_mtok: float | None = None,
    cache_write_per_mtok: float | None = None,
    cached_in_input: bool = False,
) -> None:
    """Set or override the price of a model in this process.

    It also prices the snapshots of that model that have no price of their own, and lets a model that is still
    unknown be warned about again. Zero and negative rates are taken as they are (seed, "Bound your costs").

    Args:
        model: the name, as in ``Config.model``.
        in_per_mtok: USD per million input tokens.
        out_per_mtok: USD per million output tokens.
        cache_read_per_mtok: USD per million tokens read from the prompt cache; None does not charge them apart.
        cache_write_per_mtok: the same for tokens written to it.
        cached_in_input: whether the vendor counts cached tokens as input tokens as well (OpenAI and Gemini do,
            Anthropic and Bedrock do not); those with a rate of their own are then not charged twice.

    Raises:
        AgentConfigError: the model has no name, or a rate is not a finite number.
    """
    if not isinstance(model, str) or not model:
        raise AgentConfigError("register_pricing needs a model name; give the one in Config.model", field="model")
    rates = {
        "in_per_mtok": in_per_mtok,
        "out_per_mtok": out_per_mtok,
        "cache_read_per_mtok": cache_read_per_mtok,
        "cache_write_per_mtok": cache_write_per_mtok,
    }
    for field, rate in rates.items():
        if rate is not None or field in _REQUIRED:
            _check_rate(model, field, rate)
    _registered[model] = Price(
        in_per_mtok=in_per_mtok,
        out_per_mtok=out_per_mtok,
        cache_read_per_mtok=cache_read_per_mtok,
        cache_write_per_mtok=cache_write_per_mtok,
        cached_in_input=cached_in_input,
    )
    _warned.clear()


def _check_rate(model: str, field: str, rate: object) -> None:
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        problem = f"must be US dollars as an int or a float, got {rate!r} ({type(rate).__name__})"
    elif not abs(rate) <= _LARGEST_RATE:  # NaN, too
        problem = f"must be finite, and at most {_LARGEST_RATE}, got {rate!r}"
    else:
        return
    raise AgentConfigError(f"register_pricing({model!r}): {field} {problem}", field=field)


def is_priced(model: str) -> bool:
    """Whether `cost_usd` knows the model.

    ``Budget.max_usd`` has no effect on one that it does not know, unless its vendor states the cost.
    """
    return _price(model) is not None


def cost_usd(
    model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_create_tokens: int = 0,
) -> float:
    """What a model call costs, in US dollars.

    Tokens read from or written to a prompt cache are charged at the model's own rates for them. (The original program
    charges input and output alone.) Where the vendor counts them as input too, they are not charged twice.

    Args:
        model: the name of the model, with or without a snapshot's date.
        input_tokens: as the vendor counts them; so with the three others.
        output_tokens: tokens that the model produced.
        cache_read_tokens: tokens served from the prompt cache.
        cache_create_tokens: tokens written to it.

    Returns:
        The cost; 0.0 for a model without a price, of which the log ``starling.budget`` warns once.
    """
    price = _price(model)
    if price is None:
        _warn_once(model)
        return 0.0
    read = _Cached(cache_read_tokens, price.cache_read_per_mtok)
    written = _Cached(cache_create_tokens, price.cache_write_per_mtok)
    cached = read.charged + written.charged if price.cached_in_input or _is_routed(model) else 0
    # A gateway may say that more came from the cache than there was input; no vendor pays for that.
    counted_twice = min(cached, max(input_tokens, 0))
    # One division at the end: the order of operations decides the last bit, and replay compares the bits.
    return (
        (input_tokens - counted_twice) * price.in_per_mtok
        + output_tokens * price.out_per_mtok
        + read.cost
        + written.cost
    ) / 1e6


class _Cached(NamedTuple):
    """Tokens that a prompt cache gave or took, and their rate, if they have one."""

    tokens: int
    per_mtok: float | None

    @property
    def charged(self) -> int:
        return 0 if self.per_mtok is None else self.tokens

    @property
    def cost(self) -> float:
        return self.tokens * (self.per_mtok or 0.0)


def _is_routed(model: str) -> bool:
    """Whether a gateway answers in OpenAI's shape, whose counts are OpenAI's whatever the model's vendor."""
    return model.startswith(("openai/", "anthropic/", "google/"))


def _price(model: str) -> Price | None:
    plain = _ROUTING.sub("", model)
    known = _prices.get(model) or _prices.get(plain) or _prices.get(_family(plain))
    return known or (_FREE if _FREE_VARIANT.match(model) else None)


def _family(model: str) -> str:
    name = _SUFFIX.sub("", _PREFIX.sub("", model), count=1)
    # OpenRouter writes claude-opus-4.6.
    return name.replace(".", "-") if name.startswith("claude-") else name


def _warn_once(model: str) -> None:
    if model in _warned:
        return
    _warned.add(model)
    _log.warning(
        "no price entry for model %r: its cost counts as 0 and Budget.max_usd does not limit it; "
        "call starling.budget.register_pricing",
        model,
    )
