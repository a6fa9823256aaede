"""Every error that this library raises on purpose, in one tree under `StarlingError`.

Strategy: an error says what happened, where (run, seq, file, field), whose fault it is and what to do next.
The place is kept in attributes as well as in the text, so that callers need not parse messages. Foreign
exceptions (drivers, SDKs, pydantic) are mapped to these at the edge, with the original as ``__cause__``.
All of them pickle: the positional argument is the message, everything else lives in ``__dict__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AgentConfigError",
    "AuthError",
    "BudgetExceededError",
    "BudgetTripError",
    "CassetteError",
    "FixtureError",
    "ForkNotFoundError",
    "InternalRunError",
    "InvalidAppendError",
    "InvalidStreamError",
    "LiveCallError",
    "LogClosedError",
    "LogCorruptError",
    "LogError",
    "LogWriteError",
    "MaxTurnsExceededError",
    "MissingExtraError",
    "MissingRawResponseHashError",
    "NetworkBlockedError",
    "NetworkError",
    "NondeterminismError",
    "PartialToolCallError",
    "ProviderCallError",
    "ProviderError",
    "ProviderModelMismatchError",
    "RateLimitError",
    "ReadOnlyError",
    "RecordedEffectError",
    "RedactionError",
    "RunAlreadyTerminalError",
    "RunCutOffError",
    "RunFailedError",
    "RunInUseError",
    "RunNotFoundError",
    "SchemaOutdatedError",
    "SchemaTooNewError",
    "SchemaVersionMismatchError",
    "ServerError",
    "StarlingError",
    "StepContextError",
    "ToolCallError",
    "ToolError",
    "TransientToolError",
    "TurnFailedError",
    "UnencodableValueError",
]


class StarlingError(Exception):
    """Base of everything this library raises on purpose.

    Keyword arguments become attributes; they say where it happened (``run_id``, ``seq``, ``path``, …).
    """

    def __init__(self, message: str = "", /, **where: Any) -> None:
        super().__init__(message)
        self.__dict__.update(where)

    @property
    def message(self) -> str:
        """The whole text, without the class name."""
        return str(self.args[0]) if self.args else ""


# --- values and configuration


class UnencodableValueError(StarlingError):
    """A value cannot be written into the log (wrong type, not finite, nested too deeply, too large).

    The caller's fault: return plain data (None, bool, int, float, str, bytes, list, dict) from tools and effects.
    ``field`` names the place inside the value where that is known.
    """

    field: str = ""


class AgentConfigError(StarlingError):
    """The agent is wired wrongly (no model, two tools of one name, a namespace with a slash, …).

    The caller's fault, found before anything runs. ``field`` names the argument.
    """

    field: str = ""


class MissingExtraError(StarlingError, ImportError):
    """An optional dependency is not installed; the message is the ``pip install`` line that mends it."""

    extra: str = ""


# --- the log


class LogError(StarlingError):
    """Base of what an event log raises. ``run_id``, ``seq`` and ``path`` say where, when known."""

    run_id: str = ""
    seq: int | None = None
    path: str = ""


class LogCorruptError(LogError):
    """The log does not hold what its own hashes or the format say it must.

    Nobody's code is at fault at the time of reading: bytes were changed after they were written, a file was
    truncated, or another program wrote it wrongly. Restore it from a copy, or record it again.

    ``field`` is the place in the payload (``tool_uses[0].args``), where it is one field that is missing or wrong.
    """

    field: str = ""


class LogClosedError(LogError):
    """The log was used after `close`. The caller's fault: open it again, or close it later."""


class ReadOnlyError(LogError):
    """A log opened with ``read_only=True`` was asked to write. Open it without that flag."""


class InvalidAppendError(LogError):
    """The events do not continue the run's tail (wrong run id, seq or prev_hash). Nothing was written."""


class LogWriteError(LogError):
    """Committing events failed (disk full, connection lost, emit_timeout). Nothing further was dispatched.

    The run stays as it was at its last commit and can be resumed once the storage works again.
    """


class SchemaOutdatedError(LogError):
    """The database is older than this version of the library: run `starling.eventlog.migrate` first."""


class SchemaTooNewError(LogError):
    """The database was written by a newer version of the library: upgrade pytest-starling."""


class ForkNotFoundError(LogError):
    """`fork_sqlite` found no event of that run in the source database."""


class FixtureError(LogError):
    """A golden fixture cannot be used: not a fixture, damaged, from a newer version, or of another test."""


# --- a run that did not complete


class RunFailedError(StarlingError):
    """A run ended in RunFailed. The base of the four reasons below; never raised itself.

    Attributes:
        result: the `starling.RunResult` of what happened until then.
        run_id: the run, as it is in the log.
        error_type: as in the RunFailed event (``budget``, ``max_turns``, ``tool``, ``provider``, ``internal``).
    """

    result: Any = None
    run_id: str = ""
    error_type: str = ""


class BudgetExceededError(RunFailedError):
    """A budget axis tripped (``limit``, ``cap``, ``actual``, ``where`` as in the BudgetExceeded event).

    A normal signal in production. Raise the budget, or start a new run from ``partial_text``.
    """

    limit: str = ""
    cap: float = 0.0
    actual: float = 0.0
    where: str = ""
    partial_text: str = ""


class MaxTurnsExceededError(RunFailedError):
    """The model still asked for tools after ``Config.max_turns`` turns."""


class ToolCallError(RunFailedError):
    """A tool call failed and the agent does not report failures to the model (``tool_errors="fail"``).

    The tool's own exception is ``__cause__`` when the run was live. ``tool`` and ``call_id`` say which call.
    """

    tool: str = ""
    call_id: str = ""
    error: str = ""


class ProviderCallError(RunFailedError):
    """The provider failed; what it raised is ``__cause__`` (`RateLimitError`, `AuthError`, …), live and on replay."""


class InternalRunError(RunFailedError):
    """The run broke for a reason that is neither the tools' nor the budget's, such as a provider that broke
    the chunk contract (``__cause__`` is then an `InvalidStreamError`).
    """


# --- resume


class RunNotFoundError(LogError):
    """The log holds no event of that run id."""


class RunAlreadyTerminalError(LogError):
    """The run has ended; a terminal event cannot be followed by anything. Start a new run."""


class RunInUseError(LogError):
    """Another writer has advanced this run (or its id is taken). Let one process at a time write a run."""


class RunCutOffError(LogWriteError, RunInUseError):
    """A replayed call has come to where its process was cut off when it was recorded; another one went on from there.

    Then its log had failed or another writer had taken the run over: the recording does not say which, so that handlers
    of either catch it. ``seq`` is the first event of what came after. Only `Agent.resume` goes on, here as there.
    """


class PartialToolCallError(LogError):
    """Resume found tool calls without an outcome and ``reissue_tools=False`` forbids issuing them again."""


class SchemaVersionMismatchError(LogCorruptError):
    """The run was written with an event schema that this version does not know: upgrade pytest-starling.

    ``found`` is the run's schema version, ``known`` the newest that this version reads. It is a `LogCorruptError`, too:
    a reader that cannot tell what it reads must not vouch for it (seed page "Event schema", Invariants).
    """

    found: int = 0
    known: int = 0


# --- provider


class ProviderError(StarlingError):
    """A provider call failed. Other 4xx answers than the four below are raised as this class itself.

    Attributes:
        provider: the provider's id. status: the HTTP status, None if there was no answer.
        request_id: the vendor's id of the request, when it gave one. retry_after_s: seconds, when it said so.
    """

    provider: str = ""
    status: int | None = None
    request_id: str = ""
    retry_after_s: float | None = None


class RateLimitError(ProviderError):
    """429 or an exhausted quota. Wait (``retry_after_s``) and try again."""


class AuthError(ProviderError):
    """401, 403 or no key at all. Check the credentials the message names."""


class ServerError(ProviderError):
    """5xx: the vendor's fault. Try again."""


class NetworkError(ProviderError):
    """DNS, connection, TLS or a broken stream. Try again."""


class InvalidStreamError(ProviderError):
    """An adapter broke the chunk contract (a chunk after the end, a duplicate tool call id, no end).

    The adapter's fault, or the vendor's.
    """


class MissingRawResponseHashError(ProviderError):
    """``Config.require_raw_response_hash`` is set and the end of a turn carried no 32-byte digest."""


class CassetteError(StarlingError):
    """A cassette cannot answer in place of a provider: it cannot be read, or holds no answer to what is asked.

    Nobody's fault where the code was changed since the cassette was recorded: record against the provider. The run that
    asked is left as it is, for nothing of the kind can happen to it live.

    Attributes:
        path: the cassette. interaction: the number, from 1, of what was recorded there and does not fit; 0 if none.
    """

    path: str = ""
    interaction: int = 0


class LiveCallError(ProviderError):
    """A provider was reached while a recording is replayed. Nothing was sent.

    The code under test made a model call that does not go through an `Agent.run`, or that the recording does
    not hold.
    """


# --- tools and step


class ToolError(StarlingError):
    """Raise it in a tool to fail the call with a message for the model; any other exception does the same."""


class TransientToolError(ToolError):
    """Raise it in a tool when trying again may help; idempotent tools with ``max_attempts > 1`` are retried."""


class RecordedEffectError(StarlingError):
    """A side effect failed when it was recorded, with an exception whose class cannot be found today.

    ``recorded_type`` is the qualified name of that class; the message is the recorded one.
    """

    recorded_type: str = ""


class TurnFailedError(StarlingError):
    """A model call that code made through `starling.step.llm_call` failed; the run ends with it, caught or not.

    ``error`` and ``error_type`` (``provider`` or ``internal``) are what RunFailed will say; what happened is
    ``__cause__``.
    """

    error: str = ""
    error_type: str = ""


class BudgetTripError(TurnFailedError):
    """A model call that code made through `starling.step.llm_call` tripped a budget; the run ends with it.

    ``payload`` is the BudgetExceeded event.
    """

    payload: Any = None


class StepContextError(StarlingError):
    """A `starling.step` function was called where no run is active, or after its tool call had ended.

    The caller's fault: call it from inside a tool or a run, in the task or thread that the run started.
    """


# --- replay


class NondeterminismError(StarlingError):
    """Today's code does something else than the recording.

    ``divergences`` holds one `starling.Divergence` at least, the first cause first; ``run_id`` and ``seq`` are its.
    """

    divergences: Sequence[Any] = ()

    @property
    def run_id(self) -> str:
        """The recorded run; that around it where the code began one that no recording has."""
        return self.divergence.run_id if self.divergences else ""

    @property
    def seq(self) -> int | None:
        """The event of the recording that was not reproduced, from 1; None without divergences."""
        return self.divergence.seq if self.divergences else None

    @property
    def divergence(self) -> Any:
        """The first cause."""
        return self.divergences[0] if self.divergences else None


class NetworkBlockedError(StarlingError, OSError):
    """Code reached for another machine while a golden test replays its recording. Nothing was sent.

    The code's own doing, or a library's that it calls: what comes back would not be recorded. It is an `OSError`, so
    that libraries treat it as the failed connection that it is to them, and close their sockets.

    Attributes:
        host, port: what was to be reached; port is None where none was named.
        file, line: the project's line that asked for it; empty and 0 if none was on the stack.
    """

    host: str = ""
    port: int | None = None
    file: str = ""
    line: int = 0


class RedactionError(StarlingError):
    """A redaction cannot be applied: it raised, returned what is no payload, or never comes to an end.

    The fault of whoever wrote it (``golden_redact``, ``pytest_starling_redact``, ``redact=``). ``run_id`` and ``seq``
    say at which event. What was to be redacted is nowhere in the error, nor in its cause.
    """


class ProviderModelMismatchError(NondeterminismError):
    """The agent's provider id, API version or model is not the recorded one; found before anything ran."""
