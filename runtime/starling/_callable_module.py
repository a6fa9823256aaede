"""Modules that can be called: `starling.tool` and `starling.replay` are each a package and its main function.

``from starling import tool`` and ``from starling.tool import builtin`` must both work, in any order of imports. The
import system binds a package's name in its parent, so the name can only be the module; calling the module calls the
function of the same name in it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["make_callable"]


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = getattr(self, self.__name__.rpartition(".")[2])
        return function(*args, **kwargs)


def make_callable(name: str) -> None:
    """Let the module of this name be called like the function of its last name part."""
    sys.modules[name].__class__ = _CallableModule
