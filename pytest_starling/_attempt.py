"""One run of a golden test, recording or replaying: what stands open meanwhile, and what it comes to.

Everything that an attempt changes in the process (the runtime's slot, one environment variable) hangs on one exit
stack, which `close` unwinds however the run ended. `_phases` opens, judges and closes it.
"""

from __future__ import annotations

import math
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_starling import (
    StarlingWarning,
    _cassette,
    _doubts,
    _failure,
    _nondeterminism,
    _produced,
    _recording_failures,
    _replay_failures,
    _rivals,
    _variable,
)
from pytest_starling._disclosure import fit_to_be_told
from pytest_starling._guard import Guard
from pytest_starling._marker import configured
from pytest_starling._redaction import redaction
from pytest_starling._secrets import credentials_of, without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_starling._failure import Failure
    from pytest_starling._marker import GoldenMark
    from pytest_starling._network import NetworkBlock
    from pytest_starling._redaction import Redaction
    from pytest_starling._session import GoldenItem
    from starling.provider.cassette import Cassette
    from starling.replay import Fixture, FixtureRun, PatchUse, ReplayOptions, UndeclaredCall

__all__ = ["Attempt"]


class Attempt:
    """A run of a golden test, with its session in the runtime's slot until it is closed.

    Attributes:
        fixture: what is replayed; None while recording, or where it cannot be used.
        problem: why nothing can be replayed, or recorded. A failure of the test once it asks for a run.
        failure: why the test fails, once that is known.
        passed: every phase that was reported so far passed.
        cut_short: the runs that were going on when the test's own function failed; what they come to is a consequence.
        broken_setup: a fixture of the test could not be made, because it asked for a run in vain.
        in_body: the test's own function is under way.
        failed_parts: how many of its subtests failed. parts: their reports that are withheld; see `_parts`.
        cassette: what answers in place of providers while recording; None where they are called.
        divergences: all that were found, the first cause first.
        redaction: what rewrites what a replay produces; None where nothing is configured, and while recording.
        credentials: the secrets of the environment, as it was at the beginning and whenever a run started.
        network: what keeps a replay from reaching other machines; None while recording, or where that is allowed.
    """

    def __init__(self, golden: GoldenItem) -> None:
        from starling.ambient import activate

        self.golden = golden
        self.replaying = not golden.plan.records
        self.trial = golden.plan.trial
        self.credentials = credentials_of(golden.settings.secrets_allow)
        self.redaction: Redaction | None = None
        self.guard = Guard(
            replaying=self.replaying,
            on_begin=self._note_credentials,
            on_found=lambda error: fit_to_be_told(golden, error),
        )
        self.fixture: Fixture | None = None
        self.problem: Failure | None = None
        self.failure: Failure | None = None
        self.passed = True
        self.body_passed = False
        self.cut_short: frozenset[str] = frozenset()
        self.broken_setup = False
        self.in_body = False
        self.failed_parts = 0
        self.parts: list[pytest.TestReport] = []
        self.cassette: Cassette | None = None
        self.network = self._block()
        self._stack = ExitStack()
        with ExitStack() as opening:
            opening.enter_context(_variable.set_to(self._announced()))
            opening.enter_context(activate(self.guard))
            if self.network:
                opening.enter_context(self.network)
            self._stack = opening.pop_all()

    def close(self) -> None:
        """Take the session out of the slot, and give the environment back. Idempotent."""
        self._stack.close()
        session: Any = self.guard.session
        if session is not None and not self.replaying:
            session.close()

    def _announced(self) -> str | None:
        """What processes are told: a recording that keeps turns needs a key only if something is live."""
        if self.replaying or self.golden.settings.uses_cassette:
            return _variable.ACTIVE
        return _variable.READY if self.golden.plan.kept else None

    def _note_credentials(self) -> None:
        self.credentials.note(os.environ)

    def _block(self) -> NetworkBlock | None:
        settings = self.golden.settings
        if not self.replaying or settings.network == "allow":
            return None
        from pytest_starling._network import NetworkBlock

        return NetworkBlock(settings, self.golden.mark.allow_hosts, self.guard.refused, self.golden.plan.replays)

    # --- the session

    def load(self, folder: Path, defaults: object) -> None:
        """Find out what is recorded or replayed, now that the test's fixtures have said where it is kept.

        Args:
            folder: what ``golden_run_dir`` says. defaults: what ``golden_run_config`` says.
        """
        golden = self.golden
        mark, wrong = configured(golden.mark, defaults)
        if wrong:
            pytest.fail("\n".join(f"golden_run_config {sentence}" for sentence in wrong), pytrace=False)
        if self.network and mark is not golden.mark:
            self.network.allow(mark.allow_hosts)
        if golden.movable:
            golden.path = golden.settings.root / folder / golden.movable
            self._refuse_rival(golden.claim() or ("" if self.replaying else _rivals.owner_on_disk(golden)))
        if self.replaying:
            self._load_recording(mark)
        else:
            self._make_room(mark)

    def _refuse_rival(self, rival: str) -> None:
        if rival:
            pytest.fail(_recording_failures.leads_astray(self.golden, rival), pytrace=False)

    def _make_room(self, mark: GoldenMark) -> None:
        from starling.replay import RecordingSession, TailSession

        self.problem = _recording_failures.unwritable(self.golden) or self._insert_cassette()
        kept, watcher = self.golden.plan.kept, _nondeterminism.watcher(self.golden.settings)
        if self.problem:
            self.guard.refuse(self.problem.error)
        elif kept is None:
            stand_in = self.cassette.stand_in if self.cassette else None
            self.guard.open(RecordingSession(watcher, stand_in))
        else:
            self.guard.open(TailSession(kept.runs, self._options(mark), watcher))

    def _insert_cassette(self) -> Failure | None:
        """Let a cassette answer, where one is to. Returns why it cannot."""
        found = _cassette.opened(self.golden, self.guard.refused)
        if isinstance(found, _failure.Failure):
            return found
        self.cassette = found
        return None

    def _options(self, mark: GoldenMark) -> ReplayOptions:
        self.redaction = redaction(self.golden, self.guard.refused)
        return mark.options(compare_cost=self.golden.settings.compare_cost, redact=self.redaction)

    def _load_recording(self, mark: GoldenMark) -> None:
        from starling.replay import ReplayingSession

        self._read()
        if self.fixture is None:
            assert self.problem is not None, "one of them is found"
            self.guard.refuse(self.problem.error)
            return
        self.guard.open(ReplayingSession(self.fixture.runs, self._options(mark)))
        _doubts.warn(self.golden, self.fixture, mark)

    def _read(self) -> None:
        from starling.errors import LogError
        from starling.replay import read_fixture

        golden = self.golden
        path = golden.plan.source or golden.path
        if not path.exists():
            self.problem = _replay_failures.missing(golden)
            return
        try:
            fixture = read_fixture(path)
        except LogError as error:
            self.problem = _replay_failures.unusable(golden, error)
            return
        self._refuse_rival(_rivals.owner_by(golden, fixture.test_id))
        if fixture.test_id != golden.name.text and not golden.plan.adopts:
            self.problem = _replay_failures.foreign(golden, fixture)
        else:
            self.fixture = fixture

    @contextmanager
    def tried_again_elsewhere(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Iterator[None]:
        """Forget that a fixture which outlives the test could not be made, if that is the network block's doing.

        pytest would raise the same error in every other test that asks for it, golden or not.
        """
        before = self.network.count if self.network else 0
        try:
            yield
        except Exception:
            if self.network and self.network.count > before:
                fixturedef.finish(request)  # type: ignore[arg-type]  # fixtures are set up for a SubRequest
            raise

    # --- what was found

    @property
    def asked_in_vain(self) -> bool:
        """Whether a run was asked for though there is a `problem`."""
        return self.problem is not None and any(error is self.problem.error for error in self.guard.failures)

    @property
    def runs(self) -> tuple[FixtureRun, ...]:
        """The runs so far: recorded ones, or those asked for in a replay."""
        session: Any = self.guard.session
        if session is None:
            return ()
        return tuple(session.played if self.replaying else session.runs)

    @property
    def requests(self) -> Mapping[str, Any]:
        """While recording: by turn, what code and not an agent's loop asked a model."""
        session: Any = self.guard.session
        return {} if session is None or self.replaying else session.requests

    @property
    def turns_kept(self) -> tuple[int, int] | None:
        """While recording with kept turns: how many, of how many that were made; None where none could be kept."""
        session: Any = self.guard.session
        return (session.turns_kept, session.turns) if hasattr(session, "turns_kept") else None

    @property
    def undeclared(self) -> tuple[UndeclaredCall, ...]:
        """While recording: what the runs' own code used past `starling.step` so far."""
        session: Any = self.guard.session
        return () if session is None or self.replaying else session.undeclared

    @property
    def patches(self) -> tuple[PatchUse, ...]:
        """What a replay's runs asked `step.patched` and `step.deprecate_patch` so far."""
        session: Any = self.guard.session
        return tuple(session.patches) if self.replaying and session is not None else ()

    @property
    def divergences(self) -> tuple[Any, ...]:
        """All that were found, the first cause first."""
        return tuple(one for error in self.guard.failures for one in getattr(error, "divergences", ()))

    def is_ours(self, error: BaseException | None) -> bool:
        """Whether an exception is what the failure is about, and not one of the test's own."""
        if isinstance(error, BaseExceptionGroup):  # a task group's, in which nothing else went wrong
            return all(self.is_ours(one) for one in error.exceptions)
        return error is not None and self.failure is not None and any(error is one for one in self.failure.errors)

    def judge(self, *, passed: bool) -> Failure | None:
        """What the golden run comes to after a phase of the test.

        Args:
            passed: nothing was raised, so that recorded runs which were not asked for are no mere consequence.
        """
        self.body_passed = passed
        if passed and self.fixture:
            self._require_runs(before=_end_of_body(self.fixture.runs))
        errors = self.guard.failures
        if self.asked_in_vain or (passed and self.problem and not errors):
            self.failure = self.problem
        elif errors:
            self.failure = _replay_failures.from_errors(self.golden, errors, self.fixture, self.runs)
        elif passed and self.fixture and not self.runs:
            self.failure = _failure.unseen(recorded=len(self.fixture.runs))
        elif passed and self.replaying:
            _produced.forget(self.golden)
        if self.failure and self.failure is not self.problem and self.network:
            self.failure = _failure.with_blocks(self.failure, self.network.told())
        if self.failure:
            self.failure = without_secrets(self.golden, self.failure)
        return self.failure

    def warn_of_blocks(self) -> None:
        """Issue a `StarlingWarning` for each refused connection that nothing was said of so far.

        Raises:
            StarlingWarning: where warnings are errors.
        """
        for line in self.network.untold() if self.network else ():
            self.golden.item.warn(StarlingWarning(f"{self.golden.name.text}: {line}"))

    def body_ended(self) -> None:
        """The test's own function is over; what runs from now on is teardown. See `_end_of_body`."""
        self.in_body = False
        self._note_credentials()
        session: Any = self.guard.session
        if session is not None and not self.replaying:
            session.tick()

    def body_failed(self) -> None:
        """The test's own function failed, not by its golden run. See `is_consequence`."""
        if self.replaying and self.guard.session is not None:
            session: Any = self.guard.session
            self.cut_short = session.running

    def is_consequence(self) -> bool:
        """Whether nothing was found but that runs stopped which the failing test had left behind."""
        errors = self.guard.failures
        return bool(errors) and all(map(self._is_of_a_run_cut_short, errors))

    def _is_of_a_run_cut_short(self, error: BaseException) -> bool:
        divergences = getattr(error, "divergences", ())
        return bool(divergences) and all(one.run_id in self.cut_short and one.kind is None for one in divergences)

    def finish(self) -> None:
        """Nothing runs any more: recorded runs that were not asked for by now never will be."""
        if self.body_passed and self.fixture:
            self._require_runs(before=math.inf)

    def _require_runs(self, *, before: float) -> None:
        session: Any = self.guard.session
        if self.replaying and session is not None:
            session.finish(before=before)


def _end_of_body(runs: Sequence[FixtureRun]) -> float:
    """When the test's own function ended, on the clock that counts what began and what ended.

    While recording, the end of the function takes a number of that clock which is no run's: the one that is missing.
    None is missing if nothing ran afterwards.
    """
    taken = {instant for run in runs for instant in (run.began, run.ended)}
    return next((instant for instant in range(1, max(taken, default=0)) if instant not in taken), math.inf)
