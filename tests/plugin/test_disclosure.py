"""What stands beside a golden failure's own text: chained tracebacks, output and properties show nothing that is hidden.

Nothing here has the shape of a key: what has is put together while the tests run.
"""

import pytest

SUPPORT = """
import os
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider


@tool
def look() -> dict:
    "Look."
    return {"note": f"it is {os.environ['SEEN']}, says the tool"}


def handle():
    script = ScriptedProvider().tool_call("look").turn().text("fine")
    return Agent(script, Config(model="m"), MemoryLog(), tools=[look]).run_sync("go")
"""
TESTS = """
import asyncio, logging, pytest, support, traceback, unittest, warnings

@pytest.mark.golden_run
def test_wrapped():
    try:
        support.handle()
    except Exception as error:
        raise RuntimeError(f"agent failed: {error} {getattr(error, 'divergences', ())}") from error

@pytest.mark.golden_run
def test_told(record_property):
    for _ in range(2):
        try:
            support.handle()
        except Exception as error:
            traceback.print_exc()
            logging.getLogger("own").exception("failed")
            warnings.warn(str(error))
            record_property("why", str(error))
    print("in the open:", support.os.environ["SEEN"])

@pytest.mark.golden_run
def test_own_assert():
    seen = support.os.environ["SEEN"]
    try:
        support.handle()
    except Exception:
        pass
    assert seen == "nothing"

@pytest.mark.golden_run
def test_group():
    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(support.handle))
    try:
        asyncio.run(main())
    except BaseExceptionGroup as group:
        raise RuntimeError("a group") from group

class Case(unittest.TestCase):
    @pytest.mark.golden_run
    def test_case(self):
        try:
            support.handle()
        except Exception as error:
            raise RuntimeError(f"agent failed: {error}") from error
"""
SECRET = "c0rrect/" + 'horse"b4ttery'
HOOK = """
from starling.replay import map_content

def change(text):
    return text.replace("Ada Lovelace", "a customer") if isinstance(text, str) else text

def pytest_starling_redact(kind, payload):
    return map_content(payload, change)
"""
FULL = ("-l", "-vv", "--junitxml=junit.xml", "-o", "junit_logging=all", "--golden-report=report.json")


def everywhere(project, result):
    files = [path for path in project.path.rglob("*") if path.is_file() and path.suffix not in (".py", ".ini", ".pyc")]
    return "".join((result.stdout.str(), result.stderr.str(), *(path.read_text("latin-1") for path in files)))


@pytest.fixture
def telling(project):
    project.monkeypatch.setenv("SEEN", "nothing")
    project.write(support=SUPPORT, test_told=TESTS)
    project.record(passed=5)
    return project


def configure(project, rule):
    ini = project.path / "pytest.ini"
    ini.write_text(f"{ini.read_text().rstrip()}\ngolden_redact = {rule}\n")


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_a_credential_is_shown_nowhere(telling, workers):
    telling.monkeypatch.setenv("MY_API_KEY", SECRET)
    telling.monkeypatch.setenv("SEEN", SECRET)
    result = telling.run_cached(*FULL, *workers, failed=5)
    shown = everywhere(telling, result)
    assert "horse" not in shown
    assert shown.count("<MY_API_KEY>") > 10


@pytest.mark.parametrize("by", ["a rule", "a hook"])
def test_what_redaction_hides_is_shown_nowhere(telling, by):
    if by == "a rule":
        configure(telling, "Ada .*lace")
    else:
        telling.write(conftest=HOOK)
    telling.monkeypatch.setenv("SEEN", "Ada Lovelace")
    shown = everywhere(telling, telling.run_cached(*FULL, failed=5))
    assert "Lovelace" not in shown
    assert "agent failed: golden run diverged" in shown


def test_chained_tracebacks_lead_through_the_users_code_alone(telling):
    telling.monkeypatch.setenv("SEEN", "something")
    output = telling.run("-vv", "-k", "wrapped or group or case", failed=3).stdout
    output.fnmatch_lines(
        [
            ">   *support.handle()",
            "support.py:*",
            "*NondeterminismError: golden run diverged at seq *",
            "The above exception was the direct cause of the following exception:",
            "E  *RuntimeError: agent failed: *",
            "E  *golden run diverged at seq *",
        ]
    )
    text = output.str()
    assert "The above exception was the direct cause" in text
    assert "runtime/starling" not in text
    assert "payload = " not in text


def test_a_mistake_of_ours_keeps_its_frames(telling):
    telling.monkeypatch.setattr("starling.replay.ReplayingSession.begin", lambda self: None)  # takes no intent
    output = telling.run("-k", "wrapped", failed=1).stdout.str()
    assert "_guard.py" in output


def test_a_test_that_passes_is_left_as_it_is(telling):
    telling.write(
        test_told="import pytest, support\n@pytest.mark.golden_run\ndef test_wrapped():\n    support.handle()\n    print(support.os.environ['MY_API_KEY'])\n"
    )
    telling.monkeypatch.setenv("MY_API_KEY", SECRET)
    assert SECRET in telling.run("-rP", passed=1).stdout.str()
