"""Replaying recordings: what the environment decided is taken from the log, what the code decided is compared.

_verify    one run of a log against an agent
_sessions  the ambient sessions behind the pytest plugin: recording a process, replaying it

The comparison itself is `starling.step._replay`.
"""

from starling._callable_module import make_callable
from starling.ambient import ReplayOptions, ToolPolicy
from starling.errors import NondeterminismError, ProviderModelMismatchError
from starling.fixture import Fixture, FixtureRun, discard, install_fixture, read_fixture, temporary_path, write_fixture
from starling.replay._sessions import RecordingSession, ReplayingSession
from starling.replay._verify import replay, replay_sync
from starling.step import Change, Divergence, ignorable_paths

__all__ = [
    "Change",
    "Divergence",
    "Fixture",
    "FixtureRun",
    "NondeterminismError",
    "ProviderModelMismatchError",
    "RecordingSession",
    "ReplayOptions",
    "ReplayingSession",
    "ToolPolicy",
    "discard",
    "ignorable_paths",
    "install_fixture",
    "read_fixture",
    "replay",
    "replay_sync",
    "temporary_path",
    "write_fixture",
]

make_callable(__name__)
