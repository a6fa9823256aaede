"""A recording that is killed leaves the old fixture or the new one, whole, and at most its one named temporary."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from starling.replay import read_fixture, temporary_path
from tests import forked

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")

# Each kills the process from within, at one moment of the second recording. What it does to the disk: further below.
MOMENTS = {
    "while the old one is replayed": "in_tool(2)",
    "while the new one is recorded": "in_tool(4)",
    "while the new one is verified": "in_tool(6)",
}

CONFTEST = """
import os, signal

def die():
    os.kill(os.getpid(), signal.SIGKILL)

calls = []

def in_tool(number):
    # At the n-th nested call: the tool makes two in each run.
    from starling import step

    original = step.call_tool

    async def counted(call):
        calls.append(call)
        if len(calls) == number:
            die()
        return await original(call)

    step.call_tool = counted

"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_recording_killed_at_a_given_moment(recorded, moment):
    before = recorded.fixture().read_bytes()
    recorded.turn(total=43)
    recorded.pytester.makeconftest(CONFTEST + MOMENTS[moment])
    result = recorded.run_apart("--record-golden")
    assert result.ret == -signal.SIGKILL
    _check_what_is_left(recorded, before)
    (recorded.path / "conftest.py").unlink()
    recorded.record(passed=1)
    assert recorded.fixtures == ["test_support/test_refund.db"]
    recorded.run(passed=1)


def test_a_recording_killed_at_any_moment(recorded):
    before = recorded.fixture().read_bytes()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:cacheprovider",
        "--golden-mode=all",
    ]
    killed = 0
    for number in range(6):
        # The recording says when each phase begins; it is killed somewhere behind a different one each time.
        with Path(os.devnull).open("wb") as nowhere:
            process = forked.Popen(
                [*command, "-s"], cwd=recorded.path, stdout=subprocess.PIPE, stderr=nowhere, env=_env()
            )
        for _ in range(number):
            if not process.stdout.readline():
                break
        process.kill()
        process.stdout.read()
        killed += process.wait() == -signal.SIGKILL
        _check_what_is_left(recorded, before)
        before = recorded.fixture().read_bytes()
        process.stdout.close()
    assert killed
    recorded.run("--golden-mode=all", passed=1)
    assert recorded.fixtures == ["test_support/test_refund.db"]


def _env():
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _check_what_is_left(project, before):
    fixture = project.fixture()
    names = {"test_support/test_refund.db"}
    assert names <= set(project.fixtures) <= names | {f"test_support/{temporary_path(fixture).name}"}
    if fixture.read_bytes() != before:
        assert read_fixture(fixture).test_id == "test_support.py::test_refund"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process for each call")
@pytest.mark.parametrize("state", ["an old one is there", "fresh"])
def test_a_recording_killed_at_every_call_to_the_disk(recorded, state):
    if state == "fresh":
        recorded.fixture().unlink()
    recorded.turn(total=43)
    program = Path(__file__).with_name("kill_everywhere.py")
    idle = [
        word for name in ("hypothesispytest", "randomly", "xdist", "timeout", "syrupy") for word in ("-p", f"no:{name}")
    ]
    done = forked.run(
        [sys.executable, program, *idle, *(["--golden-verify=off"] if state == "fresh" else [])],
        cwd=recorded.path,
        env={**os.environ, "KILL_STATE": state},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    exit_code, calls = map(int, done.stdout.split())
    assert exit_code == pytest.ExitCode.OK
    assert (
        calls > 9
    )  # mkdir, unlink, open, write, flush, fsync, close, replace; open, fsync, close of the folder; unlink
    assert recorded.fixtures == ["test_support/test_refund.db"]
    recorded.run(passed=1)
