"""The determinism layer: what a run does goes through here, so that a replay can do it again.

_frame       where in a run the current code executes (a context variable)
_effects     now, random, side_effect
_patches     patched, deprecate_patch: changes that recordings may predate
_exceptions  exceptions, described for the log and built again; _carried is what they carry, in plain data
_llm         one model call
_tools       tool dispatch: batches, retries, what is recorded
_raised      what made an attempt fail, and where
_invoke      one attempt of a tool: result, failure, timeout
_abandoned   the record of an effect that was cut off or left behind
_journal     what the above write to, whatever stands behind it
_live        that while a run happens: chain and pending events, commits to the log
_writer      batches of events on their way to the log
_bounded     one operation of a log, to a known end within a deadline
_replay      that on replay: comparison with the recording
_tail        that in mode tail: live, and answered by a recording for as long as nothing differs
_script      that recording: the replay that runs along
_compare     what is compared and what the environment decided
_redaction   what a payload or a request becomes before it is kept, and before it is compared
_interruption  where the environment stopped a recorded run
_reproduction  one recorded event after the other, compared and counted as reproduced
_recorded_effects  the recorded effects, handed to the code that asks for them
_order       in which order the strands of a replayed run get their answers
_turns       the same within one call
_asking      the same between calls that ask the model
_timers      a call's timers, for a replay that need not wait for them, and pauses that are no call's
_comparison  today beside recorded, and the divergences that were found
_cursor      whose event comes next, and how this part of the run ends
_progress    which recorded events were reproduced so far
_tree        a recorded run cut by tool call
_served      what a crash left of a call, for the one that is reissued in its place
_divergence  what is said when they differ
_consequences  which divergences merely follow from an earlier one
_meter       running totals and budgets
_dialect     our logs and the original program's
_texts       every text that the loop writes into a log
_run         what the steps of one run share
"""

from starling.ambient import ignorable_paths
from starling.step._consequences import fold_consequences
from starling.step._divergence import ABSENT, NOT_RECORDED, Change, Divergence, changes_between
from starling.step._effects import new_call_id, now, random, side_effect, side_effect_sync
from starling.step._llm import Turn, llm_call
from starling.step._patches import deprecate_patch, patched
from starling.step._raised import Raised
from starling.step._redaction import map_content
from starling.step._run import DEFAULT_MAX_PARALLEL_TOOLS
from starling.step._tools import ToolCall, call_tool, call_tools

__all__ = [
    "ABSENT",
    "DEFAULT_MAX_PARALLEL_TOOLS",
    "NOT_RECORDED",
    "Change",
    "Divergence",
    "Raised",
    "ToolCall",
    "Turn",
    "call_tool",
    "call_tools",
    "changes_between",
    "deprecate_patch",
    "fold_consequences",
    "ignorable_paths",
    "llm_call",
    "map_content",
    "new_call_id",
    "now",
    "patched",
    "random",
    "side_effect",
    "side_effect_sync",
]
