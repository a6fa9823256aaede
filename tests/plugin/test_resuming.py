"""Golden tests of code that resumes runs: the crash and what follows it are one recorded run."""

import pytest

SHOP = """
from starling import Agent, Config, MemoryLog, step, tool
from starling.errors import LogWriteError
from starling.testing import ScriptedProvider
import json
from pathlib import Path

WORLD = Path(__file__).with_name("world.txt")


class FullLog(MemoryLog):
    takes = 5

    def append_sync(self, run_id, events):
        if self.takes == 0:
            raise OSError("disk full")
        self.takes -= 1
        super().append_sync(run_id, events)


def paid(item):
    with WORLD.open("a") as world:
        world.write("paid\\n")
    return f"paid {item}"


@tool
async def pay(item: str) -> str:
    return await step.side_effect("pay", lambda: paid(item))


@tool
async def mail(item: str) -> str:
    return await step.side_effect("mail", lambda: f"mailed {item}")


def clerk(log):
    script = ScriptedProvider().tool_call("pay", {"item": "tea"}).turn().tool_call("mail", {"item": "tea"})
    script = script.turn().text("all done")
    prompt = Path(__file__).with_name("prompt.txt")
    config = Config(model="gpt-4o-mini", system_prompt=prompt.read_text() if prompt.exists() else "")
    provider = script if log.takes == 5 else ScriptedProvider(script.turns[1:])
    return Agent(provider, config, log, tools=[pay, mail])


def order(extra=""):
    log = FullLog()
    try:
        return clerk(log).run_sync("an order"), log
    except LogWriteError as error:
        log.takes = 99
        return clerk(log).resume_sync(error.run_id, extra), log
"""

TEST = """
import pytest, shop

@pytest.mark.golden_run
def test_order(golden_run):
    result, log = shop.order()
    assert result.final_text == "all done"
    kinds = [event.kind.name for event in log.read_sync(result.run_id)]
    assert kinds.count("RunResumed") == 1
    assert kinds[-1] == "RunCompleted"
    assert len(golden_run.runs) == 1
"""


@pytest.fixture
def resumed(project, monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "shop", raising=False)
    project.write(shop=SHOP, test_order=TEST)
    project.record(passed=1)
    return project


def test_a_crash_that_the_test_mends_is_recorded_and_replays(resumed):
    assert (resumed.path / "world.txt").read_text() == "paid\n"
    before = resumed.state

    for _ in range(3):
        resumed.run(passed=1)

    assert (resumed.path / "world.txt").read_text() == "paid\n"
    assert resumed.state == before


def test_a_change_behind_the_seam_fails_the_test_there(resumed):
    (resumed.path / "shop.py").write_text(SHOP.replace('f"mailed {item}")', 'f"mailed {item}") + "!"'))

    result = resumed.run(failed=1)

    result.stdout.fnmatch_lines(["*ToolCallCompleted*"])
    assert "mailed tea" in result.stdout.str()


def test_another_extra_message_fails_the_test_at_the_seam(resumed):
    (resumed.path / "test_order.py").write_text(TEST.replace("shop.order()", "shop.order('hurry up')"))

    result = resumed.run(failed=1)

    result.stdout.fnmatch_lines(["*extra_message*hurry up*"])


def test_code_that_does_not_resume_any_more_fails_the_test(resumed):
    given_up = SHOP.replace("return clerk(log).resume_sync(error.run_id, extra), log", "return None, log")
    (resumed.path / "shop.py").write_text(given_up)
    (resumed.path / "test_order.py").write_text(
        "import pytest, shop\n\n@pytest.mark.golden_run\ndef test_order():\n    shop.order()\n"
    )

    result = resumed.run(failed=1)

    result.stdout.fnmatch_lines(["*was resumed here*did not resume it*"])


def test_a_crash_that_nobody_mends_is_not_recorded(project, monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "shop", raising=False)
    project.write(
        shop=SHOP,
        test_order="""
        import pytest, shop
        from starling.errors import LogWriteError

        @pytest.mark.golden_run
        def test_order():
            with pytest.raises(LogWriteError):
                shop.clerk(shop.FullLog()).run_sync("an order")
        """,
    )

    result = project.record(failed=1)

    assert project.fixtures == []
    result.stdout.fnmatch_lines(["*was cut off when its log failed, and not resumed*", "*agent.resume*"])


def test_a_run_that_a_fixture_had_begun_is_resumed(project, monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "shop", raising=False)
    project.write(
        shop=SHOP,
        test_order="""
        import pytest, shop
        from starling.testing import append_run_started

        @pytest.fixture
        def log():
            log = shop.FullLog()
            append_run_started(log, "earlier", "an order", model="gpt-4o-mini")
            log.takes = 99
            return log

        @pytest.mark.golden_run
        def test_resume(log):
            assert shop.clerk(log).resume_sync("earlier").final_text == "all done"
            assert log.read_sync("earlier")[-1].kind.name == "RunCompleted"
        """,
    )

    project.record(passed=1)
    project.run(passed=1)
    project.run(passed=1)


def test_a_run_that_was_resumed_in_the_test_does_not_hide_what_belongs_to_the_test(resumed):
    """When the test's body ended is read off the recording; a resumption must not be taken for that."""
    more = TEST + "    log.takes = 99\n    shop.clerk(log).run_sync('another')\n"
    (resumed.path / "test_order.py").write_text(more.replace("len(golden_run.runs) == 1", "golden_run.runs"))
    resumed.run("--record-golden", passed=1)
    (resumed.path / "test_order.py").write_text(TEST.replace("len(golden_run.runs) == 1", "golden_run.runs"))

    result = resumed.run(failed=1)

    result.stdout.fnmatch_lines(["*was not asked for: goal 'another'*"])
