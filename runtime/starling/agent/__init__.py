"""The agent loop and the ways into it.

_agent       the value and its entry points
_custom      a loop of the user's own in its place
_config      what it is told once
_wiring      its parts as one value, and the RunStarted that follows from them
_live        a call of it: recorded or replayed, as the ambient session decides
_parts       what one process does of a run: all of it, or what is left behind a crash
_recorded    a recorded run, gone through with today's agent: all its parts, or one
_tail        in mode tail: live, and answered by a recording for as long as nothing differs
_execute     one part of a run from first to last event, live or replayed
_loop        model, tools, model, …; how an end becomes a terminal event
_transcript  the conversation as the provider is shown it; _messages makes one message at a time
_authorship  whose log it is: ours, or the original program's
_explanations  what stands behind a prompt hash that differs
_cancellation  on replay: today's caller cancels again
_delivery    on replay: the agent's own log receives the run as well
_result      what a run comes to
_stream      a run as it happens
_blocking    the blocking twins
"""

from starling.agent._agent import Agent
from starling.agent._config import Config, ToolErrors
from starling.agent._custom import CustomLoop
from starling.agent._result import CacheStats, RunResult
from starling.agent._stream import AgentEvent, Done, TextDelta, ToolCallEnded, ToolCallStarted

__all__ = [
    "Agent",
    "AgentEvent",
    "CacheStats",
    "Config",
    "CustomLoop",
    "Done",
    "RunResult",
    "TextDelta",
    "ToolCallEnded",
    "ToolCallStarted",
    "ToolErrors",
]
