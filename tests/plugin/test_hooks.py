"""The hooks that conftest files and other plugins may implement."""

import pytest


def test_a_hook_chooses_the_path(project):
    project.pytester.makeconftest(
        """
        def pytest_starling_fixture_path(item):
            if item.name == "test_a":
                return f"kept/{item.name}.golden"
        """
    )
    project.write(
        test_support="""
        import pytest, support
        pytestmark = pytest.mark.golden_run
        def test_a(): support.handle()
        def test_b(): support.handle()
        """
    )
    project.record(passed=2)
    assert (project.path / "kept" / "test_a.golden").exists()
    assert project.fixtures == ["test_support/test_b.db"]
    project.run(passed=2)


def test_a_hook_is_told_of_each_divergence_that_is_reported(recorded):
    recorded.pytester.makeconftest(
        """
        def pytest_starling_divergence(item, divergence):
            print(f"TOLD {item.name} {divergence.seq} {divergence.cls} {divergence.changes[0].path}")
        """
    )
    told = "TOLD test_refund 11 payload result.total"
    recorded.run("-s", passed=1)
    recorded.turn(total=43)
    assert recorded.run("-s", failed=1).stdout.str().count(told) == 1
    assert told not in recorded.record("-s", passed=1).stdout.str()


def test_failures_other_than_divergences_are_not_told(project):
    project.pytester.makeconftest("def pytest_starling_divergence(item, divergence):\n    raise AssertionError\n")
    project.write(test_support="import pytest\n@pytest.mark.golden_run\ndef test_a(): ...\n")
    project.run(failed=1)


FAILING = {
    "raise ValueError('boom')": "raised ValueError: boom (*conftest.py:3)",
    "pytest.fail('boom')": "raised Failed: boom (*)",
    "return 3": "must return a path or None, got 3",
    "return b'a.db'": "must return a path or None, got b'a.db'",
    "return ''": "must return a path or None, got ''",
    "return 'a\\0b.db'": "must return a path or None, got 'a\\x00b.db'",
}


@pytest.mark.parametrize("statement", FAILING)
def test_a_hook_that_cannot_choose_a_path_is_a_usage_error_that_names_it(project, statement):
    project.pytester.makeconftest(f"import pytest\ndef pytest_starling_fixture_path(item):\n    {statement}\n")
    project.write(test_support="import pytest\n@pytest.mark.golden_run\ndef test_a(): ...\n")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = f"ERROR: test_support.py::test_a: the hook pytest_starling_fixture_path {FAILING[statement]}"
    result.stderr.fnmatch_lines([told])


def test_a_failing_hook_is_told_of_a_deselected_test_too(project):
    """Its fixture would be taken for one that nobody uses."""
    project.pytester.makeconftest("def pytest_starling_fixture_path(item):\n    assert item.name == 'test_b'\n")
    project.write(
        test_support="""
        import pytest
        pytestmark = pytest.mark.golden_run
        def test_a(): ...
        def test_b(): ...
        """
    )
    result = project.run("-k", "test_b")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "test_support.py::test_a: the hook pytest_starling_fixture_path raised AssertionError" in result.stderr.str()


@pytest.mark.parametrize("style", ["auto", "short", "native"])
def test_a_hook_that_fails_over_a_divergence_is_named_beside_it(recorded, style):
    recorded.pytester.makeconftest("def pytest_starling_divergence(item, divergence):\n    raise ValueError('boom')\n")
    recorded.run(passed=1)
    recorded.turn(total=43)
    result = recorded.run(f"--tb={style}", failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   golden run diverged at seq 11 of 14 (ToolCallCompleted): payload",
            "the hook pytest_starling_divergence raised ValueError: boom (*conftest.py:2)",
            "1 diverged;*",
        ]
    )


def test_an_exit_in_a_hook_stops_pytest(recorded):
    recorded.pytester.makeconftest(
        "import pytest\ndef pytest_starling_divergence(item, divergence):\n    pytest.exit('enough')\n"
    )
    recorded.turn(total=43)
    result = recorded.run_apart()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Exit: enough !*"])
