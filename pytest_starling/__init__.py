"""pytest-starling: record one real run of an LLM agent, replay it in CI, fail at the exact step that changed.

plugin      the entry point; _hooks is what it consists of
hookspecs   what other plugins and conftest files may implement
_options    the command line and the ini keys; _settings is what they come to
_marker     the golden_run marker → a checked value
_location   node id → path of the fixture file (pure)
_state      what is kept on config and items
_session    which tests are golden, and which file each one owns; judged at collection
_variable   the environment variable that tells processes they replay
_guard      what stands in the runtime's slot while a golden test runs
_attempt    one run of a golden test, recording or replaying, and what it comes to
_phases     its setup, call and teardown
_network    what keeps a replaying test from other machines; _hosts may be reached, _callers finds who reached for them,
            _blocked_call is what is said of it
_doubts     what a person should look at though a recording replays
_nondeterminism  what a recording lacks because code went past `starling.step`
_recorder   the protocol of a test that may be recorded: replay, record, verify, put in place; _reruns has it recorded
            again where pytest-rerunfailures wants that
_cassette   vcrpy's files in place of providers
_saving     what is kept of a recording, and its way to the disk
_secrets    the gate in front of that: no credential gets into a fixture; _credentials knows those of the environment,
            _shapes those of vendors
_redaction  what a project has rewritten in its recordings
_fixtures   the fixtures that tests ask for; _golden_run is what one of them gives, _results its results
_produced   what today's code produced, kept beside the recording it diverged from
_failure    what can be wrong with a golden test → text: _replay_failures and _recording_failures say what
_outcomes   what a golden run can come to
_patches    which step.patched no recording needs any more
_parts      subtests, which are reported before the run they belong to is judged
_disclosure  what is not to be shown beside them: frames of ours, secrets, what was redacted
_report     texts → pytest's reports and user properties; _representation is how a failure is shown
_summary    the terminal's: collection line and summary section
_rivals     two tests that come to one file, in processes of their own
_owners     which fixture belongs to a collected test; _unused finds those that belong to none, and removes them
_golden_report  the file of --golden-report; _markdown is one of its forms
_ending     what is left to do when the session is over
_git        whether git would leave a fixture out
syrupy      snapshots of golden runs, for those who use syrupy
_xdist      what workers and controller tell each other

A session without golden tests imports none of the runtime: every import of `starling` stands inside a function that
only golden tests reach.
"""

from __future__ import annotations

import sys

import pytest

__all__ = ["StarlingWarning"]


class StarlingWarning(pytest.PytestWarning):
    """Something about a golden fixture that a person should look at.

    It is old, git ignores it, the marker names a tool that it lacks, or code under test used a clock, randomness or IO
    that is not recorded, or was kept from the network on replay and went on without it.
    """


def leave_compiled() -> None:
    """Keep pytest from rewriting the asserts of this distribution, the runtime included.

    It means to rewrite the modules of every plugin, so that their asserts explain themselves; ours check no input.
    Where it may not keep what it has rewritten (``PYTHONDONTWRITEBYTECODE``), it would compile them anew each time.
    """
    for finder in sys.meta_path:
        getattr(finder, "_must_rewrite", set()).difference_update(("pytest_starling", "starling"))


leave_compiled()  # before the plugin's modules, which are imported next
