"""The fixtures: what they hold, what may be overridden, and what using them wrongly says."""

import pytest


def test_golden_run_says_what_was_run(project):
    project.write(
        test_support="""
        import os, pytest, support
        from starling.event import Kind

        @pytest.mark.golden_run
        def test_explicit(golden_run):
            assert golden_run.runs == ()
            result = golden_run(support.agent(), "hello")
            (run,) = golden_run.runs
            assert run.run_id == result.run_id
            assert run.result == result
            assert run.events[0].decode().goal == "hello"
            assert run.events[-1].kind == Kind.RunCompleted
            assert golden_run.path.name == "test_explicit.db"
            assert golden_run.mode == ("record" if "STARLING_REPLAY" not in os.environ else "replay")
            print("mode", golden_run.mode, repr(golden_run))

        @pytest.mark.golden_run
        @pytest.mark.asyncio
        async def test_awaited(golden_run):
            await golden_run.arun(support.agent(), "one")
            await golden_run.arun(support.agent(), "two")
            assert [run.result.final_text for run in golden_run.runs] == ["You get a refund."] * 2
        """
    )
    assert "mode record" in project.record("-rP", passed=2).stdout.str()
    assert "mode replay <golden_run: replay testdata/golden/" in project.run("-rP", passed=2).stdout.str()


def test_runs_of_every_ending_have_their_result(project):
    project.write(
        test_support="""
        import pytest, support
        from starling.errors import RunFailedError

        @pytest.mark.golden_run
        def test_fails(golden_run):
            with pytest.raises(RunFailedError) as caught:
                support.handle()
            (run,) = golden_run.runs
            assert run.result == caught.value.result
            assert run.result.final_text == ""
        """
    )
    project.turn(fails=True)
    project.record(passed=1)
    project.run(passed=1)


def test_a_test_without_the_marker_is_told_so(project):
    project.write(test_plain="def test_plain(golden_run): ...\n")
    output = project.run(errors=1).stdout.str()
    assert "test_plain.py::test_plain asks for the fixture golden_run, but is no golden test: mark it with" in output


def test_the_scripted_provider_and_the_log_need_no_recording(project):
    project.write(
        test_support="""
        import support
        from starling import Agent, Config
        from starling.errors import LogClosedError

        kept = []

        def test_plain(scripted_provider, starling_log):
            scripted_provider.text("hi")
            result = Agent(scripted_provider, Config(model="m"), starling_log).run_sync("hello")
            assert result.final_text == "hi"
            assert len(starling_log.read_sync(result.run_id)) == 4
            assert starling_log.path.exists()
            kept.append(starling_log)

        def test_closed():
            import pytest
            with pytest.raises(LogClosedError):
                kept[0].read_sync("x")
        """
    )
    project.run(passed=2)


SCRIPTED = """
import asyncio
import pytest
from starling import Agent, Config, MemoryLog, tool
from starling.errors import ProviderCallError

@tool
def look_up(order: int) -> str:
    "Look an order up."
    return "lost"

def agent(provider):
    return Agent(provider, Config(model="m"), MemoryLog(), tools=[look_up])

@pytest.mark.golden_run
def test_answers(scripted_provider, golden_run):
    scripted_provider.reasoning("An order?").text("Let me look.").tool_call("look_up", {"order": 7})
    scripted_provider.usage(input_tokens=3, output_tokens=4).turn().text("It is lost.")
    result = agent(scripted_provider).run_sync("Where is it?")
    assert result.final_text == "It is lost."
    assert result.tool_call_count == 1
    assert len(scripted_provider.requests) == (2 if golden_run.mode == "record" else 0)

@pytest.mark.golden_run
def test_fails(scripted_provider):
    scripted_provider.error("overloaded", status=529)
    with pytest.raises(ProviderCallError, match="overloaded"):
        agent(scripted_provider).run_sync("Where is it?")

@pytest.mark.golden_run
@pytest.mark.asyncio
async def test_hangs(scripted_provider):
    scripted_provider.hang()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await agent(scripted_provider).run("Where is it?")
"""


def test_a_script_is_recorded_without_a_key_and_not_asked_on_replay(project):
    project.write(test_support=SCRIPTED)
    project.record(passed=3)
    project.run(passed=3)


def test_the_agents_own_log_receives_the_run_in_both_modes(project):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_log(starling_log, golden_run):
            result = support.agent(starling_log).run_sync("hello")
            events = tuple(starling_log.read_sync(result.run_id))
            assert events == golden_run.runs[0].events
            assert len(events) == 14
        """
    )
    project.record(passed=1)
    project.run(passed=1)


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_the_folder_can_be_overridden(project, scope):
    (project.path / "sub").mkdir()
    (project.path / "sub" / "conftest.py").write_text(
        f"import pytest\n@pytest.fixture(scope='{scope}')\ndef golden_run_dir():\n    return 'sub/kept'\n"
    )
    source = "import pytest, support\n@pytest.mark.golden_run\ndef test_{}(): support.handle()\n"
    (project.path / "sub" / "test_sub.py").write_text(source.format("sub"))
    project.write(test_top=source.format("top"))
    for mode in ("--golden-mode=new", "--golden-mode=replay", "--record-golden"):
        project.run(mode, passed=2)
    kept = project.path / "sub" / "kept" / "sub" / "test_sub" / "test_sub.db"
    assert kept.exists()
    assert project.fixtures == ["test_top/test_top.db"]
    before = kept.read_bytes()
    project.turn(total=43)
    project.run(failed=2)
    project.record(passed=2)
    assert kept.read_bytes() != before
    project.run(passed=2)


def test_defaults_of_the_marker_can_be_set_for_many_tests(recorded):
    recorded.write(
        conftest="""
        import pytest

        @pytest.fixture
        def golden_run_config():
            return {"tools": "run"}
        """
    )
    recorded.turn(total=43)
    recorded.run(passed=1)
    source = (recorded.path / "test_support.py").read_text()
    recorded.write(test_support=source.replace("golden_run\n", "golden_run(tools='compare')\n"))
    recorded.run(failed=1)


@pytest.mark.parametrize("indirect", [False, True])
def test_defaults_of_the_marker_may_be_parametrized(project, indirect):
    own = "@pytest.fixture\ndef golden_run_config(request):\n    return request.param\n" if indirect else ""
    project.write(
        test_support=f"""
import pytest, support

{own}
@pytest.mark.golden_run
@pytest.mark.parametrize("golden_run_config", [{{"tools": "run"}}, {{}}], ids=["run", "none"], indirect={indirect})
def test_refund(golden_run_config):
    support.handle()
"""
    )
    project.record(passed=2)
    project.turn(total=43)
    output = project.run("-rA", passed=1, failed=1).stdout.str()
    assert "PASSED test_support.py::test_refund[run]" in output


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("{'tool': 'run'}", "golden_run_config has no argument 'tool'"),
        ("{'tools': 'skip'}", "golden_run_config needs"),
        ("{'ignore': ['RunStarted.goals']}", "golden_run_config ignores 'RunStarted.goals', which is no payload field"),
        ("{'path': 'x.db'}", "golden_run_config cannot set path: override golden_run_dir"),
        ("None", "golden_run_config must return a mapping of marker arguments, not NoneType"),
    ],
)
def test_a_wrong_configuration_fixture_is_an_error(recorded, returned, text):
    recorded.write(conftest=f"import pytest\n@pytest.fixture\ndef golden_run_config():\n    return {returned}\n")
    assert text in recorded.run("-vv", errors=1).stdout.str()


WIDE = """
import pytest, support

@pytest.fixture(scope="{scope}")
def wide():
    {before}
    yield
    {after}

class TestIt:
    @pytest.mark.golden_run
    def test_a(self, wide):
        support.handle("in the test")
"""


@pytest.mark.parametrize("mode", ["replay", "all"])
@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_runs_of_wider_fixtures_are_an_error(project, scope, mode):
    project.write(test_support=WIDE.format(scope=scope, before="pass", after="pass"))
    project.record(passed=1)
    before = project.state
    project.write(test_support=WIDE.format(scope=scope, before="support.handle('wide')", after="pass"))
    output = project.run(f"--golden-mode={mode}", "-vv", errors=1).stdout.str()
    assert (
        f"golden run misused: a run was started by the {scope}-scoped fixture 'wide', which outlives the test" in output
    )
    project.write(test_support=WIDE.format(scope=scope, before="pass", after="support.handle('wide')"))
    output = project.run(f"--golden-mode={mode}", "-vv").stdout.str()
    assert "golden run misused: a run was started by the teardown of a fixture of wider scope" in output
    assert project.state == before


def test_a_class_scoped_fixture_outside_of_a_class_lives_no_longer_than_its_test(project):
    source = WIDE.format(scope="class", before="support.handle('before')", after="support.handle('after')")
    project.write(test_support=source.replace("class TestIt:", "if True:").replace("self, ", ""))
    project.record(passed=1)
    project.run(passed=1)


@pytest.mark.parametrize(
    "setup",
    [
        "def setup_module(): support.handle()",
        "class TestA:\n    @classmethod\n    def setup_class(cls): support.handle()",
    ],
)
def test_runs_of_xunit_setups_that_outlive_the_test_are_an_error(project, setup):
    indent = "    " if "class" in setup else ""
    test = f"{indent}@pytest.mark.golden_run\n{indent}def test_a({'self' if indent else ''}): support.handle()\n"
    project.write(test_support=f"import pytest, support\n{setup}\n{test}")
    assert "which outlives the test" in project.record("-vv", errors=1).stdout.str()
    assert project.fixtures == []
