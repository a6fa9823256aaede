"""Where in an answer a thought signature stood, and ids for calls that came without one. Pure.

Strategy: Gemini signs parts of its answer (a thought, a call, a piece of text), and wants each signature back in the
part where it was. A signed thought is a reasoning block as others have it. Every other signature becomes a redacted
block, which is what it is: encrypted reasoning; the block's text says where it belongs. The same words are written by
the reader of answers and read by the writer of requests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["call_mark", "is_minted", "marked_call", "marked_text", "minted_id", "next_number", "text_mark"]

_CALL = "call "
_TEXT = re.compile(r"text (\d+)-(\d+)")
_MINTED = re.compile(r"gemini-call-(\d+)")


def call_mark(call_id: str) -> str:
    """The signature stood in this call's part."""
    return f"{_CALL}{call_id}"


def text_mark(start: int, end: int) -> str:
    """The signature stood in the part that holds these characters of the answer's text; the part may be empty."""
    return f"text {start}-{end}"


def marked_call(mark: str) -> str | None:
    """The call that a mark names; None if it names none."""
    return mark.removeprefix(_CALL) if mark.startswith(_CALL) else None


def marked_text(mark: str) -> tuple[int, int] | None:
    """The first character that a mark names and the first behind them; None if it names none."""
    found = _TEXT.fullmatch(mark)
    return (int(found[1]), int(found[2])) if found else None


def minted_id(number: int) -> str:
    """An id for a call that the vendor gave none. It is ours alone and never sent."""
    return f"gemini-call-{number}"


def is_minted(call_id: str) -> bool:
    """Whether an id is ours, and not the vendor's."""
    return _MINTED.fullmatch(call_id) is not None


def next_number(call_ids: Iterable[str]) -> int:
    """The first number for further ids in a conversation that holds these, so that no id comes twice."""
    return 1 + max((int(found[1]) for call_id in call_ids if (found := _MINTED.fullmatch(call_id))), default=0)
