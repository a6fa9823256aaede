"""The main job in two steps: replay the committed recordings, then edit the prompt and see where the replay fails.

Needs no key and no network. Works on a copy; the checkout stays as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = Path("examples/support_agent")
GOLDEN = Path("testdata/golden") / EXAMPLE
OLD = "Answer in two sentences at most."
NEW = "Answer in one sentence."


def main() -> int:
    """Return 0 if the recordings replay and the edited prompt is caught."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in (EXAMPLE, GOLDEN):
            shutil.copytree(ROOT / part, copy / part)
        (copy / "pytest.ini").write_text("[pytest]\n")
        say("1. The agent as it was recorded: every run replays, without a key and without network.")
        clean = pytest(copy)
        say(f'2. Somebody edits the system prompt: "{OLD}" becomes "{NEW}"')
        edit(copy / EXAMPLE / "support.py")
        diverged = pytest(copy, "-k", "test_refund")
    if clean.returncode == 0 and diverged.returncode == 1 and "golden run diverged at seq 1 of" in diverged.stdout:
        say("Both as they should be: the recordings replay, and the edited prompt was caught at seq 1.")
        return 0
    say("This is not what should have happened; please report it with the output above.")
    return 1


def edit(module: Path) -> None:
    """Change the prompt."""
    text = module.read_text()
    if OLD not in text:
        raise SystemExit(f"{module} does not contain {OLD!r}: the demo no longer fits the example")
    module.write_text(text.replace(OLD, NEW))


def pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the example's tests in a folder, without any key, and show what pytest says."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(EXAMPLE)]
    run = subprocess.run(  # noqa: S603 - our own command
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    print(run.stdout, run.stderr, sep="")  # noqa: T201 - this is what the demo shows
    return run


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n=== {text}\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
