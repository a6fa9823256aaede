"""What today's code produced, as far as it went, kept as a log under pytest's cache directory.

It stands there under the fixture's own path, so that `starling diff` and whatever else reads logs can lay the two side
by side; it goes when the test passes again. Where there is no cache (``-p no:cacheprovider``, a checkout that cannot be
written to), or a secret in it could not be replaced, nothing is kept and nothing is said: the failure's text
stands without it.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_starling._secrets import gate_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_starling._session import GoldenItem
    from starling.event import Event
    from starling.replay import Divergence, FixtureRun

__all__ = ["forget", "keep", "produced_runs"]

_FOLDER = "starling"
_MOST_FILES = 100
_MOST_BYTES = 200_000_000
"""Of all that is kept; the oldest go first."""


def keep(
    golden: GoldenItem, recorded: Sequence[FixtureRun], played: Sequence[FixtureRun], divergences: Sequence[Divergence]
) -> str:
    """Keep what was produced, and return the command that compares it with the recording; empty if it is not kept.

    Args:
        recorded: the fixture's runs. played: those that were asked for.
    """
    from starling.errors import StarlingError
    from starling.replay import write_log

    cache: pytest.Cache | None = getattr(golden.item.config, "cache", None)
    if cache is None:
        return ""
    runs = produced_runs(recorded, played, divergences)
    if gate_of(golden).is_hit(event for run in runs for event in run):
        return ""
    try:
        folder = cache.mkdir(_FOLDER)
        path = folder / _name(golden)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_log(path, runs)
        _make_room(folder, path)
    except (OSError, StarlingError):
        return ""
    return f"starling diff {_shown(golden, golden.path)} {_shown(golden, path)}"


def forget(golden: GoldenItem) -> None:
    """Remove what was kept of a test that passes again, and folders that this leaves empty."""
    cache: pytest.Cache | None = getattr(golden.item.config, "cache", None)
    if cache is None:
        return
    folder = cache._cachedir / cache._CACHE_PREFIX_DIRS / _FOLDER
    path = folder / _name(golden)
    with suppress(OSError):
        path.unlink()
        for parent in path.parents:
            if parent == folder.parent:
                break
            parent.rmdir()


def _name(golden: GoldenItem) -> Path:
    """The fixture's path from the rootdir; one that lies elsewhere is told from others by a hash."""
    try:
        return golden.path.relative_to(golden.settings.root)
    except ValueError:
        digest = sha256(str(golden.path.parent).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return Path("elsewhere") / digest / golden.path.name


def _shown(golden: GoldenItem, path: Path) -> str:
    """A path as an argument in a shell, from where pytest was called."""
    from os.path import relpath

    with suppress(ValueError):  # another drive
        path = Path(relpath(path, golden.item.config.invocation_params.dir))
    return shlex.quote(path.as_posix())


def _make_room(folder: Path, newest: Path) -> None:
    """Bound the number and the size of what is kept."""
    files = [(path.stat().st_mtime_ns, path.stat().st_size, path) for path in folder.rglob("*.db") if path != newest]
    files.sort(reverse=True)
    sizes = accumulate((size for _, size, _ in files), initial=newest.stat().st_size)
    for number, (total, (_, size, path)) in enumerate(zip(sizes, files, strict=False), start=2):
        if number > _MOST_FILES or total + size > _MOST_BYTES:
            path.unlink(missing_ok=True)


# --- which events those are


def produced_runs(
    recorded: Sequence[FixtureRun], played: Sequence[FixtureRun], divergences: Sequence[Divergence]
) -> list[Sequence[Event]]:
    """The events of today's runs: what was reproduced is the recording's, then comes what differed.

    A run ends with today's event where it diverged, and before the outcome of a call in which another run did. Runs
    that the recording lacks stand at the end with what began them.
    """
    first = {divergence.run_id: divergence for divergence in reversed(divergences) if divergence.length}
    asked_for = {run.run_id for run in played}
    runs: list[Sequence[Event]] = [
        _until(run, _end(run, recorded, first), first.get(run.run_id)) for run in recorded if run.run_id in asked_for
    ]
    extra = [one for one in divergences if one.cls == "exhausted" and not one.length and one.produced]
    return [*(run for run in runs if run), *_unrecorded(extra, recorded)]


def _end(run: FixtureRun, recorded: Sequence[FixtureRun], first: dict[str, Divergence]) -> int:
    """How many recorded events of a run were reproduced."""
    own = first.get(run.run_id)
    if own is not None:
        return own.seq - 1
    inner = {one.parent_call_id for one in recorded if one.parent_run_id == run.run_id and one.run_id in first}
    return next((event.seq - 1 for event in run.events if inner and _outcome_of(event) in inner), len(run.events))


def _outcome_of(event: Event) -> str:
    """The call that an event ends; empty for any other event."""
    from starling.event import Kind, ToolCallCompleted, ToolCallFailed

    if event.kind not in (Kind.ToolCallCompleted, Kind.ToolCallFailed):
        return ""
    payload = event.decode()
    return payload.call_id if isinstance(payload, ToolCallCompleted | ToolCallFailed) else ""


def _until(run: FixtureRun, count: int, divergence: Divergence | None) -> Sequence[Event]:
    from starling.event import Chain

    events = run.events[:count]
    if divergence is None or divergence.produced is None:
        return events
    chain = Chain.resume(events) if events else Chain(run.run_id)
    at = run.events[min(count, len(run.events) - 1)].ts
    return (*events, chain.append(divergence.produced, at))


def _unrecorded(extra: Sequence[Divergence], recorded: Sequence[FixtureRun]) -> list[Sequence[Event]]:
    from starling.event import Chain

    last = max((run.events[-1].ts for run in recorded), default=0)
    return [
        (Chain(f"not-recorded-{number}").append(divergence.produced, last + number),)
        for number, divergence in enumerate(extra, start=1)
        if divergence.produced is not None
    ]
