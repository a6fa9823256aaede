"""Redaction as a project configures it: the ini key ``golden_redact`` and the hook ``pytest_starling_redact``.

Both are one function of a payload, made here. It is applied to recordings at saving, and to what a replay produces
before that is compared. It is applied until nothing changes any more, so hooks need not know of each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_starling._attempt import Attempt
    from pytest_starling._session import GoldenItem
    from starling.event import Payload
    from starling.replay import FixtureRun

__all__ = ["Redaction", "Rule", "read_rules", "redacted_runs", "redaction"]

_ARROW = " => "
_REPLACEMENT = "[redacted]"
_MOST_ROUNDS = 20
"""How often a payload may be rewritten; hooks that never agree are told so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of ``golden_redact``: what matches is replaced, in texts and in byte strings."""

    pattern: re.Pattern[str]
    replacement: str

    def apply(self, value: str | bytes) -> str | bytes:
        """Rewrite a text, or a byte string as the text that it would be."""
        if isinstance(value, bytes):
            text = value.decode("utf-8", "surrogateescape")
            rewritten = self.pattern.sub(self.replacement, text)
            return value if rewritten == text else rewritten.encode("utf-8", "surrogateescape")
        return self.pattern.sub(self.replacement, value)


def read_rules(lines: Iterable[str]) -> tuple[Rule, ...]:
    """Read ``golden_redact``: a regular expression a line, with ``=>`` and a replacement behind it or not.

    Raises:
        pytest.UsageError: a line is no such thing; it is named.
    """
    problems: list[str] = []
    rules = [_read(line, problems) for line in lines]
    if problems:
        raise pytest.UsageError(*problems)
    return tuple(rule for rule in rules if rule is not None)


def redaction(golden: GoldenItem, refuse: Callable[[Exception], None] = lambda _: None) -> Redaction | None:
    """What a project redacts; None if that is nothing.

    Args:
        refuse: told of a hook that fails, so that the test fails by it even if code swallows the error.
    """
    hook: Any = golden.item.ihook.pytest_starling_redact
    hooks = bool(hook.get_hookimpls())
    if not golden.settings.redact and not hooks:
        return None
    return Redaction(golden.settings.redact, hook if hooks else None, refuse)


def redacted_runs(golden: GoldenItem, attempt: Attempt) -> tuple[FixtureRun, ...]:
    """The runs that an attempt recorded, as they are kept.

    Raises:
        RedactionError: the redaction cannot be applied.
    """
    from dataclasses import replace

    from starling.replay import redact_run

    redact = redaction(golden)
    if redact is None:
        return attempt.runs
    requests = attempt.requests
    return tuple(replace(run, events=redact_run(run.events, redact, requests=requests)) for run in attempt.runs)


class Redaction:
    """What a project redacts, as `starling.replay.Redact`.

    Args:
        rules: those of ``golden_redact``. hook: ``pytest_starling_redact``; None where nobody implements it.
        refuse: see `redaction`.
    """

    def __init__(self, rules: Sequence[Rule], hook: Any, refuse: Callable[[Exception], None]) -> None:
        self._rules = rules
        self._hook = hook
        self._refuse = refuse
        self._rewritten: list[tuple[Payload, Payload]] = []

    def __call__(self, payload: Payload) -> Payload:
        """Rewrite a payload; the very same one if there is nothing to redact."""
        before = payload
        for _ in range(_MOST_ROUNDS):
            rewritten = self._round(payload)
            if type(rewritten) is not type(payload):
                return rewritten  # what is no payload is told by whoever asked for the redaction
            if rewritten is payload:
                if payload is not before:
                    self._rewritten.append((before, payload))
                return payload
            payload = rewritten
        raise self._refused(
            "pytest_starling_redact and golden_redact rewrite a payload over and over: let what was put in be left as "
            "it is, and return None where there is nothing to redact"
        )

    def hidden(self) -> dict[str, str]:
        """The texts that were rewritten so far, and what was put in their place."""
        found: dict[str, str] = {}
        for before, after in self._rewritten:
            was, now = _texts(before), _texts(after)
            if len(was) != len(now):  # a hook that took something out, or put it in
                found |= dict.fromkeys(set(was) - set(now), _REPLACEMENT)
            for one, other in zip(was, now, strict=False):
                if one != other:
                    found |= self._matched(one) if self._rules else {}
                    found |= {one: other, **_in_the_middle(one, other)} if self._hook else {}
        return found

    def _matched(self, text: str) -> dict[str, str]:
        return {
            match[0]: match.expand(rule.replacement) for rule in self._rules for match in rule.pattern.finditer(text)
        }

    def _round(self, payload: Payload) -> Payload:
        """One pass of the rules and of all hooks; the very same payload if they leave it."""
        from starling.replay import map_content

        rewritten = map_content(payload, self._by_rules) if self._rules else payload
        for answer in self._answers(rewritten):
            if not self._is_same(answer, rewritten):
                return answer  # the other hooks are asked about it in the next round
        return rewritten

    def _by_rules(self, value: str | bytes) -> str | bytes:
        rewritten = value
        for rule in self._rules:
            rewritten = rule.apply(rewritten)
        return value if rewritten == value else rewritten

    def _answers(self, payload: Payload) -> list[Payload]:
        if self._hook is None:
            return []
        try:
            return list(self._hook(kind=payload.KIND, payload=payload))
        except Exception as error:  # noqa: BLE001 - a user's code; its text may quote what is to be redacted
            raise self._refused(_told_without_text(error, payload)) from None

    def _is_same(self, answer: Any, payload: Payload) -> bool:
        """Whether a hook left a payload as it was, or made an equal one. Types count: 1, 1.0 and True are equal."""
        return type(answer) is type(payload) and repr(answer) == repr(payload)

    def _refused(self, message: str) -> Exception:
        from starling.errors import RedactionError

        error = RedactionError(message)
        self._refuse(error)
        return error


def _told_without_text(error: Exception, payload: Payload) -> str:
    from traceback import extract_tb

    frames = extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return (
        f"pytest_starling_redact raised {type(error).__name__} for a {payload.KIND} payload{place}; what it says is "
        "not shown, because it may hold what is to be redacted"
    )


def _texts(payload: Payload) -> list[str]:
    """The texts in a payload that may be redacted, in order."""
    from starling.replay import map_content

    found: list[str] = []

    def note(value: str | bytes) -> str | bytes:
        found.append(value if isinstance(value, str) else value.decode("utf-8", "surrogateescape"))
        return value

    map_content(payload, note)
    return found


def _in_the_middle(was: str, now: str) -> dict[str, str]:
    """What differs between two texts, without what they have in common at their ends."""
    before = _alike(was, now)
    behind = _alike(was[before:][::-1], now[before:][::-1])
    middle = was[before : len(was) - behind]
    return {middle: now[before : len(now) - behind] or _REPLACEMENT} if middle else {}


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _read(line: str, problems: list[str]) -> Rule | None:
    expression, arrow, replacement = line.rpartition(_ARROW)
    if not arrow:
        expression, replacement = line, _REPLACEMENT
    try:
        pattern = re.compile(expression)
        pattern.sub(replacement, "")
    except (re.error, IndexError) as error:
        problems.append(f"golden_redact: {line!r} is no regular expression, or not with that replacement: {error}")
        return None
    if pattern.search(""):
        problems.append(f"golden_redact: {line!r} matches the empty text, and would be put in everywhere")
        return None
    return Rule(pattern=pattern, replacement=replacement)
