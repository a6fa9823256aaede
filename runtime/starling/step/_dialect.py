"""What follows from who wrote a log, for its prompts and its numbers. Who did is told in `agent._authorship`.

The original program's logs hold prompts in which a text result is JSON text (with its quotes), arguments are written as
Go writes JSON, and reasoning is not given back; integers beyond 64 bits became floats on their way in, and effects do
not say which call they belong to. Its hashes and payloads can only be reproduced by following suit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starling._canonical_json import dumps
from starling._cbor import Raw, decode
from starling.event import ToolCallCompleted, ToolCallScheduled
from starling.event._json import free_form_to_json

if TYPE_CHECKING:
    from starling.event import Payload

__all__ = ["ORIGINAL", "OURS", "Dialect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one log was written.

    Attributes:
        plain_text_results: a tool result that is text is shown to the model as it is.
        canonical_args: arguments are shown to the model as canonical JSON, else as Go writes it.
        reasoning_returned: reasoning blocks are part of later prompts.
        owned_effects: effects and nested calls name the call they belong to.
        exact_integers: integers of arguments and results stay integers, however large.
    """

    plain_text_results: bool = True
    canonical_args: bool = True
    reasoning_returned: bool = True
    owned_effects: bool = True
    exact_integers: bool = True

    def tool_content(self, result: Any) -> str:
        """A tool's result as the model is shown it."""
        if self.plain_text_results and isinstance(result, str):
            return result
        return dumps(result)

    def args_text(self, args: Any) -> str:
        """Planned arguments as the model is shown them; its own text where that was not JSON."""
        if isinstance(args, bytes):
            return args.decode("utf-8", "replace")
        return dumps(args) if self.canonical_args else free_form_to_json(args)

    def owner(self, call_id: str) -> str:
        """The call that an effect or a nested call is said to belong to."""
        return call_id if self.owned_effects else ""

    def written(self, payload: Payload) -> Payload:
        """Today's payload as this log's writer would have put it."""
        if self.exact_integers:
            return payload
        match payload:
            case ToolCallCompleted(result=result):
                return replace(payload, result=_with_wide_integers_as_floats(result))
            case ToolCallScheduled(args=args):
                return replace(payload, args=_with_wide_integers_as_floats(args))
            case _:
                return payload

    def shown(self, recorded: Payload, produced: Payload) -> Payload:
        """The outcome that later prompts show, where both are equal as `written`.

        The original showed the tool's own text, in which wide integers were still exact; its log does not hold them.
        """
        if self.exact_integers or not isinstance(recorded, ToolCallCompleted):
            return recorded
        assert isinstance(produced, ToolCallCompleted)  # of one kind, else they would not be equal
        return replace(recorded, result=produced.result)


def _with_wide_integers_as_floats(value: Any) -> Any:
    match value:
        case Raw(data=data):
            return _with_wide_integers_as_floats(decode(data))
        case dict():
            return {key: _with_wide_integers_as_floats(item) for key, item in value.items()}
        case list() | tuple():
            return [_with_wide_integers_as_floats(item) for item in value]
        case int() if not -(2**63) <= value < 2**63:
            return float(value)
        case _:
            return value


OURS = Dialect()
ORIGINAL = Dialect(
    plain_text_results=False,
    canonical_args=False,
    reasoning_returned=False,
    owned_effects=False,
    exact_integers=False,
)
