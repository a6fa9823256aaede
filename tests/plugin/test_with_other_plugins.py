"""Other plugins that people have installed, and golden tests among what those work on."""

import os
import signal
import sys

import pytest


@pytest.fixture
def several(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        @pytest.mark.parametrize("number", range(6))
        def test_a(number):
            support.handle(f"question {number}")
        """
    )
    return project


class TestRandomly:
    """pytest-randomly shuffles the tests, and seeds `random` before each phase of each."""

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("pytest_randomly")

    @pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["one process", "workers"])
    def test_any_order_records_and_replays(self, several, workers):
        shuffled = ["-p", "randomly", *workers, "-W", "error::pytest_starling.StarlingWarning"]
        several.run_apart(*shuffled, "--record-golden", passed=6)
        before = several.state
        several.run_apart(*shuffled, "--record-golden", "--randomly-seed=1", passed=6)
        assert several.state == before

    def test_a_number_that_leaks_is_told_though_both_runs_draw_the_same(self, project):
        project.write(
            test_support="""
            import random
            import pytest
            from starling import Agent, Config, MemoryLog, tool

            @tool
            def draw() -> float:
                "Draw a number."
                return random.random()

            @pytest.mark.golden_run
            def test_a(scripted_provider):
                random.random()  # the test's own is nobody's business
                provider = scripted_provider.tool_call("draw", {}).turn().text("Drawn.")
                Agent(provider, Config(model="m"), MemoryLog(), tools=[draw]).run_sync("draw")
            """
        )
        output = project.run_apart("-p", "randomly", "--record-golden", passed=1).stdout.str()
        assert "random.random()" in output
        assert "undeclared nondeterminism in 1 place" in output


class TestTimeout:
    """pytest-timeout ends a test from a signal handler, or the process from a thread."""

    SLOW = """
    import threading
    import pytest, support

    @pytest.mark.golden_run
    @pytest.mark.timeout({seconds}, method="{method}")
    def test_refund():
        support.handle()
        if {waits}:
            threading.Event().wait(60)
    """

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("pytest_timeout")

    @pytest.mark.parametrize("method", ["signal", "thread"])
    def test_a_test_in_time_is_recorded_and_replays(self, project, method):
        project.write(test_support=self.SLOW.format(seconds=60, method=method, waits=False))
        project.run_apart("-p", "timeout", "--record-golden", passed=1)
        project.run_apart("-p", "timeout", passed=1)

    @pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="the method needs SIGALRM")
    @pytest.mark.parametrize("method", ["signal", "thread"])
    def test_a_recording_that_runs_out_of_time_leaves_the_old_one(self, recorded, method):
        before = recorded.state
        recorded.write(test_support=self.SLOW.format(seconds=1, method=method, waits=True))
        result = recorded.run_apart("-p", "timeout", "--golden-mode=all")
        assert result.ret != pytest.ExitCode.OK
        assert "Timeout" in result.stdout.str() + result.stderr.str()
        assert recorded.state == before

    STOPPED = """
    import asyncio
    import pytest, support
    from starling import Agent, Config, MemoryLog, tool
    from starling.testing import ScriptedProvider

    BEGUN = asyncio.Event()

    @tool
    async def wait() -> str:
        BEGUN.set()
        if support.knobs()["fails"]:
            await asyncio.Event().wait()
        return "waited"

    @pytest.mark.asyncio
    @pytest.mark.golden_run
    @pytest.mark.timeout(1, method="signal")
    async def test_refund():
        running = Agent(
            ScriptedProvider().tool_call("wait").turn().text("done"), Config(model="m"), MemoryLog(), tools=[wait]
        ).run("go")
        {body}
    """

    @pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="the method needs SIGALRM")
    def test_what_a_test_that_ran_out_of_time_leaves_behind_is_not_reported_beside_it(self, project):
        project.write(test_support=self.STOPPED.format(body="await running"))
        project.record(passed=1)
        project.turn(fails=True)
        result = project.run_apart("-p", "timeout", failed=1, errors=0)
        result.stdout.fnmatch_lines(["FAILED test_support.py::test_refund - Failed: Timeout*"])

    @pytest.mark.parametrize(("ends", "outcome"), [("pytest.skip('later')", "skipped"), ("return", "passed")])
    def test_a_run_that_is_left_behind_by_a_test_that_did_not_fail_is_reported(self, project, ends, outcome):
        project.write(test_support=self.STOPPED.format(body="await running"))
        project.record(passed=1)
        project.turn(fails=True)
        begun = f"task = asyncio.create_task(running)\n        await BEGUN.wait()\n        {ends}"
        project.write(test_support=self.STOPPED.format(body=begun))
        result = project.run_apart("-p", "timeout", errors=1, **{outcome: 1})
        result.stdout.fnmatch_lines(["ERROR test_support.py::test_refund - golden run diverged at seq *"])


COVERAGE_CORES = ["ctrace", "pytrace", *(["sysmon"] if sys.version_info >= (3, 12) else [])]


class TestCoverage:
    """Coverage counts the lines of agents and tools, while the guard looks for what a recording lacks."""

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("pytest_cov")

    @pytest.mark.parametrize("core", COVERAGE_CORES)
    def test_lines_are_counted_in_both_modes_and_leaks_are_found(self, project, core):
        project.monkeypatch.setenv("COVERAGE_CORE", core)
        project.write(
            app="""
            import time
            from starling import Agent, Config, MemoryLog, tool
            from starling.testing import ScriptedProvider

            @tool
            async def clock() -> str:
                "Tell the time."
                now = time.time()
                return "late" if now else "early"

            def handle():
                provider = ScriptedProvider().tool_call("clock", {}).turn().text("It is late.")
                return Agent(provider, Config(model="m"), MemoryLog(), tools=[clock]).run_sync("time?").final_text
            """,
            test_app="""
            import pytest, app

            @pytest.mark.golden_run
            def test_app():
                assert app.handle() == "It is late."
            """,
        )
        counted = ["-p", "pytest_cov", "--cov=app", "--cov-report=term-missing"]
        result = project.run_apart(*counted, "--record-golden", "test_app.py", passed=1)
        result.stdout.fnmatch_lines(["app.py * 100%*"])
        assert "undeclared nondeterminism in 1 place" in result.stdout.str()
        result = project.run_apart(*counted, "test_app.py", passed=1)
        result.stdout.fnmatch_lines(["app.py * 100%*"])


class TestAnyio:
    """anyio runs a test on every backend there is. Agents run on asyncio."""

    TEST = """
    import pytest, support
    from starling.errors import AgentConfigError

    @pytest.mark.golden_run
    @pytest.mark.anyio
    async def test_run():
        await support.agent().run("hello")

    @pytest.mark.golden_run
    @pytest.mark.anyio
    async def test_stream():
        async for _ in support.agent().stream("hello"):
            pass

    @pytest.mark.golden_run
    @pytest.mark.anyio
    async def test_blocking():
        assert support.agent().run_sync("hello").final_text
    """

    def test_each_backend_has_a_recording_of_its_own(self, project):
        pytest.importorskip("trio")
        project.write(test_support=self.TEST)
        result = project.run("--record-golden", "--tb=short", passed=4, failed=2)
        text = "E   starling.errors.AgentConfigError: starling: agents run on asyncio, and this coroutine is run by something else, such as trio. Call run_sync"
        assert result.stdout.str().count(text) == 2
        names = ["blocking[asyncio]", "blocking[trio]", "run[asyncio]", "stream[asyncio]"]
        assert project.fixtures == [f"test_support/test_{name}.db" for name in names]
        output = project.run("--tb=short", passed=4, failed=2).stdout.str()
        assert output.count(text) == 2

    def test_without_trio_asyncio_is_enough(self, project):
        project.write(test_support=self.TEST)
        project.pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n")
        project.record(passed=3)
        project.run(passed=3)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_asyncio_in_both_modes(project, mode):
    project.write(
        test_support="""
        import pytest, support

        pytestmark = pytest.mark.asyncio

        @pytest.mark.golden_run
        async def test_refund():
            await support.agent().run("hello")

        class TestClass:
            @pytest.mark.golden_run
            async def test_method(self):
                await support.agent().run("hello")
        """
    )
    project.record("-o", f"asyncio_mode={mode}", passed=2)
    project.run("-o", f"asyncio_mode={mode}", passed=2)


def test_doctests_stand_beside_golden_tests(project):
    project.write(
        test_support='''
        """
        >>> 1 + 1
        2
        """
        import pytest, support

        pytestmark = pytest.mark.golden_run

        def test_refund():
            support.handle()
        '''
    )
    project.pytester.makefile(".txt", test_text=">>> 2 + 2\n4\n")
    project.run("--doctest-modules", "--record-golden", passed=3)
    assert project.fixtures == ["test_support/test_refund.db"]
    project.run("--doctest-modules", passed=3)


DIST = ["load", "loadfile", "loadscope", "loadgroup", "worksteal"]


@pytest.mark.parametrize("dist", DIST)
def test_however_xdist_deals_tests_out(several, dist):
    (several.path / "test_more.py").write_text(
        "import pytest, support\n"
        "@pytest.mark.golden_run\n@pytest.mark.xdist_group('g')\ndef test_b(): support.handle()\n"
    )
    output = several.run("-n2", f"--dist={dist}", "--record-golden", passed=7).stdout.str()
    assert output.count("golden: 7 tests, recording what is missing or diverges in testdata/golden") == 1
    assert output.count("recorded  testdata/golden/") == 7
    assert len(several.fixtures) == 7
    assert "unused" not in output
    several.run(passed=7)  # a group is no part of a test's name


CRASHING = """
import os, signal
import pytest, support
from pathlib import Path

@pytest.mark.golden_run
@pytest.mark.parametrize("number", range(4))
def test_a(number):
    support.handle(f"question {number}")
    if number == 2 and Path("crashes").exists():
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "fork") or not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
class TestCrashingWorker:
    @pytest.fixture
    def crashing(self, project):
        project.write(test_support=CRASHING)
        (project.path / "crashes").touch()
        return project

    def test_while_recording_the_others_are_recorded(self, crashing):
        result = crashing.run_apart("-n2", "--record-golden", "--golden-report=report.md", passed=3, failed=1)
        assert "crashed while running 'test_support.py::test_a[[]2[]]'".replace("[[]", "[").replace("[]]", "]") in (
            result.stdout.str()
        )
        assert crashing.fixtures == [f"test_support/test_a[{number}].db" for number in (0, 1, 3)]
        assert "recorded  testdata/golden/test_support/test_a[3].db" in result.stdout.str()
        assert (crashing.path / "report.md").exists()
        (crashing.path / "crashes").unlink()
        crashing.run_apart("-n2", "--record-golden", passed=4)
        crashing.run(passed=4)

    def test_while_replaying_nothing_is_changed(self, crashing):
        (crashing.path / "crashes").unlink()
        crashing.record(passed=4)
        before = crashing.state
        (crashing.path / "crashes").touch()
        output = crashing.run_apart("-n2", passed=3, failed=1).stdout.str()
        assert output.count("golden: 4 tests, replaying from testdata/golden") == 1
        assert crashing.state == before

    def test_while_recording_anew_the_old_one_stays(self, crashing):
        (crashing.path / "crashes").unlink()
        crashing.record(passed=4)
        crashing.turn(total=43)
        (crashing.path / "crashes").touch()
        before = crashing.state
        crashing.run_apart("-n2", "--record-golden", passed=3, failed=1)
        changed = {name for name, content in crashing.state.items() if content != before[name]}
        assert changed == {f"test_support/test_a[{number}].db" for number in (0, 1, 3)}
