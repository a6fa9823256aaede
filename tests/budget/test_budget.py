import dataclasses
import json
import math
from datetime import timedelta

import pytest

import starling.budget
from starling.budget import Budget
from starling.errors import AgentConfigError


def test_every_limit_is_off_by_default():
    assert dataclasses.astuple(Budget()) == (0, 0, 0.0, 0.0)
    assert Budget().wall_clock_ms == 0


def test_a_timedelta_and_its_seconds_are_the_same_budget():
    assert Budget(max_wall_clock=timedelta(minutes=2)) == Budget(max_wall_clock=120)
    assert hash(Budget(max_wall_clock=timedelta(minutes=2))) == hash(Budget(max_wall_clock=120.0))


@pytest.mark.parametrize(
    ("limit", "seconds", "milliseconds"),
    [
        (0, 0.0, 0),
        (1.5, 1.5, 1500),
        (0.57, 0.57, 570),
        (0.0001, 0.0001, 1),
        (timedelta(milliseconds=250), 0.25, 250),
    ],
)
def test_the_wall_clock_in_seconds_and_as_recorded(limit, seconds, milliseconds):
    budget = Budget(max_wall_clock=limit)
    assert (budget.wall_clock_s, budget.wall_clock_ms) == (seconds, milliseconds)


@pytest.mark.parametrize("field", ["max_input_tokens", "max_output_tokens", "max_usd", "max_wall_clock"])
@pytest.mark.parametrize("value", [-1, True, "1", None])
def test_a_limit_that_makes_no_sense_is_refused_by_name(field, value):
    with pytest.raises(AgentConfigError, match=f"Budget.{field} must") as caught:
        Budget(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_input_tokens", 1.0),
        ("max_usd", math.nan),
        ("max_usd", math.inf),
        ("max_usd", timedelta(1)),
        ("max_wall_clock", math.inf),
        ("max_wall_clock", timedelta(seconds=-1)),
    ],
)
def test_a_limit_of_the_wrong_kind_is_refused(field, value):
    with pytest.raises(AgentConfigError, match=f"Budget.{field} must"):
        Budget(**{field: value})


def test_a_budget_is_a_value():
    budget = Budget(max_usd=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        budget.max_usd = 2
    assert json.dumps(budget.max_usd) == "1.0"


def test_public_names():
    assert sorted(starling.budget.__all__) == ["Budget", "cost_usd", "is_priced", "register_pricing"]
