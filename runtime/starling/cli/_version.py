"""``starling version``."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from starling import __version__

if TYPE_CHECKING:
    import argparse

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "line", "run"]

SUMMARY = "print the version"
DESCRIPTION = "Print the version of pytest-starling and of the Python that runs it."
EXAMPLES = ("starling version",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Print the version."""
    del arguments
    print(line())
    return 0


def line() -> str:
    """The version, and what runs it."""
    return f"pytest-starling {__version__} (Python {platform.python_version()})"
