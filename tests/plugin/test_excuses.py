"""No excuse hides what is wrong with a golden run; and a test that needs no run needs no recording."""

import pytest

HEADLINE = "golden run diverged at seq 11 of 14 (ToolCallCompleted): payload"
MISSING = "golden run not recorded: testdata/golden/test_support/{}.db does not exist"

FUNCTION = """
import pytest, support, unittest

@pytest.mark.golden_run
def test_refund():
    try:
        support.handle()
    except Exception:
        {excuse}
"""
CASE = """
import pytest, support, unittest

class Case(unittest.TestCase):
    @pytest.mark.golden_run(path="testdata/golden/test_support/test_refund.db")
    def test_refund(self):
        try:
            support.handle()
        except Exception:
            {excuse}
"""
ASYNC_CASE = """
import pytest, support, unittest

class Case(unittest.IsolatedAsyncioTestCase):
    @pytest.mark.golden_run
    async def test_refund(self):
        try:
            await support.agent().run("hello")
        except Exception:
            {excuse}
"""
EXPECTED = """
import pytest, support, unittest

class Case(unittest.TestCase):
    @pytest.mark.golden_run
    @unittest.expectedFailure
    def test_refund(self):
        support.handle()
        assert {passes}
"""
SOURCES = {"a function": FUNCTION, "a TestCase": CASE, "an asynchronous TestCase": ASYNC_CASE}
EXCUSES = {
    "skipTest": "self.skipTest('the model is away')",
    "SkipTest": "raise unittest.SkipTest('the model is away')",
    "pytest.skip": "pytest.skip('the model is away')",
    "pytest.xfail": "pytest.xfail('flaky')",
}
PAIRS = [(place, excuse) for place in SOURCES for excuse in EXCUSES if (place, excuse) != ("a function", "skipTest")]


@pytest.mark.parametrize(("place", "excuse"), PAIRS)
def test_an_excuse_does_not_hide_a_divergence_or_a_missing_recording(project, place, excuse):
    project.write(test_support=SOURCES[place].format(excuse=EXCUSES[excuse]))
    project.run("-vv", failed=1).stdout.fnmatch_lines(["FAILED *test_refund - golden run not recorded: *"])
    project.record(passed=1)
    project.run(passed=1)
    project.turn(total=43)
    output = project.run("-vv", failed=1).stdout
    output.fnmatch_lines(["*support.*", f"E   {HEADLINE}", f"FAILED *test_refund - {HEADLINE}"])


def test_an_excuse_does_not_hide_a_refused_live_call(project):
    project.write(
        test_support="""
        import pytest, support, asyncio, unittest
        from starling.provider import Request

        async def ask(provider):
            async for _ in provider.stream(Request(model="gpt-4o", messages=())):
                pass

        @pytest.mark.golden_run
        def test_refund(scripted_provider):
            support.handle()
            try:
                asyncio.run(ask(scripted_provider.text("hello")))
            except Exception:
                raise unittest.SkipTest("no network")
        """
    )
    project.record("--golden-verify=off", passed=1)
    project.run("-vv", failed=1).stdout.fnmatch_lines(["FAILED *test_refund - golden run went live: *"])


def test_a_later_error_of_a_testcase_is_not_lost_behind_its_excuse(project):
    source = CASE.format(excuse="self.skipTest('away')")
    project.write(test_support=source)
    project.record(passed=1)
    project.turn(total=43)
    project.write(test_support=source + "\n    def tearDown(self):\n        raise OSError('torn')\n")
    output = project.run("-vv", failed=1).stdout.str()
    assert "OSError: torn" in output
    assert HEADLINE in output


@pytest.mark.parametrize("excuse", ["pytest.skip('away')", "pytest.xfail('flaky')", "raise unittest.SkipTest('away')"])
def test_an_excuse_in_a_fixture_hides_nothing_either(project, excuse):
    source = """
    import pytest, support, unittest

    @pytest.fixture
    def answer():
        try:
            return support.handle()
        except Exception:
            {excuse}

    @pytest.mark.golden_run
    def test_refund(answer):
        assert answer
    """
    project.write(test_support=source.format(excuse=excuse))
    project.run("-vv", failed=1).stdout.fnmatch_lines([f"FAILED *test_refund - {MISSING.format('test_refund')}"])
    project.record(passed=1)
    project.turn(total=43)
    project.run("-vv", errors=1).stdout.fnmatch_lines([f"ERROR *test_refund - {HEADLINE}"])


MARKED = """
import pytest, support

@pytest.mark.golden_run
@pytest.mark.xfail{arguments}
def test_refund():
    {body}
"""
BODIES = {
    "a raised divergence": "support.handle()",
    "a swallowed one": "\n    try:\n        support.handle()\n    except Exception:\n        pass",
    "a failure of its own": "\n    try:\n        support.handle()\n    except Exception:\n        assert False, 'own'",
}


ARGUMENTS = ["", "(strict=True)", "(raises=Exception)", "(reason='known')"]


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("body", BODIES)
def test_a_mark_does_not_absorb_a_divergence(recorded, body, arguments):
    recorded.write(test_support=MARKED.format(arguments=arguments, body=BODIES[body]))
    recorded.turn(total=43)
    output = recorded.run("-vv", failed=1).stdout.str()
    assert HEADLINE in output
    assert "1 diverged" in output


def test_a_mark_does_not_absorb_a_divergence_in_a_worker(project):
    marks = [(body, arguments) for body in BODIES.values() for arguments in ARGUMENTS]
    modules = {f"test_{number}": MARKED.format(arguments=mark[1], body=mark[0]) for number, mark in enumerate(marks)}
    unmarked = MARKED.replace("@pytest.mark.xfail{arguments}", "").format(body="support.handle()")
    project.write(**dict.fromkeys(modules, unmarked))
    project.record(passed=len(marks))
    project.write(**modules)
    project.turn(total=43)
    output = project.run("-vv", "-n1", failed=len(marks)).stdout.str()
    for before, name in zip(output.split("fixture  testdata/golden/"), modules, strict=False):
        assert HEADLINE in before  # each text ends with its fixture
        assert f"fixture  testdata/golden/{name}/test_refund.db" in output
    assert f"{len(marks)} diverged" in output


def test_a_mark_does_not_absorb_what_the_test_did_not_ask_for(recorded):
    recorded.write(test_support=MARKED.format(arguments="", body="pass"))
    recorded.run("-vv", failed=1).stdout.fnmatch_lines(
        ["FAILED *test_refund - golden run diverged: recorded run 1 of 1 was not asked for"]
    )


@pytest.mark.parametrize("damage", ["missing", "unusable"])
def test_a_mark_does_not_absorb_a_recording_that_is_not_there(recorded, damage):
    if damage == "missing":
        recorded.fixture().unlink()
    else:
        recorded.fixture().write_bytes(b"")
    recorded.write(test_support=MARKED.format(arguments="", body="assert support.handle() == 'something else'"))
    output = recorded.run(failed=1).stdout.str()
    assert f"1 {damage}; what is marked as an expected failure is not recorded until the mark is taken off" in output
    assert "record with: pytest --record-golden" not in output


def test_a_failure_of_the_tests_own_stays_expected(recorded):
    recorded.write(test_support=MARKED.format(arguments="", body="assert support.handle() == 'something else'"))
    recorded.run(xfailed=1)
    recorded.write(test_support=MARKED.format(arguments="", body="support.handle()"))
    recorded.run(xpassed=1)
    recorded.write(test_support=MARKED.format(arguments="(run=False)", body="support.handle()"))
    recorded.turn(total=43)
    recorded.run(xfailed=1)


def test_an_expected_failure_is_not_recorded_and_says_so(project):
    project.write(test_support=MARKED.format(arguments="", body="assert support.handle() == 'something else'"))
    output = project.record("-rx", xfailed=1).stdout.str()
    assert "1 not recorded because the test is expected to fail (xfail)" in output
    assert "because the test failed" not in output
    assert project.fixtures == []


def test_an_expected_failure_of_unittest_hides_nothing(project):
    project.write(test_support=EXPECTED.format(passes=False))
    output = project.run(failed=1).stdout.str()
    assert "It is marked unittest.expectedFailure, and what fails is not recorded: take the mark off" in output
    assert "1 missing; what is marked as an expected failure is not recorded" in output
    project.record(xfailed=1)
    assert project.fixtures == []


# --- what needs no run needs no recording

SKIPPING = {
    "pytest.skip": "pytest.skip('not today')",
    "SkipTest": "raise unittest.SkipTest('not today')",
    "importorskip": "pytest.importorskip('no_such_module')",
}


SKIPPED = "import pytest, unittest\n@pytest.mark.golden_run\ndef test_refund():\n    {}\n"


@pytest.mark.parametrize(
    ("reasons", "workers"),
    [*(([reason], []) for reason in SKIPPING), pytest.param(SKIPPING, ["-n1"], id="all-workers")],
)
def test_a_body_that_skips_itself_needs_no_recording(project, reasons, workers):
    project.write(**{f"test_{n}": SKIPPED.format(SKIPPING[reason]) for n, reason in enumerate(reasons)})
    output = project.run("-vv", *workers, skipped=len(reasons)).stdout.str()
    assert "golden runs" not in output
    output = project.record("-vv", *workers, skipped=len(reasons)).stdout.str()
    assert "not recorded" not in output
    assert project.fixtures == []


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_run_that_is_asked_for_in_vain_fails_even_if_that_is_swallowed(recorded, damage):
    damage(recorded.fixture())
    recorded.write(
        test_support="""
        import os, pytest, support

        @pytest.mark.golden_run
        def test_refund():
            assert os.environ["STARLING_REPLAY"] == "active"
            for _ in range(3):
                try:
                    support.handle()
                except Exception as error:
                    print("REFUSED", str(error)[:20])
        """
    )
    result = recorded.run("-vv", failed=1)
    result.stdout.fnmatch_lines(
        [
            ">               support.handle()",
            "E   golden *testdata/golden/test_support/test_refund.db*",
            'E       pytest --record-golden "test_support.py::test_refund"',
        ]
    )
    assert sum(line.startswith("REFUSED ") for line in result.outlines) == 3


def test_a_body_that_fails_before_any_run_shows_its_own_error(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            raise LookupError("own words")
        """
    )
    result = project.run("-vv", failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *LookupError: own words",
            f"E *{MISSING.format('test_refund')}",
            "FAILED *test_refund - LookupError: own words*",
        ]
    )


def test_an_async_test_without_a_plugin_shows_what_pytest_says(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        async def test_refund():
            await support.agent().run("hello")
        """
    )
    output = project.run("-vv", "-p", "no:asyncio", "-p", "no:anyio", failed=1).stdout.str()
    assert "async def functions are not natively supported" in output


def test_a_body_that_asks_for_no_run_is_told_that_nothing_is_recorded(project):
    project.write(test_support="import pytest\n@pytest.mark.golden_run\ndef test_refund(): ...\n")
    project.run("-vv", failed=1).stdout.fnmatch_lines([f"FAILED *test_refund - {MISSING.format('test_refund')}"])


def test_a_run_of_the_teardown_alone_is_missed_too(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.fixture
        def around():
            yield
            support.handle()

        @pytest.mark.golden_run
        def test_refund(around):
            pytest.skip("not today")
        """
    )
    output = project.run("-vv", skipped=1, errors=1).stdout.str()
    assert f"ERROR test_support.py::test_refund - {MISSING.format('test_refund')}" in output


def test_a_test_that_is_expected_to_fail_is_told_why_it_has_no_recording(project):
    text = "import pytest, support\n\nXFAIL@pytest.mark.golden_run\ndef test_refund():\n    support.handle()\n"
    project.write(test_support=text.replace("XFAIL", "@pytest.mark.xfail\n"))
    assert "It is marked xfail, and what fails is not recorded" in project.run(failed=1).stdout.str()
    project.write(test_support=text.replace("XFAIL", ""))
    assert "xfail" not in project.run(failed=1).stdout.str()
