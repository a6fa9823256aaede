"""`starling replay`: the agent that it finds, and what it says of each run."""

import os
import sys
from pathlib import Path

import pytest
from cli_kit import damage, golden_fixture, service_log, starling_process

SHOP = """
from cli_kit import shop, stock
from starling import Agent, Config, MemoryLog, tool
from starling.provider.openai import OpenAI

def today(): return shop()
async def today_async(): return shop()
def changed(): return shop(prompt="Be long.")
class Agents:
    @staticmethod
    def one(): return shop()
agent = shop()
number = 3
def wants(model): return shop()
def wrong(): return 3
def breaks(): raise LookupError("no config")
def chatty():
    print("building")
    return shop()
def keyless(): return Agent(OpenAI(), Config(model="gpt-4o-mini"), MemoryLog())
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder that the command is called in, with a module `shop_agents`."""
    (tmp_path / "shop_agents.py").write_text(SHOP)
    (tmp_path / "broken_agents.py").write_text("import shop_settings_that_are_not_there\n")
    (tmp_path / "raising_agents.py").write_text("\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield tmp_path
    for name in ("shop_agents", "broken_agents", "raising_agents"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["today", "today_async", "Agents.one"])
def test_a_run_that_replays(project, starling, name):
    called = starling("replay", service_log("log.db", "r1"), "--agent", f"shop_agents:{name}")

    assert (called.code, called.out) == (0, "replays  r1\n")


def test_a_divergence_is_shown_as_pytest_shows_it(project, starling):
    called = starling("replay", service_log("log.db", "r1", "r2"), "r2", "--agent", "shop_agents:changed")

    assert called.code == 1
    assert called.lines[:5] == [
        "golden run diverged at seq 1 of 9 (RunStarted): payload",
        "",
        "The run was started with another system prompt than recorded",
        "",
        '    system_prompt: "Be brief." → "Be long."',
    ]
    assert '>    1  RunStarted                "goal of r2" with gpt-4o-mini' in called.lines


def test_what_is_left_out_is_shown_by_another_command_of_this_program(project, starling):
    """And by no option of pytest's."""
    (project / "long_agents.py").write_text("from cli_kit import shop\ndef today(): return shop(prompt='x' * 9_000)\n")

    called = starling("replay", service_log("log.db", "r1"), "--agent", "long_agents:today")

    (line,) = [line for line in called.lines if "left out here" in line]
    assert line == "    (for the recorded side, starling show log.db r1 --seq 1 shows what is left out here)"


def test_all_runs_are_replayed_with_a_table_at_the_end(project, starling):
    log = service_log("log.db", "r1", "r2", unfinished=["r3"])

    called = starling("replay", log, "--all", "--agent", "shop_agents:today")

    assert called.code == 1
    assert [line.split() for line in called.lines[-5:]] == [
        ["RUN", "REPLAY", "WHERE"],
        ["r1", "yes"],
        ["r2", "yes"],
        ["r3", "no", "LogCorruptError"],
        ["3", "runs:", "2", "replay,", "1", "do", "not"],
    ]


def test_many_failures_are_explained_in_part_and_listed_in_full(project, starling):
    log = service_log("log.db", *(f"r{n}" for n in range(7)))

    called = starling("replay", log, "--all", "--agent", "shop_agents:changed")

    assert called.out.count("golden run diverged") == 5
    assert "The first 5 of 7" in called.out
    assert sum("seq 1 of 9 (RunStarted): payload" in line for line in called.lines[-8:]) == 7


def test_verdicts_for_scripts(project, starling):
    log = service_log("log.db", "r1", "r2")
    damage(log, "r1", 4)

    called = starling("replay", log, "--all", "--json", "--agent", "shop_agents:changed")

    assert called.code == 1
    first, second = called.objects
    assert (first["run_id"], first["replays"], first["divergence"]) == ("r1", False, None)
    assert second["divergence"] == {
        "run_id": "r2",
        "seq": 1,
        "class": "payload",
        "recorded": "RunStarted",
        "produced": "RunStarted",
        "fields": ["system_prompt"],
    }


def test_a_row_whose_text_is_none_is_a_damaged_run_and_the_others_are_replayed(project, starling):
    log = service_log("log.db", "r1", "r2")
    damage(log, "r1", 4, "payload = CAST(x'ff' AS TEXT)")

    one = starling("replay", log, "--agent", "shop_agents:today", "r1")
    every = starling("replay", log, "--agent", "shop_agents:today", "--all")

    assert (one.code, every.code) == (1, 1)
    assert "run 'r1' seq 4: payload must be bytes, found text that is not UTF-8" in one.out
    assert [line.split() for line in every.lines[-3:]] == [
        ["r1", "no", "LogCorruptError"],
        ["r2", "yes"],
        ["2", "runs:", "1", "replay,", "1", "do", "not"],
    ]
    assert starling("validate", log, "r1").code == 1


def test_what_the_project_prints_is_no_output_of_the_command(project, starling):
    called = starling("replay", service_log("log.db", "r1"), "--agent", "shop_agents:chatty", "--json")

    assert [run["replays"] for run in called.objects] == [True]
    assert called.err == "building\n"


def test_ignored_fields_and_tools_that_do_not_run(project, starling, monkeypatch):
    log = service_log("log.db", "r1")

    assert starling("replay", log, "--agent", "shop_agents:changed", "--ignore", "RunStarted.system_prompt").code == 1
    assert starling("replay", log, "--agent", "shop_agents:today", "--tools", "stub").code == 0


def test_another_provider_is_accepted_by_force_alone(project, starling):
    (project / "other_agents.py").write_text(
        "from cli_kit import shop\n"
        "from dataclasses import replace\n"
        "from starling import Agent\n"
        "from starling.testing import ScriptedProvider\n"
        "def today():\n"
        "    one = shop()\n"
        "    return Agent(ScriptedProvider(provider_id='other'), one.config, one.log, tools=one.tools)\n"
    )
    log = service_log("log.db", "r1")

    refused = starling("replay", log, "--agent", "other_agents:today")
    forced = starling("replay", log, "--agent", "other_agents:today", "--force")

    assert (refused.code, forced.code) == (1, 0)
    assert "--force" in refused.out
    sys.modules.pop("other_agents")


def test_no_key_is_needed_and_the_environment_is_left_as_it_was(project, starling, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("STARLING_REPLAY", raising=False)

    called = starling("replay", service_log("log.db", "r1"), "--agent", "shop_agents:keyless")

    assert called.code == 1  # it is another agent; it could be made
    assert "STARLING_REPLAY" not in os.environ


def test_a_golden_fixture_replays_by_hand(project, starling):
    assert starling("replay", golden_fixture(project / "f.db"), "--agent", "shop_agents:today").code == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shop_agents", "write it as module:function"),
        ("nowhere:today", "there is no module nowhere in the current folder"),
        ("shop_agents.sub:today", "there is no module shop_agents.sub"),
        ("broken_agents:today", "needs the module shop_settings_that_are_not_there, which is not installed"),
        ("raising_agents:today", "importing raising_agents raised ZeroDivisionError: division by zero ("),
        ("shop_agents:todya", "has no todya; is today meant?"),
        ("shop_agents:agent", "it is an agent; name a function that makes one"),
        ("shop_agents:number", "it is 'int' and cannot be called"),
        ("shop_agents:wants", "it is called without arguments, and cannot be (missing a required argument: 'model')"),
        ("shop_agents:wrong", "it returned 'int', and not a starling.Agent"),
        ("shop_agents:breaks", "it raised LookupError: no config ("),
    ],
)
def test_a_factory_that_cannot_be_used_is_a_mistake_that_is_named(project, starling, name, told):
    called = starling("replay", service_log("log.db", "r1"), "--agent", name)

    assert called.code == 2
    assert called.err.startswith(f"starling replay: --agent {name}: ")
    assert told in called.err


def test_without_a_run_the_log_must_hold_one(project, starling):
    called = starling("replay", service_log("log.db", "r1", "r2"), "--agent", "shop_agents:today")

    assert called.code == 2
    assert called.err == "starling replay: the log holds 2 runs: name the one to replay, or give --all\n"


def test_the_factory_is_found_in_the_folder_of_the_call_by_an_installed_command(project):
    import cli_kit

    log = service_log("log.db", "r1")
    environment = {**os.environ, "PYTHONPATH": str(Path(cli_kit.__file__).parent)}

    ran = starling_process("replay", log, "--agent", "shop_agents:today", cwd=project, env=environment)

    assert (ran.returncode, ran.stdout) == (0, "replays  r1\n"), ran.stderr
