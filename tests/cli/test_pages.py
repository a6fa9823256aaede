"""The pages on the command line and on operating it say what holds."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
from cli_page import PAGE, page

from starling.cli._main import _COMMANDS, build_parser
from starling.cli._output import printable

DOCS = Path(__file__).parents[2] / "docs"


def parsers():
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices


def test_the_page_of_the_commands_is_what_help_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/cli/cli_page.py writes it again"


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_help_is_worth_reading(name):
    """It says what the command does and shows a call of it; each argument is explained."""
    parser = parsers()[name]
    text = parser.format_help()

    assert f"$ starling {name}" in text
    assert len(parser.description) > 60 or name == "version"
    assert [action for action in parser._actions if not action.help] == []


def calls(line):
    """The arguments of each call of ``starling`` in a line for a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>;&")
    lexer.commenters = "#"
    lexer.wordchars += "$:/"
    commands = [[]]
    for word in lexer:
        if set(word) <= set("|>;&"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [command[1:] for command in commands if command[:1] == ["starling"]]


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_the_examples_of_help_can_be_parsed(name):
    found = [call for line in _COMMANDS[name].EXAMPLES for call in calls(line)]

    assert found
    assert [build_parser().parse_args(call).command for call in found] == [name] * len(found)


@pytest.mark.parametrize("path", ["operations.md", "cli.md", "git.md"])
def test_the_commands_of_a_page_can_be_parsed(path):
    """Also those with which no test is concerned: a renamed option must not live on in the docs."""
    lines = re.findall(r"^\$ (.*starling .*)$", (DOCS / path).read_text(encoding="utf-8"), re.MULTILINE)

    found = [call for line in lines for call in calls(line)]
    assert found
    for call in found:
        assert build_parser().parse_args(call).command in _COMMANDS


def test_text_for_terminals():
    assert printable("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
