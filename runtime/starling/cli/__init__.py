"""The command line ``starling``: one module a command.

_main       which commands there are, and what becomes of errors
_logs       what commands name: a log, a run, a time, an age
_output     what they print: tables, JSON, colours, progress
_runs       the runs of a log of whichever kind, in order
_factory    the function that makes today's agent, for replay

_list, _show, _diff              what is there
_validate, _replay, _doctor      is it as it should be
_export, _import                 out, and in again
_prune, _fork, _migrate, _schema_version
_textconv, _git_setup            golden fixtures in git
_version    what is installed

A command's module has a ``SUMMARY`` line, a ``DESCRIPTION``, ``EXAMPLES``, ``add_arguments(parser)`` and
``run(arguments)``, which may be a coroutine: logs of every kind are asked in that one way. It returns the exit code: 0
for yes, 1 for no (they differ, it is damaged), 2 for a mistake in using it.
"""

from starling.cli._main import main

__all__ = ["main"]
