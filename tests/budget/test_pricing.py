import json
import logging
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling.budget import _pricing, cost_usd, is_priced, register_pricing
from starling.budget._prices import BUILT_IN, PRICED_ON
from starling.errors import AgentConfigError

VECTORS = json.loads((Path(__file__).parents[2] / "testdata/interop/costs.json").read_text())


@pytest.fixture(autouse=True)
def _fresh_tables():
    _pricing._registered.clear()
    _pricing._warned.clear()
    yield
    _pricing._registered.clear()
    _pricing._warned.clear()


REGIONS = ("us", "us-gov", "eu", "apac", "au", "jp", "ca", "sa", "in", "global")
"""Of Bedrock's inference profiles."""


def usage(row):
    return {name: value for name, value in row.items() if name.endswith("_tokens")}


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"{row['run']}-{row['input_tokens']}-{row['output_tokens']}")
def test_costs_without_a_cache_are_the_original_programs_to_the_last_bit(row):
    charged = {name: count for name, count in usage(row).items() if not name.startswith("cache")}
    assert cost_usd(row["model"], **charged).hex() == row["cost_usd"].hex()


def test_what_the_original_does_not_charge_for_a_cache_is_charged():
    cached = [row for row in VECTORS if row["cache_read_tokens"] or row["cache_create_tokens"]]
    # claude-haiku-4-5: USD 0.10 to read, 1.25 to write, and neither is counted as input.
    added = [row["cache_read_tokens"] * 0.1e-6 + row["cache_create_tokens"] * 1.25e-6 for row in cached]
    ours = [cost_usd(row["model"], **usage(row)) - row["cost_usd"] for row in cached]
    assert ours == pytest.approx(added)
    assert {row["model"] for row in cached} == {"claude-haiku-4-5"}


@pytest.mark.parametrize(
    ("model", "cached", "cost"),
    [
        ("gpt-5", {"cache_read_tokens": 1_000_000}, 0.125),  # all of the input came from the cache
        ("gpt-5-pro", {"cache_read_tokens": 1_000_000}, 15.0),  # no discount: charged as input
        ("gpt-6-sol", {"cache_read_tokens": 400_000, "cache_create_tokens": 600_000}, 0.08 + 1.5),
        ("gemini-2.5-pro", {"cache_read_tokens": 1_000_000}, 0.125),
        ("claude-opus-4-6", {"cache_read_tokens": 1_000_000}, 5.0 + 0.5),
        ("claude-opus-4-6", {"cache_create_tokens": 1_000_000}, 5.0 + 6.25),
        ("claude-3-haiku-20240307", {"cache_read_tokens": 1_000_000}, 0.25 + 0.03),
        ("claude-3-haiku-20240307", {"cache_create_tokens": 1_000_000}, 0.25 + 0.3),
        ("us.anthropic.claude-opus-4-6-v1:0", {"cache_read_tokens": 1_000_000}, 5.0 + 0.5),
        ("anthropic/claude-opus-4.6", {"cache_read_tokens": 1_000_000}, 0.5),  # a gateway counts as OpenAI does
        ("openai/gpt-5", {"cache_read_tokens": 1_000_000}, 0.125),
        ("amazon.nova-pro-v1:0", {"cache_read_tokens": 1_000_000}, 0.8 + 0.2),
    ],
)
def test_a_cache_is_charged_as_its_vendor_counts(model, cached, cost):
    assert cost_usd(model, input_tokens=1_000_000, output_tokens=0, **cached) == pytest.approx(cost)


@pytest.mark.parametrize("model", BUILT_IN)
def test_reading_a_cache_never_costs_more_than_the_input(model):
    price = BUILT_IN[model]
    assert (price.cache_read_per_mtok or 0.0) < price.in_per_mtok
    assert price.cache_write_per_mtok is None or price.in_per_mtok <= price.cache_write_per_mtok < 2 * price.in_per_mtok


def test_the_table_is_dated_and_holds_the_vendors_current_models():
    assert PRICED_ON == "2026-11"
    current = ("gpt-6.2-sol", "gpt-6-luna", "claude-sonnet-5-5", "claude-haiku-5-5", "gemini-3.8-flash")
    assert all(is_priced(model) for model in current)


def test_a_registered_price_may_count_cached_tokens_as_input():
    register_pricing("cached", 2, 0, cache_read_per_mtok=0.5, cached_in_input=True)
    counts = {"cache_read_tokens": 600_000, "cache_create_tokens": 100_000}
    # What was written has no rate of its own, so it stays input.
    assert cost_usd("cached", input_tokens=1_000_000, output_tokens=0, **counts) == pytest.approx(0.8 + 0.3)


def test_the_vectors_cover_cache_tokens_unknown_models_and_negative_counts():
    assert any(row["cache_read_tokens"] and row["cache_create_tokens"] for row in VECTORS)
    assert any(not is_priced(row["model"]) for row in VECTORS)
    assert any(row["input_tokens"] < 0 for row in VECTORS)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4-0613", "gpt-4"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("eu.amazon.nova-lite-v1:0", "amazon.nova-lite"),
        ("arn:aws:bedrock:us-east-1:0:inference-profile/us.amazon.nova-lite-v1:0", "amazon.nova-lite"),
        (
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
            "claude-3-haiku",
        ),
        ("meta.llama3-3-70b-instruct-v1:0", "meta.llama3-3-70b-instruct"),
        ("gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("gpt-5.3-chat-latest", "gpt-5.3-chat"),
        *((f"{region}.amazon.nova-lite-v1:0", "amazon.nova-lite") for region in REGIONS),
        *((f"openai/gpt-4o-2024-08-06:{variant}", "gpt-4o") for variant in ("online", "nitro", "floor", "exacto")),
    ],
)
def test_a_snapshot_costs_what_its_family_costs(model, family):
    assert is_priced(model)
    assert cost_usd(model, input_tokens=7, output_tokens=11) == cost_usd(family, input_tokens=7, output_tokens=11)


def test_a_snapshot_with_a_price_of_its_own_keeps_it():
    assert cost_usd("gpt-4o-2024-05-13", input_tokens=1_000_000, output_tokens=0) == 5.0


@pytest.mark.parametrize("model", ["openai/gpt-4o:free", "meta-llama/llama-3.2-3b-instruct:free"])
def test_a_free_variant_is_free_and_nobody_is_warned(model, caplog):
    assert cost_usd(model, input_tokens=10**6, output_tokens=10**6) == 0.0
    assert is_priced(model)
    assert caplog.records == []


def test_a_price_registered_under_a_gateways_name_holds_for_its_variants():
    register_pricing("openai/gpt-4o", 1, 2)
    register_pricing("openai/gpt-4o:free", 3, 4)
    costs = [cost_usd(f"openai/gpt-4o{end}", input_tokens=10**6, output_tokens=0) for end in ("", ":nitro", ":free")]
    assert costs == [1.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("model", "cached"), [("gpt-5", {"cache_read_tokens": 100}), ("gpt-6-sol", {"cache_create_tokens": 100})]
)
def test_more_cached_tokens_than_input_do_not_make_a_call_cheaper_than_they_are(model, cached):
    """A gateway's miscount; the input that is left is none, and not less."""
    assert cost_usd(model, input_tokens=10, output_tokens=0, **cached) == cost_usd(
        model, input_tokens=100, output_tokens=0, **cached
    )


@pytest.mark.parametrize(
    "model",
    [
        *("", "gpt", "gpt-4o-mini-custom", "my/gpt-4o", "claude", "o1-", "latest"),
        *("openai/gpt-4o:thinking", "llama3:free", "xx.amazon.nova-lite-v1:0"),
    ],
)
def test_what_only_looks_like_a_known_model_has_no_price(model):
    assert not is_priced(model)


@pytest.mark.parametrize("model", BUILT_IN)
def test_every_built_in_price_is_reached_by_its_own_name(model):
    price = BUILT_IN[model]
    assert cost_usd(model, input_tokens=1_000_000, output_tokens=0) == price.in_per_mtok
    assert cost_usd(model, input_tokens=0, output_tokens=1_000_000) == price.out_per_mtok
    assert price.out_per_mtok >= price.in_per_mtok > 0


def test_an_unknown_model_is_free_and_warned_about_once(caplog):
    caplog.set_level(logging.WARNING, "starling.budget")
    for _ in range(3):
        assert cost_usd("in-house", input_tokens=10**9, output_tokens=10**9) == 0.0
    cost_usd("another", input_tokens=1, output_tokens=1)
    assert [record.args for record in caplog.records] == [("in-house",), ("another",)]


def test_registering_a_price_forgets_who_was_warned_about(caplog):
    cost_usd("in-house", input_tokens=1, output_tokens=1)
    register_pricing("other", 1, 1)
    cost_usd("in-house", input_tokens=1, output_tokens=1)
    assert len(caplog.records) == 2


def test_a_registered_price_wins_over_the_built_in_one_and_prices_its_snapshots():
    register_pricing("gpt-4o", 1, 2)
    register_pricing("in-house", 3, 4)
    assert cost_usd("gpt-4o", input_tokens=1_000_000, output_tokens=1_000_000) == 3.0
    assert cost_usd("gpt-4o-2024-08-06", input_tokens=1_000_000, output_tokens=0) == 1.0
    assert cost_usd("in-house-2030-01-01", input_tokens=0, output_tokens=1_000_000) == 4.0
    assert is_priced("in-house")


def test_cache_tokens_are_charged_at_registered_rates():
    register_pricing("cached", 0, 0, cache_read_per_mtok=0.5, cache_write_per_mtok=2)
    cost = cost_usd(
        "cached", input_tokens=9, output_tokens=9, cache_read_tokens=1_000_000, cache_create_tokens=2_000_000
    )
    assert cost == 4.5


def test_zero_and_negative_rates_multiply_through():
    register_pricing("refund", 0, -2)
    assert cost_usd("refund", input_tokens=5, output_tokens=500_000) == -1.0


@pytest.mark.parametrize("rates", [(math.nan, 1), (1, math.inf)])
def test_a_rate_that_is_not_finite_is_refused(rates):
    with pytest.raises(AgentConfigError, match="must be finite"):
        register_pricing("broken", *rates)
    assert not is_priced("broken")


@pytest.mark.parametrize(
    ("rates", "field", "problem"),
    [
        ((None, 2), "in_per_mtok", "None (NoneType)"),
        (("1", 2), "in_per_mtok", "'1' (str)"),
        ((1, True), "out_per_mtok", "True (bool)"),
        ((1, 10**400), "out_per_mtok", "must be finite"),
    ],
)
def test_a_rate_that_is_no_number_is_refused_at_once(rates, field, problem):
    with pytest.raises(AgentConfigError) as caught:
        register_pricing("broken", *rates)
    assert caught.value.field == field
    assert problem in str(caught.value)
    assert not is_priced("broken")


def test_a_cache_rate_is_looked_at_likewise():
    with pytest.raises(AgentConfigError, match=r"cache_read_per_mtok must be US dollars.*'free'"):
        register_pricing("broken", 1, 2, cache_read_per_mtok="free")


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_price_needs_a_name(name):
    with pytest.raises(AgentConfigError, match="needs a model name"):
        register_pricing(name, 1, 1)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_more_tokens_never_cost_less(some, more):
    low, high = sorted((some, more))
    assert cost_usd("gpt-4o", input_tokens=low, output_tokens=low) <= cost_usd(
        "gpt-4o", input_tokens=high, output_tokens=low
    )
