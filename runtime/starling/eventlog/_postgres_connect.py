"""The edge to Postgres: where the server is, how a connection is made, and how statements are carried out on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from starling.errors import LogError
from starling.eventlog._postgres_insert import AsyncConnection, Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starling.eventlog._sql_steps import Steps

__all__ = ["Target", "Within", "carry_out", "carry_out_sync", "parse_target"]

T = TypeVar("T")
Within: TypeAlias = Literal["commit", "rollback"] | None
"""Whether statements are one transaction, and how that ends; None for each on its own."""

_OLDEST = 110000  # `hashtextextended` came with Postgres 11 (seed, "Postgres")
_READ_COMMITTED = "SELECT set_config('default_transaction_isolation', 'read committed', false)"
_READ_ONLY = f"{_READ_COMMITTED}, set_config('default_transaction_read_only', 'on', false)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A database, and how to use it.

    Attributes:
        name: what messages call it: a URL without password.
        conninfo: what libpq is told, password included. Never shown.
        read_only: let the server refuse every write.
    """

    name: str
    conninfo: str = field(repr=False)
    read_only: bool

    async def connect(self) -> AsyncConnection:
        """A connection of the running event loop, in autocommit mode."""
        connection = await AsyncConnection.connect(self.conninfo, autocommit=True)
        try:
            self._check_server(connection.info.server_version)
            await connection.execute(self._settings)
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    def connect_sync(self) -> Connection:
        """A blocking connection, in autocommit mode."""
        connection = Connection.connect(self.conninfo, autocommit=True)
        try:
            self._check_server(connection.info.server_version)
            connection.execute(self._settings)
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    @property
    def _settings(self) -> str:
        """Statements must see what was committed while they waited for a lock, whatever the server's default is."""
        return _READ_ONLY if self.read_only else _READ_COMMITTED

    def _check_server(self, version: int) -> None:
        if version < _OLDEST:
            raise LogError(
                f"{self.name} is Postgres {version // 10000}, and a log needs 11 or later: upgrade the server",
                path=self.name,
            )


def parse_target(conninfo: str, *, read_only: bool, timeout_s: float) -> Target:
    """Read a URL or a libpq connection string.

    Raises:
        LogError: it is neither. The text does not repeat it, since a password may stand in it.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.Error:
        raise LogError(
            "the connection string of a Postgres log cannot be read: give postgresql://user@host:5432/database or "
            "libpq's key=value form, and quote special characters of the password (not repeated here)"
        ) from None
    ours: dict[str, Any] = {"connect_timeout": max(2, round(timeout_s)), "fallback_application_name": "starling"}
    merged = make_conninfo("", **{**ours, **given, "client_encoding": "UTF8"})
    return Target(name=_name(given), conninfo=merged, read_only=read_only)


def _name(given: Mapping[str, Any]) -> str:
    if "service" in given and "host" not in given:
        return f"postgresql:service={given['service']}"
    user = f"{quote(given['user'])}@" if "user" in given else ""
    host = quote(str(given.get("host") or given.get("hostaddr") or ""), safe=",:")
    port = f":{given['port']}" if "port" in given else ""
    return f"postgresql://{user}{host}{port}/{quote(str(given.get('dbname', '')))}"


async def carry_out(connection: AsyncConnection, steps: Steps[T], within: Within = None) -> T:
    """Carry out each statement that ``steps`` asks for, and return what it returns."""
    if within:
        async with connection.transaction(force_rollback=within == "rollback"):
            return await carry_out(connection, steps)
    try:
        statement = next(steps)
        while True:
            cursor = await connection.execute(_text(statement.text), statement.arguments, binary=True)
            statement = steps.send(await cursor.fetchall() if cursor.description else ())
    except StopIteration as end:
        result: T = end.value
        return result


def carry_out_sync(connection: Connection, steps: Steps[T], within: Within = None) -> T:
    """`carry_out`, blocking."""
    if within:
        with connection.transaction(force_rollback=within == "rollback"):
            return carry_out_sync(connection, steps)
    try:
        statement = next(steps)
        while True:
            cursor = connection.execute(_text(statement.text), statement.arguments, binary=True)
            statement = steps.send(cursor.fetchall() if cursor.description else ())
    except StopIteration as end:
        result: T = end.value
        return result


def _text(text: str) -> bytes:
    """The statement as the driver wants it: our placeholders are ``?``, and no statement holds a per cent sign."""
    return text.replace("?", "%s").encode()
