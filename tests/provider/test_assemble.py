"""The chunk contract: what a stream may look like, and what it is called when it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling.errors import InvalidStreamError
from starling.provider import (
    Assembler,
    EndChunk,
    PlannedCall,
    Reasoning,
    ReasoningChunk,
    RedactedThinkingChunk,
    Response,
    TextChunk,
    ToolUseDelta,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    UsageChunk,
    assemble,
)

END = EndChunk(stop_reason="stop")


def text(value):
    return TextChunk(text=value)


def start(call_id, name="t"):
    return ToolUseStart(call_id=call_id, name=name)


def delta(call_id, args):
    return ToolUseDelta(call_id=call_id, args=args)


def end(call_id):
    return ToolUseEnd(call_id=call_id)


def planned(call_id, raw_args, name="t"):
    return PlannedCall(call_id=call_id, name=name, raw_args=raw_args)


def usage(*counts):
    return UsageChunk(usage=Usage(input_tokens=counts[0], output_tokens=counts[1]))


LEGAL = {
    "text is joined": ([text("a"), text(""), text("b"), END], Response(text="ab", stop_reason="stop")),
    "an empty answer": ([END], Response(stop_reason="stop")),
    "a call whose arguments come in pieces": (
        [start("c"), delta("c", '{"a"'), delta("c", ":1}"), end("c"), END],
        Response(tool_uses=(planned("c", '{"a":1}'),), stop_reason="stop"),
    ),
    "a call without arguments": (
        [start("c"), end("c"), END],
        Response(tool_uses=(planned("c", ""),), stop_reason="stop"),
    ),
    "interleaved calls keep the order in which they were opened": (
        [start("b"), start("a"), delta("a", "1"), delta("b", "2"), end("a"), end("b"), END],
        Response(tool_uses=(planned("b", "2"), planned("a", "1")), stop_reason="stop"),
    ),
    "calls that are never ended": (
        [start("a"), start("b"), delta("a", "1"), delta("b", "2"), END],
        Response(tool_uses=(planned("a", "1"), planned("b", "2")), stop_reason="stop"),
    ),
    "an empty call id": (
        [start(""), delta("", "{}"), end(""), END],
        Response(tool_uses=(planned("", "{}"),), stop_reason="stop"),
    ),
    "later token counts replace earlier ones, negative ones pass": (
        [usage(1, 2), text("x"), usage(-5, -7), END],
        Response(text="x", stop_reason="stop", usage=Usage(input_tokens=-5, output_tokens=-7)),
    ),
    "the end carries hash and request id": (
        [EndChunk(stop_reason="length", raw_response_hash=b"\x01" * 32, request_id="r")],
        Response(stop_reason="length", raw_response_hash=b"\x01" * 32, request_id="r"),
    ),
}


@pytest.mark.parametrize(("chunks", "response"), LEGAL.values(), ids=LEGAL.keys())
def test_a_legal_stream_becomes_a_response(chunks, response):
    assert assemble(chunks) == response


ILLEGAL = {
    "no end": ([text("part"), usage(1, 1)], "stream EOF before ChunkEnd"),
    "nothing at all": ([], "stream EOF before ChunkEnd"),
    "after the end": ([END, text("x")], "chunk after ChunkEnd"),
    "token counts after the end": ([END, usage(1, 1)], "chunk after ChunkEnd"),
    "two ends": ([END, END], "chunk after ChunkEnd"),
    "a call opened twice": ([start("c1"), start("c1"), END], 'duplicate ChunkToolUseStart for CallID "c1"'),
    "a closed call opened again": (
        [start("c1"), end("c1"), start("c1")],
        'duplicate ChunkToolUseStart for CallID "c1"',
    ),
    "a piece of no call": ([delta("c1", "{}")], 'ChunkToolUseDelta for unknown CallID "c1"'),
    "a piece of a closed call": (
        [start("c1"), end("c1"), delta("c1", "{}")],
        'ChunkToolUseDelta after ChunkToolUseEnd for CallID "c1"',
    ),
    "the end of no call": ([end("c1")], 'ChunkToolUseEnd for unknown CallID "c1"'),
    "a call ended twice": ([start("c1"), end("c1"), end("c1")], 'duplicate ChunkToolUseEnd for CallID "c1"'),
    "a start without a call": ([start(None)], "ChunkToolUseStart missing ToolUse payload"),
    "a start without a name": ([start("c", None)], "ChunkToolUseStart missing ToolUse payload"),
    "text that is not text": ([text(None)], "ChunkText missing text"),
    "no chunk": (["hello"], "unknown chunk of type str"),
}


@pytest.mark.parametrize(("chunks", "problem"), ILLEGAL.values(), ids=ILLEGAL.keys())
def test_a_broken_stream_is_named(chunks, problem):
    with pytest.raises(InvalidStreamError) as caught:
        assemble(chunks)
    assert str(caught.value) == f"step: invalid provider stream: {problem}"


def think(text="", signature=b""):
    return ReasoningChunk(text=text, signature=signature)


REASONING = {
    "a signature closes the block": (
        [think("Let me "), think("think"), think(signature=b"s"), text("x"), END],
        [(), (), (Reasoning(content="Let me think", signature=b"s"),), (), ()],
    ),
    "a signature alone is a block": ([think(signature=b"s"), END], [(Reasoning(content="", signature=b"s"),), ()]),
    "text and signature in one chunk": (
        [think("both", b"s"), think("more"), END],
        [(Reasoning(content="both", signature=b"s"),), (), (Reasoning(content="more"),)],
    ),
    "other content closes the block": ([think("a"), text("x"), END], [(), (Reasoning(content="a"),), ()]),
    "token counts do not": ([think("a"), usage(1, 1), think("b"), END], [(), (), (), (Reasoning(content="ab"),)]),
    "an empty piece opens nothing": ([think(), END], [(), ()]),
    "a redacted block stands alone": (
        [think("a"), RedactedThinkingChunk(text="b3Bh", signature=b"s"), RedactedThinkingChunk(text="cXVl"), END],
        [
            (),
            (Reasoning(content="a"), Reasoning(content="b3Bh", signature=b"s", redacted=True)),
            (Reasoning(content="cXVl", redacted=True),),
            (),
        ],
    ),
}


@pytest.mark.parametrize(("chunks", "completed"), REASONING.values(), ids=REASONING.keys())
def test_reasoning_is_given_out_block_by_block_and_kept(chunks, completed):
    assembler = Assembler()
    assert [assembler.feed(chunk) for chunk in chunks] == completed
    assert assembler.finish().reasoning == tuple(block for blocks in completed for block in blocks)


def test_text_and_usage_can_be_read_on_the_way():
    assembler = Assembler()
    assert (assembler.text, assembler.usage) == ("", Usage())
    assembler.feed(text("ab"))
    assembler.feed(usage(3, 4))
    assert (assembler.text, assembler.usage) == ("ab", Usage(input_tokens=3, output_tokens=4))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=3)), max_size=20))
def test_deltas_of_any_interleaving_are_sorted_into_their_calls(pieces):
    chunks = [start(call_id) for call_id in "abc"]
    chunks += [delta(call_id, args) for call_id, args in pieces]
    response = assemble([*chunks, END])
    for call in response.tool_uses:
        assert call.raw_args == "".join(args for call_id, args in pieces if call_id == call.call_id)


# --- what no log can hold


HALVES = ("\ud83d", "\ude00")
WHOLE = "\U0001f600"


@given(st.lists(st.text(st.sampled_from([*HALVES, "a", "é"]), max_size=3), max_size=6))
def test_however_a_character_is_cut_it_is_made_whole(pieces):
    """As UTF-16 reads it; half of one that lacks its other half stays as it is."""
    pieces = [piece.replace("".join(HALVES), WHOLE) for piece in pieces]  # within a piece, JSON does that
    whole = "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    answered = assemble([*map(text, pieces), start("c"), *(delta("c", piece) for piece in pieces), END])
    assert answered.text == answered.tool_uses[0].raw_args == whole


def test_reasoning_is_given_out_as_it_will_be_recorded():
    high, low = HALVES
    chunks = [
        ReasoningChunk(text=f"a{high}"),
        ReasoningChunk(text=f"{low}b{high}"),
        RedactedThinkingChunk(text=low),
        END,
    ]
    assert [block.content for block in assemble(chunks).reasoning] == [f"a{WHOLE}b\ufffd", "\ufffd"]


@pytest.mark.parametrize("count", [2**63, -(2**63) - 1, 1.0, True, "1", None], ids=repr)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "cache_read_tokens", "cache_create_tokens"])
def test_a_count_that_no_log_can_hold_is_refused(name, count):
    with pytest.raises(InvalidStreamError, match=f"ChunkUsage with {name} {count!r}"):
        assemble([UsageChunk(usage=Usage(**{name: count})), END])


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), 10**400, "0.1", True], ids=lambda cost: str(cost)[:9])
def test_a_cost_that_is_no_number_is_refused(cost):
    with pytest.raises(InvalidStreamError, match=r"cost_usd .* is not a finite number"):
        assemble([UsageChunk(usage=Usage(cost_usd=cost)), END])
