"""The generated part of docs/cli.md: what ``--help`` says of each command, as Markdown.

Run this file to write it again: ``python tests/cli/cli_page.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from starling.cli._main import build_parser

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
MARK = "<!-- what follows is generated: python tests/cli/cli_page.py -->\n"


def generated():
    """All commands, in the order of ``starling --help``."""
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return "\n".join(_section(name, parser) for name, parser in commands.choices.items())


def page():
    """The whole page, with today's generated part."""
    return PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK + "\n" + generated()


def _section(name, parser):
    parts = [f"## starling {name}", _prose(parser.description)]
    rows = [f"| `{_named(action)}` | {_cell(action.help)} |" for action in parser._actions if action.dest != "help"]
    if rows:
        parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]))
    parts.append("\n".join(["```console", *_examples(parser.epilog), "```"]))
    return "\n\n".join(parts) + "\n"


def _prose(text):
    """Paragraphs as they are; what is indented is laid out by hand."""
    blocks = (block.strip("\n") for block in text.strip().split("\n\n"))
    return "\n\n".join(f"```text\n{block}\n```" if block.startswith("  ") else block for block in blocks)


def _named(action):
    value = "" if action.nargs == 0 else f" {action.metavar or '{' + ','.join(action.choices or ()) + '}'}"
    if not action.option_strings:
        return f"[{action.metavar}]" if action.nargs in ("?", "*") else action.metavar
    return ", ".join(f"{option}{value}" for option in action.option_strings)


def _cell(text):
    return text.replace("%%", "%").replace("|", "\\|")


def _examples(epilog):
    return [line.strip() for line in epilog.splitlines()[1:]]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
