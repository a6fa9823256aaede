"""--golden-cassette: what vcrpy recorded of real HTTP clients becomes a golden fixture, without a key or a call."""

import sys

import httpx
import pytest
import vcr

# Loaded here, so that the runs inside this process do not import them over and over.
import starling.provider.cassette
import starling.provider.openai  # noqa: F401
from pytest_starling import _cassette  # noqa: F401
from starling.replay import read_fixture
from starling.testing import OpenAIServer, Script

AGENT = """
from starling import Agent, Config, MemoryLog, tool
from starling.provider.openai import OpenAI

@tool
def lookup(order: int) -> dict:
    "Look an order up."
    return {"order": order, "total": 42}

def handle(question="I was charged twice", prompt="You are kind.\\nAnswer briefly.", model="gpt-4o-mini", tools=(lookup,)):
    config = Config(model=model, system_prompt=prompt)
    return Agent(OpenAI(), config, MemoryLog(), tools=tools).run_sync(question).final_text
"""
TEST = """
import pytest, support

@pytest.mark.golden_run
def test_refund():
    assert "refund" in support.handle()
"""
SYSTEM = {"role": "system", "content": "You are kind.\nAnswer briefly."}
USER = {"role": "user", "content": "I was charged twice"}
TOOLS = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": '{"order": 7}'}}
FIRST = {"model": "gpt-4o-mini", "messages": [SYSTEM, USER], "tools": TOOLS}
# As code of old wrote it: the result with spaces, in other order than canonical JSON has it.
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": '{"total": 42, "order": 7}'}
SAID = {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}
SECOND = {**FIRST, "messages": [SYSTEM, USER, SAID, RESULT]}
CONVERSATION = (FIRST, SECOND)


def script():
    return Script().text("Let me look.").tool_call("lookup", {"order": 7}).turn().text("You get a refund.")


def record_cassette(path, *bodies, answers=None, stream=False, **options):
    """Ask a local server with a plain HTTP client, with vcrpy listening."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with OpenAIServer(answers or script()) as server, vcr.use_cassette(str(path), **options), httpx.Client() as client:
        for body in bodies:
            asked = {**body, **({"stream": True, "stream_options": {"include_usage": True}} if stream else {})}
            client.post(f"{server.base_url}/chat/completions", json=asked)


@pytest.fixture
def project(project, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    project.write(support=AGENT, test_support=TEST)
    return project


@pytest.fixture
def cassette(project):
    path = project.path / "old.yaml"
    record_cassette(path, *CONVERSATION)
    return path


def messages(project, name="test_refund"):
    (run,) = read_fixture(project.fixture(name)).runs
    return [event.decode() for event in run.events if event.kind.name == "AssistantMessageCompleted"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_cassette_becomes_a_fixture_without_a_key(project, stream, form):
    record_cassette(project.path / "old.tape", *CONVERSATION, stream=stream, serializer=form)

    project.run("--golden-cassette=old.tape", passed=1)

    project.run(passed=1)
    first, second = messages(project)
    assert (first.text, first.tool_uses[0].args, first.stop_reason) == ("Let me look.", {"order": 7}, "tool_calls")
    assert (first.input_tokens, first.output_tokens, first.provider_request_id) == (10, 5, "req_1")
    assert (second.text, second.stop_reason) == ("You get a refund.", "stop")
    assert len(second.raw_response_hash) == 32


def test_the_fixture_names_the_agents_own_provider(project, cassette):
    project.run("--golden-cassette=old.yaml", passed=1)
    (run,) = read_fixture(project.fixture()).runs
    started = run.events[0].decode()
    assert (started.provider_id, started.api_version, started.model_id) == ("openai", "v1", "gpt-4o-mini")


def test_a_changed_question_is_refused_and_shown_line_by_line(project, cassette):
    project.write(test_support=TEST.replace("handle()", "handle(prompt='You are kind.\\nAnswer in French.')"))

    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()

    assert project.fixtures == []
    assert "golden run not recorded: old.yaml, interaction 1: what was asked then is not what is asked today" in output
    assert "-  Answer briefly." in output
    assert "+  Answer in French." in output
    assert 'pytest --record-golden "test_support.py::test_refund" --golden-cassette=' in output
    assert "no fixture was written" in output


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        ("model='gpt-4o'", "-model: gpt-4o-mini", "+model: gpt-4o"),
        ("tools=()", "-tools: lookup", "+tools: none"),
        ("'I was charged once'", "-  I was charged twice", "+  I was charged once"),
    ],
)
def test_model_tools_and_messages_are_compared(project, cassette, change, old, new):
    project.write(test_support=TEST.replace("handle()", f"handle({change})"))
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert old in output
    assert new in output


def test_a_changed_tool_shows_at_the_interaction_that_was_told_its_result(project, cassette):
    project.write(support=AGENT.replace("42", "43"))
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert "old.yaml, interaction 2: what was asked then" in output
    assert '-  {"order":7,"total":42}' in output
    assert '+  {"order":7,"total":43}' in output


def test_what_the_code_swallows_is_not_recorded_either(project, cassette):
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            try:
                support.handle("something else")
            except Exception:
                pass
        """
    )
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert "golden run not recorded: old.yaml, interaction 1" in output
    assert project.fixtures == []


def test_a_cassette_that_is_used_up_says_so(project):
    record_cassette(project.path / "old.yaml", FIRST)
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert "golden run not recorded: old.yaml has no further answer: its one model call is used up" in output


def test_answers_that_nothing_asks_for_are_a_warning(project, cassette):
    more = {**FIRST, "messages": [SYSTEM, {"role": "user", "content": "And now?"}]}
    record_cassette(cassette, more, answers=Script().text("Bye."), record_mode="new_episodes")

    result = project.run("--golden-cassette=old.yaml", passed=1)

    assert "old.yaml has 1 of 3 model calls that were not asked for (interactions 3)" in result.stdout.str()
    assert project.fixtures == ["test_support/test_refund.db"]


def test_where_warnings_are_errors_unused_answers_refuse_the_recording(project, cassette):
    more = {**FIRST, "messages": [SYSTEM, {"role": "user", "content": "And now?"}]}
    record_cassette(cassette, more, answers=Script().text("Bye."), record_mode="new_episodes")

    output = project.run("--golden-cassette=old.yaml", "-W", "error", failed=1).stdout.str()

    assert "were not asked for (interactions 3)" in output
    assert project.fixtures == []


@pytest.mark.parametrize(
    ("status", "error"), [(429, "RateLimitError"), (500, "ServerError"), (401, "AuthError"), (400, "ProviderError")]
)
def test_a_recorded_http_error_is_the_error_that_it_was_live(project, status, error):
    record_cassette(
        project.path / "old.yaml", FIRST, answers=Script().error("slow down", status=status, retry_after_s=3)
    )
    project.write(
        test_support=f"""
        import pytest, support
        from starling import errors

        @pytest.mark.golden_run
        def test_refund():
            with pytest.raises(errors.ProviderCallError, match="slow down") as raised:
                support.handle()
            cause = raised.value.__cause__
            assert type(cause).__name__ == "{error}", cause
            assert (cause.status, cause.retry_after_s, cause.request_id) == ({status}, 3.0, "req_1")
        """
    )
    project.run("--golden-cassette=old.yaml", passed=1)
    project.run(passed=1)


def test_overlapping_runs_find_their_own_answers(project):
    bodies = [{**FIRST, "messages": [SYSTEM, {"role": "user", "content": city}]} for city in ("Oslo", "Rome", "Bonn")]
    answers = Script().text("snow").turn().text("sun").turn().text("rain")
    record_cassette(project.path / "old.yaml", *bodies, answers=answers)
    project.write(
        test_support="""
        import concurrent.futures, pytest, support

        @pytest.mark.golden_run
        def test_refund():
            with concurrent.futures.ThreadPoolExecutor() as pool:
                said = list(pool.map(support.handle, ["Bonn", "Oslo", "Rome"]))
            assert said == ["rain", "snow", "sun"]
        """
    )
    project.run("--golden-cassette=old.yaml", passed=1)
    project.run(passed=1)


# --- modes, CI, options


def test_ci_does_not_refuse_what_costs_nothing(project, cassette, monkeypatch):
    monkeypatch.setenv("CI", "true")
    project.run("--golden-cassette=old.yaml", passed=1)
    assert project.fixtures == ["test_support/test_refund.db"]


def test_the_ini_key_alone_records_nothing(project, cassette):
    output = project.run("-o", "golden_cassette=old.yaml", failed=1).stdout.str()
    assert "test_refund.db does not exist" in output
    assert project.fixtures == []


def test_the_ini_key_serves_whoever_records(project, cassette, monkeypatch):
    monkeypatch.setenv("CI", "true")
    project.run("-o", "golden_cassette=old.yaml", "-o", "golden_mode=changed", failed=1)
    assert project.fixtures == []
    project.run("-o", "golden_cassette=old.yaml", "--record-golden", passed=1)


def test_an_empty_option_takes_the_ini_key_back(project, cassette):
    output = project.run("-o", "golden_cassette=old.yaml", "--record-golden", "--golden-cassette=", failed=1)
    assert "OPENAI_API_KEY" in output.stdout.str()


def test_only_what_needs_it_is_recorded(project, cassette):
    project.run("--golden-cassette=old.yaml", passed=1)
    before = project.state
    project.run("--golden-cassette=old.yaml", passed=1)
    assert project.state == before
    project.run("--golden-cassette=old.yaml", "--golden-mode=all", passed=1)
    assert project.state != before


@pytest.mark.parametrize(
    ("arguments", "contradiction"),
    [
        (["--golden-cassette=old.yaml", "--golden-mode=replay"], "contradicts --golden-mode=replay"),
        (["--golden-cassette=old.yaml", "--golden-mode=tail"], "contradicts a cassette"),
        (["-o", "golden_cassette=old.yaml", "--golden-mode=tail"], "contradicts a cassette"),
        (["-o", "golden_cassette=old.yaml", "-o", "golden_mode=tail"], "contradicts a cassette"),
    ],
)
def test_modes_that_contradict_a_cassette_are_usage_errors(project, cassette, arguments, contradiction):
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert contradiction in result.stderr.str()


def test_the_ini_key_does_not_disturb_a_replay(project, cassette):
    project.run("--golden-cassette=old.yaml", passed=1)
    cassette.unlink()
    project.run("-o", "golden_cassette=old.yaml", passed=1)
    project.run("-o", "golden_cassette=old.yaml", "--golden-mode=replay", passed=1)


def test_several_tests_cannot_share_a_plain_file(project, cassette):
    project.write(test_support=TEST + TEST.replace("test_refund", "test_other"))
    result = project.run("--golden-cassette=old.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "one cassette (old.yaml) cannot answer for 2 golden tests" in result.stderr.str()
    assert "cassettes/{module}/{test}.yaml" in result.stderr.str()
    project.run("--golden-cassette=old.yaml", "-k", "refund", passed=1)


def test_a_template_serves_a_whole_suite_as_pytest_recording_lays_it_out(project):
    project.write(
        **{
            "tests/test_shop": """
            import pytest, support

            pytestmark = pytest.mark.golden_run

            def test_refund():
                assert "refund" in support.handle()

            class TestShop:
                @pytest.mark.parametrize("way", ["by mail", "a/b"])
                def test_refund(self, way):
                    assert "refund" in support.handle()
            """
        }
    )
    (project.path / "test_support.py").unlink()
    for name in ("test_refund", "TestShop.test_refund[by mail]", "TestShop.test_refund[a-b]"):
        record_cassette(project.path / f"tests/cassettes/test_shop/{name}.yaml", *CONVERSATION)

    project.run("--golden-cassette=cassettes/{module}/{test}.yaml", passed=3)

    project.run(passed=3)
    assert len(project.fixtures) == 3


def test_the_parts_of_a_name_are_placeholders_too(project):
    record_cassette(project.path / "tapes/test_support/test_refund-.yaml", *CONVERSATION)
    project.run("--golden-cassette=tapes/{module}/{class}{function}-{id}.yaml", passed=1)


def test_workers_of_xdist_record_from_cassettes(project):
    project.write(test_support=TEST + TEST.replace("test_refund", "test_other"))
    for name in ("test_refund", "test_other"):
        record_cassette(project.path / f"cassettes/test_support/{name}.yaml", *CONVERSATION)
    project.run("--golden-cassette=cassettes/{module}/{test}.yaml", "-n", "2", passed=2)
    project.run(passed=2)


# --- files


def test_a_cassette_that_is_not_there_is_named(project):
    output = project.run("--golden-cassette=gone.yaml", failed=1).stdout.str()
    assert "golden run not recorded: gone.yaml does not exist" in output


@pytest.mark.parametrize("text", ["{", "- 1", "a: [", "interactions: 3", "interactions: [{}]", "\x00"])
def test_what_is_no_cassette_is_named(project, text):
    (project.path / "old.yaml").write_text(text)
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert "golden run not recorded: old.yaml is no cassette that vcrpy can read" in output


def test_a_cassette_without_model_calls_says_what_it_holds(project):
    def answer(request):
        return httpx.Response(200, json={"ok": True})

    with (
        vcr.use_cassette(str(project.path / "old.yaml")),
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
    ):
        client.post("https://api.openai.com/v1/responses?a=1", json={})
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert (
        "old.yaml holds no chat completion and no Anthropic message, but POST https://api.openai.com/v1/responses"
        in output
    )


def test_without_vcrpy_the_message_is_the_line_that_installs_it(project, cassette, monkeypatch):
    monkeypatch.setitem(sys.modules, "vcr", None)
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert "pip install 'pytest-starling[vcrpy]'" in output


def test_a_provider_that_is_called_past_the_agent_is_not_reached(project, cassette):
    project.write(
        test_support="""
        import asyncio, pytest, support
        from starling.provider import Request
        from starling.provider.openai import OpenAI

        @pytest.mark.golden_run
        def test_refund():
            with pytest.raises(Exception):
                OpenAI().stream(Request(model="m"))
            support.handle()
        """
    )
    output = project.run("--golden-cassette=old.yaml", failed=1).stdout.str()
    assert "golden run went live: openai m was called live" in output
    assert project.fixtures == []
