"""The tests of one module, each with a golden fixture of its own."""

import os

import pytest
from with_starling import answer


@pytest.mark.golden_run
@pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
def test_orders(number):  # noqa: ARG001 - as many tests as it has values
    assert "orders" in answer()
