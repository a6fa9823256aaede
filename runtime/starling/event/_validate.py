"""The eight invariants of a finished run (seed page "Event schema", Invariants), checked end to end."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from starling import _cbor
from starling._blake3 import digest
from starling.errors import LogCorruptError, SchemaVersionMismatchError, UnencodableValueError
from starling.event._codec import is_whole, read_payload
from starling.event._envelope import Linker, encode_event, keep_hash
from starling.event._kinds import SCHEMA_VERSION, Kind, kind_name
from starling.event._lifecycle import TERMINAL_KINDS, Lifecycle
from starling.event._merkle import root
from starling.event._payloads import RunCancelled, RunCompleted, RunFailed
from starling.event._schema import READERS
from starling.event._shapes import known_shape, learn_shape
from starling.event._totals import misstated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from starling.event._envelope import Event
    from starling.event._payloads import Payload
    from starling.event._shapes import Shape

    _Loaded: TypeAlias = tuple[Event, Shape | None, Any]

__all__ = ["ValidRun", "validate", "validate_prefix", "validate_recording"]


class ValidRun(tuple["Event", ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """A run that `validate_recording` found whole: nobody who is given it needs to look again.

    Attributes:
        misstated: what its last event says that the others do not bear out, its final text aside; see `misstated`.
        exact: whether each payload, as `decode` gives it, is written as the same bytes again: it holds nothing unknown.
    """

    misstated: tuple[str, ...]
    exact: bool
    _decoded: list[tuple[Payload, ...]]

    def __new__(cls, events: Iterable[Event] = (), payloads: Sequence[Payload] = (), *, exact: bool = False) -> Self:
        run = super().__new__(cls, events)
        run.exact = exact
        run.misstated = misstated(run, payloads=payloads or None, final_text=False)
        run._decoded = [tuple(payloads)] if payloads else []
        return run

    def decode(self) -> tuple[Payload, ...]:
        """What the events hold: the caller's own, since a free-form value can be changed. Cheap the first time."""
        try:
            return self._decoded.pop()
        except IndexError:
            return tuple(event.decode() for event in self)


def validate(events: Iterable[Event]) -> None:
    """Check that ``events`` are one whole, untouched, finished run.

    1. at least one event, seq from 1 without gaps; 2. one run id; 3. the hash chain holds; 4. exactly one terminal
    event, the last; 5. the first is RunStarted, of a schema version that is known; 6. turns pair; 7. calls pair; 8. the
    terminal's Merkle root is that of the events before it. Every payload must also be readable within the 32 levels
    of nesting that the format allows; one that lacks a field is left to `decode_payload`, since the original lets it
    pass. Nothing covers the terminal event itself but the hash a fixture keeps.

    Raises:
        LogCorruptError: at the first violation; ``run_id`` and ``seq`` say where. The log was changed after it was
            written, cut short, or written wrongly: restore it from a copy or record it again.
        SchemaVersionMismatchError: of these, where a newer version of this library wrote the run: upgrade.
    """
    _check_run(list(events))


def _check_run(run: list[Event], payloads: list[Payload | None] | None = None) -> list[Event]:
    """All eight. Returns and fills what `_check_payloads` does."""
    if not run:
        raise LogCorruptError("no events: the run does not exist, or its log was emptied")
    leaves = _check_envelopes(run)
    loaded = _check_version(_loaded(run, every=payloads is not None))
    _check_terminal(run)
    lacking = _check_payloads(loaded, payloads)
    _check_root(run[-1], payloads[-1] if payloads else _read(run[-1])[0], root(leaves[:-1]))
    return lacking


def validate_prefix(events: Iterable[Event]) -> None:
    """Check that ``events`` are the untouched beginning of a run that has not ended: what can be resumed.

    The same invariants, but for those about the terminal event. Nothing covers the last event but its successor's link.

    Raises:
        LogCorruptError: at the first violation, as `validate`.
    """
    run = list(events)
    if not run:
        raise LogCorruptError("no events: the run does not exist, or its log was emptied")
    _check_envelopes(run)
    _check_payloads(_check_version(_loaded(run)))


def validate_recording(events: Iterable[Event]) -> ValidRun:
    """Check that ``events`` are a run that can be replayed: what `validate` asks, and no payload lacks a field.

    Returns:
        The events. A `ValidRun` is returned as it is.

    Raises:
        LogCorruptError: as `validate`; a payload that cannot be read is told rather than what follows from it.
    """
    if isinstance(events, ValidRun):
        return events
    run = list(events)
    payloads: list[Payload | None] = []
    try:
        lacking = _check_run(run, payloads)
    except SchemaVersionMismatchError:
        raise
    except LogCorruptError as error:
        _check_readable(run[: error.seq])
        raise
    _check_readable(lacking)
    return ValidRun(run, cast("list[Payload]", payloads), exact=not lacking)


def _check_readable(run: Iterable[Event]) -> None:
    for event in run:
        event.decode()


def _check_envelopes(run: list[Event]) -> list[bytes]:
    """Invariants 1 to 3. Returns the hash of each event."""
    first = run[0]
    if not first.run_id:
        raise _corrupt(first, 0, "run_id is empty")
    if first.seq != 1:
        raise _corrupt(first, 0, f"seq is {first.seq}, the first must be 1")
    if first.prev_hash:
        raise _corrupt(first, 0, "prev_hash is set, though nothing comes before the first event")
    return _check_links(first, run)


def _check_links(event: Event, run: list[Event]) -> list[bytes]:
    """The hash of each event of a run that begins with this one."""
    linker = Linker(event.run_id)
    run_id, envelope_of = event.run_id, linker.envelope
    begin, feed, end = linker.begin_hash, linker.feed_hash, linker.end_hash
    try:
        leaf = digest(encode_event(event))
        leaves = [leaf]
        for seq, event in enumerate(run[1:], start=2):  # noqa: PLR1704 - the handler speaks of the one at hand
            kind = event.kind
            if event.run_id != run_id or event.seq != seq or event.prev_hash != leaf:
                raise _unlinked(event, seq - 1, run_id)
            if 0 < kind <= _LAST_KIND:
                begin()
                feed(envelope_of(seq, leaf, event.ts, kind, event.payload))
                leaf = end()
            else:
                leaf = digest(encode_event(event))
            keep_hash(event, leaf)
            leaves.append(leaf)
    except UnencodableValueError as exc:
        what = f"it is larger than an event may be ({_cbor.MAX_BYTES} bytes)"
        raise _corrupt(event, event.seq - 1, what) from exc
    return leaves


_LAST_KIND = int(max(Kind))


def _unlinked(event: Event, index: int, run_id: str) -> LogCorruptError:
    if event.run_id != run_id:
        what = f"run_id is {event.run_id!r}, not that of the events before it"
        return _corrupt(replace(event, run_id=run_id), index, what)
    if event.seq != index + 1:
        return _corrupt(event, index, f"seq gap: {event.seq} where {index + 1} belongs")
    return _corrupt(event, index, f"prev_hash is not the hash of seq {index}: one of the two was changed")


def _check_terminal(run: list[Event]) -> None:
    """Invariant 4."""
    last = run[-1]
    if last.kind not in TERMINAL_KINDS:
        what = f"the last event, {kind_name(last.kind)}, is not terminal: the run never ended"
        raise _corrupt(last, last.seq - 1, what)
    if TERMINAL_KINDS.isdisjoint([event.kind for event in run[:-1]]):
        return
    early = next(event for event in run if event.kind in TERMINAL_KINDS)
    raise _corrupt(early, early.seq - 1, f"{kind_name(early.kind)} ends the run, but events follow it")


def _check_payloads(run: Iterable[_Loaded], payloads: list[Payload | None] | None = None) -> list[Event]:
    """Invariants 5 to 7. Returns the events of which a field is absent or unknown, or the kind.

    Args:
        run: the events, as `_loaded` gives them, every one if there is something to receive them.
        payloads: receives what each event holds, None if it is of no kind that is known. Without it, none is built.
    """
    lifecycle = Lifecycle()
    lacking: list[Event] = []
    for event, shape, loaded in run:
        kind, data, found, payload = event.kind, event.payload, loaded, None
        try:
            if shape is not None and payloads is None:
                turn = data[shape.turn].decode() if shape.turn else ""
                call = (data[shape.call].decode(), shape.attempt) if shape.call else _NO_CALL
                lifecycle.step(kind, turn, call, event.seq)
                continue
            if found is not None and (shape is not None or _is_whole(kind, found, data)):
                payload = None if payloads is None else READERS[kind](found)
            else:
                payload, found, whole = _read(event)
                if not whole:
                    lacking.append(event)
            call = found.get("call_id", ""), found.get("attempt", 0)
            lifecycle.step(kind, found.get("turn_id", ""), call, event.seq)
        except LogCorruptError as exc:
            raise _corrupt(event, event.seq - 1, str(exc), field=exc.field) from exc
        if payloads is not None:
            payloads.append(payload)
    return lacking


_NO_CALL = ("", 0)


def _is_whole(kind: int, found: Any, data: bytes) -> bool:
    whole = is_whole(kind, found, data, _cbor.WRITE_DEPTH)
    if whole:
        learn_shape(kind, data)
    return whole


def _loaded(run: list[Event], *, every: bool = False) -> Iterator[_Loaded]:
    """Each event, the shape that proves its payload, and what that may hold: where there is no shape; or ``every`` one.

    What it may hold is sure only once it was written again, and found the same. With a shape it is sure if everything
    before it was read without a fault, since nothing is cut in the wrong place then. What is of no kind is never read,
    so null stands in for it.
    """
    for at in range(0, len(run), _BATCH):
        batch = run[at : at + _BATCH]
        shapes = [known_shape(event.kind, event.payload) for event in batch]
        if every:
            parts = [event.payload if 0 < event.kind <= _LAST_KIND else _cbor.NULL for event in batch]
            values: Iterable[Any] = _cbor.load_many(parts) or repeat(None)
        else:
            parts = [event.payload for event, shape in zip(batch, shapes, strict=True) if not shape]
            read = iter((parts and _cbor.load_many(parts)) or repeat(None))
            values = [None if shape else next(read) for shape in shapes] if parts else read
        yield from zip(batch, shapes, values, strict=False)


_BATCH = 64
"""Payloads that are decoded at once: a call saved for each, and what is decoded is small enough to stay in cache."""


def _read(event: Event) -> tuple[Payload | None, dict[str, Any], bool]:
    if not 0 < event.kind <= _LAST_KIND:
        return None, {}, False
    return read_payload(event.kind, event.payload, max_depth=_cbor.WRITE_DEPTH)


def _check_version(run: Iterator[_Loaded]) -> Iterable[_Loaded]:
    """The second half of invariant 5, early: nothing else can be said about a run in a format that is not known."""
    event, shape, found = next(run)
    # What begins the batch is what `_version` reads, if that can read it.
    seems_known = type(found) is dict and found.get("schema_version") == SCHEMA_VERSION
    version = SCHEMA_VERSION if seems_known else _version(event)
    if version is not None and not 1 <= version <= SCHEMA_VERSION:
        raise SchemaVersionMismatchError(
            f"run {event.run_id!r}, index 0 (seq 1): schema_version {version} is not supported (supported are 1 to "
            f"{SCHEMA_VERSION}): {'upgrade pytest-starling' if version > SCHEMA_VERSION else 'no version wrote that'}",
            run_id=event.run_id,
            seq=1,
            found=version,
            known=SCHEMA_VERSION,
        )
    return chain([(event, shape, found)], run)


def _version(event: Event) -> int | None:
    """The format of a run, read past whatever a newer one changed in its other fields; None if it does not say."""
    try:
        found = _cbor.load(event.payload) if event.kind == Kind.RunStarted else None
    except LogCorruptError:
        return None  # reported with the other payloads
    version = found.get("schema_version") if isinstance(found, dict) else None
    return version if type(version) is int else None


def _check_root(event: Event, payload: Payload | None, expected: bytes) -> None:
    stored = payload.merkle_root if isinstance(payload, RunCompleted | RunFailed | RunCancelled) else None
    if stored != expected:
        raise _corrupt(event, event.seq - 1, "merkle_root is not the root over the events before it")


def _corrupt(event: Event, index: int, what: str, *, field: str = "") -> LogCorruptError:
    return LogCorruptError(
        f"run {event.run_id!r}, index {index} (seq {event.seq}): {what}",
        run_id=event.run_id,
        seq=event.seq,
        field=field,
    )
