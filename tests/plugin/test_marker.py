"""The marker: registered, checked at collection, and what each argument does."""

import pytest

WRONG = {
    "(tool='run')": "has no argument 'tool'; it takes path, tools, ignore",
    "(tools='skip')": 'needs "compare", "run" or "stub", or a mapping from tool name to one, for tools, got \'skip\'',
    "(tools={'lookup': 'run', 'alpha': 'stubb'})": "'stubb' for the tool alpha is none of compare, run, stub",
    "(tools={3: 'run'})": "for tools, got {3: 'run'}",
    "(ignore='RunStarted.goal')": "needs a sequence of payload paths for ignore, got 'RunStarted.goal'",
    "(ignore=['RunStarted.goals'])": "ignores 'RunStarted.goals', which is no payload field",
    "(allow_hosts='example.com')": "needs a sequence of host names, addresses or networks (such as",
    "(allow_hosts=['https://example.com'])": "for allow_hosts, got ['https://example.com']",
    "(force_provider=1)": "needs True or False for force_provider, got 1",
    "(compare_cost='yes')": "needs True, False or None for compare_cost, got 'yes'",
    "(max_age=0)": "needs a positive number of days or None for max_age, got 0",
    "(max_age=True)": "needs a positive number of days or None for max_age, got True",
    "(path=3)": "needs a path or None for path, got 3",
    "(path='')": "needs a path or None for path, got ''",
    "(path=b'a.db')": "needs a path or None for path, got b'a.db'",
    "(path='a\\0b.db')": "needs a path or None for path, got 'a\\x00b.db'",
    "(path='\\ud800.db')": "needs a path or None for path, got '\\ud800.db'",
    "(path='{function}_{nope}.db')": "has a brace in path that belongs to no placeholder, in '{function}_{nope}.db'; there "
    "are {class}, {function}, {id}",
    "(path='a{.db')": "has a brace in path that belongs to no placeholder, in 'a{.db'",
    "('a.db', 'b.db')": "takes one argument by position, the path, and got 2",
    "('a.db', path='b.db')": "got path twice",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_a_wrong_marker_is_a_usage_error_that_names_the_test(project, arguments):
    project.write(test_support=f"import pytest\n@pytest.mark.golden_run{arguments}\ndef test_a(): ...\n")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str()
    assert "test_support.py::test_a: the marker golden_run " in text
    assert WRONG[arguments] in text


def test_all_mistakes_are_named_at_once(project):
    project.write(
        test_support="""
        import pytest

        @pytest.mark.golden_run(tools=3, max_age=-1)
        def test_a(): ...

        @pytest.mark.golden_run(hosts=())
        def test_b(): ...
        """
    )
    text = project.run().stderr.str()
    assert all(word in text for word in ("for tools", "for max_age", "'hosts'", "::test_a", "::test_b"))


def test_the_marker_is_registered(project):
    project.write(test_support="import pytest\n@pytest.mark.golden_run\n@pytest.mark.skip\ndef test_a(): ...\n")
    project.run("--strict-markers", skipped=1)
    assert "@pytest.mark.golden_run(path=None, *, tools=" in project.run("--markers").stdout.str()


def test_the_closest_marker_counts_as_a_whole(project):
    project.write(
        test_support="""
        import pytest, support

        pytestmark = pytest.mark.golden_run(force_provider=True)

        def test_far():
            support.handle()

        @pytest.mark.golden_run(tools="compare")
        class TestNear:
            def test_class(self):
                support.handle()

            @pytest.mark.golden_run(force_provider=True)
            def test_function(self):
                support.handle()
        """
    )
    project.record(passed=3)
    project.turn(provider="another")
    output = project.run(passed=2, failed=1).stdout.str()
    assert "FAILED test_support.py::TestNear::test_class" in output


@pytest.mark.parametrize(
    ("arguments", "knobs", "outcome"),
    [
        ("(tools='run')", {"total": 43}, "passed"),
        ("(tools={'lookup': 'run'})", {"total": 43}, "passed"),
        ("(tools={'alpha': 'run'})", {"total": 43}, "failed"),
        ("(ignore=['ToolCallCompleted.result'])", {"total": 43}, "passed"),
        ("(ignore=['RunStarted.params'])", {"temperature": 0.6}, "failed"),
        (
            "(ignore={'RunStarted.params', 'RunStarted.params_hash', 'TurnStarted.prompt_hash'})",
            {"temperature": 0.6},
            "passed",
        ),
        ("(force_provider=True)", {"provider": "another"}, "passed"),
        ("(force_provider=False)", {"provider": "another"}, "failed"),
        ("(allow_hosts=['example.com'])", {}, "passed"),
    ],
)
def test_arguments_decide_how_strictly_is_compared(recorded, arguments, knobs, outcome):
    source = (recorded.path / "test_support.py").read_text()
    recorded.write(test_support=source.replace("golden_run\n", f"golden_run{arguments}\n"))
    recorded.turn(**knobs)
    recorded.run(**{outcome: 1})


def test_a_stubbed_tool_is_not_run(project):
    project.write(
        test_support="import pytest, support\n@pytest.mark.golden_run(tools='stub')\ndef test_a(): support.handle()\n"
    )
    project.turn(dispatch=[])
    project.record(passed=1)
    project.turn(dispatch=[], total=43, fails=True, effects=[])
    project.run(passed=1)


def test_a_path_is_a_file_from_the_configuration_files_folder(project):
    folder = project.path / "deep" / "er"
    folder.mkdir(parents=True)
    (folder / "test_deep.py").write_text(
        "import pytest, support\n@pytest.mark.golden_run('kept/here.db')\ndef test_a(): support.handle()\n"
    )
    project.record(passed=1)
    assert (project.path / "kept" / "here.db").exists()
    project.run(passed=1)


def test_a_template_gives_each_test_its_file(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run(path="kept/{class}/{function}-{id}.db")
        class TestA:
            @pytest.mark.parametrize("word", ["one", "two/three"])
            def test_f(self, word):
                support.handle(word)
        """
    )
    project.record(passed=2)
    names = sorted(path.name for path in (project.path / "kept" / "TestA").iterdir())
    assert names[0] == "test_f-one.db"
    assert names[1].startswith("test_f-two_three-")
    project.run(passed=2)


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.golden_run(path='x.db')\nclass TestA:\n    def test_a(self): ...\n",
        "pytestmark = pytest.mark.golden_run(path='x.db')\ndef test_a(): ...\n",
        "@pytest.mark.golden_run(path='x.db')\n@pytest.mark.parametrize('a', [1, 2])\ndef test_a(a): ...\n",
    ],
)
def test_one_path_for_several_tests_is_a_usage_error(project, source):
    project.write(test_support=f"import pytest\n{source}")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "write a template with {class}, {function} or {id}" in result.stderr.str()


def test_two_tests_that_own_one_path_are_named(project):
    project.write(
        test_support="""
        import pytest

        @pytest.mark.golden_run("kept/x.db")
        def test_a(): ...

        @pytest.mark.golden_run("kept/X.db")
        def test_b(): ...
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str()
    assert "test_support.py::test_a and test_support.py::test_b would share the fixture kept/x.db" in text
    assert "Give each its own path=, or leave it out" in text


def test_a_policy_for_a_tool_that_was_never_recorded_is_a_warning(recorded):
    source = (recorded.path / "test_support.py").read_text()
    recorded.write(test_support=source.replace("golden_run\n", "golden_run(tools={'lokup': 'stub', 'alpha': 'run'})\n"))
    output = recorded.run(passed=1, warnings=1).stdout.str()
    assert (
        "has a policy for the tool 'lokup', which no recorded run of this test has; recorded with: alpha, beta, lookup"
        in (output)
    )
    recorded.write(
        test_support=source.replace("golden_run\n", "golden_run(tools={'lookup': 'stub', 'alpha': 'run'})\n")
    )
    recorded.run(passed=1, warnings=0)


def test_deselected_tests_are_not_checked(project):
    project.write(
        test_support="""
        import pytest

        @pytest.mark.golden_run(tools=3)
        def test_a(): ...

        def test_b(): ...
        """
    )
    project.run("-k", "test_b", passed=1)
