"""Reasoning blocks as OpenRouter has them: ``reasoning_details``, one shape for all vendors. Pure.

Strategy: a detail is an object with one field of text and others (``type``, ``id``, ``format``, ``index``,
``signature``) that the vendor behind the gateway wants back as they were. Our blocks hold a text and a signature, so
the other fields travel as the signature: as JSON, or the bare signature where there is nothing else. The same words are
written by the reader of answers and read by the writer of requests.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starling.provider._types import Reasoning

__all__ = ["READABLE", "continues", "detail_of", "mark_of", "text_field"]

_TEXT_FIELDS = {"reasoning.text": "text", "reasoning.summary": "summary", "reasoning.encrypted": "data"}

READABLE = frozenset({"reasoning.text", "reasoning.summary"})
"""Types whose text arrives in pieces and can be read; every other type is opaque, and whole."""


def text_field(kind: object) -> str:
    """Where a detail of this type holds its text; "" for a type that is not known."""
    return _TEXT_FIELDS.get(str(kind), "")


def continues(block: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    """Whether a piece belongs to the block before it."""
    same = block.get("type") == piece.get("type") and block.get("index") == piece.get("index")
    return same and (block.get("id") is None or piece.get("id") in (None, block["id"]))


def mark_of(detail: Mapping[str, Any]) -> bytes:
    """What a detail says besides its text, as the signature of a block.

    Raises:
        UnicodeEncodeError: it holds half of a surrogate pair, with which it could not be given back.
    """
    rest = {name: value for name, value in detail.items() if name != text_field(detail.get("type"))}
    if rest == {"type": "reasoning.encrypted"}:
        return b""
    signature = rest.get("signature")
    if rest == {"type": "reasoning.text", "signature": signature} and isinstance(signature, str):
        return signature.encode()
    json.dumps(rest, ensure_ascii=False).encode()  # raises
    return json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()


def detail_of(block: Reasoning) -> dict[str, Any]:
    """The detail that a block was made of.

    Raises:
        UnicodeDecodeError: the block's signature is another vendor's.
    """
    signature = block.signature.decode()
    rest = _object(signature)
    if rest is not None:
        name = text_field(rest["type"])
        return {**rest, name: block.content} if name else rest
    if block.redacted:
        return {"type": "reasoning.encrypted", "data": block.content}
    signed = {"signature": signature} if signature else {}
    return {"type": "reasoning.text", "text": block.content, **signed}


def _object(signature: str) -> dict[str, Any] | None:
    if not signature.startswith("{"):
        return None
    try:
        value = json.loads(signature)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "type" in value else None
