"""Run by `test_killing.py` in a process of its own: record, killed at the first call to the disk, the second, …

One warm process, which forks a child for each. The child records in earnest and counts what it asks of the disk while
it saves (verifying, which only reads, apart); at the n-th such call it kills itself, before the call is made or, of a
write, halfway through it. What each leaves is judged by the parent, which prints the calls once a child lives to the end.
"""

import importlib
import io
import os
import pkgutil
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest_starling

FIXTURE = Path("testdata/golden/test_support/test_refund.db")
CHANGES = {"mkdir", "open", "write", "flush", "fsync", "close", "__exit__", "replace", "rename", "unlink", "remove"}
DISK = {"posix", "io", "_io"}


def _saving(frame):
    """Whether a frame is part of putting a fixture in its place, and not of the run that verifies it."""
    names = set()
    while frame is not None and "_save" not in names:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return "_save" in names and "_verify" not in names


def _killer(number):
    left = number

    def profile(frame, event, function):
        nonlocal left
        if event != "c_call" or not _asks_the_disk(function) or not _saving(frame):
            return
        left -= 1
        if left == 0:
            if function.__name__ == "write":
                function.__self__.raw.write(b"SQLite format 3\x00" + bytes(1000))
            os.kill(os.getpid(), signal.SIGKILL)

    return profile


def _asks_the_disk(function):
    owner = getattr(function, "__self__", None)
    place = getattr(function, "__module__", None) or type(owner).__module__
    return function.__name__ in CHANGES and place in DISK and not isinstance(owner, io.StringIO | io.BytesIO)


def _child(number):
    import pytest

    from pytest_starling import _recorder

    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    _recorder._Recorder._save = _watched(_recorder._Recorder._save, _killer(number))
    code = pytest.main(["--golden-mode=all", "-p", "no:cacheprovider", *sys.argv[1:]])
    os._exit(int(code))


def _watched(save, profile):
    """Saving, looked at: a profiler slows down all that runs under it, so it comes no sooner."""

    def _save(*arguments):
        sys.setprofile(profile)
        try:
            return save(*arguments)
        finally:
            sys.setprofile(None)

    return _save


def _load():
    """Import once what every child would import: all of the plugin, and what pytest and a recording bring."""
    import pytest

    for module in pkgutil.walk_packages(pytest_starling.__path__, "pytest_starling."):
        if "syrupy" not in module.name:
            importlib.import_module(module.name)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        code = pytest.main(["--golden-mode=replay", "-p", "no:cacheprovider", *sys.argv[1:]])
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    for name in ("support", "test_support"):
        del sys.modules[name]


def _judge(before):
    from starling.replay import read_fixture, temporary_path

    found = set(FIXTURE.parent.rglob("*")) if FIXTURE.parent.exists() else set()
    unknown = found - {FIXTURE, temporary_path(FIXTURE)}
    if unknown:
        return f"left behind: {sorted(map(str, unknown))}"
    if not FIXTURE.exists():
        return "" if before is None else "the old fixture is gone"
    if FIXTURE.read_bytes() != before:
        fixture = read_fixture(FIXTURE)  # raises if it is not whole
        return "" if fixture.test_id == "test_support.py::test_refund" else "a fixture of another test"
    return ""


def main():
    _load()
    for number in range(1, 1000):
        before = FIXTURE.read_bytes() if FIXTURE.exists() else None
        child = os.fork()
        if not child:
            _child(number)
        _, status = os.waitpid(child, 0)
        problem = _judge(before)
        if problem:
            sys.exit(f"killed at call {number}: {problem}")
        if os.WIFEXITED(status):
            sys.stdout.write(f"{os.WEXITSTATUS(status)} {number - 1}\n")
            return
        if os.environ.get("KILL_STATE") == "fresh":
            FIXTURE.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
