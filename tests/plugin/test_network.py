"""--golden-network: from setup to teardown a replaying test reaches nothing but loopback and allowed hosts.

The tests inside announce connections instead of making them, so that nothing leaves this machine even if the block
should fail.
"""

import pytest

TEST = "import pytest, support\n@pytest.mark.golden_run\ndef test_refund(): support.handle()\n"
NET = """
import socket, sys

def reach(host="192.0.2.1", port=9):
    with socket.socket() as one:
        sys.audit("socket.connect", one, (host, port))

def try_to(host="192.0.2.1", port=9):
    try:
        reach(host, port)
    except OSError:
        return False
    return True
"""
TARGET = "net.py:5 connects to 192.0.2.1:9"
BLOCKED = f"network blocked while replaying: {TARGET}; nothing was sent."
WARNING = f"*StarlingWarning: test_support.py::test_refund: {BLOCKED} If the run needs *"


RECORDED = {}
"""The recording with which all of these tests begin, made once."""


@pytest.fixture
def wired(project):
    project.write(net=NET, test_support=TEST)
    if RECORDED:
        project.fixture().parent.mkdir(parents=True)
        project.fixture().write_bytes(RECORDED["refund"])
    else:
        project.record(passed=1)
        RECORDED["refund"] = project.fixture().read_bytes()
    return project


def _body(*lines, marker="", before=""):
    """A golden test with its recorded run and something beside it."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"""
import pytest, threading, support
from net import reach, try_to
{before}
@pytest.mark.golden_run{marker}
def test_refund({"around" if "def around" in before else ""}):
    support.handle()
{body}
"""


def _is_blocked(project, source, *arguments):
    """Whether a test that only tries is kept from it."""
    project.write(test_support=source)
    result = project.run(*arguments, passed=1)
    told = "StarlingWarning" in result.stdout.str()
    assert told is ("TRIED False" in result.stdout.str())
    return told


TRYING = 'print("TRIED", try_to())'


def test_a_connection_fails_and_the_error_says_where_and_what_to_do(wired):
    wired.write(test_support=_body("reach()"))
    result = wired.run("-vv", failed=1, warnings=0)
    result.stdout.fnmatch_lines(
        [
            "test_support.py:7: *",
            f"E*NetworkBlockedError: {BLOCKED}",
            "E*take it through starling.step.side_effect*allow_hosts=*192.0.2.1*golden_allow_hosts*",
            "net.py:5: NetworkBlockedError",
            f"FAILED test_support.py::test_refund - *NetworkBlockedError: {BLOCKED}*",
        ]
    )
    assert "_network.py" not in result.stdout.str()


def test_one_that_is_swallowed_is_a_warning_at_the_test(wired):
    wired.write(test_support=_body("for _ in range(3):", "    try_to()"))
    result = wired.run(passed=1, warnings=1)
    result.stdout.fnmatch_lines([f"*StarlingWarning: *: network blocked while replaying: {TARGET} (3 times); nothing*"])


def test_where_warnings_are_errors_it_fails(wired):
    wired.write(test_support=_body("try_to()"))
    wired.run("-W", "error", failed=1).stdout.fnmatch_lines([f"E*StarlingWarning: *{BLOCKED} *"])
    wired.run("-W", "error", "-W", "ignore::pytest_starling.StarlingWarning", passed=1, warnings=0)


def test_a_test_that_fails_for_another_reason_gets_it_as_a_note(wired):
    wired.write(test_support=_body("assert try_to()"))
    result = wired.run("-vv", failed=1, warnings=0)
    result.stdout.fnmatch_lines(["E*assert False", f"E*{BLOCKED} *"])


def test_a_skipped_test_warns_all_the_same(wired):
    wired.write(test_support=_body("if not try_to():", "    pytest.skip('offline')"))
    wired.run(skipped=1, warnings=1).stdout.fnmatch_lines([WARNING])


TOOL = """
import os
import pytest
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider
from net import reach

@tool
def weather(city: str) -> str:
    if os.environ.get("STARLING_REPLAY") == "active":
        reach()
    return "rain"

@pytest.mark.golden_run
def test_refund():
    provider = ScriptedProvider().tool_call("weather", {"city": "Oslo"}).turn().text("take an umbrella")
    Agent(provider, Config(model="m"), MemoryLog(), tools=[weather]).run_sync("go")
"""


def test_a_tool_that_connects_diverges_and_the_block_is_named_as_the_cause(wired):
    wired.write(test_support=TOOL)
    wired.run("--golden-mode=all", "--golden-verify=off", passed=1, warnings=0)
    result = wired.run("-vv", failed=1, warnings=0)
    result.stdout.fnmatch_lines(
        [
            "E*golden run diverged at seq * (ToolCallCompleted): *",
            "E       NetworkBlockedError: network blocked, see below*",
            "E     today ToolCallFailed            weather failed (tool): network blocked, see below",
            f"E   {BLOCKED} If the run needs *",
            "E*If the change is meant, record it:",
        ]
    )
    assert result.stdout.str().count("If the run needs what comes back") == 1


def test_a_recording_that_a_block_keeps_from_replaying_says_so(wired):
    wired.write(test_support=TOOL)
    before = wired.state
    result = wired.run("-vv", "--golden-mode=all", failed=1)
    said = BLOCKED.replace("replaying", "replaying the new recording")
    result.stdout.fnmatch_lines(["E*the recording does not replay: *", f"E*{said} *"])
    assert wired.state == before


def test_recording_is_open_and_its_verification_is_not(wired):
    wired.write(test_support=_body('print("TRIED", try_to())'))
    result = wired.run("-s", "--golden-mode=all", passed=1, warnings=1)
    assert [line for line in result.outlines if "TRIED" in line] == ["test_support.py TRIED True", "TRIED False"]
    assert "network blocked while replaying the new recording: net.py:5 " in result.stdout.str()
    result = wired.run("-s", "--golden-mode=all", "--golden-verify=off", passed=1, warnings=0)
    assert "TRIED True" in result.stdout.str()


def test_with_the_flag_it_says_that_it_is_the_old_recording_that_is_replayed(wired):
    wired.write(test_support=_body("try_to()"))
    result = wired.record(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [f"*StarlingWarning: *: network blocked while replaying the old recording: {TARGET}; *"]
    )


# --- from setup to teardown

FIXTURES = {
    f"{when} of a {scope} fixture": f"""
@pytest.fixture(scope="{scope}")
def around():
    {"print('TRIED', try_to())" if when == "setup" else ""}
    yield
    {"print('TRIED', try_to())" if when == "teardown" else ""}
"""
    for scope in ("function", "class", "module", "session")
    for when in ("setup", "teardown")
}


@pytest.mark.parametrize("name", FIXTURES)
def test_it_stands_from_setup_to_teardown_whatever_the_scope(wired, name):
    assert _is_blocked(wired, _body("pass", before=FIXTURES[name]), "-s")


def test_an_error_in_a_fixture_is_shown_there(wired):
    wired.write(test_support=_body(before="@pytest.fixture(scope='module')\ndef around(): reach()\n"))
    wired.run(errors=1, warnings=0).stdout.fnmatch_lines([f"E*NetworkBlockedError: {BLOCKED}"])


def test_where_warnings_are_errors_a_teardown_fails(wired):
    before = "@pytest.fixture(scope='session')\ndef around():\n    yield\n    try_to()\n"
    wired.write(test_support=_body("pass", before=before))
    wired.run("-W", "error", passed=1, errors=1).stdout.fnmatch_lines([f"E*StarlingWarning: *{BLOCKED} *"])


PLAIN = """
def test_{name}():
    assert try_to(), "a plain test may do what it likes"
"""


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_plain_tests_of_the_session_are_left_alone(wired, workers):
    source = _body("assert not try_to()")
    first, rest = source.split("@pytest", 1)
    wired.write(
        test_support=first + PLAIN.format(name="before") + f"\n@pytest{rest}" + PLAIN.format(name="after"),
        test_other="from net import try_to\n" + PLAIN.format(name="other"),
    )
    wired.run(*workers, passed=4, warnings=1).stdout.fnmatch_lines([WARNING])


def test_a_fixture_that_was_kept_from_connecting_is_made_again_for_a_plain_test(wired):
    wired.write(
        test_support=_body(before="@pytest.fixture(scope='session')\ndef around():\n    reach()\n    return 1\n")
        + "\ndef test_plain(around):\n    assert around == 1\n"
    )
    wired.run(errors=1, passed=1)


def test_a_fixture_that_failed_by_itself_is_not_made_again(wired):
    before = "made = []\n@pytest.fixture(scope='session')\ndef around():\n    made.append(1)\n    raise ValueError\n"
    wired.write(
        test_support=_body(before=before)
        + "\ndef test_plain(around): ...\n\ndef test_count():\n    assert made == [1]\n"
    )
    wired.run(errors=2, passed=1)


THREADS = """
go, done, seen = threading.Event(), threading.Event(), []

def work():
    go.wait(60)
    seen.append(try_to())
    done.set()
"""


def test_threads_of_a_golden_test_are_blocked(wired):
    wired.write(
        test_support=_body(
            "threading.Thread(target=work).start()",
            "go.set()",
            "done.wait(60)",
            "assert seen == [False]",
            before=THREADS,
        )
    )
    wired.run(passed=1, warnings=1).stdout.fnmatch_lines([WARNING])


def test_a_thread_that_outlives_its_golden_test_is_free(wired):
    wired.write(
        test_support=_body("threading.Thread(target=work).start()", before=THREADS)
        + "\ndef test_plain():\n    go.set()\n    done.wait(60)\n    assert seen == [True]\n"
    )
    wired.run(passed=2, warnings=0)


@pytest.mark.parametrize("kind", ["asyncio", "unittest"])
def test_other_kinds_of_tests_are_blocked_too(wired, kind):
    wired.write(
        test_support="""
        import pytest, support
        from net import try_to

        @pytest.mark.asyncio
        @pytest.mark.golden_run
        async def test_refund():
            await support.agent().run("hello")
            assert not try_to()
        """
        if kind == "asyncio"
        else """
        import pytest, support, unittest
        from net import try_to

        class Case(unittest.TestCase):
            @pytest.mark.golden_run
            def test_refund(self):
                support.handle()
                assert not try_to()
        """
    )
    source = (wired.path / "test_support.py").read_text()
    wired.write(test_support=source.replace("assert not try_to()", "pass"))
    wired.run("--golden-mode=all", passed=1)
    wired.write(test_support=source)
    wired.run(passed=1, warnings=1)


# --- what may be reached


@pytest.mark.parametrize(
    ("arguments", "blocked"),
    [
        ([], True),
        (["--golden-network=block"], True),
        (["--golden-network=allow"], False),
        (["-o", "golden_network=allow"], False),
        (["-o", "golden_network=allow", "--golden-network=block"], True),
        (["-o", "golden_allow_hosts=192.0.2.1"], False),
        (["-o", "golden_allow_hosts=10.0.0.1 192.0.2.0/24:9"], False),
        (["-o", "golden_allow_hosts=10.0.0.1 192.0.2.0/24:10"], True),
    ],
)
def test_options_and_ini_keys(wired, arguments, blocked):
    assert _is_blocked(wired, _body(TRYING), "-s", *arguments) is blocked


@pytest.mark.parametrize(
    ("marker", "config", "blocked"),
    [
        ("(allow_hosts=['192.0.2.1'])", "{}", False),
        ("(allow_hosts=['192.0.2.1:10'])", "{}", True),
        ("", "{'allow_hosts': ['192.0.2.*']}", False),
        ("(allow_hosts=['10.0.0.1'])", "{'allow_hosts': ['192.0.2.1']}", True),
        ("(allow_hosts=[])", "{'allow_hosts': ['192.0.2.1']}", True),
    ],
)
def test_the_marker_and_the_configuration_of_a_test(wired, marker, config, blocked):
    before = f"@pytest.fixture\ndef golden_run_config():\n    return {config}\n"
    assert _is_blocked(wired, _body(TRYING, marker=marker, before=before), "-s") is blocked
    assert not _is_blocked(
        wired, _body(TRYING, marker=marker, before=before), "-s", "-o", "golden_allow_hosts=192.0.2.1"
    )


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("golden_network=open", "golden_network = 'open' is none of block, allow"),
        (
            "golden_allow_hosts=https://example.com",
            "golden_allow_hosts: 'https://example.com' is no host name, address or network.",
        ),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(wired, option, text):
    result = wired.run("-o", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text in result.stderr.str()


def test_the_configuration_of_a_test_is_checked_as_well(wired):
    before = "@pytest.fixture\ndef golden_run_config():\n    return {'allow_hosts': ['https://example.com']}\n"
    wired.write(test_support=_body("pass", before=before))
    wired.run(errors=1).stdout.fnmatch_lines(["*golden_run_config needs a sequence of host names, *"])


def test_the_help_names_them(project):
    text = project.run("--help").stdout.str()
    for name in ("--golden-network={block,allow}", "golden_network (string)", "golden_allow_hosts (args)"):
        assert name in text


# --- providers

ADAPTER = """
class Adapter:
    def info(self): ...
    def stream(self, request):
        reach("api.example.test", 443)
"""
ASKING = ("try:", "    Adapter().stream(None)", "except Exception:", "    pass")


def test_a_provider_of_the_projects_own_that_goes_live_fails_the_test(wired):
    wired.write(test_support=_body(*ASKING, before=ADAPTER))
    result = wired.run("-vv", failed=1, warnings=0)
    result.stdout.fnmatch_lines(
        [
            "E*golden run went live: net.py:5 connects to api.example.test:443 through Adapter",
            "E*Nothing was sent.",
            "E*Only calls made by Agent.run are served from the recording: *",
            "*1 went live*",
            "FAILED *::test_refund - golden run went live: net.py:5 connects to api.example.test:443 through Adapter",
        ]
    )


def test_a_providers_host_that_is_allowed_is_its_own_business(wired):
    wired.write(test_support=_body(*ASKING, before=ADAPTER, marker="(allow_hosts=['api.example.test'])"))
    wired.run(passed=1, warnings=0)


def test_an_adapter_that_refuses_by_itself_is_reported_once(wired):
    wired.write(
        test_support=_body(
            "import asyncio",
            "from starling.testing import ScriptedProvider",
            "from starling.provider import Request",
            "async def ask():",
            "    async for _ in ScriptedProvider().text('hi').stream(Request(model='m', messages=())): pass",
            "try:",
            "    asyncio.run(ask())",
            "except Exception: pass",
        )
    )
    output = wired.run("-vv", failed=1, warnings=0).stdout.str()
    assert "golden run went live: scripted m was called live" in output
    assert "network blocked" not in output


# --- what a session pays

PROBE = """
import sys

hooks = []
install = sys.addaudithook
sys.addaudithook = lambda hook: (hooks.append(hook.__module__), install(hook))

def pytest_unconfigure(config):
    print("HOOKS", [name for name in hooks if "starling" in name], "pytest_starling._network" in sys.modules)
"""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "HOOKS ['pytest_starling._network'] True"),
        (["-k", "plain"], "HOOKS [] False"),
        (["--golden-network=allow"], "HOOKS [] False"),
        (["--collect-only"], "HOOKS [] False"),
        (["--golden-mode=all", "--golden-verify=off", "--golden-nondeterminism=off"], "HOOKS [] False"),
    ],
)
def test_the_hook_is_installed_once_and_only_if_a_test_needs_it(wired, arguments, line):
    plain = "\ndef test_plain(): ...\n"
    again = "\n@pytest.mark.golden_run(path='testdata/golden/test_support/again.db')\ndef test_again(): ...\n"
    wired.write(test_support=_body("pass") + plain + again)
    wired.pytester.makeconftest(PROBE)
    assert line in wired.run_anew(*arguments).outlines


FORBIDDING = """
import socket
import pytest

class SocketBlockedError(RuntimeError): ...

class Guarded(socket.socket):
    def __new__(cls, *arguments, **options):
        raise SocketBlockedError("no sockets here")

@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    monkeypatch.setattr(socket, "socket", Guarded)
"""


def test_another_plugin_that_forbids_sockets_comes_first(wired):
    wired.pytester.makeconftest(FORBIDDING)
    wired.write(test_support=_body("with pytest.raises(RuntimeError, match='no sockets'):", "    reach()"))
    wired.run(passed=1, warnings=0)


@pytest.mark.parametrize("workers", [["-n1"], ["-n1", "--dist=loadfile"]])
def test_workers_of_xdist_block_as_well(wired, workers):
    wired.write(test_support=_body("reach()"))
    wired.run(*workers, failed=1).stdout.fnmatch_lines([f"*NetworkBlockedError: {BLOCKED}*"])
