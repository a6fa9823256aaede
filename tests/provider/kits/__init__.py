"""The vendors, one module each that holds a `KIT`: what the tests of all providers need of one.

A new vendor adds its module; everything that is parametrised by `KITS` runs with it then.
"""

from importlib import import_module
from pkgutil import iter_modules

from kits._kit import Kit, Replaying, collect

__all__ = ["KITS", "Kit", "Replaying", "collect"]

KITS = tuple(
    import_module(f"kits.{module.name}").KIT for module in iter_modules(__path__) if not module.name.startswith("_")
)
