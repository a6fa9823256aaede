"""What the vendor says arrives whole, in order, and under stable ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starling.provider import (
    Capable,
    EndChunk,
    Message,
    Provider,
    TextChunk,
    ToolDefinition,
    ToolResult,
    ToolUse,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    assemble,
)
from starling.testing._script import Script
from starling.testing.provider_contract._subject import capabilities, collect, request, response_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.provider import Chunk
    from starling.testing.provider_contract._subject import Factory

__all__ = [
    "chunks_come_in_order",
    "is_a_provider",
    "raw_hashes_follow_the_answer",
    "reasoning_arrives",
    "request_ids_are_given",
    "signatures_arrive",
    "stop_sequences_are_sent",
    "text_arrives_whole",
    "token_counts_arrive",
    "tool_arguments_arrive_piece_by_piece",
    "tool_calls_arrive",
    "tool_choices_are_sent",
    "tool_ids_are_stable",
    "tool_results_are_given_back",
]

TOOLS = tuple(
    ToolDefinition(
        name=name,
        description=f"Looks up the {name}.",
        schema='{"properties":{"city":{"type":"string"}},"required":["city"],"type":"object"}',
    )
    for name in ("weather", "clock")
)
_SIGNATURE = b"c2lnbmVkLWJ5LXRoZS12ZW5kb3I="
_TOOL_TURN = (
    Script().text("Looking.").tool_call("weather", {"city": "Zürich ☂"}).tool_call("clock", {"city": "Oslo"}).turns
)


async def is_a_provider(factory: Factory) -> None:
    """The object has the methods of a provider, and says who it is the same way each time."""
    async with factory(Script()) as subject:
        provider = subject.provider
        assert isinstance(provider, Provider), "info() or stream() is missing"
        assert provider.info().id, "info().id is empty; RunStarted records it"
        assert provider.info() == provider.info(), "info() changes; replay compares it"
        assert isinstance(provider, Capable), "capabilities() is missing; without it every gated check is skipped"


async def text_arrives_whole(factory: Factory) -> None:
    """The pieces of a text arrive in their order, beyond ASCII as well."""
    response = await response_of(factory, Script().text("Hél").text("lo ☂ ").text("𝄞\n\nbye"))
    assert response.text == "Héllo ☂ 𝄞\n\nbye", f"the text arrived as {response.text!r}"
    assert response.stop_reason, "EndChunk.stop_reason is empty"
    assert not response.tool_uses


async def chunks_come_in_order(factory: Factory) -> None:
    """Text comes before the calls that follow it, each call is opened, filled and closed, and one end comes last."""
    async with factory(Script(_TOOL_TURN)) as subject:
        gated = capabilities(subject).tools
        if not gated:
            return
        chunks = await collect(subject.provider, request(tools=TOOLS))
    assemble(chunks)  # the state machine that the agent applies
    kinds = [type(chunk) for chunk in chunks]
    assert kinds.index(TextChunk) < kinds.index(ToolUseStart), "the text came after the call that it precedes"
    assert kinds[-1] is EndChunk, f"the last chunk is {kinds[-1].__name__}"
    for call_id in _ids(chunks):
        own = [type(chunk) for chunk in chunks if getattr(chunk, "call_id", None) == call_id]
        assert own[0] is ToolUseStart, f"call {call_id!r} begins with {own[0].__name__}"
        assert own[-1] is ToolUseEnd, f"call {call_id!r} is not closed by a ToolUseEnd"


async def tool_calls_arrive(factory: Factory) -> None:
    """Parallel calls arrive with their names and their arguments, in the order in which the model planned them."""
    async with factory(Script(_TOOL_TURN)) as subject:
        if not capabilities(subject).tools:
            return
        response = assemble(await collect(subject.provider, request(tools=TOOLS)))
    planned = [(use.name, json.loads(use.raw_args)) for use in response.tool_uses]
    assert planned == [("weather", {"city": "Zürich ☂"}), ("clock", {"city": "Oslo"})], f"arrived as {planned}"
    assert response.text == "Looking."


async def tool_arguments_arrive_piece_by_piece(factory: Factory) -> None:
    """Arguments of some length are the same however the vendor cuts them."""
    args = {"city": "é" * 300, "list": [1, 2.5, None, {"deep": ["☂"]}]}
    async with factory(Script().tool_call("weather", args)) as subject:
        if not capabilities(subject).tools:
            return
        chunks = await collect(subject.provider, request(tools=TOOLS))
    pieces = [chunk.args for chunk in chunks if isinstance(chunk, ToolUseDelta)]
    assert json.loads("".join(pieces)) == args, "the arguments changed on the way"


async def tool_ids_are_stable(factory: Factory) -> None:
    """Calls have ids that differ from each other, and the same answer gives the same ids again."""
    found = []
    for _ in range(2):
        async with factory(Script(_TOOL_TURN)) as subject:
            if not capabilities(subject).tools:
                return
            found.append(_ids(await collect(subject.provider, request(tools=TOOLS))))
    first, second = found
    assert len(set(first)) == 2, f"two calls have the ids {first}"
    assert all(first), "a call has an empty id"
    assert first == second, f"the same answer gave the ids {first} and then {second}"


async def tool_results_are_given_back(factory: Factory) -> None:
    """A conversation with calls, a result and an error among the results is sent, and answered."""
    script = Script(_TOOL_TURN).text("It rains.")
    async with factory(script) as subject:
        if not capabilities(subject).tools:
            return
        planned = assemble(await collect(subject.provider, request(tools=TOOLS)))
        uses = tuple(ToolUse(call_id=use.call_id, name=use.name, args=use.raw_args) for use in planned.tool_uses)
        results = [
            ToolResult(call_id=use.call_id, content=f"<{use.name}>", is_error=at == 1) for at, use in enumerate(uses)
        ]
        asked = request(
            tools=TOOLS,
            messages=(
                Message(role="user", content="Say it."),
                Message(role="assistant", content=planned.text, tool_uses=uses),
                *(Message(role="tool", tool_result=result) for result in results),
            ),
        )
        answer = assemble(await collect(subject.provider, asked))
        assert answer.text == "It rains."
        if subject.sent is not None:
            said = json.dumps(subject.sent()[-1], ensure_ascii=False)
            missing = [word for word in ("Looking.", "<weather>", "<clock>", "Zürich") if word not in said]
            assert not missing, f"the second request lacks {missing}"


async def token_counts_arrive(factory: Factory) -> None:
    """The last counts reported are those of the whole call. An adapter whose vendor reports none gives none."""
    async with factory(Script().text("x").usage(120, 7)) as subject:
        counted = capabilities(subject).token_counts
        reported = assemble(await collect(subject.provider)).usage
    sent = Usage(input_tokens=120, output_tokens=7)
    assert reported != Usage() or not counted, (
        "no counts arrived: give a UsageChunk, or say capabilities().token_counts=False; budgets then limit nothing"
    )
    assert reported in (Usage(), sent), f"the counts arrived as {reported}"


async def reasoning_arrives(factory: Factory) -> None:
    """Reasoning comes apart from the text, before it."""
    async with factory(Script().reasoning("Let me ").reasoning("think.").text("Done.")) as subject:
        if not capabilities(subject).reasoning:
            return
        response = assemble(await collect(subject.provider))
    assert "".join(block.content for block in response.reasoning) == "Let me think."
    assert response.text == "Done.", f"the text is {response.text!r}"


async def signatures_arrive(factory: Factory) -> None:
    """A signature arrives with the reasoning that it signs: the vendor refuses a next turn in which it is missing."""
    async with factory(Script().reasoning("Let me think.", signature=_SIGNATURE).text("Done.")) as subject:
        supported = capabilities(subject)
        if not (supported.reasoning and supported.reasoning_signatures):
            return
        blocks = assemble(await collect(subject.provider)).reasoning
    assert [(block.content, block.signature) for block in blocks] == [("Let me think.", _SIGNATURE)], (
        f"the reasoning and its signature arrived as {blocks}"
    )


async def request_ids_are_given(factory: Factory) -> None:
    """The vendor's id of the request stands in the EndChunk."""
    async with factory(Script().text("x")) as subject:
        if not capabilities(subject).request_id:
            return
        response = assemble(await collect(subject.provider))
    assert response.request_id, "EndChunk.request_id is empty"


async def raw_hashes_follow_the_answer(factory: Factory) -> None:
    """A hash over what the vendor sent has 32 bytes, is the same for the same answer, and another for another."""
    one, again, other = [(await response_of(factory, Script().text(text))).raw_response_hash for text in "aab"]
    if one is None:
        return
    assert len(one) == 32, f"the hash has {len(one)} bytes"
    assert one == again, "the same answer has two hashes"
    assert one != other, "two answers have one hash"


async def stop_sequences_are_sent(factory: Factory) -> None:
    """Stop sequences reach the vendor."""
    await _reaches_the_vendor(factory, "stop_sequences", "HALT-HERE", stop_sequences=("HALT-HERE",))


async def tool_choices_are_sent(factory: Factory) -> None:
    """A choice that names a tool reaches the vendor."""
    await _reaches_the_vendor(factory, "tool_choice", '"clock"', times=2, tools=TOOLS, tool_choice="clock")


async def _reaches_the_vendor(factory: Factory, gate: str, word: str, *, times: int = 1, **fields: object) -> None:
    async with factory(Script().text("x")) as subject:
        if not getattr(capabilities(subject), gate):
            return
        assert assemble(await collect(subject.provider, request(**fields))).text == "x"
        if subject.sent is not None:
            count = json.dumps(subject.sent()[-1]).count(word)
            assert count >= times, f"{gate}: {word} stands {count} times in what was sent, {times} were expected"


def _ids(chunks: Sequence[Chunk]) -> list[str]:
    return [chunk.call_id for chunk in chunks if isinstance(chunk, ToolUseStart)]
