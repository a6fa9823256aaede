"""``starling git-setup``: makes git show golden fixtures as text."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "make git diff show golden fixtures as text"
DESCRIPTION = """\
Make `git diff`, `git log -p` and `git show` print golden fixtures as text. Two things are needed, and done:

  .gitattributes  gets a line which says that fixtures are read by the diff driver "starling" and never merged line by
                  line. Commit it: it holds for everybody.
  git config      gets the command behind that name, in this clone only; git takes no commands from a repository. Each
                  member of the team runs `starling git-setup` once.

Running it again changes nothing."""
EXAMPLES = ("starling git-setup", "starling git-setup --golden-dir tests/recordings --dry-run")

_DRIVER = "diff.starling.textconv"
_DEFAULT = "testdata/golden"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where fixtures are kept, and whether to touch anything."""
    parser.add_argument(
        "--golden-dir",
        metavar="DIR",
        type=Path,
        default=Path(_DEFAULT),
        help=f"where golden fixtures are kept, from here (default: {_DEFAULT})",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def run(arguments: argparse.Namespace) -> int:
    """Set git up."""
    from starling.errors import StarlingError

    top = Path(_git("rev-parse", "--show-toplevel").strip())
    folder = (Path.cwd() / arguments.golden_dir).resolve()
    if not folder.is_relative_to(top.resolve()):
        raise StarlingError(f"{folder} is outside of the repository {top}: name a folder in it with --golden-dir")
    pattern = _pattern(folder.relative_to(top.resolve()).as_posix())
    act = not arguments.dry_run
    print("would do:" if arguments.dry_run else "done:")
    _attributes(top / ".gitattributes", f"{pattern} diff=starling -merge -text", act=act)
    _driver(act=act)
    _warn_if_ignored(folder, pattern)
    if not folder.is_dir():
        print(f"There is no folder {folder} yet: if fixtures are kept elsewhere, say where with --golden-dir.")
    return 0


def _pattern(folder: str) -> str:
    """Fixtures below a folder, as a line of .gitattributes wants them."""
    pattern = "*.db" if folder == "." else f"/{folder}/**/*.db"
    return f'"{pattern}"' if " " in pattern else pattern


def _attributes(path: Path, line: str, *, act: bool) -> None:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if line in text.splitlines():
        print(f"  {path.name} has the line already: {line}")
        return
    print(f"  {path.name} gets the line: {line}    (commit it)")
    if act:
        end = "" if not text or text.endswith("\n") else "\n"
        path.write_text(f"{text}{end}{line}\n", encoding="utf-8")


def _driver(*, act: bool) -> None:
    """The command with the Python that runs this one: git is also used where no environment is active."""
    command = f"{shlex.quote(Path(sys.executable).as_posix())} -m starling textconv"
    print(f"  git config {_DRIVER} = {command}    (this clone only)")
    if act:
        _git("config", "--local", _DRIVER, command)


def _warn_if_ignored(folder: Path, pattern: str) -> None:
    probe = folder / "test_module" / "test_name.db"
    known = next((parent for parent in probe.parents if parent.is_dir()), Path.cwd())
    ignored = _run_git("-C", str(known), "check-ignore", "--quiet", "--no-index", "--", str(probe)).returncode == 0
    if ignored:
        print(f"git ignores fixtures there. Add this line to .gitignore, below the one that does it:\n  !{pattern}")


def _git(*arguments: str) -> str:
    from starling.errors import StarlingError

    done = _run_git(*arguments)
    if done.returncode:
        raise StarlingError(f"git {arguments[0]} says: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def _run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    from starling.errors import StarlingError

    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607 - no shell
    except FileNotFoundError:
        raise StarlingError("git is not installed, or not on PATH") from None
