"""Content hashes of what a run was wired with, as RunStarted and TurnStarted hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starling import _cbor
from starling._blake3 import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event._payloads import ToolSchema

__all__ = ["params_hash", "registry_hash", "schema_hash", "text_hash"]


def params_hash(params: Any) -> bytes | None:
    """Return the BLAKE3 of the params' canonical CBOR; None when there are none (``params`` is None)."""
    return None if params is None else digest(_cbor.encode(params))


def text_hash(text: str) -> bytes | None:
    """Return the BLAKE3 of a text's UTF-8 bytes (a lone surrogate counts as U+FFFD); None when it is empty."""
    return digest(_cbor.utf8(text)) if text else None


def schema_hash(schema: str | bytes) -> bytes | None:
    """Return the BLAKE3 of a tool schema's JSON bytes, hashed as given; None when it is empty."""
    return text_hash(schema) if isinstance(schema, str) else digest(schema) if schema else None


def registry_hash(tool_schemas: Sequence[ToolSchema]) -> bytes | None:
    """Return the BLAKE3 of the canonical CBOR of the tools' names and schema hashes; None when there are none.

    The order given counts; RunStarted lists tools by name.
    """
    if not tool_schemas:
        return None
    return digest(_cbor.encode([{"name": tool.name, "schema_hash": tool.schema_hash} for tool in tool_schemas]))
