"""Which patches no recording needs any more: advice drawn from what replayed runs asked for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starling.ambient import PatchUse

__all__ = ["UnneededPatch", "unneeded_patches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnneededPatch:
    """A patch that did nothing for any of the recordings that were replayed.

    Attributes:
        where: the calls in the code, as file:line, sorted; those that no line made are left out.
        deprecated: whether they are `step.deprecate_patch` already.
    """

    patch_id: str
    where: tuple[str, ...]
    deprecated: bool

    def __str__(self) -> str:
        places = f" ({', '.join(self.where)})" if self.where else ""
        if self.deprecated:
            return f"{self.patch_id!r}{places}: no recording has its mark; step.deprecate_patch can go"
        return (
            f"{self.patch_id!r}{places}: no recording predates it; drop the old way and put step.deprecate_patch in "
            "the place of step.patched"
        )


def unneeded_patches(uses: Iterable[PatchUse]) -> tuple[UnneededPatch, ...]:
    """The patches that none of the replayed recordings needs.

    This says something about the recordings that ``uses`` come from, and nothing about others: give it those of all.

    Args:
        uses: `ReplayingSession.patches` of every replay.
    """
    places: dict[tuple[str, bool], set[str]] = {}
    needed: set[tuple[str, bool]] = set()
    for use in uses:
        key = (use.patch_id, use.deprecated)
        places.setdefault(key, set()).add(use.where)
        if use.needed:
            needed.add(key)
    return tuple(
        UnneededPatch(
            patch_id=patch_id, where=tuple(sorted(filter(None, places[patch_id, deprecated]))), deprecated=deprecated
        )
        for patch_id, deprecated in sorted(places.keys() - needed)
    )
