"""Which commands there are, and what becomes of their errors.

The modules of commands import the runtime inside ``run``, so that ``--help`` and shell completion stay quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from starling.cli import _diff, _git_setup, _textconv, _version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main"]

_COMMANDS: Mapping[str, Any] = {
    "textconv": _textconv,
    "diff": _diff,
    "git-setup": _git_setup,
    "version": _version,
}
_USAGE = 2
_INTERRUPTED = 130
"""What a shell expects of a program that was ended by Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those after the program's name; None for the process's own.

    Returns:
        The exit code: 0 for yes, 1 for no, 2 for a mistake in using the command.
    """
    parsed = _parser().parse_args(arguments)
    try:
        code: int = _run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _run(parsed: argparse.Namespace) -> int:
    from starling.errors import StarlingError

    try:
        code: int = parsed.run(parsed)
    except StarlingError as error:
        sys.stdout.flush()
        print(f"starling {parsed.command}: {error}", file=sys.stderr)
        return _USAGE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="starling",
        description="Event logs of LLM agents: golden fixtures of pytest-starling, and the logs of services.",
        epilog="`starling COMMAND --help` tells more. Exit codes: 0 yes, 1 no, 2 a mistake in using the command.",
    )
    parser.add_argument("-V", "--version", action="version", version=_version.line())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        child = commands.add_parser(
            name,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser
