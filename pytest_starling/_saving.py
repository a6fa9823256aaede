"""What is kept of a recording, and its way to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_starling import _produced, _recording_failures, _rivals
from pytest_starling._redaction import redacted_runs
from pytest_starling._secrets import gate_of, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_starling._attempt import Attempt
    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem
    from starling.replay import Fixture, FixtureRun

__all__ = ["fixture_of", "save", "save_recording"]


def save(
    golden: GoldenItem, fixture: Fixture, *, verify: Callable[[Path], Failure | None] | None = None
) -> Failure | None:
    """Put a fixture in its place, all or nothing. Returns why it is not there; the old one then is as it was.

    Nothing is written at all, not even to a temporary, if it holds a secret.

    Args:
        verify: given the temporary file, says what is wrong with it.
    """
    hits = gate_of(golden).search(fixture)
    if hits:
        return _recording_failures.secret(golden, hits)
    failure = _written(golden, fixture, verify)
    return None if failure is None else without_secrets(golden, failure)


def save_recording(
    golden: GoldenItem, attempt: Attempt, verify: Callable[[Path], Failure | None] | None
) -> Failure | None:
    """Redact what an attempt recorded, and put it in its place. Returns why it is not there."""
    from starling.replay import RedactionError

    try:
        runs = redacted_runs(golden, attempt)
    except RedactionError as error:
        return _recording_failures.not_saved(golden, error)
    failure = save(golden, fixture_of(golden, runs), verify=verify)
    if failure is not None and runs != attempt.runs:
        return _recording_failures.after_redaction(failure)
    return failure


def _written(golden: GoldenItem, fixture: Fixture, verify: Callable[[Path], Failure | None] | None) -> Failure | None:
    from starling.errors import StarlingError
    from starling.replay import install_fixture, write_fixture

    path = golden.path
    try:
        with write_fixture(path, fixture) as temporary:
            failure = (verify(temporary.path) if verify else None) or _taken_meanwhile(golden)
            if failure is None:
                install_fixture(temporary, path)
                _produced.forget(golden)
            return failure
    except StarlingError as error:
        return _recording_failures.not_saved(golden, error)


def _taken_meanwhile(golden: GoldenItem) -> Failure | None:
    owner = _rivals.owner_on_disk(golden)
    return _recording_failures.contended(golden, owner) if owner else None


def fixture_of(golden: GoldenItem, runs: tuple[FixtureRun, ...]) -> Fixture:
    """What is kept of the runs that a test just made."""
    from datetime import UTC, datetime

    from starling.replay import Fixture

    return Fixture(
        test_id=golden.name.text,
        recorded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
        runs=runs,
    )


_SDKS = ("anthropic", "boto3", "google-genai", "openai")


def _versions() -> dict[str, str]:
    """What the recording was made with: this library, Python, and the SDKs in use."""
    import platform
    import sys
    from importlib import metadata

    import starling

    found = {"pytest-starling": starling.__version__, "python": platform.python_version()}
    for name in _SDKS:
        if name.replace("-", ".") in sys.modules:
            found[name] = metadata.version(name)
    return found
