"""The plugin costs nothing where it is not used, and leaves nothing behind where it is."""

import os
import pickle
import sys

import pytest

import pytest_starling
from pytest_starling import _variable, plugin
from starling import errors
from starling.ambient import REPLAY_VARIABLE
from starling.replay import Divergence

HEAVY = ("starling", "sqlite3", "asyncio", "pydantic", "openai", "httpx", "blake3", "cbor2")
PROBE = """
import os, sys

def pytest_unconfigure(config):
    loaded = [name for name in {heavy!r} if name in sys.modules]
    print("LOADED", loaded, "VARIABLE", os.environ.get("STARLING_REPLAY"))
"""


def _probed(project, *arguments):
    project.pytester.makeconftest(PROBE.format(heavy=HEAVY))
    project.monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (project.path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return project.pytester.runpytest_subprocess("-p", "pytest_starling.plugin", "-p", "no:cacheprovider", *arguments)


@pytest.mark.parametrize("arguments", [[], ["--collect-only"], ["-q"], ["--record-golden"]])
def test_a_session_without_golden_tests_loads_nothing(project, arguments):
    project.write(test_plain="def test_plain(tmp_path): ...\n")
    result = _probed(project, *arguments)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["LOADED [[][]] VARIABLE None"])
    assert not (project.path / "testdata").exists()


def test_collecting_golden_tests_loads_nothing_either(project):
    project.write(test_golden="import pytest\n@pytest.mark.golden_run(max_age=3)\ndef test_a(): ...\n")
    result = _probed(project, "--collect-only")
    result.stdout.fnmatch_lines(["golden: 1 test, replaying from testdata/golden", "LOADED [[][]] VARIABLE None"])


def test_every_wrapper_is_a_new_style_one():
    options = (getattr(value, "pytest_impl", None) for value in vars(plugin).values())
    wrappers = [one for one in options if one and (one["wrapper"] or one["hookwrapper"])]
    assert wrappers
    assert not any(one["hookwrapper"] for one in wrappers)


@pytest.mark.parametrize("name", sorted(errors.__all__))
def test_an_error_can_be_carried_from_one_process_to_another(name):
    cls = getattr(errors, name)
    divergence = Divergence(run_id="r1", seq=7, kind=None, expected_kind=None, cls="kind", reason="it stopped")
    of_a_replay = issubclass(cls, errors.NondeterminismError)
    error = cls("what happened", **({"divergences": (divergence,)} if of_a_replay else {"run_id": "r1", "seq": 7}))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (cls, str(error), vars(error))


def test_no_module_of_ours_is_compiled_anew_for_its_asserts(project):
    project.write(
        test_plain="""
        import importlib, sys
        from _pytest.assertion.rewrite import AssertionRewritingHook

        def rewritten(name):
            return isinstance(importlib.import_module(name).__spec__.loader, AssertionRewritingHook)

        def test_plain(pytestconfig):
            assert rewritten(__name__)
            assert not any(map(rewritten, ("pytest_starling._hooks", "pytest_starling._session", "starling.agent")))
            assert "starling" not in pytestconfig.pluginmanager.rewrite_hook._must_rewrite
        """
    )
    project.run_anew(passed=1)
    project.run(passed=1)  # the second session of a process


def test_the_name_of_the_variable_is_the_runtimes():
    assert _variable.VARIABLE == REPLAY_VARIABLE


def test_agents_built_at_import_need_no_key(project):
    pytest.importorskip("openai")
    project.monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    project.monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    project.write(
        app="""
        import os
        from starling import Agent, Config, MemoryLog
        from starling.provider.openai import OpenAI

        at_import = os.environ.get("STARLING_REPLAY")
        agent = Agent(OpenAI(), Config(model="gpt-4o-mini"), MemoryLog())
        """,
        conftest="import app\n",
        test_app="""
        import os, pytest, app

        @pytest.mark.golden_run
        def test_golden():
            assert os.environ["STARLING_REPLAY"] == "active"

        def test_plain():
            assert app.at_import == "ready"
            assert "STARLING_REPLAY" not in os.environ
        """,
    )
    project.run_anew(passed=1, failed=1)
    result = project.run_apart("-n1", passed=1, failed=1)
    assert "golden run not recorded" in result.stdout.str()


def test_recording_without_a_key_fails_and_names_the_variable(project):
    pytest.importorskip("openai")
    project.monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    project.monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    project.write(
        test_app="""
        import pytest
        from starling import Agent, Config, MemoryLog
        from starling.provider.openai import OpenAI

        agent = Agent(OpenAI(), Config(model="gpt-4o-mini"), MemoryLog())

        @pytest.mark.golden_run
        def test_golden():
            agent.run_sync("hello")
        """
    )
    output = project.run_apart("--record-golden", failed=1).stdout.str()
    assert "OPENAI_API_KEY" in output
    assert project.fixtures == []


@pytest.mark.parametrize("value", [None, "ready", "active"])
def test_the_environment_comes_back(recorded, monkeypatch, value):
    if value:
        monkeypatch.setenv("STARLING_REPLAY", value)
    recorded.write(
        test_plain=f"""
        import os

        def test_plain():
            assert os.environ.get("STARLING_REPLAY") == {value!r}
        """
    )
    recorded.run(passed=2)
    assert os.environ.get("STARLING_REPLAY") == value
    recorded.run("--golden-mode=all", passed=2)
    assert os.environ.get("STARLING_REPLAY") == value


def test_the_recording_run_is_not_told_to_replay(project):
    project.write(
        test_support="""
        import os, pytest, support

        seen = []

        @pytest.mark.golden_run
        def test_refund():
            seen.append(os.environ.get("STARLING_REPLAY"))
            support.handle()

        def test_seen():
            assert seen == [None, "active"]
        """
    )
    project.record(passed=2)


INTERRUPTIONS = ["raise KeyboardInterrupt", "pytest.exit('enough')"]


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
@pytest.mark.parametrize("mode", ["replay", "all"])
@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interrupted_run_leaves_nothing_behind(recorded, interruption, mode, phase):
    from starling import ambient

    before = recorded.state
    recorded.write(
        test_support=f"""
        import pytest, support

        @pytest.fixture
        def around():
            if "{phase}" == "setup":
                {interruption}
            yield
            if "{phase}" == "teardown":
                {interruption}

        @pytest.mark.golden_run
        def test_refund(around):
            support.handle()
            if "{phase}" == "call":
                {interruption}
        """
    )
    try:
        result = recorded.run(f"--golden-mode={mode}")
    except KeyboardInterrupt:
        pass  # pytester raises it again
    else:
        assert result.ret == pytest.ExitCode.INTERRUPTED
    assert ambient.active() is None
    assert "STARLING_REPLAY" not in os.environ
    assert recorded.state == before


def test_the_warning_is_public():
    assert pytest_starling.__all__ == ["StarlingWarning"]
    assert issubclass(pytest_starling.StarlingWarning, pytest.PytestWarning)
    assert "pytest_starling" in sys.modules


def test_a_child_process_is_told_not_to_call_out(recorded):
    recorded.write(
        test_support="""
        import pytest, subprocess, sys, support

        @pytest.mark.golden_run
        def test_refund():
            support.handle()
            code = "import os; print(os.environ['STARLING_REPLAY'])"
            assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "active"
        """
    )
    recorded.run(passed=1)
