"""Changes of a recording that only the surroundings can have made: it must replay as before.

Each takes a run's payloads and gives other ones, or None where it finds nothing to change; the chain is rebuilt.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from starling.event import (
    Chain,
    RunCancelled,
    RunCompleted,
    RunFailed,
    SideEffectRecorded,
    ToolCallScheduled,
)
from tests.properties.programs import Return

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from starling.event import Event
    from tests.properties.programs import Program

TERMINAL = (RunCompleted, RunFailed, RunCancelled)


def rebuilt(payloads: Sequence[Any], run_id: str, *, began: int = 1) -> list[Event]:
    """A run of these payloads, its hashes and its Merkle root anew."""
    chain, events = Chain(run_id), []
    for at, payload in enumerate(payloads):
        rooted = replace(payload, merkle_root=chain.root()) if isinstance(payload, TERMINAL) else payload
        events.append(chain.append(rooted, began + at))
    return events


def _each(payloads: Sequence[Any], **changes: Callable[[Any], Any]) -> list[Any]:
    """These fields of every payload that has them, changed."""
    return [
        replace(
            payload, **{name: change(getattr(payload, name)) for name, change in changes.items() if _has(payload, name)}
        )
        for payload in payloads
    ]


def _has(payload: Any, name: str) -> bool:
    return any(field.name == name for field in fields(payload))


def durations(payloads: list[Any], program: Program, dice: random.Random) -> list[Any]:
    """Everything took another time."""
    return _each(payloads, duration_ms=lambda _: dice.randrange(10**6))


def version(payloads: list[Any], program: Program, dice: random.Random) -> list[Any]:
    """Another version of this library wrote the log."""
    return _each(
        payloads, starling_version=lambda recorded: dice.choice((f"{recorded}.1", "", "dev", "0.0.0", "v9.9.9"))
    )


def prices(payloads: list[Any], program: Program, dice: random.Random) -> list[Any]:
    """Tokens cost something else. A limit in dollars tripped, or did not, at the price of the time."""
    return _each(payloads, cost_usd=lambda cost: cost / 2, total_cost_usd=lambda cost: cost / 2)


def turn_ids(payloads: list[Any], program: Program, dice: random.Random) -> list[Any]:
    """Turns got other ids."""
    return _each(payloads, turn_id=lambda turn_id: turn_id and f"{turn_id}-{dice.random() and 'other'}")


def minted_call_ids(payloads: list[Any], program: Program, dice: random.Random) -> list[Any]:
    """Calls that tools made got other ids; those of the model are its own, and it is shown them again."""
    minted = {p.call_id for p in payloads if isinstance(p, ToolCallScheduled) and p.parent_call_id}
    other = {call_id: f"minted-{dice.randrange(10**9)}-{at}" for at, call_id in enumerate(sorted(minted))}
    return _each(payloads, call_id=lambda was: other.get(was, was), parent_call_id=lambda was: other.get(was, was))


def interleaving(payloads: list[Any], program: Program, dice: random.Random) -> list[Any]:
    """Parallel calls ran in another order: neighbours that no code orders are exchanged, many times."""
    changed = list(payloads)
    owners = _ancestries(changed)
    for _ in range(4 * len(changed)):
        at = dice.randrange(len(changed) - 1)
        first, second = owners[at], owners[at + 1]
        if not (first == second[: len(first)] or second == first[: len(second)]):
            changed[at : at + 2] = changed[at + 1], changed[at]
            owners[at : at + 2] = second, first
    return changed


def _ancestries(payloads: Sequence[Any]) -> list[tuple[str, ...]]:
    """For each event the calls whose code makes it, the outermost first; none for the run's own."""
    inside: dict[str, tuple[str, ...]] = {}
    found = []
    for payload in payloads:
        call_id = getattr(payload, "call_id", "")
        if isinstance(payload, ToolCallScheduled) and payload.attempt == 1:
            owner = inside.get(payload.parent_call_id, ())
            inside[call_id] = (*owner, call_id)
            found.append(owner)
        else:
            found.append(inside.get(call_id, ()))
    return found


def hidden_values(payloads: list[Any], program: Program, dice: random.Random) -> list[Any]:
    """Effects gave other values, in tools that show nothing of them."""
    silent = {code.name for code in program.tools if isinstance(code.end, Return) and not code.end.shows}
    tools = {p.call_id: p.tool for p in payloads if isinstance(p, ToolCallScheduled)}

    def changed(payload: Any) -> Any:
        if not isinstance(payload, SideEffectRecorded) or tools.get(payload.call_id) not in silent or payload.error:
            return payload
        match payload.value:
            case bool():
                return payload
            case int():
                return replace(payload, value=dice.randrange(2**60))
            case _:
                return replace(payload, value=[dice.random()])

    return [changed(payload) for payload in payloads]


SURROUNDINGS = (durations, version, prices, turn_ids, minted_call_ids, interleaving, hidden_values)
