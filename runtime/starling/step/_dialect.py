"""Who wrote a log, and what follows for its prompts.

The original program's logs hold prompts in which a text result is JSON text (with its quotes), reasoning is not given
back, and effects do not say which call they belong to. Its prompt hashes can only be reproduced by following suit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling._canonical_json import dumps

if TYPE_CHECKING:
    from starling.event import RunStarted

__all__ = ["OURS", "Dialect", "dialect_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one log was written.

    Attributes:
        plain_text_results: a tool result that is text is shown to the model as it is.
        reasoning_returned: reasoning blocks are part of later prompts.
        owned_effects: effects and nested calls name the call they belong to.
    """

    plain_text_results: bool = True
    reasoning_returned: bool = True
    owned_effects: bool = True

    def tool_content(self, result: Any) -> str:
        """A tool's result as the model is shown it."""
        if self.plain_text_results and isinstance(result, str):
            return result
        return dumps(result)


OURS = Dialect()
_ORIGINAL = Dialect(plain_text_results=False, reasoning_returned=False, owned_effects=False)


def dialect_of(started: RunStarted) -> Dialect:
    """The dialect of the log that begins with this event."""
    return OURS if started.starling_version.startswith("pytest-starling/") else _ORIGINAL
