"""What the network block refused, and to whom: one value, and what people are told of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starling.errors import NetworkBlockedError

if TYPE_CHECKING:
    from pytest_starling._callers import Caller

__all__ = ["BlockedCall"]

_CURE = (
    "If the run needs what comes back, take it through starling.step.side_effect(name, fn), which "
    'records it; if it may happen on every replay, allow it with allow_hosts=["{host}"] in the golden_run marker or '
    "golden_allow_hosts in the ini file. --golden-network=allow opens the network."
)
_PROVIDER_CURE = (
    "Only calls made by Agent.run are served from the recording: let this call go through an agent, "
    "stub it in the test, or take it through starling.step.side_effect(name, fn), which records it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedCall:
    """What was refused, and to whom. Equal for each try of a loop.

    Attributes:
        verb: what was tried, as in ``connects to``.
        host: the name or address as it was asked for. name: the host's name where only its address was asked for.
        port: None where none was asked for, or none that is a number.
        place: the project's line as people are shown it, or a thread.
        during: what is going on, as in ``replaying``.
        caller: who it was.
    """

    verb: str
    host: str
    name: str
    port: int | None
    place: str
    caller: Caller
    during: str = "replaying"

    @property
    def target(self) -> str:
        """Host and port, and the name of the host where it is known."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{host}{port}{f' ({self.name})' if self.name else ''}"

    @property
    def summary(self) -> str:
        """One line."""
        through = self.caller.provider or self.caller.library
        return f"{self.place} {self.verb} {self.target}{f' through {through}' if through else ''}"

    @property
    def cure(self) -> str:
        """What to do about it."""
        return _PROVIDER_CURE if self.caller.provider else _CURE.format(host=self.name or self.host)

    @property
    def text(self) -> str:
        """What the error says: a line that stands alone, and the cure."""
        return f"network blocked while {self.during}: {self.summary}; nothing was sent.\n{self.cure}"

    def line(self, count: int) -> str:
        """What is said of the refusal where nothing was raised, or all tries came to nothing."""
        tries = f" ({count} times)" if count > 1 else ""
        return f"network blocked while {self.during}: {self.summary}{tries}; nothing was sent. {self.cure}"

    def error(self) -> NetworkBlockedError:
        """What is raised in place of the connection."""
        caller = self.caller
        return NetworkBlockedError(
            self.text, host=self.name or self.host, port=self.port, file=caller.file, line=caller.line
        )
