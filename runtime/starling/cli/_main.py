"""Which commands there are, and what becomes of their errors.

The modules of commands import the runtime inside ``run``, so that ``--help`` and shell completion stay quick.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from starling.cli import (
    _diff,
    _doctor,
    _export,
    _fork,
    _git_setup,
    _import,
    _list,
    _migrate,
    _prune,
    _replay,
    _schema_version,
    _show,
    _textconv,
    _validate,
    _version,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["build_parser", "main"]

_COMMANDS: Mapping[str, Any] = {
    "list": _list,
    "show": _show,
    "diff": _diff,
    "validate": _validate,
    "replay": _replay,
    "export": _export,
    "import": _import,
    "prune": _prune,
    "fork": _fork,
    "migrate": _migrate,
    "schema-version": _schema_version,
    "doctor": _doctor,
    "textconv": _textconv,
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
    if not _has_streams():
        print("starling: stdout is closed: give it somewhere to write to, /dev/null if need be", file=sys.stderr)
        return _USAGE
    name, code = "starling", 0
    try:
        parsed = _parsed(arguments)
        name = f"starling {parsed.command}"
        code = _run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough; what the command had come to by then stands
        _give_up_stdout()
        return code
    except OSError as error:
        _flush_or_give_up()
        where = error.filename or "the output cannot be written"
        print(f"{name}: {where}: {error.strerror}", file=sys.stderr)
        return _USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code


def _has_streams() -> bool:
    """Make stdout and stderr take any text. Returns whether there is a stdout: a shell's ``>&-`` leaves none."""
    if sys.stderr is None:
        sys.stderr = io.StringIO()  # nobody listens, and that must not decide the exit code
    if isinstance(sys.stdout, io.TextIOWrapper):  # who calls main may have put another stream there
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return sys.stdout is not None


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return build_parser().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # of --help, for which argparse does not
        raise


def _flush_or_give_up() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _give_up_stdout()


def _give_up_stdout() -> None:
    """The flush at exit must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(parsed: argparse.Namespace) -> int:
    from starling.cli._output import complain
    from starling.errors import StarlingError

    try:
        outcome = parsed.run(parsed)
        code: int = _wait_for(outcome) if isinstance(outcome, Coroutine) else outcome
    except StarlingError as error:
        complain(parsed.command, error)
        return _USAGE
    return code


def _wait_for(work: Coroutine[Any, Any, int]) -> int:
    """Run a command to its end; Ctrl-C interrupts whatever it is at.

    asyncio would answer the first Ctrl-C by cancelling the command, which one that waits for no event (it reads a file,
    or a log that answers in line) would not notice.
    """
    import asyncio

    before = signal.getsignal(signal.SIGINT)
    takes_signals = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if takes_signals:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        return asyncio.run(work)
    finally:
        if takes_signals:
            signal.signal(signal.SIGINT, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class _Parser(argparse.ArgumentParser):
    """Says so where its help cannot be written; argparse passes over that."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)


class _CommandParser(_Parser):
    """Takes ``LOG --option RUN`` as well, where RUN may be left out.

    argparse gives an optional positional its default as soon as an option stands in front of it, and then has no use
    for what comes. What is left over is therefore parsed once more, options first. The ordinary way comes first: it
    alone knows ``--`` and names all that is missing.
    """

    _again = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's own, which this calls."""
        found, left = super().parse_known_args(args, namespace)
        if not left or self._again:
            return found, left
        self._again = True  # argparse's second way calls this method
        try:
            return self.parse_known_intermixed_args(args)
        finally:
            self._again = False


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; docs/cli.md is made from it."""
    parser = _Parser(
        prog="starling",
        description="Event logs of LLM agents: golden fixtures of pytest-starling, and the logs of services.",
        epilog="`starling COMMAND --help` tells more. Exit codes: 0 yes, 1 no, 2 a mistake in using the command.",
    )
    parser.add_argument("-V", "--version", action="version", version=_version.line())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_CommandParser)
    for name, command in _COMMANDS.items():
        child = commands.add_parser(
            name,
            help=command.SUMMARY,
            usage=getattr(command, "USAGE", None),
            description=command.DESCRIPTION,
            epilog=_examples(command.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser


def _examples(lines: Sequence[str]) -> str:
    return "\n  ".join((f"example{'s' if len(lines) > 1 else ''}:", *(f"$ {line}" for line in lines)))
