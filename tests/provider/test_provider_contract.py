"""Every adapter keeps the contract, and the contract notices who does not."""

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from kits import KITS
from kits.anthropic import KIT as SIGNING_KIT
from kits.openai import KIT

from starling.errors import ProviderError
from starling.provider import Capabilities, EndChunk, ReasoningChunk, TextChunk, ToolUseEnd, ToolUseStart, UsageChunk
from starling.testing import provider_contract
from starling.testing.provider_contract import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kit", KITS, ids=str)
async def test_the_adapter_keeps_it(kit, check):
    await check(kit.subject)


class Wrong:
    """An adapter with one thing wrong, around one that is right: that of ``kit``."""

    kit = KIT

    def __init__(self, inner):
        self.inner = inner

    def info(self):
        return self.inner.info()

    def capabilities(self):
        return self.inner.capabilities()

    def stream(self, request):
        return self.chunks(request)

    async def chunks(self, request):
        async for chunk in self.inner.stream(request):
            changed = self.changed(chunk)
            if changed is not None:
                yield changed

    def changed(self, chunk):
        return chunk


class Silent(Wrong):
    """Says nothing of what it supports."""

    capabilities = None


class Nameless(Wrong):
    def info(self):
        return replace(super().info(), id="")


class Shortened(Wrong):
    def changed(self, chunk):
        return replace(chunk, text=chunk.text[:3]) if isinstance(chunk, TextChunk) else chunk


class LeavesCallsOpen(Wrong):
    def changed(self, chunk):
        return None if isinstance(chunk, ToolUseEnd) else chunk


class SharesIds(Wrong):
    def changed(self, chunk):
        return replace(chunk, call_id=f"new-{id(chunk)}") if isinstance(chunk, ToolUseStart) else chunk


class Hasty(Wrong):
    """Takes whatever it has for the whole answer when something goes wrong."""

    async def chunks(self, request):
        try:
            async for chunk in self.inner.stream(request):
                yield chunk
        except ProviderError:
            yield EndChunk(stop_reason="stop")


class Unclassed(Wrong):
    async def chunks(self, request):
        try:
            async for chunk in self.inner.stream(request):
                yield chunk
        except ProviderError as error:
            raise ProviderError(str(error)) from error


class Persistent(Wrong):
    """Tries again by itself."""

    async def chunks(self, request):
        try:
            async for chunk in self.inner.stream(request):
                yield chunk
        except ProviderError:
            async for chunk in self.inner.stream(request):
                yield chunk


class Deaf(Wrong):
    """Drops stop sequences and tool choices."""

    def stream(self, request):
        return self.inner.stream(replace(request, stop_sequences=None, tool_choice=""))


class Anonymous(Wrong):
    def changed(self, chunk):
        return replace(chunk, request_id="") if isinstance(chunk, EndChunk) else chunk


class Hashless(Wrong):
    def changed(self, chunk):
        return replace(chunk, raw_response_hash=bytes(32)) if isinstance(chunk, EndChunk) else chunk


class Unsigned(Wrong):
    kit = SIGNING_KIT

    def changed(self, chunk):
        return replace(chunk, signature=b"") if isinstance(chunk, ReasoningChunk) else chunk


class Uncounted(Wrong):
    def changed(self, chunk):
        return None if isinstance(chunk, UsageChunk) else chunk


class Unguarded(Wrong):
    """Reaches the vendor whatever is replayed."""

    def stream(self, request):
        return self.inner._chunks(request)


WRONG = [
    (Silent, "is_a_provider"),
    (Nameless, "is_a_provider"),
    (Shortened, "text_arrives_whole"),
    (LeavesCallsOpen, "chunks_come_in_order"),
    (SharesIds, "tool_calls_arrive"),
    (Hasty, "half_an_answer_is_an_error"),
    (Hasty, "errors_in_the_stream_are_raised"),
    (Hasty, "failures_are_classed"),
    (Unclassed, "failures_are_classed"),
    (Persistent, "a_failure_is_one_request"),
    (Deaf, "stop_sequences_are_sent"),
    (Deaf, "tool_choices_are_sent"),
    (Anonymous, "request_ids_are_given"),
    (Hashless, "raw_hashes_follow_the_answer"),
    (Unsigned, "signatures_arrive"),
    (Uncounted, "token_counts_arrive"),
    (Unguarded, "refuses_while_replaying"),
]


def wrapping(wrong):
    @asynccontextmanager
    async def subject(script):
        async with wrong.kit.subject(script) as right:
            yield replace(right, provider=wrong(right.provider))

    return subject


@pytest.mark.parametrize(("wrong", "check"), WRONG, ids=lambda value: getattr(value, "__name__", value))
async def test_it_notices_what_is_wrong(wrong, check):
    checks = {check.__name__: check for check in CHECKS}
    with pytest.raises((AssertionError, ProviderError)):
        await checks[check](wrapping(wrong))


async def test_what_is_not_supported_is_not_checked():
    class Plain(Deaf, Anonymous, LeavesCallsOpen):
        def capabilities(self):
            return Capabilities()

    for check in CHECKS:
        await check(wrapping(Plain))


def test_every_check_says_what_it_is_for():
    assert all(check.__doc__ for check in CHECKS)
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS) > 20
    assert all(hasattr(provider_contract, name) for name in provider_contract.__all__)
