"""The event core: kinds, payloads, canonical bytes, the hash chain, and what a valid run is. Pure; no IO, no clock.

Layout:
    _kinds      the closed set of kinds
    _payloads   one value class a kind: the payload schema
    _schema     the classes read as a table of fields and wire types
    _writer     payload encoders generated from that table
    _reader     payload readers, likewise
    _codec      payloads ↔ canonical CBOR
    _envelope   events ↔ canonical CBOR, hashes
    _chain      appending: seq, prev_hash, Merkle leaves
    _merkle     the root over envelope hashes
    _lifecycle  which sequences are legal: one table
    _shapes     payloads that are right because one of the same structure is
    _validate   the eight invariants of a finished run
    _totals     the fold over a run
    _json       the original's JSON projection
    _hashes     content hashes of a run's wiring
"""

from starling._cbor import Raw
from starling.event._chain import Chain
from starling.event._codec import decode_payload, encode_payload
from starling.event._envelope import Event, decode_event, encode_event, event_hash
from starling.event._hashes import params_hash, registry_hash, schema_hash, text_hash
from starling.event._json import to_json
from starling.event._kinds import SCHEMA_VERSION, Kind, kind_name
from starling.event._lifecycle import RULES, TERMINAL_KINDS, Lifecycle, Rule, describe_rules
from starling.event._payloads import (
    AssistantMessageCompleted,
    BudgetExceeded,
    BudgetLimits,
    ContextTruncated,
    EffectError,
    Payload,
    PlannedToolUse,
    ReasoningEmitted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    SideEffectRecorded,
    Terminal,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallScheduled,
    ToolDescription,
    ToolSchema,
    TurnFailed,
    TurnStarted,
    UserMessageAppended,
)
from starling.event._totals import RunTotals, misstated, totals
from starling.event._validate import ValidRun, validate, validate_prefix, validate_recording

__all__ = [
    "RULES",
    "SCHEMA_VERSION",
    "TERMINAL_KINDS",
    "AssistantMessageCompleted",
    "BudgetExceeded",
    "BudgetLimits",
    "Chain",
    "ContextTruncated",
    "EffectError",
    "Event",
    "Kind",
    "Lifecycle",
    "Payload",
    "PlannedToolUse",
    "Raw",
    "ReasoningEmitted",
    "Rule",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunResumed",
    "RunStarted",
    "RunTotals",
    "SideEffectRecorded",
    "Terminal",
    "ToolCallCompleted",
    "ToolCallFailed",
    "ToolCallScheduled",
    "ToolDescription",
    "ToolSchema",
    "TurnFailed",
    "TurnStarted",
    "UserMessageAppended",
    "ValidRun",
    "decode_event",
    "decode_payload",
    "describe_rules",
    "encode_event",
    "encode_payload",
    "event_hash",
    "kind_name",
    "misstated",
    "params_hash",
    "registry_hash",
    "schema_hash",
    "text_hash",
    "to_json",
    "totals",
    "validate",
    "validate_prefix",
    "validate_recording",
]
