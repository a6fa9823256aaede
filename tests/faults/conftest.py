"""The Postgres server of the test process, where a test asks for one."""

from tests.postgres_kit import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]
