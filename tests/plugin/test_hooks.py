"""The hooks that conftest files and other plugins may implement."""


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
