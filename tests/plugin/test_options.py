"""Options and ini keys: each on the command line and in the ini file, contradictions, and CI."""

from pathlib import Path

import pytest

from pytest_starling._settings import in_ci, read_settings

ONE = "import pytest, support\n@pytest.mark.golden_run\ndef test_a(): support.handle()\n"


@pytest.mark.parametrize("name", ["CI", "CONTINUOUS_INTEGRATION", "GITHUB_ACTIONS", "BUILD_NUMBER"])
@pytest.mark.parametrize(
    ("value", "verdict"), [("true", True), ("1", True), ("1234", True), ("false", False), ("0", False), ("", False)]
)
def test_the_usual_variables_say_whether_this_is_ci(name, value, verdict):
    assert in_ci({name: value}) is verdict
    assert in_ci({name: f" {value.upper()} "}) is verdict


@pytest.mark.parametrize("option", ["--record-golden", "--golden-mode=new", "--golden-mode=all"])
def test_recording_in_ci_is_a_usage_error_unless_allowed(project, monkeypatch, option):
    monkeypatch.setenv("CI", "true")
    project.write(test_support=ONE)
    result = project.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{'--record-golden' if 'record' in option else option} is refused in CI" in result.stderr.str()
    assert project.fixtures == []
    project.run(option, "--golden-allow-ci-record", passed=1)
    assert project.fixtures == ["test_support/test_a.db"]


def test_ci_false_is_not_ci(project, monkeypatch):
    monkeypatch.setenv("CI", "false")
    project.write(test_support=ONE)
    project.record(passed=1)


def test_replaying_in_ci_needs_no_permission(recorded, monkeypatch):
    monkeypatch.setenv("CI", "true")
    recorded.run(passed=1)
    recorded.run("--golden-mode=replay", passed=1)


def test_a_recording_mode_in_the_ini_file_falls_back_to_replay_in_ci(project, monkeypatch):
    project.write(test_support=ONE)
    monkeypatch.setenv("CI", "true")
    project.run("-o", "golden_mode=new", failed=1)
    assert project.fixtures == []
    monkeypatch.delenv("CI")
    project.run("-o", "golden_mode=new", passed=1)
    assert project.fixtures == ["test_support/test_a.db"]


@pytest.mark.parametrize("mode", ["replay", "new", "all"])
def test_the_flag_contradicts_other_modes(project, mode):
    project.write(test_support=ONE)
    result = project.run("--record-golden", f"--golden-mode={mode}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"contradicts --golden-mode={mode}" in result.stderr.str()


def test_the_flag_agrees_with_its_own_mode(project):
    project.write(test_support=ONE)
    project.run("--record-golden", "--golden-mode=changed", passed=1)


def test_the_flag_takes_no_value_so_that_it_swallows_no_path(project):
    project.write(test_support=ONE, test_other="def test_b(): ...\n")
    project.run("--record-golden", "test_support.py", passed=1)


def test_the_command_line_wins_over_the_ini_file(recorded):
    recorded.turn(total=43)
    recorded.run("-o", "golden_mode=all", "--golden-mode=replay", failed=1)


def test_an_unknown_mode_in_the_ini_file_is_a_usage_error(project):
    result = project.run("-o", "golden_mode=always")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "golden_mode = 'always' is none of replay, new, changed, all" in result.stderr.str()


@pytest.mark.parametrize("place", [["--golden-dir=gold/en"], ["-o", "golden_dir=gold/en"]])
def test_the_folder_can_be_chosen_from_the_rootdir(project, place):
    project.write(test_support=ONE)
    result = project.run("--record-golden", *place, passed=1)
    assert "golden: 1 test, recording what is missing or diverges in gold/en" in result.stdout.str()
    assert (project.path / "gold/en/test_support/test_a.db").exists()
    project.run(*place, passed=1)


BOTH = [
    # option, ini key and its other value, what they come to
    ("--golden-mode=new", "golden_mode=all", "mode", "new"),
    ("--record-golden", "golden_mode=all", "mode", "changed"),
    ("--golden-dir=b", "golden_dir=a", "folder", "b"),
    ("--golden-verify=off", "golden_verify=true", "verify", False),
    ("--golden-cassette=b.yaml", "golden_cassette=a.yaml", "cassette", "b.yaml"),
    ("--golden-nondeterminism=error", "golden_nondeterminism=off", "nondeterminism", "error"),
    ("--golden-unused=fail", "golden_unused=off", "unused", "fail"),
    ("--golden-network=allow", "golden_network=block", "network", "allow"),
    ("--golden-diff=full", "golden_diff=short", "diff", "full"),
    ("--golden-report=b.md", "golden_report=a.json", "report", "b.md"),
]


@pytest.mark.parametrize(("option", "key", "name", "value"), BOTH)
def test_each_option_has_an_ini_key_and_wins_over_it(project, option, key, name, value):
    def chosen(*arguments):
        found = getattr(read_settings(project.pytester.parseconfig("-p", "no:cacheprovider", *arguments)), name)
        return Path(found).name if isinstance(found, Path) or name == "cassette" else found

    other = chosen("-o", key)
    assert other != value
    assert str(other).casefold() == key.partition("=")[2]
    assert chosen("-o", key, option) == value


def test_the_table_has_every_option_with_a_value(project):
    group = project.pytester.parseconfig()._parser.getgroup("starling")
    names = {option.names()[0] for option in group.options}
    assert names == {option.partition("=")[0] for option, *_ in BOTH} | {"--golden-allow-ci-record"}


HINT = "No configuration file says where the project begins, so it begins where pytest is called; an empty pytest.ini"


def test_without_a_configuration_file_it_is_said_that_the_rootdir_follows_from_the_call(project):
    (project.path / "pytest.ini").unlink()
    project.write(test_support=ONE)
    below = f"below {project.path}. {HINT}"
    assert f"It is looked for {below}" in project.run("-W", "ignore", failed=1).stdout.str()
    assert f"These are {below}" in project.record("-W", "ignore", passed=1).stdout.str()
    assert HINT not in project.run("-W", "ignore", passed=1).stdout.str()


@pytest.mark.parametrize("settling", ["pytest.ini", "setup.py", "--rootdir=."])
def test_where_the_rootdir_is_settled_nothing_is_said_of_it(project, settling):
    (project.path / "pytest.ini").unlink()
    project.write(test_support=ONE)
    if settling[0] != "-":
        (project.path / settling).touch()
    options = [settling] if settling[0] == "-" else []
    assert HINT not in project.run(*options, "-W", "ignore", failed=1).stdout.str()
    assert HINT not in project.record(*options, "-W", "ignore", passed=1).stdout.str()


COST = """
import pytest, support
from starling.budget import register_pricing

@pytest.mark.golden_run{arguments}
def test_a():
    import json, pathlib
    price = json.loads(pathlib.Path("price.json").read_text())
    register_pricing("priced-model", price, price)
    support.handle()
"""


@pytest.mark.parametrize(
    ("arguments", "options", "outcome"),
    [
        ("", [], "passed"),
        ("", ["-o", "golden_compare_cost=true"], "failed"),
        ("(compare_cost=True)", [], "failed"),
        ("(compare_cost=False)", ["-o", "golden_compare_cost=true"], "passed"),
        (
            "(compare_cost=True, ignore=['AssistantMessageCompleted.cost_usd', 'RunCompleted.total_cost_usd'])",
            [],
            "passed",
        ),
    ],
)
def test_a_changed_price_diverges_only_if_costs_are_compared(project, arguments, options, outcome):
    project.turn(model="priced-model")
    project.write(test_support=COST.format(arguments=arguments))
    (project.path / "price.json").write_text("1.0")
    project.record(passed=1)
    (project.path / "price.json").write_text("2.0")
    result = project.run(*options, "-vv", **{outcome: 1})
    if outcome == "failed":
        result.stdout.fnmatch_lines(
            ["*diverged at seq 3 of 14 (AssistantMessageCompleted): payload", "*cost_usd: * → *"]
        )


def test_the_help_names_every_option(project):
    text = project.run("--help").stdout.str()
    for name in ("--record-golden", "--golden-mode", "--golden-dir", "--golden-verify", "--golden-allow-ci-record"):
        assert name in text
    for name in ("golden_mode", "golden_dir", "golden_verify", "golden_compare_cost"):
        assert name in text
