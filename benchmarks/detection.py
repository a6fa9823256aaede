"""What a test notices: one change at a time, made to a project that replays, and whether a session then fails.

Nothing here knows the answers. Each change is made to the same project on every side, by editing the copies of its
files (or its recordings), and counts as caught if the test fails. Two rows ask for something else, and say so.
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._projects import CASSETTES, GOLDEN, Project, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SIDES", "Finding", "findings"]

SIDES = (
    replace(CASSETTES, name="vcrpy, default matching"),
    replace(CASSETTES, name="vcrpy, body matching", env={**CASSETTES.env, "MATCH_ALSO": "body"}),
    replace(
        CASSETTES,
        name="the same, --block-network",
        env={**CASSETTES.env, "MATCH_ALSO": "body"},
        replay=("--block-network",),
    ),
    GOLDEN,
)
UNCHANGED = 100
SECRET = "correct horse battery staple"
"""What stands for a credential. Nothing has its shape: it is known by the variable that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table.

    Attributes:
        change: what was done.
        found: side → what came of it.
    """

    change: str
    found: dict[str, str]


def findings(sides: tuple[Side, ...] = SIDES, names: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Try every change, or those of these names, on every side."""
    for change, attempt in CHANGES.items():
        if not names or change in names:
            yield Finding(change=change, found={side.name: _tried(attempt, side) for side in sides})


def _tried(attempt: Callable[[Path, Side], str], side: Side) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return attempt(Path(folder, "project"), side)


def _edits(*by_file: tuple[str, str, str]) -> Callable[[Path, Side], str]:
    """A change of the code: (file, before, after), of those files that a side has."""

    def attempt(folder: Path, side: Side) -> str:
        project = _recorded(folder, side)
        for name, before, after in by_file:
            if name in side.files:
                project.edit(name, before, after)
        return _said(project.replay().failed)

    return attempt


def _said(caught: object) -> str:
    return "caught" if caught else "not caught"


def _recorded(folder: Path, side: Side, *, tests: int = 1) -> Project:
    """A project whose tests pass, recorded and replayed: what fails afterwards, fails because of the change."""
    project = Project(folder, side, tests=tests)
    for outcome in (project.record(), project.replay()):
        if outcome.failed or outcome.passed != tests:
            raise RuntimeError(f"not all tests of {side.name} pass unchanged:\n{outcome.output[-4000:]}")
    return project


# -- changes that are more than an edit


def _fixture_edited(folder: Path, side: Side) -> str:
    """What the model said is changed to something as long; the test's assertion holds for both."""
    project = _recorded(folder, side)
    _replace_in_recordings(project.folder, b"None", b"Some")
    return _said(project.replay().failed)


def _replace_in_recordings(folder: Path, before: bytes, after: bytes) -> None:
    changed = 0
    for path in _recordings(folder):
        if path.suffix == ".db":
            changed += _replace_in_fixture(path, before, after)
        elif before in (content := path.read_bytes()):
            path.write_bytes(content.replace(before, after))
            changed += 1
    if not changed:
        raise ValueError(f"no recording says {before!r}: the benchmark is out of date")


def _replace_in_fixture(path: Path, before: bytes, after: bytes) -> int:
    """With plain SQL, as whoever has a fixture can; the triggers that guard its rows go first."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        rows = connection.execute("SELECT rowid, payload FROM eventlog_events").fetchall()
        told = [(payload.replace(before, after), rowid) for rowid, payload in rows if before in payload]
        connection.executemany("UPDATE eventlog_events SET payload = ? WHERE rowid = ?", told)
    return len(told)


def _secret_recorded(folder: Path, side: Side) -> str:
    """A tool returns a credential, so it is in the next request: caught if no recording with it is left on disk."""
    project = Project(folder, side)
    project.edit("shop.py", 'return "2026-11-21"', 'import os\n    return "2026-11-21 " + os.environ["SHOP_PASSWORD"]')
    outcome = project.record(SHOP_PASSWORD=SECRET)
    kept = any(SECRET.encode() in path.read_bytes() for path in _recordings(folder))
    if not kept and not outcome.failed:
        raise RuntimeError("the credential was never in the recording: the benchmark is out of date")
    return _said(not kept)


def _recordings(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in {".db", ".json", ".yaml"}]


def _never_intercepted(folder: Path, side: Side) -> str:
    """A tool begins to ask a service through a bare socket. The service answers: only the tool's caller can notice."""
    address = _own_address()
    if address is None:
        return "not tried: this machine has no address but loopback"
    project = _recorded(folder, side)
    with _service(address) as port:
        asking = f'import socket\n    with socket.create_connection(("{address}", {port})) as asked:\n'
        project.edit("shop.py", 'return "2026-11-21"', f"{asking}        return asked.recv(100).decode()")
        return _said(project.replay().failed)


def _own_address() -> str | None:
    """An address of this machine that is not loopback. Nothing is sent: a datagram socket only picks its route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(asked.getsockname()[0])
    return None if address.startswith("127.") else address


@contextlib.contextmanager
def _service(address: str) -> Iterator[int]:
    """Says what day it is to whoever connects; gives its port."""
    with socket.create_server((address, 0)) as listening:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with listening.accept()[0] as asked, contextlib.suppress(OSError):  # who asks may hang up
                    asked.sendall(b"2026-11-21")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            socket.create_connection(listening.getsockname()).close()  # it waits for one more
            thread.join()


def _random_order(folder: Path, side: Side) -> str:
    """Tools of one turn end in another order each time. Nothing has changed, so nothing may fail."""
    project = Project(folder, side, tests=UNCHANGED)
    for name, before, after in _AT_ONCE:
        if name in side.files:
            project.edit(name, before, after)
    recorded = project.record()
    if recorded.failed:
        raise RuntimeError(f"{side.name} records nothing:\n{recorded.output[-4000:]}")
    return f"{project.replay().passed} of {UNCHANGED} pass"


_AT_ONCE = (
    ("with_starling.py", "import shop\n", "import asyncio\nimport random\n\nimport shop\n"),
    (
        "with_starling.py",
        "    return shop.look_up",
        "    await asyncio.sleep(random.random() / 200)\n    return shop.look_up",
    ),
    ("with_sdk.py", "import json\n", "import json\nimport random\nimport time\nfrom concurrent import futures\n"),
    (
        "with_sdk.py",
        "    said = [result(call) for call in calls]\n",
        "    with futures.ThreadPoolExecutor() as threads:\n        said = list(threads.map(result, calls))\n",
    ),
    (
        "with_sdk.py",
        '    function = call["function"]\n    return',
        '    function = call["function"]\n    time.sleep(random.random() / 200)\n    return',
    ),
)

CHANGES: dict[str, Callable[[Path, Side], str]] = {
    "prompt edited": _edits(("shop.py", "briefly", "politely")),
    "tool result changed": _edits(("shop.py", '"count": 2', '"count": 3')),
    "extra call": _edits(
        ("with_starling.py", "return agent.run_sync", "agent.run_sync(shop.QUESTION)\n    return agent.run_sync"),
        ("with_sdk.py", 'return message["content"]', 'ask(messages)\n            return message["content"]'),
    ),
    "tools reordered": _edits(
        ("with_starling.py", "[look_up, today]", "[today, look_up]"),
        ("with_sdk.py", "client = ", "TOOLS.reverse()\nclient = "),
    ),
    "fixture edited by hand": _fixture_edited,
    "secret in a body": _secret_recorded,
    "client that was never intercepted": _never_intercepted,
    f"{UNCHANGED} unchanged replays, parallel tools in random order": _random_order,
}
