"""Which exceptions are meant to stop everything: the process, or the whole test session.

They are no failures of the tool or the effect in which they come up, whatever class they descend from. The runtime
never imports pytest: where `pytest.exit` was called, its module is loaded.
"""

from __future__ import annotations

import sys

__all__ = ["stops_everything"]


def stops_everything(error: BaseException) -> bool:
    """Whether this is a KeyboardInterrupt or what `pytest.exit` raises, by itself or in a group.

    pytest's other outcomes are no `Exception`, and so need not be told from failures; this one is.
    """
    if isinstance(error, BaseExceptionGroup):
        return any(map(stops_everything, error.exceptions))
    exit_session = getattr(sys.modules.get("_pytest.outcomes"), "Exit", None)
    return isinstance(error, KeyboardInterrupt) or (isinstance(exit_session, type) and isinstance(error, exit_session))
