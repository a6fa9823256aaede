"""Golden tests of the support agent: recorded once, replayed in CI without a key and without network."""

import pytest
import support


@pytest.mark.golden_run
def test_refund():
    answer = support.handle("I was charged twice for order A-1007.")
    assert "49.90" in answer


@pytest.mark.golden_run
def test_late_refund_is_declined():
    answer = support.handle("Please refund order A-1011, I do not like it any more.")
    assert "180 days" in answer


@pytest.mark.golden_run
def test_unknown_order():
    answer = support.handle("Where is order B-0000?")
    assert "B-0000" in answer
