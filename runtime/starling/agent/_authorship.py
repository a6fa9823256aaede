"""Who wrote a log: this library, or the original program. Pure: payloads in, a dialect out.

The version in RunStarted does not decide against us: it is the environment's, and a recording replays with any. What
tells is what only one of the two writes. Ours puts the tools themselves into RunStarted, the original their names and
hashes alone. Without tools the two write nearly the same, and the dialect matters for nothing but the requests that
show reasoning, or calls of tools that there are not; so there the recorded hash of a request tells whose it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling._version import PRODUCT
from starling.agent._explanations import rebuilt_request
from starling.agent._transcript import recorded_messages
from starling.event import RunStarted, TurnStarted
from starling.provider import prompt_hash
from starling.step._dialect import ORIGINAL, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.event import Payload
    from starling.step._dialect import Dialect

__all__ = ["dialect_of"]


def dialect_of(payloads: Sequence[Payload]) -> Dialect:
    """The dialect of a run, or of the beginning of one: ours, unless it is certainly the original's."""
    started = payloads[0]
    assert isinstance(started, RunStarted)  # every run begins with it
    if started.tools or started.starling_version.startswith(PRODUCT):
        return OURS
    if started.tool_schemas:
        return ORIGINAL
    return ORIGINAL if not _asks_as(OURS, payloads) and _asks_as(ORIGINAL, payloads) else OURS


def _asks_as(dialect: Dialect, payloads: Sequence[Payload]) -> bool:
    """Whether the last request of an agent's loop is the one that a log of this dialect leads to."""
    started = payloads[0]
    assert isinstance(started, RunStarted)  # checked by who asks
    for index in range(len(payloads) - 1, 0, -1):
        turn = payloads[index]
        if isinstance(turn, TurnStarted) and not turn.call_id:
            request = rebuilt_request(started, recorded_messages(payloads[:index], dialect))
            return prompt_hash(request) == turn.prompt_hash
    return False
