"""The secret gate: no fixture holds a credential, and no refusal shows one.

Nothing here has the shape of a key: what has is put together while the tests run.
"""

import base64
import html
import json
import random
import string
from urllib.parse import quote

import pytest

from pytest_starling._credentials import Credentials, is_credential, is_named_like_one
from pytest_starling._secrets import Gate
from pytest_starling._shapes import SHAPES
from starling.event import AssistantMessageCompleted, Chain, PlannedToolUse, SideEffectRecorded, ToolCallCompleted
from starling.replay import Fixture, FixtureRun, read_fixture

LETTERS = string.ascii_letters + string.digits


def drawn(length, alphabet=LETTERS, seed=0):
    """Random characters that hold a digit, a capital and a small letter, where the alphabet has them."""
    source = random.Random(f"{seed}{alphabet}")
    while True:
        text = "".join(source.choices(alphabet, k=length))
        if len(set(alphabet) & set("0Aa")) < 3 or {c.isdigit() for c in text} | {c.isupper() for c in text} == {0, 1}:
            return text


VALUE = "Tr0ub4dor/" + "&3+horse"


def gate(value=VALUE, allowed=()):
    credentials = Credentials(allowed)
    credentials.note({"MY_API_KEY": value})
    return Gate(credentials, allowed)


def fixture_of(*payloads, **fields):
    chain = Chain(fields.pop("run_id", "run"))
    events = tuple(chain.append(payload, 1) for payload in payloads)
    run = FixtureRun(run_id=chain.run_id, events=events, began=1, ended=2, **fields)
    return Fixture(test_id="t", recorded_at="2026-01-01T00:00:00+00:00", versions={}, runs=(run,))


def result(value):
    return fixture_of(ToolCallCompleted(call_id="c", result=value, duration_ms=0, attempt=1))


# --- what is found --------------------------------------------------------------------------------

QUOTED = json.dumps({"inner": json.dumps({"key": VALUE})})
FORMS = {
    "as it is": VALUE,
    "inside a text": f"key={VALUE}.",
    "in a URL": f"https://example.org/?key={quote(VALUE, safe='')}",
    "in a path": quote(VALUE),
    "in base64": base64.b64encode(VALUE.encode()).decode(),
    "in base64 behind a user's name": base64.b64encode(f"me:{VALUE}".encode()).decode(),
    "in base64 behind another name": base64.b64encode(f"you:{VALUE}!".encode()).decode(),
    "in base64 for URLs": base64.urlsafe_b64encode(f"a{VALUE}~~~".encode()).decode(),
    "in JSON in JSON": QUOTED,
    "in HTML": html.escape(VALUE),
    "in HTML of Go": VALUE.replace("&", "&amp;").replace("+", "&#43;"),
    "in HTML of Mustache": VALUE.replace("&", "&amp;").replace("/", "&#x2F;"),
    "in escapes of JSON": "".join(f"\\u{ord(character):04x}" for character in VALUE),
    "in escapes in capitals": "".join(f"\\u{ord(character):04X}" for character in VALUE),
    "in decimal entities": "".join(f"&#{ord(character)};" for character in VALUE),
    "in hexadecimal entities": "".join(f"&#x{ord(character):x};" for character in VALUE),
    "in entities in capitals": "".join(f"&#x{ord(character):X};" for character in VALUE),
    "in hexadecimal": VALUE.encode().hex(),
    "in hexadecimal capitals": VALUE.encode().hex().upper(),
    "as a fingerprint": VALUE.encode().hex(":").upper(),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_value_is_found_in_every_form(text):
    (hit, *_) = gate().search(result({"text": [text]}))
    assert (hit.rule, hit.where) == ("MY_API_KEY", "run run, seq 1, ToolCallCompleted.result.text[0]")


def test_a_value_with_quotes_is_found_in_other_html_and_in_base64_of_json():
    value = "Tr0ub4dor" + "\"'" + "horse"
    plain = html.escape(value, quote=False)
    texts = [
        plain.replace('"', "&#34;").replace("'", "&#39;"),
        plain.replace('"', "&quot;").replace("'", "&#39;"),
        base64.b64encode(json.dumps({"auth": value}).encode()).decode(),
    ]
    for text in texts:
        assert gate(value).search(result(text)), text


def test_characters_beyond_the_first_plane_are_escaped_as_two():
    value = "Tr0ub4dor\U0001f40e"
    assert gate(value).search(result("".join(f"\\u{ord(one):04x}" for one in "Tr0ub4dor\ud83d\udc0e")))
    assert gate(value).search(result("".join(f"&#{ord(one)};" for one in value)))


def test_a_value_of_many_lines_is_found_at_every_depth_of_json():
    value = 'first line, and a "quote"\nsecond line \\ with more'
    text = value
    for _ in range(4):
        assert gate(value).search(result(text)), text
        text = json.dumps(text)


def test_a_value_is_found_in_bytes_keys_numbers_and_beside_the_runs():
    payload = SideEffectRecorded(name="n", value={"a": [VALUE.encode()], VALUE: {"inner": VALUE}})
    found = [hit.field for hit in gate().search(fixture_of(payload))]
    assert found == ["value.a[0]", "value.<hidden> (a key)", "value.<hidden>.inner"]
    (hit,) = gate("8675309123").search(result({"pin": 8675309123}))
    assert hit.field == "result.pin"
    assert not gate("8675309123").search(result({"pin": 86753091234}))
    beside = fixture_of(SideEffectRecorded(name="n", value=1), run_id=VALUE, parent_effect=VALUE)
    assert [hit.where for hit in gate().search(beside)] == [
        "run number 1, its id",
        "run number 1, its effect's name",
    ]


def test_a_value_in_planned_arguments_is_told_by_its_place():
    use = PlannedToolUse(call_id="c", tool="t", args={"headers": {"x": VALUE}})
    message = AssistantMessageCompleted(
        turn_id="t",
        text="",
        tool_uses=(use,),
        stop_reason="",
        input_tokens=0,
        output_tokens=0,
        cost_usd=0.0,
        raw_response_hash=None,
    )
    (hit,) = gate().search(fixture_of(message))
    assert hit.where == "run run, seq 1, AssistantMessageCompleted.tool_uses[0].args.headers.x"
    assert VALUE not in repr(hit)


def test_the_members_of_a_json_credential_and_the_lines_of_a_long_one_are_values_too():
    inner, line = drawn(30, seed=1), drawn(40, seed=2)
    value = json.dumps({"type": "service_account", "private_key": f"-----\n{line}\nshort\n", "client_token": inner})
    assert gate(value).search(result(inner))
    assert gate(value).search(result(line))
    assert not gate(value).search(result("service_account"))


KEYS = {
    "anthropic": "sk-" + "ant-" + "api03-" + drawn(40),
    "openrouter": "sk-" + "or-v1-" + drawn(64, "0123456789abcdef"),
    "openai": "sk-" + "proj-" + drawn(48),
    "aws": "AK" + "IA" + drawn(16, string.ascii_uppercase + string.digits),
    "aws_secret": "aws_secret" + "_access_key = " + drawn(40),
    "google": "AI" + "za" + drawn(35),
    "github": "gh" + "p_" + drawn(36),
    "gitlab": "gl" + "pat-" + drawn(20),
    "slack": "xo" + "xb-" + drawn(24),
    "stripe": "sk" + "_live_" + drawn(24),
    "huggingface": "h" + "f_" + drawn(34),
    "jwt": ".".join(("ey" + "J" + drawn(20), "ey" + "J" + drawn(40), drawn(40))),
    "private_key": "-----BEGIN " + "RSA PRIVATE" + " KEY-----",
    "bearer": "Bear" + "er " + drawn(32),
}


@pytest.mark.parametrize("name", SHAPES)
def test_keys_are_found_by_their_shape(name):
    key = KEYS[name]
    surroundings = ("{}", "x {} y", '{{"a":"{}"}}', "key%3D{}", "a\\n{}", "a\\u003d{}", "\n{}\n")
    for around in surroundings:
        assert [hit.rule for hit in gate().search(result([around.format(key)]))] == [name], around
    assert [hit.rule for hit in gate().search(result({"k": key.encode().decode()}))] == [name]
    assert not gate(allowed=[name]).search(result(key))


INNOCENT = [
    "task-Based-Approach2-with-a-long-name",
    "sk-container-id-1-and-a-toggleable-label",
    "AKIA" + "IOSFODNN7" + "EXAMPLE",
    "Bearer authentication is described in the manual",
    "eyJust.a.sentence",
    "-----BEGIN PUBLIC KEY-----",
    "xox",
    "password test key",
]


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_reads_like_a_key_is_let_through(text):
    assert gate().search(result({"text": text, text: 1})) == []


# --- what counts as a credential ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "GITHUB_TOKEN",
        "DB_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "MY_CREDENTIALS",
        "BASIC_AUTH",
        "openaiApiKey",
        "API_KEY_2",
        "APIKEY",
        "SECRETS",
        "SIGNING_KEY_V2",
        "MYSQL_PWD",
        "DB_PASS",
        "DBPASS",
        "SSHPASS",
        "SMTPPASS",
        "DBPWD",
        "SESSION_COOKIE",
        "COOKIES",
        "SENTRY_DSN",
        "DSN",
    ],
)
def test_credentials_are_told_by_their_names(name):
    assert is_named_like_one(name)


@pytest.mark.parametrize(
    "name",
    [
        *("PWD", "OLDPWD", "PATH", "GIT_AUTHOR_NAME", "KEYBOARD", "TOKENIZERS_PARALLELISM", "HOME"),
        *("COMPASS", "PROXY_BYPASS", "ENCOMPASS_DIR", "TWOPASS", "PASSENGER", "COOKIECUTTER"),
    ],
)
def test_other_variables_are_none(name):
    assert not is_named_like_one(name)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short",
        "1234567",
        "xxxxxxxx",
        "password",
        "Disabled",
        "test-key",
        "sk-test-key",
        "your_api_key_here",
        "fake-openai-token",
        __file__,
    ],
)
def test_values_that_give_nothing_away_are_no_credentials(value):
    assert not is_credential(value)


@pytest.mark.parametrize("value", ["hunter2hunter2", "my-secret-value", "supersecretvalue", "/not/a/path", "p4ssword"])
def test_other_values_are(value):
    assert is_credential(value)


def test_what_is_said_about_a_credential_is_none():
    credentials = Credentials()
    credentials.note({"TOKEN_URL": "https://login.example.org", "AUTH_URL": "https://me:s3cr3t-one@example.org"})
    assert set(credentials.needles.values()) == {"AUTH_URL"}


def test_a_dsn_is_one_if_it_holds_one_and_so_is_its_password():
    credentials = Credentials()
    credentials.note({"PLAIN_DSN": "host=localhost dbname=shop", "COOKIE_DOMAIN": "shop.example.org"})
    assert not credentials.needles
    password = "hunter2" + "%40hunter2"
    url = f"postgresql://shop:{password}@db/shop"
    credentials.note({"MAIN_DSN": "host=db password=" + "hunter2hunter2", "PG_DSN": url})
    assert {"PG_DSN", "MAIN_DSN"} == set(credentials.needles.values())
    assert credentials.needles[password] == credentials.needles["hunter2" + "@hunter2"] == "PG_DSN"
    assert "postgresql" not in credentials.needles


def test_allowed_variables_are_none():
    credentials = Credentials(["GPG_*", "MY_KEY"])
    credentials.note(dict.fromkeys(("GPG_KEY", "MY_KEY", "OTHER_KEY"), VALUE))
    assert set(credentials.needles.values()) == {"OTHER_KEY"}


def test_a_value_without_needles_or_shapes_finds_nothing():
    nothing = Gate(Credentials(), SHAPES)
    assert nothing.search(result(list(KEYS.values()))) == []
    assert nothing.scrubbed("any text") == "any text"


def test_a_gate_does_not_show_what_it_looks_for():
    assert VALUE not in repr(gate())
    assert VALUE not in repr(vars(Credentials()))


def test_a_text_is_scrubbed():
    assert gate().scrubbed({"out": [f"a {VALUE} b", 1, (KEYS["jwt"],)]}) == {"out": ["a <MY_API_KEY> b", 1, ("<jwt>",)]}


# --- in a project ---------------------------------------------------------------------------------

LEAKY = """
import os
import pytest
from starling import Agent, Config, MemoryLog, step, tool
from starling.testing import ScriptedProvider


def key():
    return os.environ["MY_API_KEY"]


@tool
async def look(where: str) -> dict:
    "Look."
    seen = await step.side_effect("get", lambda: {"status": 200, "auth": key() if where == "effect" else ""})
    if where == "failure":
        raise ValueError(f"cannot log in with {key()}")
    return {"seen": key() if where in ("result", "printed") else "", key() if where == "map": 1}


def handle(where, **config):
    script = ScriptedProvider().reasoning(key() if where == "reasoning" else "hm")
    script.tool_call("look", {"where": where, "with": key()} if where == "arguments" else {"where": where})
    script.turn().text(f"it is {key()}" if where == "answer" else "fine")
    config.setdefault("system_prompt", key() if where == "prompt" else "be kind")
    config.setdefault("params", {"user": key()} if where == "params" else None)
    agent = Agent(script, Config(model="m", tool_errors="report", **config), MemoryLog(), tools=[look])
    return agent.run_sync(f"go {key()}" if where == "goal" else "go")
""".replace('key() if where == "map": 1', '**({key(): 1} if where == "map" else {})')
TEST = """
import pytest, support

@pytest.mark.golden_run
def test_leak():
    secret = support.key()
    support.handle({where!r})
"""
SECRET = "c0rrect-" + "horse-b4ttery"
PLACES = {
    "goal": "seq 1, RunStarted.goal",
    "prompt": "seq 1, RunStarted.system_prompt",
    "params": "seq 1, RunStarted.params.user",
    "reasoning": "seq 3, ReasoningEmitted.content",
    "arguments": "seq 4, AssistantMessageCompleted.tool_uses[[]0[]].args.with",
    "effect": "seq 6, SideEffectRecorded.value.auth",
    "result": "seq 7, ToolCallCompleted.result.seen",
    "map": "seq 7, ToolCallCompleted.result.<hidden> (a key)",
    "failure": "seq 7, ToolCallFailed.error",
    "answer": "seq 9, AssistantMessageCompleted.text",
}


@pytest.fixture
def leaky(project):
    project.monkeypatch.setenv("MY_API_KEY", SECRET)
    project.write(support=LEAKY, test_leak=TEST.format(where="result"))
    return project


def everywhere(project, result):
    """Everything that pytest said, and every file below the project, but for the project's own."""
    files = [path for path in project.path.rglob("*") if path.is_file() and path.suffix not in (".py", ".ini", ".pyc")]
    return "".join((result.stdout.str(), result.stderr.str(), *(path.read_bytes().decode("latin-1") for path in files)))


@pytest.mark.parametrize("where", PLACES)
def test_a_recording_with_a_secret_is_refused_and_nothing_is_shown(leaky, where):
    leaky.write(test_leak=TEST.format(where=where))
    result = leaky.record("-l", "-vv", "--junitxml=junit.xml", "-o", "junit_logging=all", failed=1)
    result.stdout.fnmatch_lines(
        [
            f"E   golden run not recorded: the value of MY_API_KEY is in run *, {PLACES[where]}*",
            "E   What was found is shown nowhere, and no fixture was written.",
            "E       golden_redact = <a regular expression that matches it> => [[]redacted[]]",
            "E   If it is no secret, say so in the configuration file:",
            "E       golden_secrets_allow = MY_API_KEY",
            "*1 not saved because of a secret",
        ]
    )
    assert SECRET not in everywhere(leaky, result)
    assert leaky.fixtures == []


def test_nothing_of_it_is_on_disk_while_it_is_judged(leaky):
    """Not even in the temporary that a recording is verified from."""
    leaky.write(
        conftest="""
        from pathlib import Path
        import starling.replay
        starling.replay.write_fixture = None  # whoever writes anything fails
        """
    )
    leaky.monkeypatch.setattr("starling.replay.write_fixture", None)
    leaky.record(failed=1).stdout.fnmatch_lines(["E   golden run not recorded: the value of MY_API_KEY *"])
    assert leaky.fixtures == []


def test_the_old_fixture_stays_as_it_was(leaky):
    leaky.write(test_leak=TEST.format(where="nowhere"))
    leaky.record(passed=1)
    before = leaky.state
    leaky.write(test_leak=TEST.format(where="result"))
    result = leaky.run("--golden-mode=all", failed=1)
    result.stdout.fnmatch_lines(
        ["E   What was found is shown nowhere, and testdata/golden/test_leak/test_leak.db is as it was."]
    )
    assert leaky.state == before


def test_what_the_test_printed_is_scrubbed_beside_the_refusal(leaky):
    leaky.write(
        test_leak="""
        import logging, pytest, support

        @pytest.mark.golden_run
        def test_leak(record_property):
            print("out", support.key())
            logging.getLogger("x").warning("log %s", support.key())
            record_property("used", support.key())
            support.handle("result")
        """
    )
    result = leaky.record("--junitxml=junit.xml", "-o", "junit_logging=all", failed=1)
    result.stdout.fnmatch_lines(["out <MY_API_KEY>", "*log <MY_API_KEY>"])
    assert SECRET not in everywhere(leaky, result)


def test_xdist_carries_nothing_of_it(leaky):
    leaky.write(test_leak=TEST.format(where="result") + "    print(secret)\n")
    result = leaky.run("--record-golden", "-n1", "-l", "--junitxml=junit.xml", failed=1)
    result.stdout.fnmatch_lines(["E   golden run not recorded: the value of MY_API_KEY is in run *"])
    assert SECRET not in everywhere(leaky, result)


@pytest.mark.parametrize(
    "body",
    [
        "monkeypatch.setenv('MY_API_KEY', VALUE)\n    support.handle('result')",
        "with patch.dict(os.environ, MY_API_KEY=VALUE):\n        support.handle('result')",
    ],
    ids=["by a fixture", "for the time of the run"],
)
def test_a_key_that_only_the_test_sets_is_found(leaky, body):
    leaky.monkeypatch.delenv("MY_API_KEY")
    leaky.write(
        test_leak=f"""
import os
from unittest.mock import patch
import pytest, support
VALUE = "{SECRET[:5]}" + "{SECRET[5:]}"

@pytest.mark.golden_run
def test_leak(monkeypatch):
    {body}
"""
    )
    result = leaky.record(failed=1)
    result.stdout.fnmatch_lines(["E   golden run not recorded: the value of MY_API_KEY is in run *"])


def test_a_key_in_a_tests_id_is_refused_without_its_path(leaky):
    leaky.write(
        test_leak="""
        import pytest, support

        @pytest.mark.golden_run
        @pytest.mark.parametrize("key", [support.key()])
        def test_leak(key):
            support.handle("nowhere")
        """
    )
    result = leaky.record(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   golden run not recorded: the value of MY_API_KEY is in the test's id",
            "E   What was found is shown nowhere, and nothing was written.",
            "E   A test's id is never rewritten: give its parameters ids, *",
        ]
    )
    told = [line for line in result.outlines if line.startswith("E ")]
    assert not any(SECRET in line for line in told)
    assert leaky.fixtures == []


def test_a_fixture_that_is_taken_over_is_searched_too(leaky):
    """It was recorded when the variable was not there."""
    leaky.record("-o", "golden_secrets_allow=MY_API_KEY", passed=1)
    leaky.write(test_leak=TEST.format(where="result").replace("test_leak", "test_moved"))
    old = leaky.fixture("test_leak", "test_leak")
    old.rename(leaky.fixture("test_moved", "test_leak"))
    result = leaky.record(failed=1)
    result.stdout.fnmatch_lines(["E   golden run not recorded: the value of MY_API_KEY is in run *"])


@pytest.mark.parametrize("allowed", ["MY_API_KEY", "OTHER MY_*"])
def test_what_is_said_to_be_no_secret_is_recorded(leaky, allowed):
    leaky.record("-o", f"golden_secrets_allow={allowed}", passed=1)
    assert leaky.fixtures == ["test_leak/test_leak.db"]
    leaky.run(passed=1)


def test_a_value_that_says_nothing_is_recorded(leaky):
    leaky.monkeypatch.setenv("MY_API_KEY", "test-key")
    leaky.record(passed=1)


def test_a_replay_never_shows_a_key_that_it_produced(leaky):
    """Today's tool returns one where the recording has none; the cache keeps nothing of it either."""
    leaky.write(test_leak=TEST.format(where="nowhere"))
    leaky.record(passed=1)
    leaky.write(support=LEAKY.replace('where in ("result", "printed")', "True"))
    result = leaky.pytester.runpytest_inprocess()  # with the cache
    result.stdout.fnmatch_lines(["*golden run diverged at seq 7 of * (ToolCallCompleted): payload", "*<MY_API_KEY>*"])
    assert SECRET not in everywhere(leaky, result)


def test_a_whole_megabyte_is_searched():
    """It takes about a tenth of a second; what is asserted is that it finds the one key at the end."""
    text = " ".join(drawn(7, seed=seed) for seed in range(12_000))
    payloads = [
        ToolCallCompleted(call_id=str(n), result={"text": text, "n": n}, duration_ms=0, attempt=1) for n in range(10)
    ]
    last = ToolCallCompleted(call_id="last", result=VALUE, duration_ms=0, attempt=1)
    credentials = Credentials()
    credentials.note({f"KEY_{n}": drawn(40, seed=f"key {n}") for n in range(20)} | {"MY_API_KEY": VALUE})
    fixture = fixture_of(*payloads, last)
    assert sum(len(event.payload) for event in fixture.runs[0].events) > 900_000
    (hit,) = Gate(credentials).search(fixture)
    assert hit.seq == len(payloads) + 1


def test_a_kept_fixture_holds_what_was_recorded(leaky):
    leaky.write(test_leak=TEST.format(where="nowhere"))
    leaky.record(passed=1)
    (run,) = read_fixture(leaky.fixture("test_leak", "test_leak")).runs
    assert run.events[0].decode().system_prompt == "be kind"
