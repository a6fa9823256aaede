"""What the tests of all providers need of one vendor, and what they have in common."""

from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starling.testing.provider_contract import Subject

KEY = "not-a-real-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """One vendor.

    Attributes:
        vendor: its name, as in ``starling.provider.<vendor>`` and as the provider's id.
        sdk: modules of its SDK, which no import of ours may bring in.
        variable: the environment variable of its key; "" if it has none.
        server: takes a script, or a list of turns and replies; gives a `WireServer`.
        provider: takes that server and options of the adapter; gives the adapter, to be closed with ``async with``.
        keyless: builds the adapter without a key and without a server.
        recorded: streamed answers in the shape that the vendor documents, by name; each is whole, as the events that
            it is made of. They are cut at every byte, so they are short.
        carries_signatures: whether the wire has signed reasoning. carries_redacted: whether it has redacted one.
    """

    vendor: str
    sdk: tuple[str, ...]
    variable: str
    server: Callable[..., Any]
    provider: Callable[..., Any]
    keyless: Callable[[], Any]
    recorded: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    carries_signatures: bool = False
    carries_redacted: bool = False

    def __str__(self):
        return self.vendor

    @asynccontextmanager
    async def subject(self, script):
        """For the contract's checks."""
        with self.server(script) as server:
            async with self.provider(server) as provider:
                yield Subject(
                    provider=provider,
                    disconnected=server.disconnected,
                    sent=lambda: [request.body for request in server.requests],
                )


async def collect(provider, request):
    """The chunks of an answer."""
    return [chunk async for chunk in provider.stream(request)]


class Replaying:
    """The session of a process in which a recording is replayed, for `ambient.override`."""

    replaying = True

    def __init__(self):
        self.refusals = []

    def begin(self, intent):
        """No run is begun here."""
        raise AssertionError(intent)

    def refused(self, error):
        """A live call was asked for."""
        self.refusals.append(error)
