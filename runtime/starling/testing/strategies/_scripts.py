"""What a model might say: conversations for `ScriptedProvider` and for the wire servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from starling.testing._script import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starling.testing._script import Turn

__all__ = ["scripts"]

_WORDS = st.text(min_size=1, max_size=20)
_TOKENS = st.integers(0, 1000)
_STATUS = st.sampled_from([500, 429, 401, 400])


def scripts(
    tools: Mapping[str, st.SearchStrategy[Any]] | None = None,
    *,
    max_turns: int = 4,
    reasoning: bool = True,
    failing: bool = False,
) -> st.SearchStrategy[tuple[Turn, ...]]:
    """The turns of one conversation: some that ask for tools, then one that answers, or fails.

    Give them to ``ScriptedProvider(turns)``, or to a server. Ids of calls are ``call_1``, ``call_2``, … in order.

    Args:
        tools: the tools that the model knows, each with a strategy for its arguments (a dict that JSON can hold, or
            text as the model is to write it). Without any the conversation is one answer.
        max_turns: the most turns that it may have.
        reasoning: whether the model may think aloud.
        failing: whether the provider may fail at the last turn instead of answering.
    """
    return _scripts(dict(tools or {}), max_turns=max_turns, reasoning=reasoning, failing=failing)


@st.composite
def _scripts(
    draw: st.DrawFn, tools: dict[str, st.SearchStrategy[Any]], *, max_turns: int, reasoning: bool, failing: bool
) -> tuple[Turn, ...]:
    script = Script()
    for _ in range(draw(st.integers(0, max_turns - 1)) if tools else 0):
        _words(draw, script, reasoning=reasoning, at_least=0)
        for name in draw(st.lists(st.sampled_from(sorted(tools)), min_size=1, max_size=3)):
            args = draw(tools[name])
            script.tool_call(name, args if isinstance(args, str) else json.dumps(args, ensure_ascii=False))
        script.usage(draw(_TOKENS), draw(_TOKENS)).turn()
    if failing and draw(st.booleans()):
        return script.error(draw(_WORDS), status=draw(_STATUS)).turns
    _words(draw, script, reasoning=reasoning, at_least=1)
    return script.usage(draw(_TOKENS), draw(_TOKENS)).turn().turns


def _words(draw: st.DrawFn, script: Script, *, reasoning: bool, at_least: int) -> None:
    """Thoughts, then pieces of text."""
    for thought in draw(st.lists(_WORDS, max_size=2)) if reasoning else ():
        script.reasoning(thought)
    for piece in draw(st.lists(_WORDS, min_size=at_least, max_size=2)):
        script.text(piece)
