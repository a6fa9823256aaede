"""Recordings that nobody would write: forged events, and fixtures that hold them."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from starling.errors import LogCorruptError
from starling.event import Kind, encode_payload, event_hash
from starling.fixture import _format
from starling.merkle import root
from starling.replay import Fixture, FixtureRun, install_fixture, write_fixture


def relinked(events):
    """Hashes made to fit again, as by somebody who forges a log: only what it says is wrong."""
    forged, leaves = [], []
    for seq, event in enumerate(events, start=1):
        payload = event.payload
        if seq == len(events) and event.kind in {Kind.RunCompleted, Kind.RunFailed}:
            with contextlib.suppress(LogCorruptError):
                payload = encode_payload(replace(event.decode(), merkle_root=root(leaves)))
        forged.append(replace(event, seq=seq, prev_hash=leaves[-1] if leaves else None, payload=payload))
        leaves.append(event_hash(forged[-1]))
    return forged


def with_payload(events, seq, payload, kind=None):
    event = events[seq - 1]
    changed = replace(event, payload=payload, kind=event.kind if kind is None else kind)
    return relinked([*events[: seq - 1], changed, *events[seq:]])


def with_fields(events, seq, **fields):
    return with_payload(events, seq, encode_payload(replace(events[seq - 1].decode(), **fields)))


def with_terminal(events, **fields):
    """The terminal event is covered by nothing: it is changed as it is."""
    last = replace(events[-1], payload=encode_payload(replace(events[-1].decode(), **fields)))
    return [*events[:-1], last]


def install_unchecked(path, events, monkeypatch, test_id="t.py::test"):
    """Put a fixture in place that was written without a look at its run."""
    run = FixtureRun(run_id="run", events=tuple(events), began=1, ended=2)
    fixture = Fixture(test_id=test_id, recorded_at="2025-01-01T00:00:00+00:00", versions={}, runs=(run,))
    with monkeypatch.context() as patched:
        patched.setattr(_format, "validate_recording", lambda _: None)
        install_fixture(write_fixture(path, fixture), path)
    return path
