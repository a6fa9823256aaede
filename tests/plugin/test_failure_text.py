"""What a person reads when a golden run fails, in every way pytest can show it."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

HEADLINE = "golden run diverged at seq 11 of 14 (ToolCallCompleted): payload"


@pytest.fixture
def diverging(recorded):
    recorded.turn(total=43)
    return recorded


def test_the_whole_text(diverging):
    result = diverging.run(failed=1)
    result.stdout.fnmatch_lines(
        [
            "golden: 1 test, replaying from testdata/golden",
            '>       assert "refund" in support.handle()',
            "support.py:*: in handle",
            f"E   {HEADLINE}",
            "E",
            "E   The tool lookup returned something else than recorded (call call_1)",
            "E",
            "E       result.total: 42 → 43",
            "E",
            "E        8  ToolCallCompleted         alpha → *",
            "E        9  ToolCallScheduled         beta()",
            "E       10  ToolCallCompleted         beta → *",
            'E   >   11  ToolCallCompleted         lookup → {"order": 7, "total": 42}',
            "E       12  TurnStarted",
            'E       13  AssistantMessageCompleted "You get a refund."',
            "E",
            "E   fixture  testdata/golden/test_support/test_refund.db, recorded 20??-??-??",
            "E   run      * (1 of 1)",
            "E",
            "E   If it comes from IO, a clock or a random number, take it through starling.step *",
            "E   If the change is meant, record it:",
            'E       pytest --record-golden "test_support.py::test_refund"',
            "*= golden runs =*",
            "1 diverged; where that is meant, record with: pytest --record-golden",
            "FAILED test_support.py::test_refund - golden run diverged at seq 11 of 14*",
        ],
        consecutive=False,
    )
    assert "step/_replay.py" not in result.stdout.str()
    assert "NondeterminismError" not in result.stdout.str()


STYLES = {
    "--tb=short": [f"E   {HEADLINE}"],
    "--tb=long": ['>       assert "refund" in support.handle()', f"E   {HEADLINE}"],
    "--tb=native": [f"E   {HEADLINE}"],
    "--tb=line": [f"*support.py:*: {HEADLINE}"],
    "--tb=no": [],
    "-q": [f"E   {HEADLINE}"],
    "-v": [f"E   {HEADLINE}"],
    "--showlocals": [f"E   {HEADLINE}"],
    "--full-trace": [f"E   {HEADLINE}"],
}


@pytest.mark.parametrize("workers", [[], ["-n1"]])
@pytest.mark.parametrize("style", STYLES)
def test_every_style_begins_the_summary_line_with_the_headline(diverging, style, workers, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = diverging.run(style, *workers, failed=1)
    result.stdout.fnmatch_lines([*STYLES[style], f"FAILED test_support.py::test_refund - {HEADLINE}"])


def failures(result):
    """What stands below pytest's heading, up to the next one."""
    lines = [line for line in result.stdout.lines if not line.startswith("[gw0]")]
    return list(itertools.takewhile(lambda line: line[:3] != "===", lines[lines.index(heading(lines)) + 1 :]))


def heading(lines):
    return next(line for line in lines if line.strip("=") in (" FAILURES ", " ERRORS "))


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_one_line_is_one_line(diverging, workers):
    said, where = failures(diverging.run("--tb=line", *workers, failed=1))
    assert said == f"E   {HEADLINE}"
    assert re.fullmatch(rf".*support\.py:\d+: {re.escape(HEADLINE)}", where)


def test_one_line_is_one_line_where_no_code_of_the_users_has_failed(project):
    project.write(test_support="import pytest\n@pytest.mark.golden_run\ndef test_a(): ...\n")
    said, where = failures(project.record("--tb=line", failed=1))
    assert said.startswith("E   no run was seen: ")
    assert where.endswith(said.removeprefix("E   "))


def test_one_line_is_one_line_in_a_fixture(diverging):
    diverging.write(
        test_support="""
        import pytest, support

        @pytest.fixture
        def refund():
            return support.handle()

        @pytest.mark.golden_run
        def test_refund(refund): ...
        """
    )
    assert failures(diverging.run("--tb=line", errors=1))[1:] == [f"E   {HEADLINE}"]


def test_colours_are_left_to_pytest(diverging):
    assert "\x1b[1m\x1b[31mE   golden run diverged" in diverging.run("--color=yes").stdout.str()
    assert "\x1b" not in diverging.run("--color=no").stdout.str()


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_properties_go_to_junit(diverging, workers):
    diverging.run("--junitxml=junit.xml", *workers)
    case = ET.parse(diverging.path / "junit.xml").find(".//testcase")
    assert case.find("failure").get("message") == HEADLINE
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    run_id = properties.pop("starling.run_id")
    assert len(run_id) == 26
    assert properties == {
        "starling.mode": "replay",
        "starling.fixture": "testdata/golden/test_support/test_refund.db",
        "starling.divergences": "1",
        "starling.first_seq": "11",
        "starling.first_kind": "ToolCallCompleted",
        "starling.first_class": "payload",
    }


def test_a_passing_test_has_its_properties_too(recorded):
    recorded.run("--junitxml=junit.xml", passed=1)
    case = ET.parse(recorded.path / "junit.xml").find(".//testcase")
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert properties["starling.mode"] == "replay"
    assert properties["starling.divergences"] == "0"
    assert "starling.first_seq" not in properties


def test_a_swallowed_divergence_still_fails(diverging):
    diverging.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            try:
                support.handle()
            except Exception:
                pass
        """
    )
    result = diverging.run("-vv", failed=1)
    result.stdout.fnmatch_lines(
        [">           support.handle()", f"E   {HEADLINE}", f"FAILED *test_refund - {HEADLINE}"]
    )


def test_a_retried_divergence_fails_with_its_first_cause(diverging):
    diverging.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            for _ in range(3):
                try:
                    support.handle()
                except Exception:
                    pass
        """
    )
    result = diverging.run("-vv", failed=1)
    result.stdout.fnmatch_lines([f"E   {HEADLINE}", "E   2 more failures followed; mend the first cause first."])


@pytest.mark.parametrize("raising", ["assert answer == 'refund'", "raise RuntimeError('own words')"])
def test_an_exception_of_the_tests_own_keeps_its_traceback_with_a_note(diverging, raising):
    diverging.write(
        test_support=f"""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            try:
                answer = support.handle()
            except Exception:
                answer = "sorry"
            {raising}
        """
    )
    result = diverging.run("-vv", failed=1)
    result.stdout.fnmatch_lines([f">       {raising}", "E *", f"E *{HEADLINE}", "E *result.total: 42 → 43"])
    assert "FAILED test_support.py::test_refund - golden run" not in result.stdout.str()


def test_a_group_of_nothing_but_divergences_is_one(diverging):
    diverging.write(
        test_support="""
        import asyncio, pytest, support

        async def both():
            async with asyncio.TaskGroup() as group:
                group.create_task(support.agent().run("I was charged twice"))

        @pytest.mark.golden_run
        def test_refund():
            asyncio.run(both())
        """
    )
    result = diverging.run(failed=1)
    result.stdout.fnmatch_lines([">       asyncio.run(both())", f"E   {HEADLINE}", f"FAILED *test_refund - {HEADLINE}"])


AROUND = {
    "in a group": ("raise ExceptionGroup('own words', [ValueError('mine'), error])", "ExceptionGroup: own words*"),
    "as its cause": ("raise RuntimeError('own words') from error", "RuntimeError: own words"),
    "in its context": ("raise RuntimeError('own words')", "RuntimeError: own words"),
    "asserting": ("assert False, 'own words'", "AssertionError: own words*"),
    "failing without a traceback": ("pytest.fail('own words', pytrace=False)", "*own words"),
}
KINDS = {
    "function": """
import pytest, support

@pytest.mark.golden_run
def test_refund():
    BODY
""",
    "unittest": """
import pytest, support, unittest

@pytest.mark.golden_run
class TestCase(unittest.TestCase):
    def test_refund(self):
        BODY
""",
}


@pytest.mark.parametrize("how", AROUND)
@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_around_a_divergence_keeps_its_words_and_has_the_whole_text(project, how, kind):
    raising, shown = AROUND[how]
    lines = ["try:", "    support.handle()", "except Exception as error:", f"    {raising}"]
    indent = KINDS[kind].partition("BODY")[0].rpartition("\n")[2]
    project.write(test_support=KINDS[kind].replace("BODY", f"\n{indent}".join(lines)))
    project.record(passed=1)
    project.turn(total=43)

    result = project.run(failed=1)

    result.stdout.fnmatch_lines(
        [f"*{HEADLINE}", "*result.total: 42 → 43", f"FAILED test_support.py::*test_refund - {shown}"]
    )


def test_a_failure_without_a_traceback_gets_the_text_too(diverging):
    diverging.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            try:
                support.handle()
            except Exception:
                pytest.fail("own words", pytrace=False)
        """
    )
    output = diverging.run("-vv", failed=1).stdout.str()
    assert "own words" in output
    assert HEADLINE in output


def test_a_skip_does_not_hide_a_divergence(diverging):
    diverging.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            try:
                support.handle()
            except Exception:
                pytest.skip("the model is away")
        """
    )
    diverging.run("-vv", failed=1).stdout.fnmatch_lines([f"FAILED *test_refund - {HEADLINE}"])


def test_pytest_raises_does_not_hide_a_divergence(diverging):
    diverging.write(
        test_support="""
        import pytest, support
        from starling.errors import NondeterminismError

        @pytest.mark.golden_run
        def test_refund():
            with pytest.raises(NondeterminismError):
                support.handle()
        """
    )
    diverging.run("-vv", failed=1).stdout.fnmatch_lines([f"FAILED *test_refund - {HEADLINE}"])


def test_runs_that_are_not_asked_for_fail_the_test(project):
    source = """
    import pytest, support

    @pytest.mark.golden_run
    def test_refund():
        for question in {questions}:
            support.handle(question)
    """
    project.write(test_support=source.format(questions=["one", "two"]))
    project.record(passed=1)
    project.write(test_support=source.format(questions=["one"]))
    result = project.run("-vv", failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   golden run diverged: recorded run 2 of 2 was not asked for",
            '*1  "one"  14 events',
            'E   >    2  "two"  14 events',
            "FAILED *test_refund - golden run diverged: recorded run 2 of 2 was not asked for",
        ]
    )
    project.write(test_support=source.format(questions=["one", "two", "three"]))
    result = project.run("-vv", failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   golden run diverged: a run was started that is not in the recording of 2 runs",
            "*goal 'three'*",
            "FAILED *test_refund - golden run diverged: a run was started that is not in the recording of 2 runs",
        ]
    )


def test_a_live_call_outside_of_a_run_fails_even_if_it_is_swallowed(project):
    project.write(
        test_support="""
        import pytest, support, asyncio
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
                pass
        """
    )
    project.record("--golden-verify=off", passed=1)
    result = project.run("-vv", failed=1)
    result.stdout.fnmatch_lines(
        ["FAILED *test_refund - golden run went live: scripted gpt-4o was called live while a recording is replayed"]
    )
    assert "1 went live" in result.stdout.str()


def test_a_divergence_in_setup_and_one_in_teardown_are_errors_there(project):
    source = """
    import pytest, support

    @pytest.fixture
    def around():
        if {setup}:
            support.handle("in setup")
        yield
        support.handle("{teardown}")

    @pytest.mark.golden_run
    def test_refund(around):
        support.handle("in the body")
    """
    project.write(test_support=source.format(setup=True, teardown="in teardown"))
    project.record(passed=1)
    project.run(passed=1)
    project.write(test_support=source.format(setup=True, teardown="elsewhere"))
    output = project.run("-vv", passed=1, errors=1).stdout.str()
    assert "ERROR at teardown of test_refund" in output
    assert "golden run diverged at seq 1 of 14 (RunStarted): payload" in output
    project.write(test_support=source.format(setup=False, teardown="in teardown"))
    project.run("-vv", failed=1)


def test_a_missing_run_in_teardown_is_an_error_there(project):
    source = """
    import pytest, support

    @pytest.fixture
    def around():
        yield
        if {asks}:
            support.handle("in teardown")

    @pytest.mark.golden_run
    def test_refund(around):
        support.handle("in the body")
    """
    project.write(test_support=source.format(asks=True))
    project.record(passed=1)
    project.write(test_support=source.format(asks=False))
    output = project.run("-vv", passed=1, errors=1).stdout.str()
    assert "golden run diverged: recorded run 2 of 2 was not asked for" in output


def test_nothing_but_the_line_after_collection_is_said_when_all_replays(recorded):
    assert _said(recorded.run(passed=1)) == ["golden: 1 test, replaying from testdata/golden"]
    assert _said(recorded.run("-q", passed=1)) == []


def test_nothing_is_said_without_golden_tests(project):
    project.write(test_plain="def test_plain(): ...\n")
    assert _said(project.run(passed=1)) == []


def _said(result):
    return [line for line in result.outlines if "golden" in line and not line.startswith("rootdir")]


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan", "--setup-only"])
def test_looking_without_running_records_and_judges_nothing(recorded, option):
    before = recorded.state
    recorded.turn(total=43)
    result = recorded.record(option)
    assert result.ret == pytest.ExitCode.OK
    assert recorded.state == before
