"""`unittest.TestCase` tests: what they do besides asserting."""

import pytest

CASES = """
import unittest
import pytest, support

@pytest.mark.golden_run
class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = 1

    def setUp(self):
        self.answer = support.handle("in setUp")
        self.addCleanup(support.handle, "in a cleanup")

    def tearDown(self):
        support.handle("in tearDown")

    def test_everywhere(self):
        self.assertEqual(self.shared, 1)
        self.assertIn("refund", support.handle("in the body"))

    @unittest.skip("not today")
    def test_skipped(self):
        support.handle()


@pytest.mark.golden_run
class TestSkipped(unittest.TestCase):
    def test_skips_itself(self):
        self.skipTest("not today")


@pytest.mark.golden_run
class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.answer = (await support.agent().run("in asyncSetUp")).final_text

    async def asyncTearDown(self):
        await support.agent().run("in asyncTearDown")

    async def test_async(self):
        self.assertIn("refund", (await support.agent().run("in the body")).final_text)


class TestOneOfTwo(unittest.TestCase):
    @pytest.mark.golden_run
    def test_golden(self):
        support.handle()

    def test_plain(self):
        pass
"""


def test_runs_are_recorded_wherever_a_case_makes_them(project):
    from starling.replay import read_fixture

    project.write(test_support=CASES)
    project.record(passed=4, skipped=2)
    goals = {
        name: [run.events[0].decode().goal for run in read_fixture(project.fixture(name)).runs]
        for name in ("TestCase.test_everywhere", "TestAsync.test_async")
    }
    assert goals == {
        "TestCase.test_everywhere": ["in setUp", "in the body", "in tearDown", "in a cleanup"],
        "TestAsync.test_async": ["in asyncSetUp", "in the body", "in asyncTearDown"],
    }
    before = project.state
    project.run(passed=4, skipped=2)
    project.record(passed=4, skipped=2)
    assert project.state == before
    project.turn(total=43)
    output = project.run("--tb=no", failed=3, passed=1, skipped=2).stdout.str()
    assert output.count(" - golden run diverged at seq 11 of 14") == 3


@pytest.mark.parametrize("hook", ["setUpClass", "tearDownClass"])
def test_runs_of_a_whole_class_are_an_error_that_says_why(project, hook):
    project.write(
        test_support=f"""
        import unittest
        import pytest, support

        @pytest.mark.golden_run
        class TestCase(unittest.TestCase):
            @classmethod
            def {hook}(cls):
                support.handle()

            def test_a(self):
                support.handle()
        """
    )
    output = project.record().stdout.str()
    assert "golden run misused: a run was started by the" in output
    assert "which outlives the test" in output
    if hook == "setUpClass":
        assert project.fixtures == []


def test_a_class_that_skips_itself_needs_no_recording(project):
    project.write(
        test_support="""
        import unittest
        import pytest, support

        @pytest.mark.golden_run
        class TestCase(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                raise unittest.SkipTest("no backend here")

            def test_a(self):
                support.handle()
        """
    )
    project.run(skipped=1)
    project.record(skipped=1)
    assert project.fixtures == []
