"""What OpenRouter reports of a failure, its own or that of the vendor behind it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starling.provider._vendor_errors import vendor_message

__all__ = ["NO_REPORT", "report_of"]

NO_REPORT: dict[str, Any] = {"code": 502, "message": "the vendor behind the gateway failed in the middle of its answer"}
"""For an answer that says ``finish_reason: "error"`` and no more."""


def report_of(error: object) -> dict[str, Any]:
    """An error object with the words of the vendor behind the gateway in its message.

    The gateway's own words are often no more than "Provider returned error"; what that provider said stands under
    ``metadata`` (guide "Errors", "Provider errors" and "Moderation errors"). ``flagged_input`` is left out: it quotes
    the prompt.
    """
    given = dict(error) if isinstance(error, Mapping) else {"message": error}
    said = vendor_message(given)
    behind = _behind(given.get("metadata"))
    message = f"{said} ({behind})" if said and behind else said or behind
    return {**given, "message": message}


def _behind(metadata: object) -> str:
    """Who failed behind the gateway, and in what words."""
    if not isinstance(metadata, Mapping):
        return ""
    reasons = metadata.get("reasons")
    words = ", ".join(map(str, reasons)) if isinstance(reasons, list) else vendor_message(_parsed(metadata.get("raw")))
    return ": ".join(part for part in (str(metadata.get("provider_name") or ""), words) if part)


def _parsed(raw: object) -> object:
    """A vendor's error body comes as an object or as its text."""
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw
