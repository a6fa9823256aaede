"""The public names of the event core, and that importing it stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

from starling import _ulid, event, merkle

EXPORTS = """
AssistantMessageCompleted BudgetExceeded BudgetLimits Chain ContextTruncated EffectError Event Kind Lifecycle Payload
PlannedToolUse RULES Raw ReasoningEmitted Rule RunCancelled RunCompleted RunFailed RunResumed RunStarted RunTotals
SCHEMA_VERSION SideEffectRecorded TERMINAL_KINDS Terminal ToolCallCompleted ToolCallFailed ToolCallScheduled
ToolDescription ToolSchema TurnFailed TurnStarted UserMessageAppended ValidRun decode_event decode_payload
describe_rules
encode_event encode_payload event_hash kind_name misstated params_hash registry_hash schema_hash text_hash to_json totals
validate
validate_prefix validate_recording
"""


def test_public_names():
    assert sorted(event.__all__) == sorted(EXPORTS.split())
    assert sorted(merkle.__all__) == ["event_hashes", "root"]
    assert all(hasattr(event, name) for name in event.__all__)


@pytest.mark.parametrize("module", ["pydantic", "sqlite3", "httpx", "asyncio", "ulid", "random"])
def test_the_event_core_imports_nothing_heavy_and_no_source_of_chance(module):
    code = f"import sys, starling.event, starling.merkle, starling._canonical_json; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ulids_are_26_characters_and_new_each_time():
    made = {_ulid.new() for _ in range(100)}
    assert len(made) == 100
    assert {len(one) for one in made} == {26}
    assert set("".join(made)) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
