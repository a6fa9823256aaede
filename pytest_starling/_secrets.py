"""The gate: nothing that looks like a credential gets into a fixture. Searched before anything is written to disk.

Strategy: a first pass over the bytes of each event looks for all values of the environment, in every form, and for all
shapes of keys. One by one, because that is several times as fast as one expression for all: a tenth of a second for a
megabyte. Only where there may be something, the event is looked at field by field, to say where.

What is found is never shown: a hit holds the name of the variable or of the shape, and the place. Names of fields are
the recording's too (the keys of a map), so they are looked at before they are shown.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_starling._credentials import Credentials
from pytest_starling._shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem
    from starling.event import Event
    from starling.replay import Fixture, FixtureRun

__all__ = ["Gate", "Hit", "credentials_of", "gate_of", "without_secrets"]

_HIDDEN = "<hidden>"
_LONGEST_KEY = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A secret in a recording.

    Attributes:
        rule: the name of the variable whose value it is, or of the shape that it has.
        is_value: whether it is a variable's value.
        run_id, seq, kind: the event; empty and 0 for what stands beside the runs.
        field: the place in its payload, or what stands beside the runs.
    """

    rule: str
    is_value: bool
    field: str
    run_id: str = ""
    seq: int = 0
    kind: str = ""

    @property
    def what(self) -> str:
        """What was found, in words."""
        return f"the value of {self.rule}" if self.is_value else f"{SHAPES[self.rule].title} ({self.rule})"

    @property
    def where(self) -> str:
        """Where it stands."""
        if not self.seq:
            return f"run {self.run_id}, {self.field}" if self.run_id else self.field
        return f"run {self.run_id}, seq {self.seq}, {self.kind}.{self.field}"


class Gate:
    """Finds credentials.

    Args:
        credentials: the values of the environment that are secrets.
        allowed: the names of shapes that are none.
    """

    def __init__(self, credentials: Credentials, allowed: Iterable[str] = ()) -> None:
        self._needles = credentials.needles
        shapes = {name: shape for name, shape in SHAPES.items() if name not in set(allowed)}
        literals = sorted(map(re.escape, self._needles), key=len, reverse=True)
        strict = (f"(?P<{name}>{shape.strict})" for name, shape in shapes.items())
        self._strict = re.compile("|".join((*literals, *strict)) or "(?!)")
        self._literals = [value.encode("utf-8", "surrogateescape") for value in self._needles]
        self._loose = [re.compile(shape.pattern.encode()) for shape in shapes.values()]
        self._numbers = {int(value): name for value, name in self._needles.items() if _is_number(value)}

    def __repr__(self) -> str:
        return "<Gate>"  # its values are secrets

    def search(self, fixture: Fixture) -> list[Hit]:
        """Every secret in a fixture: at most one hit a rule and field, in the order of the recording."""
        hits = [*self._hits(fixture.test_id, "the test's id"), *self._hits(dict(fixture.versions), "versions")]
        for position, run in enumerate(fixture.runs, start=1):
            hits += self._hits_of_run(run, position)
        return list(dict.fromkeys(hits))

    def scrubbed(self, value: Any) -> Any:
        """Plain data, and records of it, with every secret replaced by the name of its rule."""
        match value:
            case str():
                return self._scrubbed_text(value)
            case bytes():
                return self.scrubbed(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            case dict():
                return {self.scrubbed(key): self.scrubbed(one) for key, one in value.items()}
            case list() | tuple():
                return type(value)(self.scrubbed(one) for one in value)
            case _ if is_dataclass(value) and not isinstance(value, type):
                content = {field.name: getattr(value, field.name) for field in fields(value)}
                return replace(value, **{name: self.scrubbed(one) for name, one in content.items()})
            case _:
                return value

    def _scrubbed_text(self, text: str) -> str:
        if not self._may_hold_one_text(text):
            return text
        return self._strict.sub(lambda match: f"<{self._rule(match)[0]}>", text)

    def is_hit(self, events: Iterable[Event]) -> bool:
        """Whether one of these events, or the id of its run, holds a secret."""
        return any(
            self._strict.search(event.run_id) or next(self._hits_of_event(event, ""), None) is not None
            for event in events
        )

    def _may_hold_one(self, data: bytes) -> bool:
        """Whether there is anything to be found in an event's bytes; if there is not, that is certain."""
        return any(value in data for value in self._literals) or any(shape.search(data) for shape in self._loose)

    def _may_hold_one_text(self, text: str) -> bool:
        try:
            return self._may_hold_one(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # a surrogate of no variable's: only the slow way tells
            return True

    # --- where

    def _hits_of_run(self, run: FixtureRun, position: int) -> Iterator[Hit]:
        shown = run.run_id if self._strict.search(run.run_id) is None else f"number {position}"
        beside = {"its id": run.run_id, "its call's id": run.parent_call_id, "its effect's name": run.parent_effect}
        for place, value in beside.items():
            yield from self._hits(value, place, run_id=shown)
        for event in run.events:
            yield from self._hits_of_event(event, shown)

    def _hits_of_event(self, event: Event, shown: str) -> Iterator[Hit]:
        if not self._numbers and not self._may_hold_one(event.payload):
            return
        payload = event.decode()
        place = {"run_id": shown, "seq": event.seq, "kind": payload.KIND.name}
        for field in fields(payload):
            yield from self._hits(getattr(payload, field.name), field.name, **place)

    def _hits(self, value: Any, path: str, **place: Any) -> Iterator[Hit]:
        match value:
            case str() | bytes():
                text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
                for match in self._strict.finditer(text):
                    rule, is_value = self._rule(match)
                    yield Hit(rule=rule, is_value=is_value, field=path, **place)
            case int() if value in self._numbers:
                yield Hit(rule=self._numbers[value], is_value=True, field=path, **place)
            case dict():
                for key, one in value.items():
                    inside = f"{path}.{self._shown(key)}"
                    yield from self._hits(key, f"{inside} (a key)", **place)
                    yield from self._hits(one, inside, **place)
            case list() | tuple():
                for index, one in enumerate(value):
                    yield from self._hits(one, f"{path}[{index}]", **place)
            case _ if is_dataclass(value):
                for field in fields(value):
                    yield from self._hits(getattr(value, field.name), f"{path}.{field.name}", **place)

    def _shown(self, key: Any) -> str:
        """The key of a map as part of a path."""
        text = key if isinstance(key, str) else repr(key)
        return _HIDDEN if self._strict.search(text) or len(text) > _LONGEST_KEY else text

    def _rule(self, match: re.Match[str]) -> tuple[str, bool]:
        if match.lastgroup:
            return match.lastgroup, False
        return self._needles[match[0]], True


# --- for whoever saves, shows or keeps something


def credentials_of(allowed: Iterable[str]) -> Credentials:
    """The credentials of the environment as it is now. ``allowed``: see ``golden_secrets_allow``."""
    credentials = Credentials(allowed)
    credentials.note(os.environ)
    return credentials


def gate_of(golden: GoldenItem) -> Gate:
    """The gate of a golden test: for the credentials of its last attempt, and of the environment as it is now."""
    allowed = golden.settings.secrets_allow
    credentials = golden.attempt.credentials if golden.attempt else Credentials(allowed)
    credentials.note(os.environ)
    return Gate(credentials, allowed)


def without_secrets(golden: GoldenItem, failure: Failure) -> Failure:
    """A failure whose text may be shown: it quotes what today's code produced, which no gate has seen."""
    gate = gate_of(golden)
    return replace(failure, headline=gate.scrubbed(failure.headline), details=gate.scrubbed(failure.details))


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 19  # as the log holds integers
