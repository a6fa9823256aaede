"""A vendor's SDK, imported on first use only."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from starling.errors import MissingExtraError

__all__ = ["require_sdk"]


def require_sdk(module: str, *, extra: str) -> Any:
    """The SDK's module.

    Args:
        module: its name, such as ``google.genai``.
        extra: the extra of this distribution that brings it.

    Raises:
        MissingExtraError: it is not installed; the message is the line that installs it.
    """
    if not _is_installed(module):
        raise MissingExtraError(f"pip install 'pytest-starling[{extra}]'", extra=extra)
    return import_module(module)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing, too
        return False
    except ValueError:  # imported, but without a spec, as a stand-in in a test is
        return True
