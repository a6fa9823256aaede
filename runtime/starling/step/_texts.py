"""Every text that the loop itself writes into a log.

They are part of the format: a recording holds them, so rewording one makes recordings diverge. Where the original
program has a text for the case, it is that text.
"""

from __future__ import annotations

from starling._cbor import written

__all__ = [
    "BUDGET_EXCEEDED",
    "CANCELLED",
    "CANCELLED_REASON",
    "DEADLINE_EXCEEDED",
    "MAX_TURNS_EXCEEDED",
    "interrupted_reason",
    "is_interruption",
    "no_final_text",
    "result_not_encodable",
    "said",
    "timed_out",
    "tool_failed",
    "tool_not_found",
]

BUDGET_EXCEEDED = "step: budget exceeded"
CANCELLED = "context canceled"
CANCELLED_REASON = "context_canceled"
DEADLINE_EXCEEDED = "context deadline exceeded"
_INTERRUPTED_BY = "interrupted by "
MAX_TURNS_EXCEEDED = "starling: max turns exceeded"


def said(error: BaseException) -> str:
    """What an exception says, as the log will hold it; its name if it cannot even say that."""
    try:
        return written(str(error))
    except Exception:  # noqa: BLE001 - the class is the user's
        return type(error).__name__


def tool_not_found(tool: str) -> str:
    """The model or the code asked for a tool that the agent does not have."""
    return f"step: tool not found: {tool}"


def tool_failed(tool: str, call_id: str, error: str) -> str:
    """The error of a run that ended because a tool call failed."""
    return f'starling: tool "{tool}" (call {call_id}): {error}'


def timed_out(seconds: float) -> str:
    """A tool call took longer than the tool's ``timeout``."""
    return f"timed out after {seconds:g} s"


def result_not_encodable(problem: str) -> str:
    """A tool returned something that the log cannot hold."""
    return f"result cannot be recorded: {problem}"


def no_final_text(got: str) -> str:
    """A loop of the user's own returned something else than its final text."""
    return f"the loop must return the run's final text, got {got}"


def interrupted_reason(name: str) -> str:
    """An exception that is not an error (KeyboardInterrupt, a test's own outcome) ended the run."""
    return f"{_INTERRUPTED_BY}{name}"


def is_interruption(reason: str) -> bool:
    """Whether a RunCancelled's reason is one of those."""
    return reason.startswith(_INTERRUPTED_BY)
