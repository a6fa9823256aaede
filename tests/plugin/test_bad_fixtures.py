"""A fixture that holds no whole, untouched run: the test fails at once, says where and what to do, and calls nobody."""

from dataclasses import replace

import pytest

from starling.replay import read_fixture
from tests.damaged_runs import install_unchecked, relinked, with_fields, with_payload, with_terminal

DAMAGES = {
    "the tail is missing": (lambda events: events[:-1], "never ended"),
    "the middle is missing": (lambda events: [*events[:3], *events[4:]], "seq gap"),
    "the Merkle root lies": (lambda events: with_terminal(events, merkle_root=bytes(32)), "merkle_root"),
    "the totals lie": (lambda events: with_terminal(events, turn_count=9), "turn_count is 9, not 2"),
    "not CBOR": (lambda events: with_payload(events, 2, b"\xff"), "not canonical CBOR"),
    "not a run": (lambda events: relinked(events[1:]), "a run begins with RunStarted"),
    "a newer schema": (lambda events: with_fields(events, 1, schema_version=2), "upgrade pytest-starling"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES)
def test_it_is_refused_with_the_place_and_the_remedy(recorded, damage, says, monkeypatch):
    path = recorded.fixture()
    fixture = read_fixture(path)
    events = [replace(event, run_id="run") for event in fixture.runs[0].events]
    install_unchecked(path, damage(relinked(events)), monkeypatch, test_id=fixture.test_id)

    output = recorded.run("-vv", failed=1).stdout.str()

    assert "FAILED test_support.py::test_refund - golden fixture cannot be used: " in output
    assert says in output
    assert "pytest --record-golden" in output
    assert "diverged at" not in output
    assert "called live" not in output
