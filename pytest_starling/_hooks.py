"""The hooks, and nothing else: each one hands on to the module whose business it is.

Imported in every pytest session, so it imports nothing that a session without golden tests does not need: the runtime
and the modules that use it are imported inside functions which only golden tests reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling import _variable, hookspecs, leave_compiled
from pytest_starling._options import MODES, add_options, asked_for_anything
from pytest_starling._state import GOLDEN, MARKER, SIGNATURE, Golden, golden_item

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

__all__ = [
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_collection_finish",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_fixture_setup",
    "pytest_load_initial_conftests",
    "pytest_make_collect_report",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Announce the hooks of `hookspecs`."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register options and ini keys."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Let conftest files build agents without keys, and keep the runtime out of assertion rewriting."""
    _variable.announce(early_config)
    leave_compiled()  # a second session of one process has a finder of its own


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse options that contradict each other."""
    _variable.announce(config)
    if hasattr(config, "workerinput"):
        from pytest_starling import _xdist

        _xdist.taught_by_controller(config)
    config.addinivalue_line(
        "markers", f"{SIGNATURE}: record the agent runs of this test once, and replay them from then on"
    )
    golden = config.stash[GOLDEN] = Golden(config)
    config.pluginmanager.register(golden, "starling-outcomes")
    if asked_for_anything(config) or config.getini("golden_report") or config.getini("golden_mode") not in MODES:
        _ = golden.settings  # a contradiction is a usage error at once


# --- collection


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Remember which names stand side by side, selected or not. Innermost, before ``--lf`` thins them."""
    report = yield
    collector.config.stash[GOLDEN].note_collected(collector, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> Generator[None, None, None]:
    """Find the golden tests, and say how many there are. Last, because other plugins still exchange items here.

    A worker of pytest-xdist looks first as well: what is wrong has to end it before the controller is told that it has
    collected. The controller would send it tests, and fail itself if nobody is there any more.
    """
    golden = session.config.stash[GOLDEN]
    looked_at = None
    if hasattr(session.config, "workerinput"):
        looked_at = list(session.items)
        _find(golden, session)
    yield
    _variable.withdraw(session.config)
    if looked_at != session.items:
        golden.items.clear()
        golden.claimed.clear()
        _find(golden, session)
    if golden.judges_fixtures(session.config):
        from pytest_starling._owners import owners

        golden.owners = owners(golden, session)
    golden.forget_collected()


def _find(golden: Golden, session: pytest.Session) -> None:
    if any(item.get_closest_marker(MARKER) for item in session.items):
        _collect(golden, session)


def _collect(golden: Golden, session: pytest.Session) -> None:
    from pytest_starling._session import collect

    try:
        collect(golden, session.items)
    except pytest.UsageError as error:
        from pytest_starling import _xdist

        _xdist.tell_controller(session, error)
        raise
    if any(one.movable for one in golden.items):
        from pytest_starling._owners import unselected_places

        golden.unselected = unselected_places(golden, session)
    if golden.items:
        _prepare(golden, session.config.pluginmanager)


def _prepare(golden: Golden, plugins: pytest.PytestPluginManager) -> None:
    from pytest_starling._summary import announce

    terminal: TerminalReporter | None = plugins.getplugin("terminalreporter")
    if terminal is not None:
        announce(golden, terminal, len(golden.items))
    if golden.settings.records:
        from pytest_starling import _recorder

        plugins.register(_recorder, "starling-recorder")


# --- running


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Leave nothing of a golden run behind, even if it is interrupted."""
    golden = golden_item(item)
    if golden is None:
        return (yield)
    try:
        return (yield)
    finally:
        golden.end()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Open a golden test's session."""
    golden = golden_item(item)
    if golden is None:
        return (yield)
    from pytest_starling._phases import setting_up

    return (yield from setting_up(golden))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Judge a golden test's runs."""
    golden = golden_item(item)
    if golden is None:
        return (yield)
    from pytest_starling._phases import calling

    return (yield from calling(golden))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Close a golden test's session, with the test's own fixtures inside it. Innermost, so that output is captured."""
    golden = golden_item(item)
    if golden is None:
        return (yield)
    from pytest_starling._phases import tearing_down

    return (yield from tearing_down(golden))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Keep the runs of fixtures that outlive a golden test out of its recording."""
    golden = golden_item(request._pyfuncitem)
    if golden is None or golden.attempt is None or _ends_with(fixturedef, request):
        return (yield)
    outsider = f"the {fixturedef.scope}-scoped fixture {fixturedef.argname!r}"
    with golden.attempt.guard.closed_for(outsider), golden.attempt.tried_again_elsewhere(fixturedef, request):
        return (yield)


def _ends_with(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
    """Whether a fixture lives no longer than the test: pytest ties class-scoped ones to a test without a class."""
    return fixturedef.scope == "function" or (fixturedef.scope == "class" and request.cls is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Give golden failures their text."""
    golden = golden_item(item)
    if golden is None:
        return (yield)
    from pytest_starling._report import dress, prepare

    prepare(golden, call)
    report = yield
    dress(golden, report, call.excinfo)
    return report


# --- the end


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Judge fixtures that no test owns, and write the report. Last, so that the exit status is known."""
    golden = session.config.stash[GOLDEN]
    if golden.has_an_end(session.config):
        from pytest_starling._ending import end

        end(golden, session)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say what was recorded and what is in need of it."""
    golden = config.stash[GOLDEN]
    if golden.outcomes or golden.unused or golden.notes:
        from pytest_starling._summary import summarise

        summarise(golden, terminalreporter)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Brief a worker of pytest-xdist."""
    from pytest_starling import _xdist

    _xdist.prepare_worker(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take down what a worker of pytest-xdist found out about fixtures."""
    from pytest_starling import _xdist

    told = _xdist.told_by_worker(node)
    if told is not None:
        node.config.stash[GOLDEN].told.append(told)
