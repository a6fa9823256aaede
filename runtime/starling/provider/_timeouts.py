"""The `timeout` of an adapter: looked at when the adapter is built, because clients look at theirs when they use it."""

from __future__ import annotations

from starling.errors import AgentConfigError

__all__ = ["check_timeout"]

_LONGEST_S = 2_147_483.0
"""What a socket can wait for: 2^31 milliseconds, about 25 days."""


def check_timeout(timeout: object) -> None:
    """Refuse what cannot be waited for.

    Args:
        timeout: seconds, or None for the default.

    Raises:
        AgentConfigError: it is not a number, or none between 0 and 25 days.
    """
    __tracebackhide__ = True
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is None or (number and 0 < timeout <= _LONGEST_S):  # type: ignore[operator]
        return
    what = f"{timeout!r} seconds" if number else repr(timeout)
    text = f"timeout is {what}; give a number of seconds above 0 and up to {_LONGEST_S:.0f}, or None for the default"
    raise AgentConfigError(f"starling: {text}", field="timeout")
