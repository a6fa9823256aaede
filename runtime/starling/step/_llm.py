"""One model call: TurnStarted, the streamed answer, AssistantMessageCompleted, and the budget in between."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starling import _watching
from starling._canonical_json import loads
from starling._cbor import Raw, decode, encode, written
from starling.errors import (
    BudgetTripError,
    CassetteError,
    InvalidStreamError,
    MissingRawResponseHashError,
    ProviderError,
    RecordedEffectError,
    StepContextError,
    TurnFailedError,
    UnencodableValueError,
)
from starling.event import (
    AssistantMessageCompleted,
    BudgetExceeded,
    PlannedToolUse,
    ReasoningEmitted,
    RunCancelled,
    RunFailed,
    RunResumed,
    TurnStarted,
)
from starling.provider import Reasoning, Usage, UsageChunk, wrap_http_status
from starling.provider._assemble import Assembler
from starling.provider._prompt_hasher import PromptHasher
from starling.step import _texts
from starling.step._exceptions import rebuild
from starling.step._frame import Frame, current_frame
from starling.step._interruption import Interruption
from starling.step._replay import ReplayJournal
from starling.step._run import Unfinished
from starling.step._stopping import stops_everything
from starling.step._tail import TailJournal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starling.provider import Chunk, Provider, Request
    from starling.provider._assemble import Response
    from starling.step._run import Run

__all__ = ["Turn", "llm_call"]

MAX_ARGS_DEPTH = 29
"""An AssistantMessageCompleted may nest 32 levels (wire format); the arguments sit three levels inside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A completed model call."""

    message: AssistantMessageCompleted
    reasoning: tuple[Reasoning, ...] = ()

    @property
    def tool_uses(self) -> tuple[PlannedToolUse, ...]:
        """The calls the model planned, in its order."""
        return tuple(self.message.tool_uses)


async def llm_call(request: Request) -> Turn:
    """Call the model and record the turn; on replay, compare the request and take the recorded answer.

    Turns of one run follow each other: calls made at the same time wait for their turn. A call that fails ends the run,
    even if the code around it swallows the error.

    Raises:
        TurnFailedError: the provider failed or broke the chunk contract. The run ends with it, caught or not.
        BudgetTripError: a budget axis tripped, before or during the call; likewise.
        StepContextError: no run is active here.
    """
    frame = current_frame("llm_call")
    if frame is None:
        raise StepContextError("a model call inside a side effect cannot be recorded; call the model outside of it")
    await frame.run.journal.turn_to_ask(frame)
    async with frame.run.turn:
        try:
            return await _turn(frame, request)
        except TurnFailedError as error:
            frame.failure = error
            raise


async def _turn(frame: Frame, request: Request) -> Turn:
    run = frame.run
    turn_id = run.journal.turn_id(frame)
    told = run.journal.asks(turn_id, request, by_code=run.own_loop or bool(frame.call_id))
    prompts = frame.prompts = frame.prompts or PromptHasher()
    estimate = run.journal.estimate(frame, prompts.estimate(told))
    owner = run.dialect.owner(frame.call_id)
    _trip(run, run.meter.before_call(estimate, owner), frame)
    prompt_hash = prompts.hash(told)
    begun = TurnStarted(turn_id=turn_id, prompt_hash=prompt_hash, input_tokens=estimate, call_id=owner)
    started: Any = run.emit(begun, frame)
    await run.journal.commit()
    if isinstance(run.journal, (ReplayJournal, TailJournal)) and run.journal.answers(frame):
        await run.journal.turn_to_hear(frame)
        return _recorded_turn(frame, run.journal)
    with _watching.unwatched():
        return await _live_turn(frame, request, started.turn_id)


def _trip(run: Run, exceeded: BudgetExceeded | None, frame: Frame) -> None:
    if exceeded is not None:
        run.emit(exceeded, frame)
        run.metrics.budget_exceeded(exceeded.limit)
        raise _tripped(exceeded)


def _tripped(exceeded: BudgetExceeded) -> BudgetTripError:
    return BudgetTripError(f"the {exceeded.limit} budget is exhausted", error_type="budget", payload=exceeded)


def _turn_failed(error: str, error_type: str) -> TurnFailedError:
    return TurnFailedError(error, error=error, error_type=error_type)


def _turn_failed_again(recorded: RunFailed) -> TurnFailedError:
    """The recorded failure, with what the provider raised behind it. Its type follows from that, as it did live."""
    said = "internal" if recorded.error_type == "internal" else "provider"
    if recorded.cause is None:  # the original's, or nothing that an adapter raised
        return _turn_failed(recorded.error, said)
    cause = rebuild(recorded.cause)
    gone = isinstance(cause, RecordedEffectError)  # the class of another adapter, which today's agent does not load
    failed = _turn_failed(recorded.error, said if gone else _type_of(cause))
    failed.__cause__ = ProviderError(recorded.cause.message, **vars(cause)) if gone else cause
    return failed


def _type_of(cause: BaseException) -> str:
    """The error type of a run whose turn this ended."""
    return "internal" if isinstance(cause, InvalidStreamError | MissingRawResponseHashError) else "provider"


# --- live


async def _live_turn(frame: Frame, request: Request, turn_id: str) -> Turn:
    run, began = frame.run, time.monotonic()
    status = "error"
    try:
        response = await _stream(frame, request, turn_id)
        message = _message(run, turn_id, response)
        run.emit(message, frame)
        status = "ok"
    except ProviderError as error:
        raise _turn_failed(_texts.said(error), _type_of(error)) from error
    finally:
        run.metrics.provider_called(request.model, status, time.monotonic() - began)
    return Turn(message=decoded(message), reasoning=response.reasoning)


async def _stream(frame: Frame, request: Request, turn_id: str) -> Response:
    run, assembler = frame.run, Assembler()
    async with aclosing(_closeable(_open(run, request))) as chunks:
        while True:
            try:
                chunk = await _next(run, chunks)
            except asyncio.CancelledError:
                if run.out_of_time():
                    said = Unfinished(turn_id=turn_id, text=assembler.text, output_tokens=assembler.usage.output_tokens)
                    run.unfinished = said
                raise
            if chunk is None:
                return assembler.finish()
            for block in assembler.feed(chunk):
                _emit_reasoning(frame, turn_id, block)
            if isinstance(chunk, UsageChunk):
                _trip(run, run.meter.during_call(assembler.usage, turn_id, assembler.text), frame)


def _open(run: Run, request: Request) -> AsyncIterator[Chunk]:
    """The answer's chunks; see `_next`."""
    try:
        return run.provider.stream(request)
    except (ProviderError, CassetteError):
        raise
    except Exception as error:
        if stops_everything(error):
            raise
        raise wrap_http_status(error, None, provider=run.provider.info().id) from error


async def _next(run: Run, chunks: AsyncGenerator[Chunk, None]) -> Chunk | None:
    """The next chunk, None at the end. Whatever an adapter raises is the provider's failure."""
    try:
        return await anext(chunks, None)
    except (ProviderError, CassetteError):
        raise
    except Exception as error:
        if stops_everything(error):
            raise
        raise wrap_http_status(error, None, provider=run.provider.info().id) from error


def _closeable(stream: Any) -> Any:
    """A provider may return any async iterator; only generators have `aclose`."""
    if hasattr(stream, "aclose"):
        return stream

    async def wrapped() -> AsyncGenerator[Chunk, None]:
        async for chunk in stream:
            yield chunk

    return wrapped()


def _emit_reasoning(frame: Frame, turn_id: str, block: Reasoning) -> None:
    emitted = ReasoningEmitted(
        turn_id=turn_id, content=block.content, signature=block.signature, redacted=block.redacted
    )
    frame.run.emit(emitted, frame)


def _message(run: Run, turn_id: str, response: Response) -> AssistantMessageCompleted:
    digest = response.raw_response_hash
    if run.require_raw_response_hash and (digest is None or len(digest) != 32):
        raise MissingRawResponseHashError(
            f"{run.provider.info().id}: the answer of turn {turn_id} carries no 32-byte raw response hash, which "
            "Config.require_raw_response_hash asks for. Use an adapter that provides one, or switch the option off"
        )
    usage = response.usage
    for kind in ("input", "output", "cache_read", "cache_create"):
        run.metrics.tokens_used(run.meter.model, kind, getattr(usage, f"{kind}_tokens"))
    return AssistantMessageCompleted(
        turn_id=turn_id,
        text=written(response.text),
        tool_uses=tuple(
            [  # of a known size: Python keeps a tuple that was made of a generator, and takes up no such one again
                PlannedToolUse(
                    call_id=written(call.call_id), tool=written(call.name), args=_recorded_args(call.raw_args)
                )
                for call in response.tool_uses
            ]
        ),
        stop_reason=response.stop_reason,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_create_tokens=usage.cache_create_tokens,
        cost_usd=run.meter.cost_of(usage),
        raw_response_hash=digest,
        provider_request_id=response.request_id,
    )


def _recorded_args(text: str) -> Any:
    """Arguments as they are recorded: their value, or the text as bytes where it is not acceptable JSON.

    Nothing the model said is lost, and the call then fails as a tool call, which the model can be told. No arguments
    at all (several vendors send that for tools without parameters) are an empty object.
    """
    if not text.strip():
        return {}
    try:
        return Raw(encode(loads(text, max_depth=MAX_ARGS_DEPTH), max_depth=MAX_ARGS_DEPTH))
    except UnencodableValueError:
        return written(text).encode()


def decoded(message: AssistantMessageCompleted) -> AssistantMessageCompleted:
    """The message with plain values, as a replay reads it."""
    return replace(
        message,
        tool_uses=tuple(
            [  # see `_message`
                replace(use, args=decode(use.args.data)) if isinstance(use.args, Raw) else use
                for use in message.tool_uses
            ]
        ),
    )


# --- recorded


def _recorded_turn(frame: Frame, journal: ReplayJournal | TailJournal) -> Turn:
    """Take the answer from the recording, or fail as the recorded call failed."""
    reasoning: list[Reasoning] = []
    while True:
        recorded = journal.next_recorded(frame)
        match recorded:
            case ReasoningEmitted():
                journal.take(frame)
                reasoning.append(
                    Reasoning(content=recorded.content, signature=recorded.signature or b"", redacted=recorded.redacted)
                )
            case AssistantMessageCompleted():
                return Turn(message=_priced(frame, journal, recorded), reasoning=tuple(reasoning))
            case BudgetExceeded(where="mid_stream") if recorded.limit != "wall_clock":
                frame.run.emit(frame.run.tripped_again(recorded), frame)
                raise _tripped(recorded)
            case _:
                raise _no_answer(frame, journal)


def _priced(
    frame: Frame, journal: ReplayJournal | TailJournal, recorded: AssistantMessageCompleted
) -> AssistantMessageCompleted:
    """The recorded message; with ``compare_cost``, today's price of its usage is compared too.

    Not where the vendor states the cost: that is the environment's, and no price of ours.
    """
    produced = recorded
    if journal.options.compare_cost and not _states_cost(frame.run.provider):
        usage = Usage(
            input_tokens=recorded.input_tokens,
            output_tokens=recorded.output_tokens,
            cache_read_tokens=recorded.cache_read_tokens,
            cache_create_tokens=recorded.cache_create_tokens,
        )
        produced = replace(recorded, cost_usd=frame.run.meter.cost_of(usage))
    taken = frame.run.emit(produced, frame)
    assert isinstance(taken, AssistantMessageCompleted)  # the journal returns what stands there
    return taken


def _states_cost(provider: Provider) -> bool:
    from starling.provider import Capable

    return isinstance(provider, Capable) and provider.capabilities().states_cost


def _no_answer(frame: Frame, journal: ReplayJournal | TailJournal) -> BaseException:
    """The recorded turn has no end: the provider failed, the environment stopped it, or the recording is not whole."""
    match journal.end_of_part(frame):
        case RunFailed() as recorded:
            return _turn_failed_again(recorded)
        case RunCancelled() | RunResumed() | BudgetExceeded() as recorded:
            return Interruption(recorded)
        case _:
            return journal.missing_answer(frame)
