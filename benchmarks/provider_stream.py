"""What an adapter costs on top of its vendor's SDK: 1,000 chunks streamed through both, from a local server.

Run: ``python benchmarks/provider_stream.py [pairs] [vendor ...]``. The server runs in a process of its own. A pair is
one answer through the adapter and one through the bare SDK, in changing order, so that whatever else the machine does
falls on both. What counts is the median of the quotients within pairs: of the time on the wall, and of the processor's.
A further vendor is a row in ``VENDORS``.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from typing import TypeAlias

GOAL = 1.25
PAIRS = 40
CHUNKS = 1000
SERVE = """
import sys
from starling import testing
script = testing.Script()
for _ in range({chunks}):
    script.text("a word ")
with getattr(testing, {server!r})(script.turns * {answers}) as server:
    print(server.base_url, flush=True)
    sys.stdin.read()
"""


Ask: TypeAlias = Callable[[], Awaitable[int]]
"""Streams one answer and returns the number of its pieces of text."""
Asking: TypeAlias = AbstractAsyncContextManager[Ask]
"""With it, a client is open."""


@dataclass(frozen=True)
class Vendor:
    """One adapter and its SDK. ``adapter`` and ``bare`` take the server's address."""

    server: str
    adapter: Callable[[str], Asking]
    bare: Callable[[str], Asking]


@asynccontextmanager
async def through(provider: object) -> AsyncIterator[Ask]:
    """One answer through an adapter."""
    from starling.provider import Message, Request, TextChunk

    request = Request(model="m", messages=(Message(role="user", content="go"),), max_output_tokens=CHUNKS)

    async def ask() -> int:
        return sum([isinstance(chunk, TextChunk) async for chunk in provider.stream(request)])

    async with provider:
        yield ask


def openai_adapter(url: str) -> Asking:
    from starling.provider.openai import OpenAI

    return through(OpenAI(base_url=url, api_key="none"))


@asynccontextmanager
async def openai_bare(url: str) -> AsyncIterator[Ask]:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    async def ask() -> int:
        stream = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "go"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        return sum([bool(event.choices and event.choices[0].delta.content) async for event in stream])

    async with client:
        yield ask


def anthropic_adapter(url: str) -> Asking:
    from starling.provider.anthropic import Anthropic

    return through(Anthropic(base_url=url, api_key="none"))


@asynccontextmanager
async def anthropic_bare(url: str) -> AsyncIterator[Ask]:
    from anthropic import AsyncAnthropic

    client = AsyncAnthropic(base_url=url, api_key="none", max_retries=0)

    async def ask() -> int:
        stream = await client.messages.create(
            model="m", max_tokens=CHUNKS, messages=[{"role": "user", "content": "go"}], stream=True
        )
        return sum([event.type == "content_block_delta" and event.delta.type == "text_delta" async for event in stream])

    async with client:
        yield ask


def gemini_adapter(url: str) -> Asking:
    from starling.provider.gemini import Gemini

    return through(Gemini(base_url=url, api_key="none"))


@asynccontextmanager
async def gemini_bare(url: str) -> AsyncIterator[Ask]:
    from google import genai

    client = genai.Client(vertexai=False, api_key="none", http_options={"base_url": url})

    async def ask() -> int:
        stream = await client.aio.models.generate_content_stream(model="m", contents="go")
        return sum([bool(event.text) async for event in stream])

    with closing(client):
        async with client.aio:
            yield ask


def openrouter_adapter(url: str) -> Asking:
    from starling.provider.openrouter import OpenRouter

    return through(OpenRouter(base_url=url, api_key="none"))


def bedrock_session() -> object:
    import boto3

    return boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1")


def bedrock_adapter(url: str) -> Asking:
    from starling.provider.bedrock import Bedrock

    return through(Bedrock(base_endpoint=url, session=bedrock_session()))


@asynccontextmanager
async def bedrock_bare(url: str) -> AsyncIterator[Ask]:
    """In a thread, as whoever has an event loop has to call it."""
    client = bedrock_session().client("bedrock-runtime", endpoint_url=url)

    def block() -> int:
        messages = [{"role": "user", "content": [{"text": "go"}]}]
        answer = client.converse_stream(modelId="m", messages=messages, inferenceConfig={"maxTokens": CHUNKS})
        return sum(["text" in event.get("contentBlockDelta", {}).get("delta", {}) for event in answer["stream"]])

    async def ask() -> int:
        return await asyncio.to_thread(block)

    with closing(client):
        yield ask


VENDORS = {
    "anthropic": Vendor(server="AnthropicServer", adapter=anthropic_adapter, bare=anthropic_bare),
    "bedrock": Vendor(server="BedrockServer", adapter=bedrock_adapter, bare=bedrock_bare),
    "gemini": Vendor(server="GeminiServer", adapter=gemini_adapter, bare=gemini_bare),
    "openai": Vendor(server="OpenAIServer", adapter=openai_adapter, bare=openai_bare),
    "openrouter": Vendor(server="OpenRouterServer", adapter=openrouter_adapter, bare=openai_bare),
}


@dataclass(frozen=True)
class Took:
    """What one answer took, in milliseconds."""

    wall: float
    processor: float


async def timed(ask: Ask) -> Took:
    wall, processor = time.perf_counter(), time.process_time()
    count = await ask()
    took = Took(wall=(time.perf_counter() - wall) * 1000, processor=(time.process_time() - processor) * 1000)
    if count != CHUNKS:
        raise SystemExit(f"{count} pieces arrived instead of {CHUNKS}")
    return took


async def paired(vendor: Vendor, url: str, pairs: int) -> list[tuple[Took, Took]]:
    """Adapter and bare SDK, after one pair that warms both up."""
    found = []
    async with vendor.adapter(url) as adapter, vendor.bare(url) as bare:
        asks = {"adapter": adapter, "bare": bare}
        for number in range(pairs + 1):
            order = ("adapter", "bare") if number % 2 else ("bare", "adapter")
            took = {name: await timed(asks[name]) for name in order}
            found.append((took["adapter"], took["bare"]))
    return found[1:]


def measured(vendor: Vendor, pairs: int) -> list[tuple[Took, Took]]:
    code = SERVE.format(chunks=CHUNKS, server=vendor.server, answers=2 * (pairs + 1))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            return asyncio.run(paired(vendor, server.stdout.readline().strip(), pairs))
        finally:
            server.stdin.close()


def line(name: str, found: list[tuple[float, float]]) -> str:
    """Medians of both sides, and of the quotients within pairs."""
    adapter, bare = (statistics.median(side) for side in zip(*found, strict=True))
    quotients = [first / second for first, second in found]
    low, median, high = statistics.quantiles(quotients, n=4) if len(found) > 1 else quotients * 3
    verdict = "met" if median <= GOAL else "missed"
    return (
        f"  {name:<10} {adapter:7.1f} ms adapter, {bare:7.1f} ms bare SDK: {median:5.2f} x (quartiles {low:.2f} and "
        f"{high:.2f}); goal <= {GOAL:.2f} x {verdict}"
    )


def main() -> None:
    """Measure and say so."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    for name in sys.argv[2:] or VENDORS:
        found = measured(VENDORS[name], pairs)
        print(f"{name}: {CHUNKS} chunks, {pairs} pairs, Python {sys.version.split()[0]}, paired medians")
        print(line("wall", [(one.wall, other.wall) for one, other in found]))
        print(line("processor", [(one.processor, other.processor) for one, other in found]))


if __name__ == "__main__":
    main()
