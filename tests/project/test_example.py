"""The example's golden tests hold both ways: the committed recordings replay, and recording again gives the same runs."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from starling.event import AssistantMessageCompleted, SideEffectRecorded, ToolCallScheduled, validate
from starling.fixture import read_fixture
from tests import forked

ROOT = Path(__file__).parents[2]
EXAMPLE = Path("examples/support_agent")
GOLDEN = Path("testdata/golden") / EXAMPLE
FIXTURES = sorted(path.relative_to(ROOT) for path in (ROOT / GOLDEN).rglob("*.db"))


def run(folder, *command):
    keyless = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "CI", "PYTEST_"))}
    return forked.run([sys.executable, *command], cwd=folder, env=keyless)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / EXAMPLE, tmp_path / EXAMPLE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_there_is_a_fixture_for_each_test_of_the_example():
    tests = (ROOT / EXAMPLE / "test_support.py").read_text().count("\ndef test_")
    assert len(FIXTURES) == tests == 3


def test_the_committed_recordings_replay(copy):
    shutil.copytree(ROOT / GOLDEN, copy / GOLDEN)
    done = run(copy, "-m", "pytest", "-p", "no:cacheprovider", str(EXAMPLE))
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_recording_again_through_the_sdk_gives_the_same_runs(copy):
    done = run(copy, str(EXAMPLE / "record.py"), "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    for path in FIXTURES:
        assert story(copy / path) == story(ROOT / path)


def test_the_recordings_cover_what_they_are_there_for():
    refund = story(ROOT / next(path for path in FIXTURES if path.stem.endswith("test_refund")))
    assert [step for step in refund if step[0] == "call"][:3] == [
        ("call", "lookup_order"),
        ("call", "lookup_customer"),
        ("call", "refund_policy"),
    ]
    assert {("effect", "now"), ("effect", "rand"), ("effect", "payments.refund")} <= set(refund)


def story(path):
    """What happened in a recording, without times, ids and the order in which parallel tools finished."""
    told = []
    for recorded in read_fixture(path).runs:
        validate(recorded.events)
        effects = []
        for event in recorded.events:
            match event.decode():
                case AssistantMessageCompleted(text=text, input_tokens=tokens, raw_response_hash=digest):
                    assert digest is not None
                    told += sorted(effects)
                    effects = []
                    told.append(("said", text, tokens))
                case ToolCallScheduled(tool=tool):
                    told.append(("call", tool))
                case SideEffectRecorded(name=name):
                    effects.append(("effect", name))
    return told
