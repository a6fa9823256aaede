"""The end of a session: fixtures that no test owns are judged, the report is written, the exit status is settled.

On a worker of xdist: what was found is handed to the controller, which does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_starling import _unused, _xdist

if TYPE_CHECKING:
    from pytest_starling._state import Golden

__all__ = ["end"]

_NOT_RUN = ("collectonly", "setuponly", "setupplan")
_NO_FAILURE = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def end(golden: Golden, session: pytest.Session) -> None:
    """Do what is left to do when the last test is over."""
    config = session.config
    found = _unused.find(golden.owners, golden.settings) if golden.owners else []
    if _xdist.is_worker(config):
        if golden.owners:
            told = {"unused": _unused.plain(found), "partial": golden.owners.partial, "tests": len(golden.items)}
            _xdist.tell_at_end(config, told)
        return
    if golden.told:
        found = _unused.agreed([told["unused"] for told in golden.told])
    golden.unused = tuple(found)
    if found:
        _act(golden, session)
    if golden.settings.report is not None:
        _write_report(golden, session)


def _act(golden: Golden, session: pytest.Session) -> None:
    """Do with unused fixtures what was asked for."""
    action = golden.settings.unused
    if action == "delete":
        hindrance = _hindrance(golden, session)
        if hindrance:
            golden.notes.append(f"nothing was deleted, because {hindrance}")
        else:
            golden.unused = tuple(_unused.remove(golden.unused, golden.settings))
    if action == "fail" or any(one.problem for one in golden.unused):
        _fail(session)


def _hindrance(golden: Golden, session: pytest.Session) -> str:
    """Why nothing may be deleted; empty if the whole test tree was run and passed."""
    config = session.config
    partial = any(told["partial"] for told in golden.told) or (golden.owners is not None and golden.owners.partial)
    reasons = {
        "no test was run": any(config.getoption(name, default=False) for name in _NOT_RUN),
        "not everything passed": session.exitstatus not in _NO_FAILURE,
        "the command line says what to run": config.args_source is config.ArgsSource.ARGS,
        "pytest was not started at the top of the tests": _started_below(config),
        "some tests were left out": partial,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _started_below(config: pytest.Config) -> bool:
    inside = config.args_source is config.ArgsSource.INVOCATION_DIR
    return inside and config.invocation_params.dir != config.rootpath


def _write_report(golden: Golden, session: pytest.Session) -> None:
    from pytest_starling import _golden_report

    problem = _golden_report.write(golden, session)
    if problem:
        golden.notes.append(problem)
        _fail(session)


def _fail(session: pytest.Session) -> None:
    """Let the session fail, if it does not already."""
    if session.exitstatus in _NO_FAILURE:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
