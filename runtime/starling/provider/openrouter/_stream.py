"""OpenRouter's streamed answer to our chunks. Pure: bytes in, chunks out.

Strategy: OpenAI's reader, and what this gateway has beyond it: reasoning in blocks that can be given back, the cost in
the usage, an id in every event, and failures of the vendor behind it reported within an answer of status 200.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starling.provider._chunks import Chunk, ReasoningChunk, RedactedThinkingChunk
from starling.provider._vendor_errors import error_from_report
from starling.provider.openai._errors import ERROR_CLASSES
from starling.provider.openai._stream import AnswerReader
from starling.provider.openrouter._details import READABLE, continues, mark_of, text_field
from starling.provider.openrouter._errors import NO_REPORT, report_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.provider._types import Usage

__all__ = ["GatewayReader"]

_SAME_AGAIN = frozenset({"reasoning", "reasoning_content"})
"""Fields that repeat, as plain text, what readable details say."""


@dataclass(slots=True, kw_only=True)
class GatewayReader(AnswerReader):
    """Reads one streamed answer; see `EventReader`. ``_block`` is the open reasoning block, without its text."""

    _block: dict[str, Any] | None = None

    # super() without arguments does not work in a slotted dataclass, which is a second class of the same body.

    def _content(self, event: dict[str, Any]) -> Iterator[Chunk]:
        self.request_id = self.request_id or self._text(event, "id")
        self._refuse_failures(event)
        yield from AnswerReader._content(self, event)

    def _ending(self) -> Iterator[Chunk]:
        yield from self._close_block()
        yield from AnswerReader._ending(self)

    # --- failures

    def _refuse_failures(self, event: dict[str, Any]) -> None:
        """Raise for an error of the whole answer, of one choice, or for an end that is one."""
        choices = self._list(event, "choices")
        found = [holder["error"] for holder in (event, *choices) if holder.get("error")]
        if not found and any(choice.get("finish_reason") == "error" for choice in choices):
            found = [NO_REPORT]
        if found:
            raise error_from_report(
                {"error": report_of(found[0])},
                ERROR_CLASSES,
                provider=self.provider,
                request_id=self.request_id,
                secret=self.secret,
            )

    # --- reasoning

    def _delta(self, delta: dict[str, Any]) -> Iterator[Chunk]:
        details = self._list(delta, "reasoning_details")
        for detail in details:
            yield from self._detail(detail)
        if any(detail.get("type") in READABLE for detail in details):
            delta = {name: value for name, value in delta.items() if name not in _SAME_AGAIN}
        for chunk in AnswerReader._delta(self, delta):
            yield from self._close_block()
            yield chunk

    def _detail(self, piece: dict[str, Any]) -> Iterator[Chunk]:
        kind = self._text(piece, "type")
        text = self._text(piece, text_field(kind))
        if self._block is not None and not continues(self._block, piece):
            yield from self._close_block()
        if kind not in READABLE:
            yield from self._close_block()
            yield RedactedThinkingChunk(text=text, signature=self._mark(piece))
            return
        block = self._block or {}
        known = {name: value for name, value in piece.items() if value is not None or name not in block}
        self._block = {name: value for name, value in {**block, **known}.items() if name != text_field(kind)}
        if text:
            yield ReasoningChunk(text=text)

    def _close_block(self) -> Iterator[Chunk]:
        """End the open block with what it said besides its text, which may come in its last piece."""
        if self._block is not None:
            block, self._block = self._block, None
            yield ReasoningChunk(signature=self._mark(block))

    def _mark(self, detail: dict[str, Any]) -> bytes:
        try:
            return mark_of(detail)
        except UnicodeEncodeError as error:
            raise self._invalid("a reasoning detail is not text (it holds half of a surrogate pair)") from error

    # --- usage

    def _usage(self, reported: dict[str, Any]) -> Usage:
        return replace(AnswerReader._usage(self, reported), cost_usd=_cost_usd(reported))


def _cost_usd(reported: dict[str, Any]) -> float | None:
    """US dollars (a credit is one): what the gateway charged, and with a key of the user's own, its vendor besides."""
    charged = _amount(reported.get("cost"))
    if charged is None or reported.get("is_byok") is not True:
        return charged
    details = reported.get("cost_details")
    behind = _amount(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
    return None if behind is None else charged + behind


def _amount(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= sys.float_info.max else None  # NaN is not, nor what is too large
