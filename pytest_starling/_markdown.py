"""The report → Markdown for the summary of a CI job: counts, a table of what needs a look, texts to fold out. Pure.

Written for GitHub's dialect, which shows at most one mebibyte; others read it too. What comes from tests and payloads
is quoted so that it cannot become markup.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from pytest_starling._outcomes import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["markdown"]

_MOST_BYTES = 900_000
_MOST_ROWS = 200
_MOST_FILES = 50
_MARKUP = re.compile(r"([\\`*_\[\]<>&|~$#])")


def markdown(report: Mapping[str, Any]) -> str:
    """A report, as `pytest_starling._golden_report.report` makes it, for people."""
    bad = [test for test in report["tests"] if OUTCOMES[test["outcome"]].needs_a_look]
    blocks = [
        f"## Golden runs: {_verdict(report, bad)}",
        _counts(report),
        *_incomplete(report),
        *([_table(bad)] if bad else []),
        *_files("Recorded", [test["fixture"] for test in report["tests"] if test["outcome"] == "recorded"]),
        *_files("Taken over", [test["fixture"] for test in report["tests"] if test["outcome"] == "adopted"]),
        *_files("Unused", [one["file"] for one in report["unused"] if not one["deleted"]]),
        *_files("Deleted", [one["file"] for one in report["unused"] if one["deleted"]]),
        *_bullets("Patches", [_escaped(line) for line in report["patches"]]),
    ]
    return _with_texts("\n\n".join(blocks) + "\n", [test for test in bad if test["text"]])


def _verdict(report: Mapping[str, Any], bad: Sequence[Any]) -> str:
    if bad:
        return f"{len(bad)} of {_tests(len(report['tests']) + report['not_run'])} {_verb(len(bad))} a look"
    if not report["tests"]:
        return "none"
    return "fine" if report["complete"] else "fine so far"


def _counts(report: Mapping[str, Any]) -> str:
    counts = [f"{report['counts'][name]} {OUTCOMES[name].title}" for name in OUTCOMES if name in report["counts"]]
    told = ", ".join(counts) or "No golden test has an outcome"
    return f"{told}. Mode {_code(report['mode'])}, fixtures in {_code(report['golden_dir'])}."


def _incomplete(report: Mapping[str, Any]) -> list[str]:
    if report["complete"]:
        return []
    left = f"{_tests(report['not_run'])} without an outcome; " if report["not_run"] else ""
    return [f"**Not the whole picture:** {left}pytest ended with exit status {report['exit_status']}."]


# --- the table


def _table(tests: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        "| Test | Outcome | What is wrong | Fixture | Record it |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(_cells(test))} |" for test in tests[:_MOST_ROWS]),
    ]
    more = len(tests) - _MOST_ROWS
    return "\n".join(rows) + (f"\n\n… {more} more" if more > 0 else "")


def _cells(test: Mapping[str, Any]) -> tuple[str, ...]:
    wrong = test["headline"] or OUTCOMES[test["outcome"]].sentence
    names = (_code(test["test"]), OUTCOMES[test["outcome"]].title, _escaped(wrong), _code(test["fixture"]))
    return (*names, _code(test["command"]))


# --- lists and texts


def _files(title: str, names: Sequence[str]) -> list[str]:
    return _bullets(title, [_code(name) for name in names])


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"- … {len(lines) - _MOST_FILES} more"] if len(lines) > _MOST_FILES else []
    return [f"**{title}**\n\n" + "\n".join([*(f"- {line}" for line in lines[:_MOST_FILES]), *more])]


def _with_texts(text: str, tests: Sequence[Mapping[str, Any]]) -> str:
    """Append the whole texts, as many as there is room for."""
    room = _MOST_BYTES - len(text.encode(errors="replace"))
    parts = [text]
    for index, test in enumerate(tests):
        part = _fold_out(test)
        room -= len(part.encode(errors="replace"))
        if room < 0:
            return "".join([*parts, f"\n… the texts of {len(tests) - index} more are in pytest's own output\n"])
        parts.append(part)
    return "".join(parts)


def _fold_out(test: Mapping[str, Any]) -> str:
    text = _printable(test["text"])
    fence = "`" * max(3, _longest_run(text) + 1)
    title = f"<code>{escape(_one_line(test['test']))}</code> {escape(_one_line(test['headline']))}"
    return f"\n<details><summary>{title}</summary>\n\n{fence}text\n{text}\n{fence}\n\n</details>\n"


# --- quoting


def _code(text: str) -> str:
    """Text as code, inside a table or not."""
    line = _one_line(text).replace("|", "\\|")
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{pad}{line}{pad}{ticks}" if line else ""


def _escaped(text: str) -> str:
    """Text that is nothing but text."""
    return _MARKUP.sub(r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return _printable(" ".join(text.split()))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def _verb(count: int) -> str:
    return "needs" if count == 1 else "need"
