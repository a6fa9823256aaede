"""Replaying recordings: what the environment decided is taken from the log, what the code decided is compared.

_verify    one run of a log against an agent
_nested    the runs that its tools start
_all       every run of a log
_stream    one run, step by step, for whoever shows it
_recordings  what a recording must be before it is replayed
_transcript  a run as people read it: for snapshots, and diffs of recordings
_redact    recorded runs without what must not be kept
_patches   which step.patched no recording needs any more
_recording_session, _replaying_session  the ambient sessions behind the pytest plugin: a process is recorded, replayed
_tail      both at once, in mode tail: recording anew with the model's recorded answers
_undeclared  what a run's code uses past `starling.step` while it is recorded
_observing   sees calls, with _monitoring or _profiling; _audience is who is told of them, _handed_over in whose name a
             thread's job works
_watched_calls  knows which calls count; _drawn_numbers, _opened_files and _reached know it of random numbers, of files,
             and of hosts and programs; _sources whose code made them
_by_identity  remembers something of objects that cannot be hashed

The comparison itself is `starling.step._replay`.
"""

from starling._callable_module import make_callable
from starling.ambient import PatchUse, Redact, ReplayOptions, ToolPolicy
from starling.errors import NondeterminismError, ProviderModelMismatchError, RedactionError
from starling.fixture import (
    Fixture,
    FixtureRun,
    discard,
    install_fixture,
    read_fixture,
    temporary_path,
    write_fixture,
    write_log,
)
from starling.replay._all import replay_all, replay_all_sync
from starling.replay._patches import UnneededPatch, unneeded_patches
from starling.replay._recording_session import RecordingSession
from starling.replay._redact import redact_run
from starling.replay._replaying_session import ReplayingSession
from starling.replay._stream import ReplayStep, replay_stream
from starling.replay._tail import TailSession
from starling.replay._transcript import transcript
from starling.replay._undeclared import UndeclaredCall, UndeclaredCalls
from starling.replay._verify import replay, replay_sync
from starling.step import NOT_RECORDED, Change, Divergence, Raised, fold_consequences, ignorable_paths, map_content

__all__ = [
    "NOT_RECORDED",
    "Change",
    "Divergence",
    "Fixture",
    "FixtureRun",
    "NondeterminismError",
    "PatchUse",
    "ProviderModelMismatchError",
    "Raised",
    "RecordingSession",
    "Redact",
    "RedactionError",
    "ReplayOptions",
    "ReplayStep",
    "ReplayingSession",
    "TailSession",
    "ToolPolicy",
    "UndeclaredCall",
    "UndeclaredCalls",
    "UnneededPatch",
    "discard",
    "fold_consequences",
    "ignorable_paths",
    "install_fixture",
    "map_content",
    "read_fixture",
    "redact_run",
    "replay",
    "replay_all",
    "replay_all_sync",
    "replay_stream",
    "replay_sync",
    "temporary_path",
    "transcript",
    "unneeded_patches",
    "write_fixture",
    "write_log",
]

make_callable(__name__)
