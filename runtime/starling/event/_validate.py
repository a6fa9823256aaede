"""The eight invariants of a finished run (seed page "Event schema", Invariants), checked end to end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from starling import _cbor
from starling._blake3 import digest
from starling.errors import LogCorruptError, SchemaVersionMismatchError
from starling.event._codec import read_payload
from starling.event._envelope import Linker, event_hash
from starling.event._kinds import SCHEMA_VERSION, Kind, kind_name
from starling.event._lifecycle import TERMINAL_KINDS, Lifecycle
from starling.event._merkle import root
from starling.event._payloads import RunCancelled, RunCompleted, RunFailed
from starling.event._totals import misstated

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starling.event._envelope import Event
    from starling.event._payloads import Payload

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


def _check_run(run: list[Event]) -> list[_Read]:
    """All eight. Returns what each event holds."""
    if not run:
        raise LogCorruptError("no events: the run does not exist, or its log was emptied")
    leaves = _check_envelopes(run)
    _check_version(run[0])
    _check_terminal(run)
    found = _check_payloads(run)
    _check_root(run[-1], found[-1].payload, root(leaves[:-1]))
    return found


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
    _check_version(run[0])
    _check_payloads(run)


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
    try:
        found = _check_run(run)
    except SchemaVersionMismatchError:
        raise
    except LogCorruptError as error:
        _check_readable(run[: error.seq])
        raise
    inexact = [event for event, read in zip(run, found, strict=True) if not read.complete]
    _check_readable(inexact)
    return ValidRun(run, [cast("Payload", read.payload) for read in found], exact=not inexact)


def _check_readable(run: Iterable[Event]) -> None:
    for event in run:
        event.decode()


def _check_envelopes(run: list[Event]) -> list[bytes]:
    """Invariants 1 to 3. Returns the hash of each event."""
    first = run[0]
    leaves: list[bytes] = []
    if not first.run_id:
        raise _corrupt(first, 0, "run_id is empty")
    linker = Linker(first.run_id)
    if first.seq != 1:
        raise _corrupt(first, 0, f"seq is {first.seq}, the first must be 1")
    if first.prev_hash:
        raise _corrupt(first, 0, "prev_hash is set, though nothing comes before the first event")
    for index, event in enumerate(run):
        if event.run_id != first.run_id:
            what = f"run_id is {event.run_id!r}, not that of the events before it"
            raise _corrupt(replace(event, run_id=first.run_id), index, what)
        if event.seq != index + 1:
            raise _corrupt(event, index, f"seq gap: {event.seq} where {index + 1} belongs")
        if index and event.prev_hash != leaves[-1]:
            raise _corrupt(event, index, f"prev_hash is not the hash of seq {index}: one of the two was changed")
        leaves.append(_leaf(linker, event) if index else event_hash(event))
    return leaves


def _leaf(linker: Linker, event: Event) -> bytes:
    """The hash of an event whose link was found right; its kind may be none that is known."""
    if event.kind not in _KINDS:
        return event_hash(event)
    return digest(linker.envelope(event.seq, event.prev_hash, event.ts, cast("Kind", event.kind), event.payload))


def _check_terminal(run: list[Event]) -> None:
    """Invariant 4."""
    last = run[-1]
    if last.kind not in TERMINAL_KINDS:
        what = f"the last event, {kind_name(last.kind)}, is not terminal: the run never ended"
        raise _corrupt(last, last.seq - 1, what)
    for event in run[:-1]:
        if event.kind in TERMINAL_KINDS:
            raise _corrupt(event, event.seq - 1, f"{kind_name(event.kind)} ends the run, but events follow it")


class _Read(NamedTuple):
    """What an event holds, None if it is of no kind that is known, and whether no field of it was absent."""

    payload: Payload | None
    complete: bool = False


def _check_payloads(run: list[Event]) -> list[_Read]:
    """Invariants 5 to 7. Returns what each event holds."""
    lifecycle = Lifecycle()
    found: list[_Read] = []
    for event in run:
        try:
            read = _read(event)
            lifecycle.advance(event.kind, read.payload, seq=event.seq)
        except LogCorruptError as exc:
            raise _corrupt(event, event.seq - 1, str(exc), field=exc.field) from exc
        found.append(read)
    return found


def _read(event: Event) -> _Read:
    if event.kind not in _KINDS:
        return _Read(None)
    payload, _, same = read_payload(event.kind, event.payload, max_depth=_cbor.WRITE_DEPTH)
    return _Read(payload, complete=same)


_KINDS = frozenset(map(int, Kind))


def _check_version(event: Event) -> None:
    """The second half of invariant 5, early: nothing else can be said about a run in a format that is not known."""
    version = _version(event)
    if version is not None and not 1 <= version <= SCHEMA_VERSION:
        raise SchemaVersionMismatchError(
            f"run {event.run_id!r}, index 0 (seq 1): schema_version {version} is not supported (supported are 1 to "
            f"{SCHEMA_VERSION}): {'upgrade pytest-starling' if version > SCHEMA_VERSION else 'no version wrote that'}",
            run_id=event.run_id,
            seq=1,
            found=version,
            known=SCHEMA_VERSION,
        )


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
