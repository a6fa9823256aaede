"""The plugin as pytest sees it: hooks and fixtures, made elsewhere.

Nothing but names: what stands here is a hook or a fixture.
"""

from pytest_starling._fixtures import (
    _starling_open,
    golden_run,
    golden_run_config,
    golden_run_dir,
    scripted_provider,
    starling_log,
)
from pytest_starling._hooks import (
    pytest_addhooks,
    pytest_addoption,
    pytest_collection_finish,
    pytest_configure,
    pytest_configure_node,
    pytest_fixture_setup,
    pytest_load_initial_conftests,
    pytest_make_collect_report,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_runtest_teardown,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

__all__ = [
    "_starling_open",
    "golden_run",
    "golden_run_config",
    "golden_run_dir",
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
    "scripted_provider",
    "starling_log",
]
