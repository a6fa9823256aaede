"""What a person reads after a typical edit: the lines between the headline and the fixture."""

import pytest

PROMPT = "You are kind.\nAnswer briefly.\nNever promise money."
LONG = "\n".join(f"Rule {number}: be kind." for number in range(1, 41))

EDITS = {
    "a line of the prompt": (
        {},
        {"prompt": PROMPT.replace("briefly", "at length")},
        ["    system_prompt:", "          You are kind.", "        - Answer briefly.", "        + Answer at length."],
    ),
    "a line of a long prompt": (
        {"prompt": LONG},
        {"prompt": LONG.replace("Rule 30: be kind.", "Rule 30: be firm.")},
        [
            "    system_prompt:",
            "          … 28 equal lines",
            "          Rule 29: be kind.",
            "        - Rule 30: be kind.",
            "        + Rule 30: be firm.",
            "          Rule 31: be kind.",
        ],
    ),
    "the end of a line": (
        {},
        {"prompt": PROMPT.replace("\n", "\r\n")},
        ["    system_prompt:", "        - You are kind.\\n", "        + You are kind.\\r\\n"],
    ),
    "a trailing new line": (
        {},
        {"prompt": f"{PROMPT}\n"},
        ["        - Never promise money.", "        + Never promise money.\\n"],
    ),
    "a short prompt": (
        {"prompt": "Be kind."},
        {"prompt": "Be rude."},
        ['    system_prompt: "Be kind." → "Be rude."'],
    ),
    "the goal": ({}, {"goal": "I was not charged"}, ['    goal: "I was charged twice" → "I was not charged"']),
    "a parameter": ({}, {"temperature": 0.9}, ["    params.temperature: 0.5 → 0.9"]),
    "a parameter's type": ({"temperature": 1}, {"temperature": 1.0}, ["    params.temperature: 1 → 1.0"]),
    "the model": ({}, {"model": "gpt-4o"}, ['    model_id: "gpt-4o-mini" → "gpt-4o"']),
    "a tool's description": (
        {},
        {"description": "Find an order."},
        ['    tools.lookup.description: "Look an order up." → "Find an order."'],
    ),
    "a tool's parameter": (
        {},
        {"wide": True},
        ['    tools.lookup.schema.properties.country: (absent) → {*"type": "string"}'],
    ),
    "a result": ({}, {"total": 43}, ["    result.total: 42 → 43"]),
    "an effect": (
        {},
        {"effects": ["rate", "stock", "audit"]},
        ['In the call of lookup (call_1), the recording goes on with *, the code with the side effect "audit"'],
    ),
    "a call": (
        {},
        {"dispatch": ["alpha"]},
        [
            "In the call of lookup (call_1), the recording goes on with a call of the tool beta, the code with the result of *"
        ],
    ),
    "a failure": (
        {},
        {"fails": True},
        ["The recording goes on with the result of lookup, the code with a failure of lookup (call call_1)"],
    ),
    "a limit": (
        {},
        {"max_turns": 1},
        ["The recording goes on with a question to the model, the code with the failure of the run"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_told_in_the_terms_of_the_code(project, edit):
    was, today, lines = EDITS[edit]
    project.write(
        test_support="""
        import pytest, support

        @pytest.mark.golden_run
        def test_refund():
            support.handle()
        """
    )
    project.turn(**was)
    project.record(passed=1)
    project.turn(**{**was, **today})

    output = project.run(failed=1)

    output.stdout.fnmatch_lines([f"E   {line}" for line in lines])
    told = [line for line in output.outlines if line.startswith("E   ")]
    assert not any("_hash" in line for line in told)


def test_a_request_that_a_tool_made_is_shown_as_it_is_today(project):
    project.write(
        agents="""
        import json
        from pathlib import Path
        from starling import Agent, Config, MemoryLog, step, tool
        from starling.provider import Message, Request
        from starling.testing import ScriptedProvider

        @tool
        async def ask() -> str:
            question = json.loads(Path(__file__).with_name("knobs.json").read_text())["goal"]
            message = Message(role="user", content=question)
            return (await step.llm_call(Request(model="m", messages=(message,)))).message.text

        def handle():
            script = ScriptedProvider().tool_call("ask").turn().text("inner").turn().text("outer")
            return Agent(script, Config(model="m"), MemoryLog(), tools=[ask]).run_sync("go")
        """,
        test_agents="""
        import agents, pytest

        @pytest.mark.golden_run
        def test_ask():
            agents.handle()
        """,
    )
    project.turn(goal="one")
    project.record(passed=1)
    project.turn(goal="another one")

    project.run(failed=1).stdout.fnmatch_lines(
        [
            "E   In the call of ask (call_1), a request that a tool made with step.llm_call differs from the recorded one *",
            'E       messages[[]0[]] (user): (not recorded) → "another one"',
        ]
    )


def test_the_same_change_in_further_runs_of_the_test_is_folded(project):
    project.write(
        test_support="""
        import contextlib, pytest, support

        @pytest.mark.golden_run
        def test_refund():
            for _ in range(3):
                with contextlib.suppress(Exception):
                    support.handle()
        """
    )
    project.record(passed=1)
    project.turn(prompt="Be rude.")

    result = project.run(failed=1)

    result.stdout.fnmatch_lines(
        [
            "E   golden run diverged at seq 1 of 14 (RunStarted): payload",
            "E   The same change shows in 2 more places, and is not shown again.",
        ]
    )
    assert "more failure" not in result.stdout.str()


def test_what_is_no_consequence_is_counted_apart(project):
    project.write(
        test_support="""
        import contextlib, pytest, support

        @pytest.mark.golden_run
        def test_refund():
            for goal in ["one", "two", "three"][:{runs}]:
                with contextlib.suppress(Exception):
                    support.handle(goal)
        """.replace("{runs}", "2")
    )
    project.record(passed=1)
    project.write(test_support=(project.path / "test_support.py").read_text().replace("[:2]", "[:3]"))
    project.turn(prompt="Be rude.")

    project.run(failed=1).stdout.fnmatch_lines(
        [
            "E   The same change shows in 1 more place, and is not shown again.",
            "E   1 more failure followed; mend the first cause first.",
        ]
    )
