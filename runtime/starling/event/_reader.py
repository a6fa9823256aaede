"""Payload readers, generated from the field table, for maps that are known to be right.

`Record.read` says what reading means, and names the place of whatever is wrong. What encodes to the very bytes that it
was decoded from needs none of that (`starling.event._codec`): each field has its type, and nothing is missing. So a
function that is written out and compiled for each record, when it is first needed, just fills the fields.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from starling.event._schema import Field, Record

__all__ = ["compile_reader"]


def compile_reader(record: Record) -> Callable[[dict[str, Any]], Any]:
    """Return the function that builds a ``record.cls`` from a decoded map in which nothing is wrong."""
    scope: dict[str, Any] = {"cls": record.cls, "new": object.__new__}
    lines = ["def read(m):", " p = new(cls)"]
    for at, item in enumerate(record.fields):
        scope[f"s{at}"] = vars(record.cls)[item.name].__set__  # a frozen class has no quicker way in
        lines.append(f" s{at}(p, {_value(at, item, scope)})")
    source = "\n".join([*lines, " return p"])
    exec(compile(source, f"<reader of {record.cls.__name__}>", "exec"), scope)  # noqa: S102 - text made from our own table
    return scope["read"]  # type: ignore[no-any-return]


def _value(at: int, item: Field, scope: dict[str, Any]) -> str:
    found = f"m[{item.name!r}]"
    if item.wire.record is not None:
        scope[f"t{at}"] = item.wire.take
        found = f"t{at}({found})"
    if not item.optional:
        return found
    scope[f"d{at}"] = next(one.default for one in dataclasses.fields(scope["cls"]) if one.name == item.name)
    return f"{found} if {item.name!r} in m else d{at}"
