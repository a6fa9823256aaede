"""Every kind of test that pytest runs can be golden, in one process and in several."""

import pytest

MANY = """
import asyncio, threading, unittest
import pytest, support

pytestmark = pytest.mark.golden_run


def test_sync():
    support.handle()


def test_several_runs_in_sequence():
    for number in range(3):
        support.handle(f"question {number}")


def test_runs_in_threads():
    together = asyncio.Barrier(3)  # recorded in overlapping, so they are told apart by what they ask
    agents = [support.agent(first=together.wait) for _ in range(3)]
    threads = [
        threading.Thread(target=one.run_sync, args=(f"question {number}",)) for number, one in enumerate(agents)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.asyncio
async def test_asyncio():
    await support.agent().run("hello")


@pytest.mark.asyncio
async def test_concurrent_runs():
    await asyncio.gather(*(support.agent().run(f"question {number}") for number in range(4)))


@pytest.mark.anyio
async def test_anyio():
    await support.agent().run("hello")


@pytest.mark.asyncio
async def test_blocking_call_inside_a_loop():
    assert support.handle()


@pytest.mark.parametrize("word", ["one", "two/three", "vier und fünf"])
def test_parametrised(word):
    support.handle(word)


class TestClass:
    @pytest.fixture
    def answer(self):
        return support.handle("from a fixture")

    def test_method(self, answer):
        assert "refund" in answer

    @pytest.mark.parametrize("number", [1, 2])
    def test_parametrised(self, number):
        support.handle(f"{number}")

    class TestInner:
        def test_deep(self):
            support.handle()


class Case(unittest.TestCase):
    def setUp(self):
        self.answer = support.handle("set up")

    def test_unittest(self):
        self.assertIn("refund", support.handle())


class AsyncCase(unittest.IsolatedAsyncioTestCase):
    async def test_async_unittest(self):
        await support.agent().run("hello")
"""
COUNT = 16


@pytest.fixture
def many(project):
    project.pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    project.write(test_many=MANY)
    return project


def test_every_kind_is_recorded_and_replays(many):
    many.record(passed=COUNT)
    assert len(many.fixtures) == COUNT
    before = many.state
    for _ in range(3):
        many.run(passed=COUNT)
    many.run("--record-golden", passed=COUNT)
    assert many.state == before


def test_every_kind_diverges(many):
    many.record(passed=COUNT)
    many.turn(total=43)
    # One of them runs its agent in a fixture, and so diverges in setup, which pytest calls an error.
    output = many.run("--tb=no", "-W", "ignore", failed=COUNT - 1, errors=1).stdout.str()
    assert output.count(" - golden run diverged at seq ") == COUNT


def test_every_kind_in_worker_processes(many):
    result = many.run("-n2", "--record-golden", passed=COUNT)
    assert result.stdout.str().count("recorded  testdata/golden/test_many/") == COUNT
    many.run("-n2", passed=COUNT)
    many.run(passed=COUNT)


def test_worker_processes_report_divergences_to_the_controller(many):
    many.record(passed=COUNT)
    many.turn(total=43)
    output = many.run("-n2", "--tb=no", "-W", "ignore", failed=COUNT - 1, errors=1).stdout.str()
    assert f"{COUNT} diverged; where that is meant, record with: pytest --record-golden" in output


def test_wrong_markers_are_reported_by_workers(project):
    project.write(test_a="import pytest\n@pytest.mark.golden_run(tool=1)\ndef test_a(): ...\n")
    result = project.run("-n1")
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    assert "has no argument 'tool'" in result.stdout.str() + result.stderr.str()


def test_asyncio_auto_mode(project):
    project.write(
        test_auto="""
        import pytest, support

        @pytest.fixture
        async def answer():
            return (await support.agent().run("in an async fixture")).final_text

        @pytest.mark.golden_run
        async def test_auto(answer):
            await support.agent().run("in the body")
        """
    )
    auto = ["-o", "asyncio_mode=auto"]
    project.record(*auto, passed=1)
    project.run(*auto, passed=1)
    project.turn(total=43)
    project.record(*auto, passed=1)
    project.run(*auto, passed=1)


def test_the_order_of_tests_does_not_matter(many):
    many.record(passed=COUNT)
    many.pytester.makeconftest(
        """
        import pytest, random

        @pytest.fixture
        def anyio_backend():
            return 'asyncio'

        def pytest_collection_modifyitems(items):
            random.shuffle(items)
        """
    )
    many.run(passed=COUNT)


def test_the_plugin_can_be_left_out(recorded):
    recorded.run_apart("-p", "no:starling", "-W", "ignore::pytest.PytestUnknownMarkWarning", passed=1)


def test_one_golden_test_among_many_plain_ones(recorded):
    recorded.write(
        test_plain="""
        import os

        def test_plain():
            assert "STARLING_REPLAY" not in os.environ
        """
    )
    recorded.run(passed=2)


def test_the_last_failed_tests_can_be_run_again(recorded):
    recorded.turn(total=43)
    recorded.pytester.runpytest_inprocess("-p", "no:hypothesispytest").assert_outcomes(failed=1)
    recorded.turn()
    recorded.pytester.runpytest_inprocess("-p", "no:hypothesispytest", "--lf").assert_outcomes(passed=1)


def test_a_read_only_checkout_replays(recorded):
    folder = recorded.fixture().parent
    recorded.fixture().chmod(0o444)
    folder.chmod(0o555)
    try:
        recorded.run(passed=1)
    finally:
        folder.chmod(0o755)
