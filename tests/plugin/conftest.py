"""A project of a user's, in a temporary folder: an agent whose every detail can be turned, and pytest to run on it."""

import concurrent.futures.thread  # noqa: F401
import importlib
import importlib.metadata
import json
import os
import pkgutil
import sys
from functools import cached_property, lru_cache
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
import ulid  # noqa: F401
from _pytest._code import Source, code

import pytest_starling
import starling.explain
import starling.replay
import starling.testing  # noqa: F401
from pytest_starling._settings import _CI_VARIABLES
from pytest_starling._variable import VARIABLE
from starling import tool
from tests import forked

# Loaded here so that pytest runs inside this process share one runtime instead of importing it over and over.
for module in pkgutil.walk_packages(pytest_starling.__path__, "pytest_starling."):
    if "syrupy" not in module.name:  # that plugin's own tests load it
        importlib.import_module(module.name)


def _echo(word: str) -> str:
    """A tool."""
    return word


assert tool(_echo).schema  # brings what pydantic loads with the first model, which every run would import anew

SUPPORT = """
import json
from pathlib import Path

from starling import Agent, Config, MemoryLog, step, tool
from starling.errors import ToolError
from starling.testing import ScriptedProvider

DEFAULTS = dict(
    prompt="You are kind.\\nAnswer briefly.\\nNever promise money.", goal="I was charged twice", temperature=0.5,
    model="gpt-4o-mini", description="Look an order up.", wide=False, total=42, fails=False, max_turns=0,
    effects=["rate", "stock"], dispatch=["alpha", "beta"], provider="scripted",
)


def knobs():
    file = Path(__file__).with_name("knobs.json")
    return {**DEFAULTS, **(json.loads(file.read_text()) if file.exists() else {})}


@tool
def alpha() -> str:
    "A nested tool."
    return "a"


@tool
def beta() -> str:
    "Another nested tool."
    return "b"


def lookup_tool(k):
    async def body(order):
        for name in k["effects"]:
            await step.side_effect(name, lambda: 1)
        for name in k["dispatch"]:
            await step.call_tool(step.ToolCall(name=name, args={}))
        if k["fails"]:
            raise ToolError("no such order")
        return {"order": order, "total": k["total"]}

    async def lookup(order: int) -> dict:
        return await body(order)

    async def lookup_wide(order: int, country: str = "NO") -> dict:
        return await body(order)

    return tool(lookup_wide if k["wide"] else lookup, name="lookup", description=k["description"])


def agent(log=None, first=None):
    k = knobs()
    provider = ScriptedProvider(provider_id=k["provider"])
    if first:
        provider.do(first)
    provider.text("Let me look.").tool_call("lookup", {"order": 7}).turn().text("You get a refund.")
    config = Config(
        model=k["model"], system_prompt=k["prompt"], params={"temperature": k["temperature"]},
        max_turns=k["max_turns"],
    )
    return Agent(provider, config, log or MemoryLog(), tools=[lookup_tool(k), alpha, beta])


def handle(question=None):
    return agent().run_sync(question or knobs()["goal"]).final_text
"""

TEST = """
import pytest, support

@pytest.mark.golden_run
def test_refund():
    assert "refund" in support.handle()
"""


@pytest.fixture(autouse=True)
def no_ci(monkeypatch):
    """A developer's machine: no CI, nothing said about replaying."""
    for name in (*_CI_VARIABLES, VARIABLE):
        monkeypatch.delenv(name, raising=False)
    # Tests edit a module within the second in which it was written, without changing its size: that is cached code.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


class _Installed(PathDistribution):
    """A distribution that is read once: pytest and pydantic read all of them, in every run inside this process."""

    metadata = cached_property(PathDistribution.metadata.fget)
    entry_points = cached_property(PathDistribution.entry_points.fget)
    files = cached_property(PathDistribution.files.fget)


@pytest.fixture(scope="session", autouse=True)
def installed():
    """What is installed does not change while tests run."""
    discover, known = importlib.metadata.distributions, lru_cache(None)(_Installed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importlib.metadata, "distributions", lambda **where: map(known, (d._path for d in discover(**where)))
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def parsed():
    """Every failure's traceback leads through the same modules of pytest, asyncio and the runtime: each is parsed once."""
    statement = code.getstatementrange_ast
    tree = lru_cache(128)(lambda text: statement(0, Source(text))[0])

    def known(line, source, assertion=False, astnode=None):
        return statement(line, source, assertion, astnode or tree(str(source)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "getstatementrange_ast", known)
        yield


@pytest.fixture(scope="session", autouse=True)
def forked_workers():
    """Workers of xdist that import what all of them import: once."""
    restore = forked.fork_workers()
    yield
    restore()


_IDLE = ("cacheprovider", "hypothesispytest", "pytest_cov", "randomly", "rerunfailures", "respx", "syrupy", "timeout")
_WITHOUT = [f"no:{name}" for name in _IDLE]
"""Plugins that play no part, and would be imported anew for each run inside this process."""
QUIET = [word for name in _WITHOUT for word in ("-p", name)]


class Project:
    """A user's project, and what can be done with it."""

    def __init__(self, pytester, monkeypatch):
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        for name in ("support", "test_support"):  # the example's modules have these names too
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setenv("COLUMNS", "200")  # so that no summary line is cut
        self.path = pytester.path
        lines = ["asyncio_default_fixture_loop_scope = function", "pythonpath = .", "filterwarnings = default"]
        pytester.makefile(".ini", pytest="\n".join(["[pytest]", *lines, ""]))
        pytester.makepyfile(support=SUPPORT)

    def write(self, **modules):
        self.pytester.makepyfile(**modules)

    def turn(self, **knobs):
        (self.path / "knobs.json").write_text(json.dumps(knobs))

    def run(self, *arguments, **expected):
        """Run pytest in this process, and check the counts if any are given."""
        result = self.pytester.runpytest_inprocess(*QUIET, *arguments)
        if expected:
            result.assert_outcomes(**expected)
        return result

    def run_cached(self, *arguments, **expected):
        """As `run`, with pytest's cache."""
        quiet = [word for name in _WITHOUT if name != "no:cacheprovider" for word in ("-p", name)]
        result = self.pytester.runpytest_inprocess(*quiet, *arguments)
        if expected:
            result.assert_outcomes(**expected)
        return result

    def run_apart(self, *arguments, **expected):
        """Run pytest in a process of its own, forked from one that has imported pytest and the plugin."""
        with self.monkeypatch.context() as patch:
            patch.setattr(self.pytester, "popen", self._fork)
            result = self.pytester.runpytest_subprocess(*QUIET, *arguments)
        if expected:
            result.assert_outcomes(**expected)
        return result

    def _fork(self, command, *, stdout, stderr, **_):
        """As `Pytester.popen`, which hands on the test's folder for imports."""
        command = [sys.executable, *command[1:]]
        with Path(os.devnull).open("rb") as nothing:
            environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
            return forked.Popen(command, env=environment, stdin=nothing, stdout=stdout, stderr=stderr)

    def run_anew(self, *arguments, **expected):
        """Run pytest in an interpreter of its own."""
        result = self.pytester.runpytest_subprocess(*QUIET, *arguments)
        if expected:
            result.assert_outcomes(**expected)
        return result

    def record(self, *arguments, **expected):
        return self.run("--record-golden", *arguments, **expected)

    def fixture(self, name="test_refund", module="test_support"):
        return self.path / "testdata" / "golden" / module / f"{name}.db"

    @property
    def fixtures(self):
        """Every file under the golden folder, from there."""
        folder = self.path / "testdata" / "golden"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    @property
    def state(self):
        """The golden folder, byte for byte."""
        folder = self.path / "testdata" / "golden"
        return {name: (folder / name).read_bytes() for name in self.fixtures}


@pytest.fixture
def project(pytester, monkeypatch):
    return Project(pytester, monkeypatch)


@pytest.fixture
def recorded(project):
    """A project whose one golden test is recorded."""
    project.write(test_support=TEST)
    project.record(passed=1)
    return project
