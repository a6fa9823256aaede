"""Reads `testdata/interop`: what the original program wrote (see its README)."""

from __future__ import annotations

import gzip
import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

from starling.event import Event, Kind

ROOT = Path(__file__).resolve().parents[2] / "testdata" / "interop"


def lines(name: str) -> list[dict[str, Any]]:
    """One vector a line; ``name`` without the folder, gzipped or not."""
    path = ROOT / name
    data = path.read_bytes() if path.exists() else gzip.decompress((ROOT / f"{name}.gz").read_bytes())
    return [json.loads(line) for line in data.splitlines()]


@cache
def runs() -> dict[str, dict[str, Any]]:
    """Every run by its scenario's name."""
    return {run["scenario"]: run for path in sorted(ROOT.glob("runs_*.gz")) for run in lines(path.stem)}


def event_of(recorded: dict[str, Any], run_id: str | None = None) -> Event:
    prev_hash, kind = recorded["prev_hash"], recorded["kind"]
    return Event(
        run_id=recorded["run_id"] if run_id is None else run_id,
        seq=recorded["seq"],
        prev_hash=None if prev_hash is None else bytes.fromhex(prev_hash),
        ts=recorded["ts"],
        kind=Kind(kind) if kind in set(Kind) else kind,
        payload=bytes.fromhex(recorded["payload"]),
    )


def events_of(run: dict[str, Any]) -> list[Event]:
    """The events of one of `runs`."""
    return [event_of(recorded, run["run_id"]) for recorded in run["events"]]


def plain(value: Any) -> Any:
    """The value that the ``$``-notation of `cbor_value_vectors` stands for."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((notation, data),) = value.items()
    match notation:
        case "$bytes":
            return bytes.fromhex(data)
        case "$int" | "$bigint":
            return int(data)
        case "$float64_bits":
            return struct.unpack(">d", bytes.fromhex(data))[0]
        case "$float32_bits":
            return struct.unpack(">f", bytes.fromhex(data))[0]
        case "$map":
            return {plain(key): plain(item) for key, item in data}
    raise ValueError(notation)
