"""The tests of one module, each with a cassette of its own."""

import os

import pytest
from with_sdk import answer


@pytest.mark.vcr
@pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
def test_orders(number):  # noqa: ARG001 - as many tests as it has values
    assert "orders" in answer(stream=os.environ["STREAM"] == "yes")
