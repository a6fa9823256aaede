"""What the original program wrote; see `testdata/interop/README.md`."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

from starling.event import Event, Kind

DATA = Path(__file__).parents[2] / "testdata" / "interop"
DATABASES = sorted((DATA / "db").glob("*.db"))


@cache
def originals():
    """Every run of the original, with its verdict."""
    files = (gzip.decompress(file.read_bytes()) for file in sorted(DATA.glob("runs_*.ndjson.gz")))
    return [json.loads(line) for text in files for line in text.splitlines()]


def events_of(run):
    """The events, made from their fields: of one run the original itself cannot decode an event."""
    return [
        Event(
            run_id=run["run_id"],
            seq=event["seq"],
            prev_hash=bytes.fromhex(event["prev_hash"]) if event["prev_hash"] else None,
            ts=event["ts"],
            kind=Kind(event["kind"]),
            payload=bytes.fromhex(event["payload"]),
        )
        for event in run["events"]
    ]
