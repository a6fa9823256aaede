"""What pytest shows beside our text: no frames of ours, and nothing that redaction or the gate keep from recordings.

Tracebacks show arguments, exceptions that quote ours repeat their text, and tests log and print both. Nothing is looked
at while tests pass.
"""

from __future__ import annotations

import re
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pytest_starling._secrets import gate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

    from pytest_starling._attempt import Attempt
    from pytest_starling._session import GoldenItem

__all__ = ["fit_to_be_told", "hide_frames", "scrub"]

_SHORTEST = 4
"""Characters; what is shorter and was redacted would be found in texts that have nothing to do with it."""
_REPRESENTATIONS = "_pytest._code.code"


# --- frames


def hide_frames(item: pytest.Item, attempt: Attempt, call: pytest.CallInfo[None]) -> None:
    """Take our own frames out of what was raised, and of what it was raised from.

    Of an error of ours, only the user's frames are left, as in our own representation. An error that is none, but was
    raised in our code, is our mistake, and keeps all.
    """
    if call.excinfo is not None:
        call.excinfo = _without_frames(attempt, call.excinfo)
    caught: list[pytest.ExceptionInfo[BaseException]] | None = getattr(item, "_excinfo", None)
    if caught:  # by the runner of a TestCase
        caught[:] = [_without_frames(attempt, one) for one in caught]


def _without_frames(
    attempt: Attempt, excinfo: pytest.ExceptionInfo[BaseException]
) -> pytest.ExceptionInfo[BaseException]:
    for error in _chain(excinfo.value, set()):
        if error is not excinfo.value:
            with suppress(AttributeError):  # an exception that allows no changes
                error.__traceback__ = _rebuilt(error, error.__traceback__)
    if attempt.is_ours(excinfo.value) or any(excinfo.value is one for one in attempt.guard.failures):
        return excinfo  # shown in a form of its own
    shown = _rebuilt(excinfo.value, excinfo.tb)
    if shown is None or shown is excinfo.tb:
        return excinfo
    return type(excinfo).from_exc_info((excinfo.type, excinfo.value, shown))


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """An exception and all that it leads to."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    inside = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for one in (error.__cause__, error.__context__, *inside):
        yield from _chain(one, seen)


def _rebuilt(error: BaseException, traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames that are not to be shown; the very same one if that is none of them."""
    from pytest_starling._callers import is_ours, is_users
    from starling.errors import StarlingError

    entries = list(_entries(traceback))
    ours = isinstance(error, StarlingError)
    if not ours and entries and is_ours(_file(entries[-1])):
        return traceback
    kept = [one for one in entries if (is_users(_file(one)) if ours else not is_ours(_file(one)))]
    if len(kept) == len(entries):
        return traceback
    shown: TracebackType | None = None
    for one in reversed(kept):
        shown = TracebackType(shown, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shown


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _file(entry: TracebackType) -> str:
    return entry.tb_frame.f_code.co_filename


# --- texts


def scrub(golden: GoldenItem, reports: Iterable[pytest.TestReport]) -> None:
    """Take what is not to be shown out of reports: representations of failures, output, logs, properties."""
    gate = gate_of(golden)
    hide = _hider(golden)

    def clean(text: str) -> str:
        return str(gate.scrubbed(hide(text)))

    for report in reports:
        report.longrepr = _mapped(report.longrepr, clean)
        report.sections = _mapped(report.sections, clean)
        report.user_properties = gate.scrubbed(report.user_properties)
        if "starling" in report.__dict__:
            report.__dict__["starling"] = gate.scrubbed(report.__dict__["starling"])


def _hider(golden: GoldenItem) -> Callable[[str], str]:
    """Puts in place of what was redacted on this replay what redaction puts there."""
    redaction = golden.attempt.redaction if golden.attempt else None
    hidden: dict[str, str] = {}
    for was, now in redaction.hidden().items() if redaction else ():
        if len(was) >= _SHORTEST:
            hidden |= {was: now, repr(was)[1:-1]: now}
    if not hidden:
        return lambda text: text
    pattern = re.compile("|".join(sorted(map(re.escape, hidden), key=len, reverse=True)))
    return lambda text: pattern.sub(lambda match: hidden[match[0]], text)


def _mapped(value: Any, clean: Callable[[str], str]) -> Any:
    """Texts in lists and in pytest's representations of failures, which are changed in place."""
    match value:
        case str():
            return clean(value)
        case list() | tuple():
            return type(value)(_mapped(one, clean) for one in value)
        case _ if any(kind.__module__ == _REPRESENTATIONS for kind in type(value).__mro__):
            for name, one in vars(value).items():
                setattr(value, name, one if name == "path" else _mapped(one, clean))
    return value


def fit_to_be_told(golden: GoldenItem, error: Any) -> None:
    """Take secrets out of what a divergence says, before code under test is given it: what it does with it is its own.

    A secret is found in whole values, not in what is left of them on a screen.
    """
    divergences = tuple(getattr(error, "divergences", ()))
    if not divergences:
        return
    gate = gate_of(golden)
    told = gate.scrubbed(divergences)
    if told != divergences:
        error.divergences = told
        error.args = (gate.scrubbed(told[0].text),)
