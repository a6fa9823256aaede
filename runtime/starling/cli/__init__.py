"""The command line ``starling``: one module a command.

_main       which commands there are, and what becomes of errors
_runs       the runs in a file, whichever kind of log it is
_textconv   a fixture as text, for ``git diff``
_diff       what differs between two files
_git_setup  makes git show fixtures as text
_version    what is installed

A command's module has a ``SUMMARY`` line, a ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(arguments)``, which
returns the exit code: 0 for yes, 1 for no (they differ, it is damaged), 2 for a mistake in using it.
"""

from starling.cli._main import main

__all__ = ["main"]
