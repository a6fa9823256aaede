"""Payload readers, generated from the field table: the short way for a map that is as it should be.

`Record.read` says what reading means, and names the place of whatever is wrong; it looks at each field by way of the
table. A function that is written out and compiled for each record, at import, does the same for a map in which nothing
is wrong, and hands any other to `Record.read`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from starling.event._schema import Field, Record

__all__ = ["compile_reader"]


def compile_reader(record: Record) -> Callable[[Any], Any]:
    """Return the function that builds a ``record.cls`` from a decoded map. Raises `WrongTypeError`."""
    scope: dict[str, Any] = {"cls": record.cls, "new": object.__new__, "absent": object(), "slow": record.read}
    lines = ["def read(m):", " if type(m) is not dict: return slow(m)", " try:"]
    for at, item in enumerate(record.fields):
        scope[f"s{at}"] = vars(record.cls)[item.name].__set__  # a frozen class has no quicker way in
        scope[f"r{at}"] = item.wire.read
        lines += _lines(at, item, scope)
    lines += [" except Exception: return slow(m)", " p = new(cls)"]
    lines += [f" s{at}(p, v{at})" for at in range(len(record.fields))]
    source = "\n".join([*lines, " return p"])
    exec(compile(source, f"<reader of {record.cls.__name__}>", "exec"), scope)  # noqa: S102 - text made from our own table
    return scope["read"]  # type: ignore[no-any-return]


def _lines(at: int, item: Field, scope: dict[str, Any]) -> list[str]:
    """Find the field's value as ``v<at>``, or raise anything."""
    take = item.wire.take.format(read=f"r{at}", value=f"v{at}")
    if not item.optional:
        return [f"  v{at} = m[{item.name!r}]", f"  {take}"]
    scope[f"d{at}"] = next(found.default for found in dataclasses.fields(scope["cls"]) if found.name == item.name)
    found = f"  v{at} = m.get({item.name!r}, absent)"
    return [found, f"  if v{at} is absent: v{at} = d{at}", "  else:", f"   {take}"]
