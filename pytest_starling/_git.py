"""Whether git would leave a new fixture out: ``*.db`` often stands in a .gitignore."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_starling._session import GoldenItem

__all__ = ["warn_if_ignored"]

_LONGEST_S = 10


def warn_if_ignored(golden: GoldenItem) -> None:
    """Warn, with the line that mends it, if git ignores a fixture that was just recorded."""
    if not _is_ignored(golden.path):
        return
    from pytest_starling import StarlingWarning

    settings = golden.settings
    inside = golden.path.is_relative_to(settings.folder) and settings.folder.is_relative_to(settings.root)
    line = f"!{settings.shown(settings.folder)}/**/*.db" if inside else f"!{golden.path.name}"
    golden.item.warn(
        StarlingWarning(
            f"git ignores {golden.shown_path}, so the recording would not reach CI. Add this line to "
            f"{settings.shown(settings.root / '.gitignore')}:  {line}"
        )
    )


def _is_ignored(path: Path) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the only variable is a file name
            ["git", "check-ignore", "--quiet", "--", path.name],  # noqa: S607 - whichever git the user has
            cwd=path.parent,
            capture_output=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
