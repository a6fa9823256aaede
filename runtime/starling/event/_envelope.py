"""The envelope around a payload: its place in the chain. Its bytes are what hashes are taken over."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from starling import _cbor
from starling._blake3 import DIGEST_SIZE, digest
from starling.errors import LogCorruptError, UnencodableValueError
from starling.event._codec import decode_payload
from starling.event._kinds import Kind

if TYPE_CHECKING:
    from starling.event._payloads import Payload

__all__ = ["Event", "Linker", "decode_event", "encode_event", "event_hash", "keep_hash", "new_event"]


class _Hashed:
    """Room for the hash of an event, which is no part of its value: it follows from that."""

    __slots__ = ("_hash",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(_Hashed):
    """One link of a run's chain.

    Attributes:
        run_id: the run; the same in all its events.
        seq: place in the run, from 1.
        prev_hash: `event_hash` of the event before; None for the first.
        ts: Unix nanoseconds.
        kind: what it records; a plain int where the number is no `Kind` of this version.
        payload: canonical CBOR, kept as it was read.
    """

    run_id: str
    seq: int
    prev_hash: bytes | None
    ts: int
    kind: Kind | int
    payload: bytes

    def decode(self) -> Payload:
        """Return the payload as a value. Raises `LogCorruptError`, naming this event, where `decode_payload` does."""
        try:
            return decode_payload(self.kind, self.payload)
        except LogCorruptError as exc:
            raise LogCorruptError(
                f"run {self.run_id}, seq {self.seq}: {exc}", run_id=self.run_id, seq=self.seq, field=exc.field
            ) from exc


# Bytewise order of the encoded keys: ts, seq, kind, run_id, payload, prev_hash.
_TS = _cbor.map_head(6) + _cbor.text_item("ts")
_SEQ, _KIND, _RUN_ID, _PAYLOAD, _PREV_HASH = map(_cbor.text_item, ("seq", "kind", "run_id", "payload", "prev_hash"))
_FIELDS: dict[str, tuple[type, ...]] = {
    "run_id": (str,),
    "seq": (int,),
    "prev_hash": (bytes, type(None)),
    "ts": (int,),
    "kind": (int,),
}


def encode_event(event: Event) -> bytes:
    """Return the canonical CBOR of the envelope, the payload inline.

    Raises:
        UnencodableValueError: larger than 64 MiB.
    """
    prev_hash = event.prev_hash
    data = b"".join(
        (
            _TS,
            _cbor.int_item(event.ts),
            _SEQ,
            _cbor.int_item(event.seq),
            _KIND,
            _cbor.int_item(event.kind),
            _RUN_ID,
            _cbor.text_item(event.run_id),
            _PAYLOAD,
            event.payload,
            _PREV_HASH,
            _cbor.NULL if prev_hash is None else _cbor.bytes_item(prev_hash),
        )
    )
    if len(data) > _cbor.MAX_BYTES:
        raise _too_large(event.run_id, event.seq, len(data))
    return data


def _too_large(run_id: str, seq: int, size: int) -> UnencodableValueError:
    return UnencodableValueError(
        f"run {run_id}, seq {seq}: an event of {size} bytes is larger than may be written ({_cbor.MAX_BYTES} bytes)"
    )


class Linker:
    """Makes the events of one run, with their hashes: `Event` and `event_hash` in one go, for what is emitted.

    What is the same in all envelopes of a run is encoded once, and there is one hasher, because to make one takes as
    long as to hash. Not thread-safe.
    """

    __slots__ = ("_middles", "_run_id", "begin_hash", "end_hash", "feed_hash")

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        behind_kind = _RUN_ID + _cbor.text_item(run_id) + _PAYLOAD
        self._middles = [_KIND + _cbor.int_item(kind) + behind_kind for kind in range(max(Kind) + 1)]
        hasher = blake3()
        self.begin_hash, self.feed_hash, self.end_hash = hasher.reset, hasher.update, hasher.digest

    def link(self, seq: int, prev_hash: bytes | None, ts: int, kind: Kind, payload: bytes) -> tuple[Event, bytes]:
        """Return an event and its hash. Raises `UnencodableValueError` as `encode_event` does."""
        event = new_event(self._run_id, seq, prev_hash, ts, kind, payload)
        self.begin_hash()
        self.feed_hash(self.envelope(seq, prev_hash, ts, kind, payload))
        found = self.end_hash()
        keep_hash(event, found)
        return event, found

    def envelope(self, seq: int, prev_hash: bytes | None, ts: int, kind: int, payload: bytes) -> bytes:
        """What `encode_event` gives for such an event; ``prev_hash`` is a digest. Raises as that does."""
        at = _ts_u64(_TS, 0x1B, ts, _SEQ) if _U32_END <= ts < _U64_END else _TS + _int_item(ts) + _SEQ
        number = _SMALL_INTS[seq] if seq < 256 else _u16(0x19, seq) if seq < _U16_END else _int_item(seq)
        if prev_hash is None:
            data = b"".join((at, number, self._middles[kind], payload, _NO_LINK))
        else:
            data = b"".join((at, number, self._middles[kind], payload, _LINK, prev_hash))
        if len(data) > _MAX_BYTES:
            raise _too_large(self._run_id, seq, len(data))
        return data


# A frozen dataclass looks its own fields up by name as it is made; their slots know the way.
_new = object.__new__
_set_run_id, _set_seq, _set_prev_hash, _set_ts, _set_kind, _set_payload = (
    vars(Event)[name].__set__ for name in ("run_id", "seq", "prev_hash", "ts", "kind", "payload")
)


def new_event(run_id: str, seq: int, prev_hash: bytes | None, ts: int, kind: Kind | int, payload: bytes) -> Event:  # noqa: PLR0917 - by place, since keywords take longer
    """An `Event`, made in half the time."""
    event = _new(Event)
    _set_run_id(event, run_id)
    _set_seq(event, seq)
    _set_prev_hash(event, prev_hash)
    _set_ts(event, ts)
    _set_kind(event, kind)
    _set_payload(event, payload)
    return event


keep_hash = vars(_Hashed)["_hash"].__set__
"""Have an event keep its hash, which whoever calls this has just computed."""
_int_item, _MAX_BYTES = _cbor.int_item, _cbor.MAX_BYTES
_SMALL_INTS, _U16_END, _U32_END, _U64_END = _cbor.SMALL_INTS, 1 << 16, 1 << 32, 1 << 64
_u16, _ts_u64 = struct.Struct(">BH").pack, struct.Struct(f">{len(_TS)}sBQ{len(_SEQ)}s").pack
_NO_LINK, _LINK = _PREV_HASH + _cbor.NULL, _PREV_HASH + _cbor.bytes_item(bytes(DIGEST_SIZE))[:-DIGEST_SIZE]


def decode_event(data: bytes) -> Event:
    """Return the event whose envelope is ``data``; the inverse of `encode_event`.

    Raises:
        LogCorruptError: not canonical CBOR, or not the six fields of an envelope with their types.
    """
    found = _cbor.load(data)
    _check_fields(found)
    payload = _payload_bytes(found)
    kind = found["kind"]
    event = Event(
        run_id=found["run_id"],
        seq=found["seq"],
        prev_hash=found["prev_hash"],
        ts=found["ts"],
        kind=Kind(kind) if kind in _KINDS else kind,
        payload=payload,
    )
    if encode_event(event) != data:
        _cbor.check_canonical(found, data, max_depth=_cbor.READ_DEPTH + 1)
        unknown = sorted(map(repr, found.keys() - _FIELDS.keys() - {"payload"}))
        raise LogCorruptError(f"event envelope with unknown fields: {', '.join(unknown)}")
    return event


_KINDS = frozenset(Kind)


def event_hash(event: Event) -> bytes:
    """Return the 32-byte BLAKE3 of the envelope: the next event's ``prev_hash``, and a leaf of the Merkle tree.

    An event keeps its hash once it is known, so that whoever emits, stores and reads it again computes it once.
    """
    known: bytes | None = getattr(event, "_hash", None)
    if known is None:
        known = digest(encode_event(event))
        keep_hash(event, known)
    return known


def _check_fields(found: Any) -> None:
    if type(found) is not dict:
        raise LogCorruptError(f"event envelope: {type(found).__name__} where a map belongs")
    missing = [name for name in (*_FIELDS, "payload") if name not in found]
    if missing:
        raise LogCorruptError(f"event envelope without {', '.join(missing)}", field=missing[0])
    for name, types in _FIELDS.items():
        if type(found[name]) not in types:
            raise LogCorruptError(f"event envelope: {name} is {type(found[name]).__name__}", field=name)


def _payload_bytes(found: dict[str, Any]) -> bytes:
    try:
        return _cbor.encode(found["payload"], max_depth=_cbor.READ_DEPTH)
    except UnencodableValueError as exc:
        raise LogCorruptError(f"event envelope: payload: {exc}", field="payload") from exc
