"""What a Postgres log asks for, on borrowed connections, awaiting or blocking; driver errors end here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from starling.eventlog._append_rules import advanced_elsewhere
from starling.eventlog._postgres_connect import carry_out, carry_out_sync
from starling.eventlog._postgres_errors import DRIVER_ERRORS, map_error
from starling.eventlog._postgres_insert import insertion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starling.errors import LogError
    from starling.event import Event
    from starling.eventlog._postgres_insert import AsyncConnection, Connection
    from starling.eventlog._postgres_jobs import Job, Jobs
    from starling.eventlog._postgres_pool import Pool

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """Carries out jobs and inserts.

    Args:
        pool: where connections come from.
        jobs: those of the log.
        auto_migrate: migrate before the first job, whatever it is. Otherwise the schema is checked before the first one
            that needs it.
    """

    def __init__(self, pool: Pool, jobs: Jobs, *, auto_migrate: bool) -> None:
        self._pool = pool
        self._jobs = jobs
        self._auto_migrate = auto_migrate
        self._is_ready = False

    async def do(self, job: Job[T]) -> T:
        """Carry out a job. The first one is preceded by what `Client` says.

        Raises:
            LogError: the server refused, or could not be asked.
        """
        loop = asyncio.get_running_loop()
        try:
            connection = await self._pool.borrow(loop)
            try:
                if not self._is_ready:
                    await self._prepare(connection, job)
                return await carry_out(connection, job.steps, job.within)
            finally:
                self._pool.give_back(connection, loop)
        except DRIVER_ERRORS as error:
            raise self._error(error, job) from error

    def do_sync(self, job: Job[T]) -> T:
        """`do`, blocking."""
        try:
            connection = self._pool.borrow_sync()
            try:
                if not self._is_ready:
                    self._prepare_sync(connection, job)
                return carry_out_sync(connection, job.steps, job.within)
            finally:
                self._pool.give_back(connection, None)
        except DRIVER_ERRORS as error:
            raise self._error(error, job) from error

    async def _prepare(self, connection: AsyncConnection, use: Job[Any]) -> None:
        job = self._preparation(use)
        if job is None:
            return
        try:
            await carry_out(connection, job.steps, job.within)
        except DRIVER_ERRORS as error:
            raise self._error(error, job) from error
        self._is_ready = True

    def _prepare_sync(self, connection: Connection, use: Job[Any]) -> None:
        job = self._preparation(use)
        if job is None:
            return
        try:
            carry_out_sync(connection, job.steps, job.within)
        except DRIVER_ERRORS as error:
            raise self._error(error, job) from error
        self._is_ready = True

    def _preparation(self, use: Job[Any]) -> Job[Any] | None:
        """What comes before the first use."""
        if self._auto_migrate:
            return self._jobs.migrate()
        return None if use.any_schema else self._jobs.check_version()

    def _error(self, error: Exception, job: Job[Any]) -> LogError:
        return map_error(error, self._jobs.name, job.action, writing=job.writing, run_id=job.run_id, seq=job.seq)

    # -- appends: no job, since there is one for every event

    async def insert(self, tail: Event | None, batch: Sequence[Event]) -> int:
        """Add a batch behind its predecessor, which an earlier job or append found to be the run's tail.

        Returns:
            How many events were written: all, or none if the predecessor is not there, or another one.

        Raises:
            LogError: the server refused, or could not be asked.
        """
        loop = asyncio.get_running_loop()
        try:
            connection = await self._pool.borrow(loop)
            try:
                return await connection.wait(insertion(connection, tail, batch))
            finally:
                self._pool.give_back(connection, loop)
        except DRIVER_ERRORS as error:
            raise self._insert_error(error, batch[0]) from error

    def insert_sync(self, tail: Event | None, batch: Sequence[Event]) -> int:
        """`insert`, blocking."""
        try:
            connection = self._pool.borrow_sync()
            try:
                return connection.wait(insertion(connection, tail, batch))
            finally:
                self._pool.give_back(connection, None)
        except DRIVER_ERRORS as error:
            raise self._insert_error(error, batch[0]) from error

    def _insert_error(self, error: Exception, first: Event) -> LogError:
        if isinstance(error, psycopg.errors.UniqueViolation):
            return advanced_elsewhere(self._jobs.name, first.run_id, first.seq)
        return map_error(error, self._jobs.name, "append", writing=True, run_id=first.run_id, seq=first.seq)
