"""Schema versions of any log: asking for one, checking it, moving it forward.

Logs without a schema (memory, a user's own) are up to date by definition. Source: seed, "Migrations" and "Preflight".
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from starling.errors import SchemaOutdatedError, SchemaTooNewError
from starling.eventlog._protocol import SCHEMA_VERSION, MigrationReport, SchemaLog

if TYPE_CHECKING:
    from starling.eventlog._protocol import EventLog

__all__ = [
    "check_version",
    "migrate",
    "migrate_sync",
    "preflight",
    "preflight_sync",
    "refuse_newer",
    "schema_version",
    "schema_version_sync",
]


@runtime_checkable
class _BlockingSchemaLog(Protocol):
    """The blocking twin of `SchemaLog`."""

    def schema_version_sync(self) -> int: ...

    def migrate_sync(self, *, dry_run: bool = False) -> MigrationReport: ...


async def schema_version(log: EventLog) -> int:
    """The schema version of a log's storage; `SCHEMA_VERSION` for a log that has no schema.

    Raises:
        LogClosedError: the log is closed.
        LogCorruptError: the version cannot be read.
    """
    if not hasattr(log, "schema_version"):  # a quicker way to the same answer, since every run asks
        return SCHEMA_VERSION
    return await log.schema_version() if isinstance(log, SchemaLog) else SCHEMA_VERSION


def schema_version_sync(log: EventLog) -> int:
    """`schema_version`, blocking."""
    return log.schema_version_sync() if isinstance(log, _BlockingSchemaLog) else SCHEMA_VERSION


async def migrate(log: EventLog, *, dry_run: bool = False) -> MigrationReport:
    """Bring a log's storage to `SCHEMA_VERSION`; a log without a schema has nothing to do.

    Opening a `SQLiteLog` for writing migrates it already; to see what that would do, open it with ``read_only=True``
    and pass ``dry_run=True``.

    Raises:
        SchemaTooNewError: the storage is newer than this library.
        ReadOnlyError: the log was opened for reading and ``dry_run`` is off.
        LogWriteError: the storage failed; nothing was changed.
    """
    return await log.migrate(dry_run=dry_run) if isinstance(log, SchemaLog) else _nothing_to_do(dry_run)


def migrate_sync(log: EventLog, *, dry_run: bool = False) -> MigrationReport:
    """`migrate`, blocking."""
    return log.migrate_sync(dry_run=dry_run) if isinstance(log, _BlockingSchemaLog) else _nothing_to_do(dry_run)


async def preflight(log: EventLog) -> None:
    """Check that a log's storage has the schema that this library writes.

    Raises:
        SchemaOutdatedError: it is older; run `migrate`.
        SchemaTooNewError: it is newer; upgrade this library.
    """
    check_version(await schema_version(log), _name(log))


def preflight_sync(log: EventLog) -> None:
    """`preflight`, blocking."""
    check_version(schema_version_sync(log), _name(log))


def check_version(version: int, where: str) -> None:
    """Raise unless ``version`` is the one that this library writes. ``where`` names the log, as a command takes it."""
    refuse_newer(version, where)
    if version < SCHEMA_VERSION:
        raise SchemaOutdatedError(
            f"{where} has schema version {version}, this version of pytest-starling needs {SCHEMA_VERSION}: run "
            f"`starling migrate {shlex.quote(where)}`",
            path=where,
        )


def refuse_newer(version: int, where: str) -> None:
    """Raise `SchemaTooNewError` if a newer library wrote ``version``. ``where`` names the log."""
    if version > SCHEMA_VERSION:
        raise SchemaTooNewError(
            f"{where} has schema version {version}, this version of pytest-starling knows {SCHEMA_VERSION}: upgrade it",
            path=where,
        )


def _name(log: EventLog) -> str:
    """A log as a command takes it: its file, its URL without the password; for a user's own, what it says of itself."""
    return str(getattr(log, "path", "") or getattr(log, "name", "") or repr(log))


def _nothing_to_do(dry_run: bool) -> MigrationReport:
    return MigrationReport(from_version=SCHEMA_VERSION, to_version=SCHEMA_VERSION, applied=(), dry_run=dry_run)
