"""What is kept of a recording, and its way to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_starling import _failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_starling._failure import Failure
    from pytest_starling._session import GoldenItem
    from starling.replay import Fixture, FixtureRun

__all__ = ["fixture_of", "save"]


def save(
    golden: GoldenItem, fixture: Fixture, *, verify: Callable[[Path], Failure | None] | None = None
) -> Failure | None:
    """Put a fixture in its place, all or nothing. Returns why it is not there; the old one then is as it was.

    Args:
        verify: given the temporary file, says what is wrong with it.
    """
    from starling.errors import StarlingError
    from starling.replay import discard, install_fixture, temporary_path, write_fixture

    path = golden.path
    try:
        temporary = write_fixture(path, fixture)
        failure = verify(temporary) if verify else None
        if failure is None:
            install_fixture(temporary, path)
        return failure
    except StarlingError as error:
        return _failure.not_saved(golden, error)
    finally:
        discard(temporary_path(path))


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
