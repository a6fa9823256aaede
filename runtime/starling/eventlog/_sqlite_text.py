"""Text that is none: SQLite stores any bytes as TEXT, and ``sqlite3`` stops at the first that are not UTF-8.

Its error quotes them and says neither run nor seq, so it is shown to nobody. What was asked is asked once more instead,
with such cells as values of a type that no column has: the check of each row then finds the damaged one, and the
others are read. A sound log never pays for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from starling.eventlog._sqlite_errors import DRIVER_ERRORS, is_undecodable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

__all__ = ["carry_out"]

T = TypeVar("T")


class BrokenText(bytes):
    """A TEXT cell that is not UTF-8. Its type is what matters; see `starling.eventlog._sql.event_of_row`."""

    __slots__ = ()


def carry_out(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """What the work on this connection returns. It may be done twice.

    Raises:
        sqlite3.Error, UnicodeDecodeError: as the work does, but for cells whose text is not UTF-8.
    """
    try:
        return work()
    except DRIVER_ERRORS as error:
        if not is_undecodable(error):
            raise
    connection.text_factory = _text_or_not
    return work()


def _text_or_not(cell: bytes) -> str | BrokenText:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return BrokenText(cell)
