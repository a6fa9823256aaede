"""The phases of a golden test: its attempt is opened before setup, judged after the call, closed after teardown.

Generators, to which the hooks delegate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import SkipTest

import pytest

from pytest_starling import StarlingWarning

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_starling._attempt import Attempt
    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem

__all__ = ["calling", "setting_up", "sibling_of", "tearing_down"]

_OUTCOMES = (Exception, pytest.fail.Exception, pytest.skip.Exception)
"""What a phase may raise and pytest reports; anything else goes straight through, and so does `pytest.exit`."""
_EXCUSES = (pytest.skip.Exception, pytest.xfail.Exception, SkipTest)
"""What lets a test end without failing; code that swallows a golden failure must not come away with it."""


def setting_up(golden: GoldenItem) -> Generator[None, Any, Any]:
    """Around a golden test's setup."""
    golden.end()
    attempt = golden.begin()
    try:
        return (yield)
    except pytest.exit.Exception:
        raise
    except _OUTCOMES as error:
        failure = attempt.judge(passed=False)
        if attempt.asked_in_vain:
            attempt.broken_setup = True
            return None  # a fixture started a run that cannot be there: the call says what is really wrong
        _raise_instead_of(error, failure)
        _blame(error, attempt)
        raise


def calling(golden: GoldenItem) -> Generator[None, Any, Any]:
    """Around a golden test's own function: raise what it swallowed, and what it did not ask for."""
    attempt = golden.attempt
    assert attempt is not None, "a call follows a setup"
    if attempt.problem and (attempt.broken_setup or not attempt.replaying):
        attempt.failure = attempt.problem
        raise attempt.failure.error
    attempt.in_body = True
    try:
        result = yield
    except pytest.exit.Exception:
        raise
    except _OUTCOMES as error:
        failure = attempt.judge(passed=False)
        _raise_instead_of(error, failure)
        _blame(error, attempt)
        if failure is None and not isinstance(error, _EXCUSES):
            attempt.body_failed()
        raise
    finally:
        attempt.body_ended()
    raised = _caught_by_unittest(golden.item)
    failure = attempt.judge(passed=not raised)
    if failure:
        raised[:] = [one for one in raised if not isinstance(one.value, _EXCUSES)]
    if raised:
        _blame(raised[0].value, attempt)
    elif failure:
        raise failure.error
    else:
        attempt.warn_of_blocks()
    return result


def tearing_down(golden: GoldenItem) -> Generator[None, Any, Any]:
    """Around a golden test's teardown: the test's own fixtures inside the session, wider ones before a closed door."""
    attempt = golden.attempt
    if attempt is None:
        return (yield)
    raised: list[BaseException] = []
    try:
        _tear_down_own(golden, raised)
        with attempt.guard.closed_for("the teardown of a fixture of wider scope"):
            try:
                yield
            except pytest.exit.Exception:
                raise
            except _OUTCOMES as error:
                raised.append(error)
    finally:
        attempt.close()
    raised = _with_failures(attempt, raised)
    _warn_of_blocks(attempt, raised)
    if len(raised) == 1:
        raise raised[0]
    if raised:
        raise BaseExceptionGroup("errors during test teardown", raised)
    return None


def sibling_of(item: pytest.Item) -> pytest.Item:
    """An item with the same parents: torn down towards it, only what is the item's own goes."""
    from copy import copy

    return copy(item)


def _with_failures(attempt: Attempt, raised: list[BaseException]) -> list[BaseException]:
    """What a teardown has to raise: a golden failure only if none was reported before, the rest being consequences."""
    found = {id(error) for error in attempt.guard.failures}
    if attempt.failure:
        return [error for error in raised if id(error) not in found]
    attempt.finish()
    if attempt.is_consequence():
        return [error for error in raised if id(error) not in found]
    failure = attempt.judge(passed=False)
    if failure is None or any(attempt.is_ours(error) for error in raised):
        return raised
    return [failure.error, *raised]


def _warn_of_blocks(attempt: Attempt, raised: list[BaseException]) -> None:
    """Say which connections were refused, unless a failure says it; where warnings are errors, that is one more."""
    if attempt.failure:
        return
    try:
        attempt.warn_of_blocks()
    except StarlingWarning as warning:
        raised.append(warning)


def _tear_down_own(golden: GoldenItem, raised: list[BaseException]) -> None:
    try:
        golden.item.session._setupstate.teardown_exact(sibling_of(golden.item))
    except pytest.exit.Exception:
        raise
    except _OUTCOMES as error:
        raised.append(error)


def _caught_by_unittest(item: pytest.Item) -> list[pytest.ExceptionInfo[BaseException]]:
    """What a TestCase raised, to be changed in place: its runner keeps exceptions instead of raising them."""
    kept: list[pytest.ExceptionInfo[BaseException]] | None = getattr(item, "_excinfo", None)
    return [] if kept is None else kept


def _raise_instead_of(error: BaseException, failure: Failure | None) -> None:
    """Raise a golden failure that an excuse would hide."""
    if failure and isinstance(error, _EXCUSES):
        raise failure.error from None


def _blame(error: BaseException, attempt: Attempt) -> None:
    """An exception of the test's own keeps its traceback, and gets what is wrong with the golden run as a note."""
    if isinstance(error, _EXCUSES) or attempt.is_ours(error):
        return
    told = attempt.failure or attempt.problem
    if told:
        error.add_note(f"\n{told.text}")
    elif attempt.network:
        for line in attempt.network.untold(besides=error):
            error.add_note(f"\n{line}")
